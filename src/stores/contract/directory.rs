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

impl StoreFacts {
    /// Creates the description of a store.
    pub fn new(id: StoreId, description: String, durability: String, max_message: usize) -> Self {
        StoreFacts { id, description, durability, max_message }
    }
}

/// The longest lease a store gives; longer ones are cut to it. A year is longer than any use, and fits every clock.
pub(crate) const MAX_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);

/// One change of the catalogue, made by the node that the fence names.
///
/// Later versions may have more changes. A store that does not know one refuses it with
/// [`StoreError::Unsupported`](super::StoreError::Unsupported).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CatalogueChange {
    /// Publishes `addr` for `topic` under the node's name, removes the other addresses that it published for the topic and
    /// its tombstone, and takes or renews the node's lease. Rows without a lease (operators, seeds) stay as they are.
    Publish {
        /// The topic.
        topic: Topic,
        /// Where the node listens.
        addr: String,
        /// The topic is not the node's own.
        subscription: bool,
        /// How long the routes of the node are live without another renewal.
        lease: Duration,
    },
    /// Deletes every row of the node for `topic`, whatever the address and its author, and leaves a tombstone. A row that an
    /// operator or a seed adds later counts more than the tombstone.
    Unpublish {
        /// The topic.
        topic: Topic,
    },
    /// Adds a route without a lease, as an operator would. Does nothing if the row exists. The one change that is not
    /// fenced: it is made before a name is registered, too.
    Seed {
        /// The topic.
        topic: Topic,
        /// The node that serves it.
        node: NodeId,
        /// Where that node listens.
        addr: String,
    },
    /// Notes that another node unsubscribed from `topic`, or serves it again. For stores that are not shared, where
    /// tombstones travel on links. Such a tombstone counts although rows (seeds) name the node.
    SetTombstone {
        /// The topic.
        topic: Topic,
        /// The other node.
        node: NodeId,
        /// `false` removes the tombstone.
        unsubscribed: bool,
    },
    /// Extends the node's lease, by the store's clock.
    Renew {
        /// How long it is from now on.
        lease: Duration,
    },
    /// A clean end: deletes the leased rows of the node and its lease, and marks the registration as released. The epoch
    /// stays.
    Release,
    /// Deletes all rows of a topic, whatever their author. Returns how many.
    ClearAddresses {
        /// The topic.
        topic: Topic,
    },
    /// Deletes all routes and tombstones that name `node`, and its remembered addresses. Returns how many in all.
    ForgetNode {
        /// The node to forget.
        node: NodeId,
    },
    /// Remembers where a peer that shook hands can be dialled, for [`Directory::peers`] after a restart.
    RememberPeer {
        /// The peer.
        peer: NodeId,
        /// Its address, in place of the one before.
        addr: String,
    },
}

impl CatalogueChange {
    /// Returns whether the change is refused when a newer process has registered under the fence's name.
    pub fn is_fenced(&self) -> bool {
        !matches!(self, CatalogueChange::Seed { .. })
    }
}

/// Who serves which topic where.
pub trait Directory: Send + Sync {
    /// Returns what the store says of itself.
    fn facts(&self) -> StoreFuture<'_, StoreFacts>;

    /// A process starts under this name: takes the next epoch in one transaction and wins at once. From `Ok` on, every
    /// write of an earlier process of this name is fenced. Takes no lease and publishes nothing yet.
    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration>;

    /// Makes one change of the catalogue, in one transaction. Returns how many rows it deleted where the change says so, and
    /// 0 otherwise.
    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64>;

    /// Returns what the catalogue says about each of several topics, in their order. Each entry is of one moment, not all of
    /// the same. Reads only.
    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>>;

    /// Resolves when the catalogue may have changed since the last call of `changed` on this handle resolved (the first
    /// call: since the store was opened). A change is seen within 100 ms of its commit, by whatever process.
    fn changed(&self) -> StoreFuture<'_, ()>;

    /// Returns the peers remembered by this node, with their last address, in name order. Reads only.
    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>>;

    /// Finishes what is queued on this handle and closes what would otherwise be cut off by the end of the process. What
    /// is asked after that returns [`StoreError::Unavailable`](super::StoreError::Unavailable). Other handles on the same
    /// store go on. By default, and on a server, there is nothing to close.
    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
