//! A store put together from parts: a wrapper implements the trait it is about, and takes the rest from the store it wraps.

use super::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};

/// A store whose traits are implemented by different values.
///
/// A wrapper that counts commits is a [`Journal`] and nothing else:
///
/// ```
/// use liner::stores::memory::MemoryStore;
/// use liner::stores::{Batch, Committed, Composite, Fence, Journal, SharedStore, StoreFuture};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// struct Counting {
///     inner: MemoryStore,
///     commits: AtomicU64,
/// }
///
/// impl Journal for Counting {
///     fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
///         self.commits.fetch_add(1, Ordering::Relaxed);
///         self.inner.commit(fence, batch)
///     }
/// }
///
/// let inner = MemoryStore::new();
/// let counting = Arc::new(Counting { inner: inner.clone(), commits: AtomicU64::new(0) });
/// let store: SharedStore = Arc::new(Composite { journal: counting.clone(), ..Composite::of(Arc::new(inner)) });
/// let config = liner::Config::custom("orders-1", "orders", store.clone());
/// # futures::executor::block_on(async {
/// #     let node = liner::NodeId::new("orders-1").unwrap();
/// #     let epoch = store.register(&node).await.unwrap().epoch;
/// #     store.commit(&Fence { node, epoch }, Batch::default()).await.unwrap();
/// # });
/// assert_eq!(counting.commits.load(Ordering::Relaxed), 1);
/// ```
#[derive(Clone)]
pub struct Composite {
    /// Commits batches.
    pub journal: Arc<dyn Journal>,
    /// Has the lanes that the node sends on.
    pub outbox: Arc<dyn Outbox>,
    /// Has the lanes that the node receives on.
    pub inbox: Arc<dyn Inbox>,
    /// Has the dead letters.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Has the catalogue.
    pub directory: Arc<dyn Directory>,
}

impl Composite {
    /// Takes all parts from one store.
    pub fn of(store: SharedStore) -> Composite {
        Composite {
            journal: store.clone(),
            outbox: store.clone(),
            inbox: store.clone(),
            dead_letters: store.clone(),
            directory: store,
        }
    }
}

impl Journal for Composite {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        self.journal.commit(fence, batch)
    }
}

impl Outbox for Composite {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        self.outbox.adopt(fence)
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.outbox.lanes(sender)
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.outbox.open_lane(fence, lane, incarnation)
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.outbox.load(lane, after, limit)
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.outbox.pending(sender)
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.outbox.clear(fence)
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.outbox.forget_lane(fence, lane)
    }
}

impl Inbox for Composite {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.inbox.receive_lane(fence, lane)
    }
}

impl DeadLetters for Composite {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        self.dead_letters.dead_letters(node, filter, after, limit)
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.dead_letters.purge_dead_letters(fence, filter)
    }
}

impl Directory for Composite {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        self.directory.facts()
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.directory.register(node)
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        self.directory.apply(fence, change)
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.directory.topics(topics)
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.directory.changed()
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.directory.peers(node)
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        self.directory.end()
    }
}
