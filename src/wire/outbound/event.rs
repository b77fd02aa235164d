//! Events of the sending half, and the results its owner reports back.

use super::Numbered;
use crate::types::{Amount, Incarnation, Message, Seq, Topic};
use crate::wire::frame::{CloseCode, LaneIx, RefuseCode};

/// Result of an append to a lane's durable queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// All rows are committed.
    Done,
    /// No row is committed. Trying again may help.
    Failed,
    /// Either all rows are committed or none is.
    Unknown,
    /// No row is committed, and trying again does not help.
    Fatal,
}

/// Result of an append that the caller ran over several lanes, for one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupOutcome {
    /// The message is committed, with everything that was accepted before it on its lane.
    Committed,
    /// The append failed and the message is accepted as write-behind instead. Not allowed while a later group of the same
    /// lane is under way: the rows of that group do not contain this message.
    WriteBehind,
    /// The message is rejected.
    Rejected,
}

/// Why a message that waited for its commit is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its deadline passed before it was given to the store.
    Deadline,
    /// The store failed until the deadline, or failed for good.
    Store,
}

/// Something that the owner of an [`Outbound`](super::Outbound) has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboundEvent {
    /// Write these rows, then call [`Outbound::handle_append`](super::Outbound::handle_append). A lane has at most one
    /// append under way.
    Append {
        /// The lane.
        lane: LaneIx,
        /// The rows, in number order.
        messages: Vec<Numbered>,
        /// Whether the commit must be synced to the medium.
        synced: bool,
    },
    /// Read a page of the durable queue, then call [`Outbound::handle_loaded`](super::Outbound::handle_loaded) with the
    /// same `id`.
    Load {
        /// The lane.
        lane: LaneIx,
        /// Identifies this load. The result of any other one is ignored.
        id: u64,
        /// The page starts after this number.
        after: Seq,
    },
    /// Messages that waited for their commit are accepted, up to and including `through`, except for rejected ones.
    Accepted {
        /// The lane.
        lane: LaneIx,
        /// The last accepted number.
        through: Seq,
    },
    /// A message was rejected and will never be delivered.
    Rejected {
        /// The lane.
        lane: LaneIx,
        /// The message's number.
        seq: Seq,
        /// The reason.
        why: Rejection,
    },
    /// The deadline of a message passed while the store had it. It may or may not be delivered.
    Indeterminate {
        /// The lane.
        lane: LaneIx,
        /// The message's number.
        seq: Seq,
    },
    /// The receiver acked messages, so their rows may be deleted.
    Acked {
        /// The lane.
        lane: LaneIx,
        /// The last acked number.
        through: Seq,
        /// Messages acked since the last such event, not counting those that an earlier process sent.
        amount: Amount,
        /// Whether there are rows to delete, as far as this end knows. If not, the new floor may be written later.
        has_rows: bool,
    },
    /// The receiver will never take this message. Keep it as a dead letter, delete its row, then call
    /// [`Outbound::handle_refused`](super::Outbound::handle_refused).
    Refused {
        /// The lane.
        lane: LaneIx,
        /// The message's number.
        seq: Seq,
        /// The message's incarnation.
        incarnation: Incarnation,
        /// The message, or `None` if it is in the durable queue.
        message: Option<Message>,
        /// The reason.
        code: RefuseCode,
        /// The reason in words.
        text: String,
    },
    /// The peer subscribed to a topic.
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// This many at-most-once messages were dropped because the peer could not be reached or does not take them.
    Dropped(u64),
    /// Memory is free again after [`OfferError::Full`](super::OfferError::Full).
    Room,
    /// The peer closes the connection, with the reason.
    PeerClosed(CloseCode, String),
    /// The peer went silent. Close the connection.
    Silent,
}
