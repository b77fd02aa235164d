//! Messages that give up messages and peers, and the message that ends the node.

use super::IntoTopic;
use crate::error::AdminError;
use crate::stores::Amount;
use crate::types::{NameError, NodeId, Topic};
use actix::prelude::Message as ActixMessage;
use std::time::Duration;

/// Drops every message that this node has accepted and that is not acked, and returns how much that was.
///
/// Lanes and routes stay, and so do sends that wait for their commit. A message that is on its way may still be delivered.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory("orders-1", "orders", &MemoryStore::new()).seed("billing", "billing-1", "127.0.0.1:1");
/// # let orders = LinerSystem::spawn(config).await?;
/// use liner::{ClearStoredMessages, SendTo};
///
/// orders.send(SendTo::new("billing", "invoice 7")).await??;
/// let dropped = orders.send(ClearStoredMessages).await??;
/// assert_eq!((dropped.messages, dropped.bytes), (1, 9));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<Amount, AdminError>")]
pub struct ClearStoredMessages;

/// Gives up on a node: drops the queues of this node's lanes to it, the lanes, and the node's rows in the catalogue.
///
/// The node is found again when it starts again.
///
/// # Errors
/// Replies with [`AdminError`]; a node without lanes and rows is [`AdminError::UnknownPeer`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory("orders-1", "orders", &MemoryStore::new()).seed("billing", "billing-1", "127.0.0.1:1");
/// # let orders = LinerSystem::spawn(config).await?;
/// use liner::{ForgetPeer, SendTo};
///
/// orders.send(SendTo::new("billing", "invoice 7")).await??;
/// let forgotten = orders.send(ForgetPeer::new("billing-1")).await??;
/// assert_eq!((forgotten.lanes, forgotten.dropped.messages), (1, 1));
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Forgotten, AdminError>")]
pub struct ForgetPeer {
    pub(crate) node: Result<NodeId, NameError>,
}

impl ForgetPeer {
    /// Creates a request to give up on `node`.
    pub fn new(node: impl AsRef<str>) -> Self {
        ForgetPeer { node: NodeId::new(node.as_ref()) }
    }
}

/// Gives up on one topic of a node: drops the queue of this node's lane to it, the lane, and the route, until the node
/// subscribes to the topic again.
///
/// # Errors
/// Replies with [`AdminError`]; a node without lane and route is [`AdminError::UnknownPeer`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory("orders-1", "orders", &MemoryStore::new()).seed("billing", "billing-1", "127.0.0.1:1");
/// # let orders = LinerSystem::spawn(config).await?;
/// use liner::{ForgetLane, SendTo};
///
/// orders.send(SendTo::new("billing", "invoice 7")).await??;
/// let forgotten = orders.send(ForgetLane::new("billing-1", "billing")).await??;
/// assert_eq!(forgotten.dropped.messages, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Forgotten, AdminError>")]
pub struct ForgetLane {
    pub(crate) node: Result<NodeId, NameError>,
    pub(crate) topic: Result<Topic, NameError>,
}

impl ForgetLane {
    /// Creates a request to give up on `topic` of `node`.
    pub fn new(node: impl AsRef<str>, topic: impl IntoTopic) -> Self {
        ForgetLane { node: NodeId::new(node.as_ref()), topic: topic.into_topic() }
    }
}

/// Report of what [`ForgetPeer`] or [`ForgetLane`] gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Forgotten {
    /// Number of lanes.
    pub lanes: u64,
    /// Number of catalogue rows: routes, notes of unsubscription, remembered addresses.
    pub routes: u64,
    /// Messages that were queued.
    pub dropped: Amount,
}

/// Ends the node: refuses new sends, lets running handlers end, commits cursors, sends acks, waits for the acks of connected
/// peers, writes the rest to the store, withdraws the routes, and closes the store.
///
/// The reply comes when the store is closed. A store that was given to the node by
/// [`Config::custom`](crate::Config::custom) stays open. Afterwards the process may end.
///
/// # Errors
/// Replies with [`AdminError`]; a second shutdown is [`AdminError::Closed`].
///
/// # Cancellation
/// If the future of `Addr::send` is dropped, the shutdown continues.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use liner::Shutdown;
/// use std::time::Duration;
///
/// let report = orders.send(Shutdown::drain(Duration::from_secs(5))).await??;
/// println!("{} messages stay in the store", report.persisted);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<ShutdownReport, AdminError>")]
pub struct Shutdown {
    pub(crate) deadline: Duration,
}

impl Shutdown {
    /// Creates a shutdown that waits for handlers and acks up to `deadline`, and for the store up to 10 s more.
    pub fn drain(deadline: Duration) -> Self {
        Shutdown { deadline }
    }

    /// Creates a shutdown that waits for nothing but the store.
    pub fn now() -> Self {
        Shutdown { deadline: Duration::ZERO }
    }
}

/// Report of a [`Shutdown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Accepted messages that were acked during the shutdown.
    pub drained: u64,
    /// Accepted messages that stay in the store.
    pub persisted: u64,
    /// Messages that are lost: at-most-once messages, and accepted ones that the store did not take.
    pub dropped: u64,
}
