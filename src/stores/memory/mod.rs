//! The store in memory: the model of the other stores, and test double.
//!
//! ```text
//! MemoryStore (handle) ──┐
//! MemoryStore (handle) ──┼──▶ one medium: Queues (lanes, dead letters) + Catalogue (nodes, routes, peers)
//! MemoryStore (handle) ──┘
//! ```
//!
//! Clones are handles on one medium, as several processes open one file: dropping a node's handle and giving it a clone
//! of another is a crash and a restart. Every future but that of `changed` resolves when it is first polled. Nothing is
//! simulated here: a store that fails or hangs is a wrapper's business.

mod catalogue;
mod queues;

use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, StoreId, Topic};
use catalogue::Catalogue;
use parking_lot::Mutex;
use queues::Queues;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// A handle on a medium in memory. Cloning it opens another handle on the same medium.
#[derive(Debug)]
pub struct MemoryStore {
    medium: Arc<Mutex<Medium>>,
    /// The catalogue version this handle's last `changed` saw.
    seen: AtomicU64,
}

/// What all handles share. One lock, so that every operation is a transaction.
#[derive(Debug)]
struct Medium {
    id: StoreId,
    queues: Queues,
    catalogue: Catalogue,
}

impl MemoryStore {
    /// A fresh, empty medium.
    pub fn new() -> Self {
        // Without system randomness the id is still different from that of every other store of this process.
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = getrandom::u64().unwrap_or_else(|_| NEXT.fetch_add(1, Ordering::Relaxed));
        let medium = Medium { id: StoreId::new(id), queues: Queues::default(), catalogue: Catalogue::default() };
        MemoryStore { medium: Arc::new(Mutex::new(medium)), seen: AtomicU64::new(0) }
    }

    fn read<'a, T: Send + 'a>(&'a self, op: impl FnOnce(&Medium) -> T + Send + 'a) -> StoreFuture<'a, T> {
        Box::pin(async move { Ok(op(&self.medium.lock())) })
    }

    fn write<'a, T: Send + 'a>(
        &'a self,
        fence: &'a Fence,
        op: impl FnOnce(&mut Medium) -> Result<T, StoreError> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move {
            let mut medium = self.medium.lock();
            medium.catalogue.check(fence)?;
            op(&mut medium)
        })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

impl Clone for MemoryStore {
    fn clone(&self) -> Self {
        let seen = self.medium.lock().catalogue.version();
        MemoryStore { medium: Arc::clone(&self.medium), seen: AtomicU64::new(seen) }
    }
}

impl Journal for MemoryStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        self.write(fence, |medium| medium.queues.commit(&fence.node, batch))
    }
}

impl Outbox for MemoryStore {
    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.read(|medium| medium.queues.lanes(sender))
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.write(fence, move |medium| Ok(medium.queues.open(lane, incarnation)))
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.read(move |medium| medium.queues.load(lane, after, limit))
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.read(|medium| medium.queues.pending(sender))
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.write(fence, |medium| Ok(medium.queues.clear(&fence.node)))
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.write(fence, |medium| Ok(medium.queues.forget(&fence.node, lane)))
    }
}

impl Inbox for MemoryStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.write(fence, |medium| Ok(medium.queues.receive(lane)))
    }
}

impl DeadLetters for MemoryStore {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        self.read(move |medium| medium.queues.dead_letters(node, filter, after, limit))
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.write(fence, |medium| Ok(medium.queues.purge_dead_letters(&fence.node, filter)))
    }
}

impl Directory for MemoryStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        self.read(|medium| StoreFacts {
            id: medium.id,
            description: "memory".to_owned(),
            durability: "none: lives as long as the process".to_owned(),
            max_message: usize::MAX,
        })
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        Box::pin(async move { Ok(self.medium.lock().catalogue.register(node)) })
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut medium = self.medium.lock();
            if change.is_fenced() {
                medium.catalogue.check(fence)?;
            }
            Ok(medium.catalogue.apply(fence, change))
        })
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.read(|medium| topics.iter().map(|topic| medium.catalogue.topic(topic)).collect())
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(futures::future::poll_fn(|context| {
            let mut medium = self.medium.lock();
            let version = medium.catalogue.version();
            if self.seen.swap(version, Ordering::Relaxed) != version {
                return Poll::Ready(Ok(()));
            }
            medium.catalogue.wake_on_change(context.waker());
            Poll::Pending
        }))
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.read(|medium| medium.catalogue.peers(node))
    }
}
