//! A store that fails on command.

use futures::FutureExt;
use liner::stores::*;
use liner::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};
use std::sync::Arc;
use tokio::sync::watch;

/// What the store does with an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Up,
    /// Nothing is done, and it says so.
    Down,
    /// No answer while this lasts; then it is done.
    Hang,
    /// Commits are done and the answer is lost.
    LoseReplies,
}

/// Stands before a real store.
#[derive(Clone)]
pub(crate) struct FaultyStore {
    inner: SharedStore,
    health: Arc<watch::Sender<Health>>,
    /// Appends that met a store that hangs.
    hung: Arc<watch::Sender<u64>>,
    /// Trims that were committed.
    trims: Arc<watch::Sender<u64>>,
}

impl FaultyStore {
    pub(crate) fn around(inner: SharedStore) -> Self {
        let health = Arc::new(watch::channel(Health::Up).0);
        FaultyStore { inner, health, hung: Arc::default(), trims: Arc::default() }
    }

    /// As a node takes it.
    pub(crate) fn shared(&self) -> SharedStore {
        Arc::new(self.clone())
    }

    pub(crate) fn set(&self, health: Health) {
        self.health.send_replace(health);
    }

    /// Waits until an append hangs.
    pub(crate) async fn append_hangs(&self) {
        let mut hung = self.hung.subscribe();
        super::soon("an append", hung.wait_for(|n| *n > 0)).await.expect("the sender lives in self");
    }

    /// Waits until a trim was committed.
    pub(crate) async fn trimmed(&self) {
        let mut trims = self.trims.subscribe();
        super::soon("a trim", trims.wait_for(|n| *n > 0)).await.expect("the sender lives in self");
    }

    /// Runs an operation as far as the store's health allows.
    fn gated<'a, T: 'a>(&'a self, operation: StoreFuture<'a, T>) -> StoreFuture<'a, T> {
        async move {
            self.gate().await?;
            operation.await
        }
        .boxed()
    }

    /// Waits until the store answers, or refuses.
    async fn gate(&self) -> Result<Health, StoreError> {
        let mut health = self.health.subscribe();
        let now = *health.wait_for(|h| *h != Health::Hang).await.expect("the sender lives in self");
        if now == Health::Down { Err(StoreError::Unavailable("switched off".into())) } else { Ok(now) }
    }
}

impl Journal for FaultyStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        async move {
            let has = |of: fn(&Write) -> bool| batch.writes.iter().any(of);
            let (appends, trims) =
                (has(|w| matches!(w, Write::Append { .. })), has(|w| matches!(w, Write::Trim { .. })));
            if appends && *self.health.borrow() == Health::Hang {
                self.hung.send_modify(|n| *n += 1);
            }
            let health = self.gate().await?;
            let committed = self.inner.commit(fence, batch).await?;
            if trims {
                self.trims.send_modify(|n| *n += 1);
            }
            if health == Health::LoseReplies {
                Err(StoreError::Indeterminate("reply lost".into()))
            } else {
                Ok(committed)
            }
        }
        .boxed()
    }
}

impl Outbox for FaultyStore {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        self.gated(self.inner.adopt(fence))
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.gated(self.inner.lanes(sender))
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.gated(self.inner.open_lane(fence, lane, incarnation))
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.gated(self.inner.load(lane, after, limit))
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.gated(self.inner.pending(sender))
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.gated(self.inner.clear(fence))
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.gated(self.inner.forget_lane(fence, lane))
    }
}

impl Inbox for FaultyStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.gated(self.inner.receive_lane(fence, lane))
    }
}

impl DeadLetters for FaultyStore {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        self.gated(self.inner.dead_letters(node, filter, after, limit))
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.gated(self.inner.purge_dead_letters(fence, filter))
    }
}

impl Directory for FaultyStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        self.gated(self.inner.facts())
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.gated(self.inner.register(node))
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        self.gated(self.inner.apply(fence, change))
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.gated(self.inner.topics(topics))
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.gated(self.inner.changed())
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.gated(self.inner.peers(node))
    }
}
