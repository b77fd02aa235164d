//! Looking into a system, administering it, and ending it.

use super::IntoTopic;
use crate::error::AdminError;
use crate::stores::{Amount, DeadLetter, DeadLetterFilter, DeadLetterId, StoreFacts, TopicEntry};
use crate::types::{LaneId, NameError, NodeId, Topic};
use actix::prelude::{Message as ActixMessage, Recipient};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

macro_rules! topic_message {
    ($(#[$doc:meta])* $name:ident -> $result:literal) => {
        $(#[$doc])*
        #[derive(Debug, ActixMessage)]
        #[rtype(result = $result)]
        pub struct $name {
            pub(crate) topic: Result<Topic, NameError>,
        }

        impl $name {
            /// About `topic`.
            pub fn new(topic: impl IntoTopic) -> Self {
                $name { topic: topic.into_topic() }
            }
        }
    };
}

topic_message! {
    /// Reads the catalogue of a topic again, now, and answers its addresses. Not needed in normal operation: changes are
    /// seen within 100 ms. A topic without addresses is [`AdminError::NoRoute`].
    RefreshAddresses -> "Result<Vec<Address>, AdminError>"
}

topic_message! {
    /// The addresses of a topic as the store's catalogue has them now. An unknown topic has none.
    ListAddresses -> "Result<Vec<Address>, AdminError>"
}

/// One address of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Who listens there.
    pub node: NodeId,
    /// Where, `host:port`, as it was published or written by an operator.
    pub addr: String,
    /// Whether the node's lease is in force, or it has none.
    pub live: bool,
}

/// How many at-least-once messages of this node were accepted and not acked, in memory or stored. Asks the store. An ack may
/// come some milliseconds after its message was handled.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct PendingCount;

/// The same, per lane; lanes without any are left out.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<Vec<LanePending>, AdminError>")]
pub struct PendingByLane;

/// What waits on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LanePending {
    /// The lane.
    pub lane: LaneId,
    /// An address of the receiver; empty when none is known.
    pub addr: String,
    /// How much.
    pub amount: Amount,
}

/// Drops everything this node has accepted and its receivers have not acked. Lanes and routes stay, and sends that wait for
/// their commit. Answers what was dropped. What is on its way may still be delivered.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<Amount, AdminError>")]
pub struct ClearStoredMessages;

/// Deletes the catalogue rows of this node's own topic, whoever wrote them: other nodes of the topic are not found any more
/// either. Answers how many.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct ClearAddresses;

/// Gives up on a node: drops the queues of this node's lanes to it, the lanes, and the node's rows in the catalogue. A node
/// that was neither is [`AdminError::UnknownPeer`]. When it starts again, it is found again.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Forgotten, AdminError>")]
pub struct ForgetPeer {
    pub(crate) node: Result<NodeId, NameError>,
}

impl ForgetPeer {
    /// Gives up on `node`.
    pub fn new(node: &str) -> Self {
        ForgetPeer { node: NodeId::new(node) }
    }
}

/// Gives up on one topic of a node: drops the queue of the lane, the lane, and the route, until the node subscribes to the
/// topic again.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Forgotten, AdminError>")]
pub struct ForgetLane {
    pub(crate) node: Result<NodeId, NameError>,
    pub(crate) topic: Result<Topic, NameError>,
}

impl ForgetLane {
    /// Gives up on `topic` of `node`.
    pub fn new(node: &str, topic: impl IntoTopic) -> Self {
        ForgetLane { node: NodeId::new(node), topic: topic.into_topic() }
    }
}

/// What was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Lanes.
    pub lanes: u64,
    /// Catalogue rows: routes, notes of unsubscription, remembered addresses.
    pub routes: u64,
    /// Messages that were queued.
    pub dropped: Amount,
}

/// Lists dead letters: messages this node's subscribers failed, and messages of this node that receivers refused.
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "Result<Vec<(DeadLetterId, DeadLetter)>, AdminError>")]
pub struct ListDeadLetters {
    /// Which.
    pub filter: DeadLetterFilter,
    /// Only those after this one, to page on.
    pub after: Option<DeadLetterId>,
    /// At most so many. Default 1,000.
    pub limit: usize,
}

impl Default for ListDeadLetters {
    fn default() -> Self {
        ListDeadLetters { filter: DeadLetterFilter::default(), after: None, limit: 1000 }
    }
}

/// Tries dead letters again: those that a subscriber failed are handed to it, outside lane order; those that a receiver
/// refused are appended to their lane. A letter goes once it is handled, or accepted again.
///
/// Letters are tried one after the other. If the caller goes away, the replay goes on.
#[derive(Debug, Clone, Default, ActixMessage)]
#[rtype(result = "Result<Replayed, AdminError>")]
pub struct ReplayDeadLetters {
    /// Which.
    pub filter: DeadLetterFilter,
}

/// What a replay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// Handled, or accepted again.
    pub done: u64,
    /// Failed again: they stay.
    pub failed: u64,
}

/// Deletes dead letters. Answers how many.
#[derive(Debug, Clone, Default, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct PurgeDeadLetters {
    /// Which.
    pub filter: DeadLetterFilter,
}

/// Sends every [`MeshEvent`] from now on to an actor, until it is gone. The actor's mailbox is not bounded by this: it must
/// keep up.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub struct WatchEvents(pub Recipient<MeshEvent>);

