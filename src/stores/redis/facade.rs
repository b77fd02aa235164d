//! The traits: each operation brought to its connection.

use super::lanes::Lanes;
use super::{RedisStore, adopt, dead_letters, directory, watcher};
use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};

impl RedisStore {
    fn lanes_here(&self) -> Lanes<'_> {
        Lanes { connection: &self.connection, known: &self.known }
    }
}

impl Journal for RedisStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        if batch.synced && self.syncs == Some(false) {
            let weak = StoreError::NotSynced(self.handle.facts.durability.as_str().into());
            return Box::pin(std::future::ready(Err(weak)));
        }
        self.handle.commit(fence, batch)
    }
}

impl Outbox for RedisStore {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        self.handle.run(async move { adopt::adopt(&self.lanes_here(), fence).await })
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.handle.run(async move { self.lanes_here().opened(sender).await })
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.handle.run(async move { self.lanes_here().open(fence, lane, incarnation).await })
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.handle.run(async move { self.lanes_here().load(lane, after, limit).await })
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.handle.run(async move { self.lanes_here().pending(sender).await })
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.handle.run(async move { self.lanes_here().clear(fence).await })
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.handle.run(async move { self.lanes_here().forget(fence, lane).await })
    }
}

impl Inbox for RedisStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.handle.run(async move { self.lanes_here().receive(fence, lane).await })
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
        self.handle.run(async move { dead_letters::list(&self.connection, node, filter, after, limit).await })
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.handle.run(async move { dead_letters::purge(&self.connection, fence, filter).await })
    }
}

impl Directory for RedisStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        Box::pin(async move { Ok(self.handle.facts.clone()) })
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.handle.run(async move { directory::register(&self.connection, node).await })
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        self.handle.run(async move { directory::apply(&self.connection, fence, &change).await })
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.handle.run(async move { directory::topics(&self.connection, topics).await })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.handle.changed(|versions| watcher::watch(self.target.clone(), self.connection.clone(), versions))
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.handle.run(async move { directory::peers(&self.connection, node).await })
    }
}
