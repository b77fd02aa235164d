//! Messages as they are offered to the sending half and exchanged with the durable queue.

use crate::types::{Amount, Incarnation, Message, Payload, Seq};
use bytes::Bytes;
use std::time::Instant;

/// A message with its number and incarnation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// The message's number.
    pub seq: Seq,
    /// The incarnation that gave out the number.
    pub incarnation: Incarnation,
    /// The message.
    pub message: Message,
}

/// State of a lane's durable queue when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    /// Incarnations still queued with the first number of each, oldest first. The last one belongs to this process.
    pub spans: Vec<(Incarnation, Seq)>,
    /// The incarnation before the first span.
    pub predecessor: Option<Incarnation>,
    /// The number of the next message.
    pub next: Seq,
    /// The last acked number.
    pub acked: Seq,
    /// Messages in the queue.
    pub pending: Amount,
}

/// A page read from a lane's durable queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedPage {
    /// The messages, in number order.
    pub messages: Vec<Numbered>,
    /// Whether the queue held nothing after them.
    pub is_last: bool,
}

/// When a message counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMode {
    /// Accepted at once, in memory. Written to the durable queue if it is not acked within `write_behind_delay`.
    WriteBehind,
    /// Accepted when it is committed, which [`OutboundEvent::Accepted`](super::OutboundEvent::Accepted) reports.
    Stored {
        /// When the message is rejected if it is not committed.
        deadline: Instant,
        /// Whether the commit must be synced to the medium.
        synced: bool,
    },
    /// Accepted when its caller has committed it and calls [`Outbound::finish_group`](super::Outbound::finish_group).
    Group,
}

/// The body of a message: shared, or borrowed and copied once into the transmit buffer.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// A payload that is shared by reference count.
    Shared(&'a Payload),
    /// Borrowed bytes, not empty.
    Borrowed(&'a [u8]),
}

impl Body<'_> {
    /// Returns the bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Shared(payload) => payload,
            Body::Borrowed(bytes) => bytes,
        }
    }

    /// Returns the body as a payload. Copies the bytes if they are borrowed.
    pub fn to_payload(&self) -> Payload {
        match self {
            Body::Shared(payload) => Payload::clone(payload),
            Body::Borrowed(bytes) => Payload::new(Bytes::copy_from_slice(bytes)).expect("a borrowed body is not empty"),
        }
    }
}

/// Error of [`Outbound::offer`](super::Outbound::offer). Nothing of the message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// The link's memory limit is reached. [`OutboundEvent::Room`](super::OutboundEvent::Room) reports when it is not.
    Full,
    /// The lane's limit of unacked messages is reached.
    LaneFull,
    /// The message is at most once and the peer cannot be reached, so it was dropped.
    Unreachable,
    /// The message is at least once and the lane's durable queue is not open.
    NotOpen,
}
