//! What goes into the sending half of a link and what comes out: limits, messages, promises and events.

use crate::types::{Incarnation, Message, Payload, Seq, Topic};
use crate::wire::frame::{CloseCode, LaneIx, RefuseCode};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// Messages and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// How many messages.
    pub messages: u64,
    /// Their payloads and headers, in bytes.
    pub bytes: u64,
}

impl Volume {
    #[inline]
    pub(crate) fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
    }

    pub(super) fn remove(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size as u64);
    }

    pub(super) fn remove_all(&mut self, other: Volume) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Whether one more message of `size` stays within `self` as a limit, given what is `used`. One message always fits
    /// where nothing is used.
    pub(super) fn has_room(&self, used: Volume, size: usize) -> bool {
        (used.messages < self.messages && used.bytes + size as u64 <= self.bytes) || used.messages == 0
    }
}

/// The limits of one link.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// How long a write-behind message may be unacked before it is written to the durable queue.
    pub write_behind_delay: Duration,
    /// What the link holds in memory for at-least-once messages that are not stored yet.
    pub memory: Volume,
    /// What it holds for at-most-once messages that wait for the connection or for credit.
    pub direct: Volume,
    /// What each lane may have accepted and unacked, in memory and in the durable queue.
    pub lane: Volume,
    /// The transmit buffer: beyond this, nothing more is encoded until the connection took it.
    pub transmit_bytes: usize,
    /// One load from the durable queue, and what stays in memory of it.
    pub page: Volume,
    /// Rows in one append.
    pub append_messages: usize,
    /// Payloads above this are compressed.
    pub compress_threshold: usize,
    /// Larger payloads are sent in parts of this size.
    pub part_bytes: usize,
    /// See [`Heartbeat`](crate::wire::heartbeat::Heartbeat).
    pub heartbeat: Duration,
    /// The same for all links of a node: see [`Heartbeat::dialled`](crate::wire::heartbeat::Heartbeat::dialled).
    pub rounds: Instant,
    /// How long to leave the store alone after it failed.
    pub store_retry: Duration,
}

/// A message with its place in the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number.
    pub seq: Seq,
    /// The incarnation that gave the number.
    pub incarnation: Incarnation,
    /// The message.
    pub message: Message,
}

/// What the durable queue says of a lane when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    /// Incarnations still queued with the first number of each, oldest first; the one minted for this process is last.
    pub spans: Vec<(Incarnation, Seq)>,
    /// The incarnation before the first span.
    pub predecessor: Option<Incarnation>,
    /// The number the next message gets.
    pub next: Seq,
    /// Everything up to here is acked.
    pub acked: Seq,
    /// What is queued.
    pub pending: Volume,
}

/// How a message is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptMode {
    /// Accepted at once, in memory; stored when it is not acked within `write_behind_delay`.
    WriteBehind,
    /// Accepted when it is stored ([`OutboundEvent::Accepted`]), or rejected by `deadline`.
    Stored {
        /// Until when.
        deadline: Instant,
        /// Whether the commit must be on the medium.
        synced: bool,
    },
    /// Accepted when its caller says so with [`Outbound::finish_group`](super::Outbound::finish_group).
    Group,
}

/// The body of a message: shared, or borrowed to be copied once, into the transmit buffer.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Shared by reference count.
    Shared(&'a Payload),
    /// Borrowed, not empty.
    Borrowed(&'a [u8]),
}

impl Body<'_> {
    /// The bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Shared(payload) => payload,
            Body::Borrowed(bytes) => bytes,
        }
    }

    /// The body, shared or copied.
    pub fn to_payload(&self) -> Payload {
        match self {
            Body::Shared(payload) => Payload::clone(payload),
            Body::Borrowed(bytes) => Payload::new(Bytes::copy_from_slice(bytes)).expect("a borrowed body is not empty"),
        }
    }
}

/// Why a message was not taken. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// The link's memory is full just now: wait for [`OutboundEvent::Room`].
    Full,
    /// The lane's outbox limit is reached.
    LaneFull,
    /// At most once, and the peer cannot be reached: dropped.
    Unreachable,
    /// At least once, and the lane's durable queue was not opened.
    NotOpen,
}

/// How an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// All rows are committed.
    Done,
    /// None is; trying again may help.
    Failed,
    /// All are or none.
    Unknown,
    /// None is, and none ever will be.
    Fatal,
}

/// Why a message that waited for its commit is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its deadline passed before it was given to the store.
    Deadline,
    /// The store refused it for good, or until the deadline.
    Store,
}

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundEvent {
    /// Write these rows, then call [`Outbound::handle_append`](super::Outbound::handle_append). One at a time per lane.
    Append {
        /// The lane.
        lane: LaneIx,
        /// In number order.
        messages: Vec<Numbered>,
        /// Whether the commit must be on the medium.
        synced: bool,
    },
    /// Read a page of the durable queue, then call [`Outbound::handle_loaded`](super::Outbound::handle_loaded) with the
    /// same id.
    Load {
        /// The lane.
        lane: LaneIx,
        /// Tells answers apart.
        id: u64,
        /// Numbers above this.
        after: Seq,
    },
    /// Every message up to here that waited for its commit and was not rejected is accepted.
    Accepted {
        /// The lane.
        lane: LaneIx,
        /// The last.
        through: Seq,
    },
    /// This message will never be delivered.
    Rejected {
        /// The lane.
        lane: LaneIx,
        /// The message.
        seq: Seq,
        /// The reason.
        why: Rejection,
    },
    /// The deadline passed while the store had the message: it may be delivered.
    Indeterminate {
        /// The lane.
        lane: LaneIx,
        /// The message.
        seq: Seq,
    },
    /// The receiver is done with everything up to here: the rows may go.
    Acked {
        /// The lane.
        lane: LaneIx,
        /// The ack floor.
        through: Seq,
        /// What was acked since the last such event, as far as it was sent by this process.
        amount: Volume,
        /// Whether there are rows to go, as far as this end knows. If not, the new floor may wait.
        has_rows: bool,
    },
    /// The receiver will never take this message: keep it as a dead letter, remove its row, then call
    /// [`Outbound::handle_refused`](super::Outbound::handle_refused).
    Refused {
        /// The lane.
        lane: LaneIx,
        /// The message; the body is in the durable queue when `None`.
        seq: Seq,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The body, when it is not in the durable queue.
        message: Option<Message>,
        /// The reason.
        code: RefuseCode,
        /// The reason in words.
        text: String,
    },
    /// The peer serves a topic (again).
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// At-most-once messages were dropped because the peer could not be reached.
    Dropped(u64),
    /// There is room again after [`OfferError::Full`] was answered.
    Room,
    /// The peer said why it closes.
    PeerClosed(CloseCode, String),
    /// The peer went silent: close the connection.
    Silent,
}

/// What the connected peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Largest frame, in bytes.
    pub max_frame: u32,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
}
