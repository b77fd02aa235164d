//! Messages that inspect a node: what waits, what is counted.

use crate::error::AdminError;
use crate::stores::{Amount, StoreFacts};
use crate::types::{LaneId, NodeId};
use actix::prelude::Message as ActixMessage;
use std::net::SocketAddr;
use std::time::Duration;

/// Returns the number of at-least-once messages that this node has accepted and that are not acked, in memory or stored.
///
/// The store is asked. The ack of a message may arrive some milliseconds after the message was handled.
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
/// use liner::{PendingCount, SendTo};
///
/// orders.send(SendTo::new("billing", "invoice 7")).await??;
/// // Nobody listens at billing-1 yet.
/// assert_eq!(orders.send(PendingCount).await??, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct PendingCount;

/// Returns the messages and bytes that [`PendingCount`] counts, per lane. Lanes on which nothing waits are left out.
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
/// use liner::{PendingByLane, SendTo};
///
/// orders.send(SendTo::new("billing", "invoice 7")).await??;
/// for waiting in orders.send(PendingByLane).await?? {
///     println!("{}: {} messages", waiting.lane, waiting.amount.messages);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<Vec<LanePending>, AdminError>")]
pub struct PendingByLane;

/// The messages that wait on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LanePending {
    /// The lane.
    pub lane: LaneId,
    /// An address of the receiver, `host:port`; empty when none is known.
    pub addr: String,
    /// Messages and bytes that wait.
    pub amount: Amount,
}

/// Returns the counters of the node and the state of its queues and links.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use liner::Stats;
///
/// let stats = orders.send(Stats).await??;
/// println!("{} accepted, {} acked, {} wait", stats.accepted, stats.acked, stats.pending);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<StatsReport, AdminError>")]
pub struct Stats;

/// A snapshot of a node. Counters start at zero with the node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StatsReport {
    /// The name of the node.
    pub node: NodeId,
    /// The address the node listens on.
    pub bound: SocketAddr,
    /// The address the node publishes, `host:port`.
    pub published: String,
    /// The description of the store.
    pub store: StoreFacts,
    /// Messages accepted, including at-most-once messages.
    pub accepted: u64,
    /// Deliveries to subscribers. Each attempt counts.
    pub delivered: u64,
    /// Deliveries that a subscriber handled.
    pub handled: u64,
    /// Accepted at-least-once messages that were acked.
    pub acked: u64,
    /// Messages sent that the receiver may have seen before: read back from the store, or sent again on a new connection.
    pub redelivered: u64,
    /// Deliveries that ended in a nack.
    pub nacked: u64,
    /// Messages that became dead letters.
    pub dead_lettered: u64,
    /// At-most-once messages that could not be sent, or that their subscriber failed.
    pub dropped: u64,
    /// Duplicates that were recognised and dropped.
    pub duplicates: u64,
    /// Bytes of payload and headers accepted.
    pub bytes_accepted: u64,
    /// Bytes of payload and headers delivered.
    pub bytes_delivered: u64,
    /// Messages accepted and not acked.
    pub pending: u64,
    /// Age of the oldest stored message that is not acked, by the wall clock.
    pub oldest_pending: Option<Duration>,
    /// Sends that wait for a route, a lane or room.
    pub waiting_sends: usize,
    /// The links to the peers this node dials.
    pub links: Vec<LinkStats>,
}

/// A snapshot of the link to one peer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LinkStats {
    /// The peer.
    pub peer: NodeId,
    /// Whether the link is up.
    pub up: bool,
    /// Messages accepted and not acked.
    pub pending: Amount,
    /// The part of them that only memory holds.
    pub memory: Amount,
}
