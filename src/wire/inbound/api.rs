//! What goes into the receiving half of a link and what comes out: limits, handlers, answers and events.

use crate::types::{Cursor, Incarnation, LaneId, Message, Topic};
use crate::wire::frame::CloseCode;
use std::time::Duration;

/// The limits of the receiving half.
#[derive(Debug, Clone)]
pub struct InboundConfig {
    /// Messages each lane may have sent and not seen handled.
    pub window_messages: u64,
    /// Bytes, likewise; the last message may exceed it.
    pub window_bytes: u64,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
    /// Largest part after decompression, in bytes.
    pub max_part: usize,
    /// Lanes one peer may open.
    pub max_lanes: usize,
    /// Failures after which a message becomes a dead letter.
    pub max_attempts: u32,
    /// The first wait after a nack that names none.
    pub nack_backoff_min: Duration,
    /// The longest such wait.
    pub nack_backoff_max: Duration,
    /// How far the cursor of a write-behind lane may be behind, in time.
    pub write_behind_delay: Duration,
    /// How long an ack may wait for others to go with it.
    pub ack_delay: Duration,
    /// See [`Heartbeat`](crate::wire::heartbeat::Heartbeat).
    pub heartbeat: Duration,
    /// Record attempts before redelivered messages are handed over: the last process of this node died.
    pub record_attempts: bool,
}

/// A lane's number in an [`Inbound`](super::Inbound), the same for its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneSlot(pub(super) usize);

/// Who takes the messages of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberSpec {
    /// Messages of one lane it has at a time; see also [`Inbound::set_prefetch`](super::Inbound::set_prefetch).
    pub in_flight: u32,
    /// How long it may take for one.
    pub timeout: Option<Duration>,
    /// It borrows messages: each is moved out of the queue instead of being shared with it, and one that is not handled is
    /// brought back with [`Inbound::handle_return`](super::Inbound::handle_return) before it is answered.
    pub borrows: bool,
}

/// A message to hand over now.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The lane's number here.
    pub slot: LaneSlot,
    /// Names the message, and with `attempt` this hand-over of it, in
    /// [`Inbound::handle_disposition`](super::Inbound::handle_disposition). Messages of a lane are named in order of arrival.
    pub token: u64,
    /// Its incarnation and number; `None`: at most once.
    pub place: Option<Cursor>,
    /// Hand-overs including this one.
    pub attempt: u32,
    /// Whether it may have been handed over before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// A subscriber's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Handled.
    Done,
    /// Not handled: again after `delay`, or after the backoff.
    Failed {
        /// The wait the subscriber names.
        delay: Option<Duration>,
        /// The reason, for the dead letter.
        reason: String,
    },
    /// The subscriber has not looked at it: it waits as if it had not been handed over.
    Untried,
}

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundEvent {
    /// Find the lane and its cursor in the store, then call [`Inbound::handle_opened`](super::Inbound::handle_opened).
    OpenLane {
        /// The lane's number here.
        slot: LaneSlot,
        /// The lane.
        lane: LaneId,
    },
    /// Commit the cursor, then call [`Inbound::handle_advanced`](super::Inbound::handle_advanced). One at a time
    /// per lane.
    Advance {
        /// The lane's number here.
        slot: LaneSlot,
        /// The incarnation that should be stored now.
        expected: Option<Incarnation>,
        /// The new cursor.
        cursor: Cursor,
    },
    /// Record the attempt, then call [`Inbound::handle_recorded`](super::Inbound::handle_recorded).
    RecordAttempt {
        /// The lane's number here.
        slot: LaneSlot,
        /// The message.
        token: u64,
        /// Its place.
        place: Cursor,
        /// Hand-overs including the coming one.
        attempts: u32,
    },
    /// Keep the message as a dead letter, in one transaction with the cursor if it is to move, then call
    /// [`Inbound::handle_dead_lettered`](super::Inbound::handle_dead_lettered).
    DeadLetter {
        /// The lane's number here.
        slot: LaneSlot,
        /// The message.
        token: u64,
        /// Its place.
        place: Cursor,
        /// The message itself.
        message: Message,
        /// How often it was handed over.
        attempts: u32,
        /// The last reason.
        reason: String,
        /// The incarnation that should be stored now, if the cursor is to move to `place`.
        advance: Option<Option<Incarnation>>,
    },
    /// The subscriber took too long, which counts as a failure: what it answers to this hand-over means nothing any more.
    Overdue {
        /// The lane's number here.
        slot: LaneSlot,
        /// The message.
        token: u64,
        /// Which hand-over of it.
        attempt: u32,
    },
    /// The sender's numbering is not the one this node knew: delivery starts at what the sender still has.
    LaneRestarted(LaneId),
    /// The peer serves a topic (again).
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// The peer said why it closes.
    PeerClosed(CloseCode, String),
    /// The peer went silent: close the connection.
    Silent,
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundCounts {
    /// Messages that came again and were dropped.
    pub duplicates: u64,
    /// At-most-once messages that failed or did not decode.
    pub dropped: u64,
    /// Messages refused for good.
    pub refused: u64,
    /// Messages that were handed over and came back untried.
    pub untried: u64,
    /// Bytes in them.
    pub untried_bytes: u64,
}
