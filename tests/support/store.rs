//! A store that fails on command.

use futures::FutureExt;
use liner::stores::*;
use liner::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};
use std::sync::Arc;
use std::time::Duration;
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
        async move {
            self.gate().await?;
            self.inner.adopt(fence).await
        }
        .boxed()
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        async move {
            self.gate().await?;
            self.inner.lanes(sender).await
        }
        .boxed()
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        async move {
            self.gate().await?;
            self.inner.open_lane(fence, lane, incarnation).await
        }
        .boxed()
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        async move {
            self.gate().await?;
            self.inner.load(lane, after, limit).await
        }
        .boxed()
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        async move {
            self.gate().await?;
            self.inner.pending(sender).await
        }
        .boxed()
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        async move {
            self.gate().await?;
            self.inner.clear(fence).await
        }
        .boxed()
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        async move {
            self.gate().await?;
            self.inner.forget_lane(fence, lane).await
        }
        .boxed()
    }
}

impl Inbox for FaultyStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        async move {
            self.gate().await?;
            self.inner.receive_lane(fence, lane).await
        }
        .boxed()
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
        async move {
            self.gate().await?;
            self.inner.dead_letters(node, filter, after, limit).await
        }
        .boxed()
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        async move {
            self.gate().await?;
            self.inner.purge_dead_letters(fence, filter).await
        }
        .boxed()
    }
}

impl Directory for FaultyStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        async move {
            self.gate().await?;
            self.inner.facts().await
        }
        .boxed()
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        async move {
            self.gate().await?;
            self.inner.register(node).await
        }
        .boxed()
    }

    fn publish<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        addr: &'a str,
        subscription: bool,
        lease: Duration,
    ) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.publish(fence, topic, addr, subscription, lease).await
        }
        .boxed()
    }

    fn unpublish<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.unpublish(fence, topic).await
        }
        .boxed()
    }

    fn seed<'a>(&'a self, topic: &'a Topic, node: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.seed(topic, node, addr).await
        }
        .boxed()
    }

    fn set_tombstone<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        node: &'a NodeId,
        unsubscribed: bool,
    ) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.set_tombstone(fence, topic, node, unsubscribed).await
        }
        .boxed()
    }

    fn renew<'a>(&'a self, fence: &'a Fence, lease: Duration) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.renew(fence, lease).await
        }
        .boxed()
    }

    fn release<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.release(fence).await
        }
        .boxed()
    }

    fn topic<'a>(&'a self, topic: &'a Topic) -> StoreFuture<'a, TopicEntry> {
        async move {
            self.gate().await?;
            self.inner.topic(topic).await
        }
        .boxed()
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        async move {
            self.gate().await?;
            self.inner.topics(topics).await
        }
        .boxed()
    }

    fn clear_addresses<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, u64> {
        async move {
            self.gate().await?;
            self.inner.clear_addresses(fence, topic).await
        }
        .boxed()
    }

    fn forget_node<'a>(&'a self, fence: &'a Fence, node: &'a NodeId) -> StoreFuture<'a, u64> {
        async move {
            self.gate().await?;
            self.inner.forget_node(fence, node).await
        }
        .boxed()
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        async move {
            self.gate().await?;
            self.inner.changed().await
        }
        .boxed()
    }

    fn remember_peer<'a>(&'a self, fence: &'a Fence, peer: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()> {
        async move {
            self.gate().await?;
            self.inner.remember_peer(fence, peer, addr).await
        }
        .boxed()
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        async move {
            self.gate().await?;
            self.inner.peers(node).await
        }
        .boxed()
    }
}