/// Calls a function with every [`MeshEvent`] from now on, until the system ends: for programs without actors. It runs on a
/// thread of the system and must not block.
#[derive(ActixMessage)]
#[rtype(result = "()")]
pub struct ObserveEvents(pub(crate) Box<dyn FnMut(&MeshEvent) + Send>);

impl ObserveEvents {
    /// Calls `observer`.
    pub fn new(observer: impl FnMut(&MeshEvent) + Send + 'static) -> Self {
        ObserveEvents(Box::new(observer))
    }
}

impl fmt::Debug for ObserveEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObserveEvents")
    }
}

topic_message! {
    /// Has [`MeshEvent::TopicChanged`] come for a topic, although this node may not send to it. Those it sends to are watched
    /// anyway.
    WatchTopic -> "Result<(), AdminError>"
}

/// Asks where the node listens.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "NodeAddresses")]
pub struct GetAddresses;

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddresses {
    /// Where it listens.
    pub bound: SocketAddr,
    /// What it publishes.
    pub published: String,
}

/// Something an operator may want to know.
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum MeshEvent {
    /// A link that this node dialled is up.
    PeerUp(NodeId),
    /// A link that this node dialled is lost, and why; it is dialled again.
    PeerDown(NodeId, String),
    /// A peer could not be dialled, and why; it is dialled again.
    DialFailed(NodeId, String),
    /// The catalogue says something new of a topic this node sends to or watches.
    TopicChanged(Topic, TopicEntry),
    /// A peer said on a link that it serves a topic.
    PeerSubscribed(NodeId, Topic),
    /// A peer said on a link that it does not serve a topic any more.
    PeerUnsubscribed(NodeId, Topic),
    /// A store operation failed. What must happen is tried again; a send is answered.
    StoreError(String),
    /// The same while something was received.
    InboxError(String),
    /// A lane's numbering started anew at its sender: duplicates are possible.
    LaneRestarted(LaneId),
    /// A message became a dead letter: its lane, and the last reason.
    DeadLettered(LaneId, String),
    /// A send to a topic waits for room, or is rejected because too many wait already.
    BackPressure(Topic),
    /// A newer process runs under this node's name; this one stops.
    Fenced,
    /// A peer knows this node's name from another store, and turned this one away.
    NameConflict(NodeId),
}

/// What the system counts and holds.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<StatsReport, AdminError>")]
pub struct Stats;

/// A snapshot. Counters run from the start of the system.
#[derive(Debug, Clone)]
pub struct StatsReport {
    /// This node.
    pub node: NodeId,
    /// Where it listens.
    pub bound: SocketAddr,
    /// What it publishes.
    pub published: String,
    /// What the store says of itself.
    pub store: StoreFacts,
    /// Messages accepted, at most once included.
    pub accepted: u64,
    /// Messages handed over; a message counts each time.
    pub delivered: u64,
    /// Messages answered with `Ok`.
    pub handled: u64,
    /// Accepted messages that were acked.
    pub acked: u64,
    /// Messages sent that may have been seen: read back from the store, or sent again on a new connection.
    pub redelivered: u64,
    /// Answers that were nacks.
    pub nacked: u64,
    /// Messages that became dead letters.
    pub dead_lettered: u64,
    /// At-most-once messages that could not be sent, or that their subscriber failed.
    pub dropped: u64,
    /// Duplicates recognised and dropped.
    pub duplicates: u64,
    /// Payload and header bytes accepted.
    pub bytes_accepted: u64,
    /// Payload and header bytes handed over.
    pub bytes_delivered: u64,
    /// Accepted and not acked.
    pub pending: u64,
    /// Age of the oldest stored message that is not acked, by the wall clock.
    pub oldest_pending: Option<Duration>,
    /// Sends that wait for a route, a lane or room.
    pub waiting_sends: usize,
    /// Every link.
    pub links: Vec<LinkStats>,
}

/// One link.
#[derive(Debug, Clone)]
pub struct LinkStats {
    /// The peer.
    pub peer: NodeId,
    /// Whether it is up.
    pub up: bool,
    /// Accepted and not acked.
    pub pending: Amount,
    /// Of these, in memory only.
    pub memory: Amount,
}

/// Ends the system: refuses new sends, lets running handlers end, commits cursors, sends acks, waits for the acks of
/// connected peers, writes the rest to the store, withdraws the routes and closes. The answer comes when the store is closed,
/// unless it was given to the node ([`StoreConfig::Custom`](crate::StoreConfig::Custom)): then it is its owner's. A second one
/// answers [`AdminError::Closed`]. If the caller goes away, it goes on all the same.
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<ShutdownReport, AdminError>")]
pub struct Shutdown {
    pub(crate) deadline: Duration,
}

impl Shutdown {
    /// Waits for handlers and acks up to `deadline`, and for the store up to 10 s more.
    pub fn drain(deadline: Duration) -> Self {
        Shutdown { deadline }
    }

    /// Waits for nothing but the store.
    pub fn now() -> Self {
        Shutdown { deadline: Duration::ZERO }
    }
}

/// What a shutdown did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownReport {
    /// Accepted messages that were acked while it waited.
    pub drained: u64,
    /// Accepted messages that stay in the store.
    pub persisted: u64,
    /// At-most-once messages, and accepted ones the store did not take, that are lost.
    pub dropped: u64,
}
