//! The traits: each operation brought to its connection.

use super::error::Outcome;
use super::lanes::Lanes;
use super::{RedisStore, adopt, dead_letters, directory};
use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};

use std::future::Future;
use std::time::Duration;

impl RedisStore {
    /// Has an operation polled with the store's timers and sockets, wherever its caller is.
    fn run<'a, T: Send + 'a>(&'a self, operation: impl Future<Output = Outcome<T>> + Send + 'a) -> StoreFuture<'a, T> {
        Box::pin(async move { self.runtime.enter(operation).await.map_err(|failure| failure.error) })
    }

    /// Runs a script of the catalogue that answers nothing.
    fn tell(&self, call: super::script::Call) -> StoreFuture<'_, ()> {
        self.run(async move { self.connection.write(&call).await.map(drop) })
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

    fn publish<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        addr: &'a str,
        subscription: bool,
        lease: Duration,
    ) -> StoreFuture<'a, ()> {
        let call = directory::fenced(fence, "publish").text(topic.as_str()).text(addr);
        self.tell(call.number(u64::from(subscription)).number(directory::lease_ms(lease)))
    }

    fn unpublish<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, ()> {
        self.tell(directory::fenced(fence, "unpublish").text(topic.as_str()))
    }

    fn seed<'a>(&'a self, topic: &'a Topic, node: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()> {
        self.run(async move { directory::seed(&self.connection, topic, node, addr).await })
    }

    fn set_tombstone<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        node: &'a NodeId,
        unsubscribed: bool,
    ) -> StoreFuture<'a, ()> {
        let call = directory::fenced(fence, "tombstone").text(topic.as_str()).text(node.as_str());
        self.tell(call.number(u64::from(unsubscribed)))
    }

    fn renew<'a>(&'a self, fence: &'a Fence, lease: Duration) -> StoreFuture<'a, ()> {
        self.tell(directory::fenced(fence, "renew").number(directory::lease_ms(lease)))
    }

    fn release<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, ()> {
        self.tell(directory::fenced(fence, "release"))
    }

    fn topic<'a>(&'a self, topic: &'a Topic) -> StoreFuture<'a, TopicEntry> {
        Box::pin(async move { Ok(self.topics(std::slice::from_ref(topic)).await?.pop().unwrap_or_default()) })
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.run(async move { directory::topics(&self.connection, topics).await })
    }

    fn clear_addresses<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, u64> {
        self.run(async move {
            self.connection.write(&directory::fenced(fence, "clear").text(topic.as_str())).await?.number()
        })
    }

    fn forget_node<'a>(&'a self, fence: &'a Fence, node: &'a NodeId) -> StoreFuture<'a, u64> {
        self.run(async move { directory::forget_node(&self.connection, fence, node).await })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.watch();
            self.told.changed().await
        })
    }

    fn remember_peer<'a>(&'a self, fence: &'a Fence, peer: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()> {
        self.tell(directory::fenced(fence, "remember").text(peer.as_str()).text(addr))
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.run(async move { directory::peers(&self.connection, node).await })
    }
}
