//! What a node asks of its store, seen by a store of somebody else's: a wrapper that implements the one trait it is about.

mod support;

use futures::FutureExt as _;
use futures::future::join_all;
use liner::stores::*;
use liner::{Config, SendTo};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::{Inbox, Mesh, Node};

/// Notes the numbers that were appended, and is busy every third time.
struct Recording {
    inner: SharedStore,
    commits: Mutex<u64>,
    appended: Mutex<BTreeMap<LaneKey, Vec<u64>>>,
}

impl Recording {
    fn around(inner: SharedStore) -> (Arc<Recording>, SharedStore) {
        let (commits, appended) = (Mutex::default(), Mutex::default());
        let recording = Arc::new(Recording { inner: inner.clone(), commits, appended });
        (recording.clone(), Arc::new(Composite { journal: recording, ..Composite::of(inner) }))
    }

    fn is_busy(&self) -> bool {
        let mut commits = self.commits.lock().expect("not poisoned");
        *commits += 1;
        commits.is_multiple_of(3)
    }

    fn note(&self, batch: &Batch) {
        let mut appended = self.appended.lock().expect("not poisoned");
        for write in &batch.writes {
            if let Write::Append { lane, messages } = write {
                appended.entry(*lane).or_default().extend(messages.iter().map(|stored| stored.seq.get()));
            }
        }
    }
}

impl Journal for Recording {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        async move {
            if self.is_busy() {
                return Err(StoreError::Busy);
            }
            self.note(&batch);
            self.inner.commit(fence, batch).await
        }
        .boxed()
    }
}

#[actix::test]
async fn a_lanes_appends_reach_the_store_in_the_order_of_the_sends() {
    let mesh = Mesh::sqlite();
    let (recording, store) = Recording::around(mesh.open());
    let orders = Node::start(Config::custom("orders-1", "orders", store)).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let texts: Vec<_> = (0..400).map(|n| n.to_string()).collect();
    for sent in join_all(texts.iter().map(|text| orders.call(SendTo::new("billing", text.clone())))).await {
        sent.expect("accepted");
    }
    assert_eq!(inbox.texts(400).await, texts);
    let appended = recording.appended.lock().expect("not poisoned");
    assert_eq!(appended.len(), 1, "one lane: {appended:?}");
    let numbers: Vec<_> = appended.values().flatten().copied().collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(numbers.len(), 400, "each is appended once: a batch that failed was not noted");
}
