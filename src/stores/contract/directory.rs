//! The catalogue every node shares: starts and leases, who serves which topic where, remembered peers.

use super::{Fence, StoreFuture};
use crate::types::{Epoch, NodeId, StoreId, Topic};
use futures::future::BoxFuture;
use std::time::Duration;

/// A node's start, as the directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The epoch of this start: one more than the last.
    pub epoch: Epoch,
    /// Whether the process before this one released its registration (or there was none). After an unclean end,
    /// attempts are recorded before redelivered messages are handed over.
    pub clean: bool,
}

/// A node that serves a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Route {
    /// The node.
    pub node: NodeId,
    /// The addresses of the node, published ones before those of operators.
    pub addrs: Vec<String>,
    /// Whether every row of the node is a subscription: the topic is not the node's own.
    pub subscription: bool,
    /// Whether the node's lease is in force. It is `false` once the lease has expired or a newer process of the name has
    /// registered. A node that has a route without a lease never expires.
    pub live: bool,
}

impl Route {
    /// Creates a live route to the node's own topic. Its fields can be assigned.
    pub fn new(node: NodeId, addrs: Vec<String>) -> Self {
        Route { node, addrs, subscription: false, live: true }
    }
}

/// Everything the catalogue has for one topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TopicEntry {
    /// The nodes that serve the topic, in name order.
    pub routes: Vec<Route>,
    /// The nodes that unsubscribed from the topic, in name order. A lane to such a node is no route.
    pub tombstones: Vec<NodeId>,
}

impl TopicEntry {
    /// Creates the entry of a topic.
    pub fn new(routes: Vec<Route>, tombstones: Vec<NodeId>) -> Self {
        TopicEntry { routes, tombstones }
    }
}

/// A row of a topic: its node, whether it has no lease, its address, whether it is live, and whether it is a subscription.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(crate) type RouteRow = (NodeId, bool, String, bool, bool);

impl TopicEntry {
    /// What the rows and tombstones of a topic say, in whatever order they come.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(crate) fn gather(mut rows: Vec<RouteRow>, mut tombstones: Vec<NodeId>) -> TopicEntry {
        tombstones.sort();
        // By name, published addresses before those without a lease.
        rows.sort();
        let mut routes: Vec<Route> = Vec::new();
        for (node, _, addr, live, subscription) in rows {
            match routes.last_mut().filter(|route| route.node == node) {
                Some(route) => {
                    route.addrs.push(addr);
                    route.live |= live;
                    route.subscription &= subscription;
                }
                None => routes.push(Route { node, addrs: vec![addr], subscription, live }),
            }
        }
        TopicEntry { routes, tombstones }
    }
}

/// Description of a store, as read back from it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreFacts {
    /// The random identity of the store.
    pub id: StoreId,
    /// Backend and location, for people to read. Never contains a secret.
    pub description: String,
    /// The settings that decide which failures a commit survives, as the store reports them.
    pub durability: String,
    /// The largest message the store can hold, in bytes of payload and headers.
    pub max_message: usize,
}

/// The longest lease a store gives; longer ones are cut to it. A year is for ever, and fits every clock.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who serves which topic where.
pub trait Directory: Send + Sync {
    /// What the store says of itself.
    fn facts(&self) -> StoreFuture<'_, StoreFacts>;

    /// A process starts under this name: takes the next epoch in one transaction and wins at once. From `Ok` on, every
    /// write of an earlier process of this name is fenced. Takes no lease and publishes nothing yet.
    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration>;

    /// Publishes `addr` for `topic` under this node's name, removes the other addresses it published for the topic and
    /// a tombstone, and takes or renews the node's lease. Rows without a lease (operators, seeds) stay as they are.
    /// `subscription` marks topics other than the node's own.
    fn publish<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        addr: &'a str,
        subscription: bool,
        lease: Duration,
    ) -> StoreFuture<'a, ()>;

    /// Deletes every row of this node for `topic`, whatever the address and whoever wrote it, and leaves a tombstone. A
    /// row that an operator or a seed adds later counts more than the tombstone.
    fn unpublish<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, ()>;

    /// Adds a route without a lease, as an operator would: seeds. Does nothing when the row is there.
    fn seed<'a>(&'a self, topic: &'a Topic, node: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()>;

    /// Notes that another node unsubscribed from `topic`, or (`false`) serves it again. For stores that are not shared,
    /// where tombstones travel on links. Such a tombstone counts although rows (seeds) name the node.
    fn set_tombstone<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        node: &'a NodeId,
        unsubscribed: bool,
    ) -> StoreFuture<'a, ()>;

    /// Extends this node's lease, by the store's clock.
    fn renew<'a>(&'a self, fence: &'a Fence, lease: Duration) -> StoreFuture<'a, ()>;

    /// A clean end: deletes the leased rows of this node and its lease, and marks the registration as released. The epoch
    /// stays.
    fn release<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, ()>;

    /// What the catalogue says about a topic now. Reads only.
    fn topic<'a>(&'a self, topic: &'a Topic) -> StoreFuture<'a, TopicEntry>;

    /// [`Directory::topic`] for each of several topics, in their order: what a node asks again and again of all topics it
    /// uses. Each entry is of one moment, not all of the same.
    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        Box::pin(async move {
            let mut entries = Vec::with_capacity(topics.len());
            for topic in topics {
                entries.push(self.topic(topic).await?);
            }
            Ok(entries)
        })
    }

    /// Deletes all rows of a topic, whoever wrote them. Answers how many.
    fn clear_addresses<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, u64>;

    /// Deletes all routes and tombstones that name `node`, and its remembered addresses. Answers how many in all.
    fn forget_node<'a>(&'a self, fence: &'a Fence, node: &'a NodeId) -> StoreFuture<'a, u64>;

    /// Resolves when the catalogue may have changed since the last call of `changed` on this handle resolved (the first
    /// call: since the store was opened). Seen within 100 ms of the commit, by whatever process.
    fn changed(&self) -> StoreFuture<'_, ()>;

    /// Remembers where a peer that shook hands can be dialled, for [`Directory::peers`] after a restart.
    fn remember_peer<'a>(&'a self, fence: &'a Fence, peer: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()>;

    /// The peers remembered by this node, with their last address. Reads only.
    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>>;

    /// Finishes what is queued on this handle and closes what would otherwise be cut off by the end of the process. What
    /// is asked afterwards answers [`StoreError::Unavailable`](super::StoreError::Unavailable). Other handles on the same
    /// store go on. By default, and on a server, there is nothing to close.
    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
