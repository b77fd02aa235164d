//! Events of a node, and the messages that subscribe to them.

use crate::stores::{StoreError, TopicEntry};
use crate::types::{LaneId, MessageId, NodeId, Topic};
use actix::prelude::{Message as ActixMessage, Recipient};
use std::fmt;

/// Sends every [`MeshEvent`] from now on to an actor, until the actor stops.
///
/// The actor must keep up: the events that wait in its mailbox have no limit.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use actix::prelude::*;
/// use liner::{MeshEvent, WatchEvents};
///
/// struct Monitor;
///
/// impl Actor for Monitor {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<MeshEvent> for Monitor {
///     type Result = ();
///
///     fn handle(&mut self, event: MeshEvent, _: &mut Self::Context) {
///         println!("{event:?}");
///     }
/// }
///
/// orders.send(WatchEvents::new(Monitor.start().recipient())).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub struct WatchEvents {
    pub(crate) watcher: Recipient<MeshEvent>,
}

impl WatchEvents {
    /// Creates a request to send events to `watcher`.
    pub fn new(watcher: Recipient<MeshEvent>) -> Self {
        WatchEvents { watcher }
    }
}

/// Calls a function with every [`MeshEvent`] from now on, until the node ends. For programs without actors.
///
/// The function runs on a thread of the node and must not block.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use liner::{MeshEvent, ObserveEvents};
///
/// let observer = ObserveEvents::new(|event| match event {
///     MeshEvent::DeadLettered { id, reason, .. } => eprintln!("{id} became a dead letter: {reason}"),
///     MeshEvent::StoreError { error, .. } => eprintln!("the store failed: {error}"),
///     _ => {}
/// });
/// orders.send(observer).await?;
/// # Ok(()) }
/// ```
#[derive(ActixMessage)]
#[rtype(result = "()")]
pub struct ObserveEvents {
    pub(crate) observer: Box<dyn FnMut(&MeshEvent) + Send>,
}

impl ObserveEvents {
    /// Creates a request to call `observer`.
    pub fn new(observer: impl FnMut(&MeshEvent) + Send + 'static) -> Self {
        ObserveEvents { observer: Box::new(observer) }
    }
}

impl fmt::Debug for ObserveEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObserveEvents")
    }
}

/// An event of the mesh, as one node sees it. [`WatchEvents`] and [`ObserveEvents`] subscribe to them.
///
/// Variants may get more fields: match them with `..`.
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum MeshEvent {
    /// A link that this node dialled is up.
    PeerUp {
        /// The peer at the other end of the link.
        peer: NodeId,
    },
    /// A link that this node dialled is lost. It is dialled again.
    PeerDown {
        /// The peer at the other end of the link.
        peer: NodeId,
        /// The reason, for people to read.
        reason: String,
    },
    /// A peer could not be dialled. It is dialled again.
    DialFailed {
        /// The peer that was dialled.
        peer: NodeId,
        /// The reason, for people to read.
        reason: String,
    },
    /// The catalogue changed for a topic that this node sends to or watches.
    TopicChanged {
        /// The topic.
        topic: Topic,
        /// Everything the catalogue has for the topic now.
        entry: TopicEntry,
    },
    /// A peer announced on a link that it serves a topic.
    PeerSubscribed {
        /// The peer.
        peer: NodeId,
        /// The topic it serves.
        topic: Topic,
    },
    /// A peer announced on a link that it no longer serves a topic.
    PeerUnsubscribed {
        /// The peer.
        peer: NodeId,
        /// The topic it no longer serves.
        topic: Topic,
    },
    /// A store operation failed. The node retries what must not be lost; a send gets the error as its reply.
    StoreError {
        /// The failure.
        error: StoreError,
    },
    /// A store operation of the receiving side failed. The node retries it.
    InboxError {
        /// The failure.
        error: StoreError,
    },
    /// The numbering of a lane restarted at its sender. Duplicates are possible.
    LaneRestarted {
        /// The lane.
        lane: LaneId,
    },
    /// A message became a dead letter.
    DeadLettered {
        /// The message.
        id: MessageId,
        /// The reason of the last failure, for people to read.
        reason: String,
    },
    /// A send waits for room, or failed because too many sends wait already.
    BackPressure {
        /// The topic of the send.
        topic: Topic,
    },
    /// A newer process runs under this node's name. This node stops.
    Fenced,
    /// A peer refused this node, because it knows the name from another store.
    NameConflict {
        /// The peer that refused.
        peer: NodeId,
    },
}
