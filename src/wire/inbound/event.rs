//! Events of the receiving half, and its counters.

use super::LaneSlot;
use crate::types::{Cursor, Incarnation, LaneId, Message, Topic};
use crate::wire::frame::CloseCode;

/// What the cursor does in the transaction that keeps a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorStep {
    /// The cursor stays: messages before the dead letter are not handled yet.
    Stay,
    /// The cursor moves to the message's place.
    Advance {
        /// The incarnation that should be stored now.
        expected: Option<Incarnation>,
    },
}

/// Something that the owner of an [`Inbound`](super::Inbound) has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundEvent {
    /// Find the lane and its cursor in the store, then call [`Inbound::handle_opened`](super::Inbound::handle_opened).
    OpenLane {
        /// The lane's number.
        slot: LaneSlot,
        /// The lane.
        lane: LaneId,
    },
    /// Commit the cursor, then call [`Inbound::handle_advanced`](super::Inbound::handle_advanced). A lane has at most one
    /// commit under way.
    Advance {
        /// The lane's number.
        slot: LaneSlot,
        /// The incarnation that should be stored now.
        expected: Option<Incarnation>,
        /// The new cursor.
        cursor: Cursor,
    },
    /// Record the attempt, then call [`Inbound::handle_recorded`](super::Inbound::handle_recorded).
    RecordAttempt {
        /// The lane's number.
        slot: LaneSlot,
        /// Identifies the message.
        token: u64,
        /// The message's place.
        place: Cursor,
        /// Number of hand-overs, including the coming one.
        attempts: u32,
    },
    /// Keep the message as a dead letter, in one transaction with the cursor if it moves, then call
    /// [`Inbound::handle_dead_lettered`](super::Inbound::handle_dead_lettered).
    DeadLetter {
        /// The lane's number.
        slot: LaneSlot,
        /// Identifies the message.
        token: u64,
        /// The message's place.
        place: Cursor,
        /// The message.
        message: Message,
        /// Number of failed hand-overs.
        attempts: u32,
        /// The last reason.
        reason: String,
        /// What the cursor does.
        advance: CursorStep,
    },
    /// The subscriber took too long, which counts as a failure. A later disposition of this hand-over is ignored.
    Overdue {
        /// The lane's number.
        slot: LaneSlot,
        /// Identifies the message.
        token: u64,
        /// The hand-over that timed out.
        attempt: u32,
    },
    /// The sender's incarnations are not the ones this node knew. Delivery starts at the first message the sender has.
    LaneRestarted(LaneId),
    /// The peer subscribed to a topic.
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// The peer closes the connection, with the reason.
    PeerClosed(CloseCode, String),
    /// The peer went silent. Close the connection.
    Silent,
}

/// Counters of an [`Inbound`](super::Inbound), since it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundCounts {
    /// Duplicates that were dropped.
    pub duplicates: u64,
    /// At-most-once messages that failed or did not decode.
    pub dropped: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// Messages that were handed over and came back untried.
    pub untried: u64,
    /// Bytes in the messages that came back untried.
    pub untried_bytes: u64,
}
