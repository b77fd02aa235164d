//! The traits: each operation brought to its connection.

use super::error::Outcome;
use super::lanes::Lanes;
use super::{RedisStore, adopt, dead_letters, directory};
use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};
use std::future::Future;

impl RedisStore {
    /// Has an operation polled with the store's timers and sockets, wherever its caller is.
    fn run<'a, T: Send + 'a>(&'a self, operation: impl Future<Output = Outcome<T>> + Send + 'a) -> StoreFuture<'a, T> {
        Box::pin(async move { self.runtime.enter(operation).await.map_err(|failure| failure.error) })
    }

    fn lanes_here(&self) -> Lanes<'_> {
        Lanes { connection: &self.connection, known: &self.known }
    }
}

impl Journal for RedisStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        let fence = fence.clone();
        Box::pin(async move {
            if batch.synced && self.syncs == Some(false) {
                return Err(StoreError::NotSynced(self.facts.durability.as_str().into()));
            }
            self.writer.commit(fence, batch).await
        })
    }
}

impl Outbox for RedisStore {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        self.run(async move { adopt::adopt(&self.lanes_here(), fence).await })
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.run(async move { self.lanes_here().opened(sender).await })
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.run(async move { self.lanes_here().open(fence, lane, incarnation).await })
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.run(async move { self.lanes_here().load(lane, after, limit).await })
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.run(async move { self.lanes_here().pending(sender).await })
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.run(async move { self.lanes_here().clear(fence).await })
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.run(async move { self.lanes_here().forget(fence, lane).await })
    }
}

impl Inbox for RedisStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.run(async move { self.lanes_here().receive(fence, lane).await })
    }
}

impl DeadLetters for RedisStore {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        self.run(async move { dead_letters::list(&self.connection, node, filter, after, limit).await })
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.run(async move { dead_letters::purge(&self.connection, fence, filter).await })
    }
}

impl Directory for RedisStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        Box::pin(async move { Ok(self.facts.clone()) })
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.run(async move { directory::register(&self.connection, node).await })
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        self.run(async move { directory::apply(&self.connection, fence, &change).await })
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.run(async move { directory::topics(&self.connection, topics).await })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.watch();
            self.catalogue.changed().await
        })
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.run(async move { directory::peers(&self.connection, node).await })
    }
}
