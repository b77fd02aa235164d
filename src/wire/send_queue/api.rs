//! What goes into the queue of a topic and what comes out: sends, offers, outcomes and events.

use crate::types::{NodeId, OnFull};
use crate::wire::outbound::GroupOutcome;
use crate::wire::routing::selection::{Blocked, Guarantee};
use std::time::Instant;

/// Identifies a send of this queue. Later sends have greater ids; 64 bits never run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId(pub(super) u64);

/// Identifies a look-up that this queue asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLookUpId(pub(super) u64);

/// The messages of a send and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One message to one of the topic's nodes.
    One,
    /// So many messages, in order, on one lane.
    Batch(usize),
    /// One message to every node of the topic. At least once, all nodes get it or none.
    All {
        /// Whether it is accepted by a commit.
        commits: bool,
    },
}

/// A send for the queue.
#[derive(Debug, Clone, Copy)]
pub struct QueuedSend {
    /// Its messages and where they go.
    pub shape: Shape,
    /// How often they may arrive.
    pub guarantee: Guarantee,
    /// When it is given up.
    pub deadline: Instant,
    /// What it does when there is no room.
    pub on_full: OnFull,
}

/// Where a message is to be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To the targets in turn: see [`offer_in_turn`](crate::wire::routing::selection::offer_in_turn).
    Next,
    /// To the target with this index among those that were polled with.
    Target(usize),
    /// To the target with this index, to get a place that [`SendQueueEvent::Settle`] settles.
    Reserve(usize),
}

/// What came of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// A target took the message.
    Taken,
    /// No target took it.
    Blocked(Blocked<NodeId>),
    /// The message cannot be sent at all.
    Refused,
}

/// What became of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// Targets took all of its messages.
    Accepted,
    /// Nobody serves the topic.
    NoRoute,
    /// There is no room.
    QueueFull,
    /// The deadline passed. No further message was taken.
    Deadline,
    /// The deadline passed during the commit.
    Indeterminate,
    /// A look-up, the opening of a lane or a commit failed.
    Failed,
    /// A message cannot be sent at all.
    Refused,
}

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendQueueEvent {
    /// Offer a message now, then call [`SendQueue::handle_offered`](super::SendQueue::handle_offered).
    Offer {
        /// The send.
        send: SendId,
        /// Which of its messages, from 0.
        message: usize,
        /// Where to.
        to: Destination,
    },
    /// Look the topic up, then call [`SendQueue::handle_looked_up`](super::SendQueue::handle_looked_up) with the same id.
    LookUp(QueueLookUpId),
    /// Open the lane to this target, then call [`SendQueue::handle_opened`](super::SendQueue::handle_opened). One at a time per target.
    OpenLane(NodeId),
    /// Call [`SendQueue::handle_room`](super::SendQueue::handle_room) when the link to this target has room. One at a time per target.
    AwaitRoom(NodeId),
    /// Commit the message on every lane it has a place on, then call [`SendQueue::handle_committed`](super::SendQueue::handle_committed).
    Commit(SendId),
    /// Settle the places a message has: see [`Outbound::finish_group`](crate::wire::outbound::Outbound::finish_group).
    Settle {
        /// The send.
        send: SendId,
        /// What became of the message on all lanes.
        outcome: GroupOutcome,
    },
    /// A send is finished.
    Finished {
        /// The send.
        send: SendId,
        /// What became of it.
        outcome: SendOutcome,
    },
}
