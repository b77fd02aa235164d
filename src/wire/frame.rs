//! The frames that two nodes exchange.

use crate::types::{Epoch, Incarnation, NodeId, Seq, StoreId, Topic};
use bytes::Bytes;

/// Number of a lane on one link, given out by the sender and unchanged for the life of its process. 32 bits allow four
/// billion lanes between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneIx(pub u32);

/// Flags of a [`Data`] frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataFlags(u8);

impl DataFlags {
    /// Headers precede the payload.
    pub const HEADERS: DataFlags = DataFlags(0x01);
    /// The payload is compressed with zstd, and its raw length is declared.
    pub const COMPRESSED: DataFlags = DataFlags(0x02);
    /// The message may have been seen before.
    pub const REDELIVERED: DataFlags = DataFlags(0x04);
    /// The receiver commits its cursor before it acks.
    pub const STRICT: DataFlags = DataFlags(0x08);
    /// Another part of the same message follows on this lane.
    pub const MORE: DataFlags = DataFlags(0x10);
    /// The message is at most once: it has no number and is never acked.
    pub const DIRECT: DataFlags = DataFlags(0x20);
    /// Every flag this version knows.
    pub const ALL: DataFlags = DataFlags(0x3f);

    /// Returns no flags.
    pub const fn empty() -> Self {
        DataFlags(0)
    }

    /// Returns whether all flags of `other` are set.
    pub const fn has(self, other: DataFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns these flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: DataFlags) -> Self {
        DataFlags(self.0 | other.0)
    }

    /// Returns the flags as one byte of the wire format.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Converts a byte of the wire format. Returns `None` if a bit is unknown.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(DataFlags(bits)) } else { None }
    }
}

/// One message, or one part of a large one, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The lane.
    pub lane: LaneIx,
    /// The flags.
    pub flags: DataFlags,
    /// The message's number, or `Seq::ZERO` if and only if it is `DIRECT`.
    pub seq: Seq,
    /// Length of `payload` before compression, in bytes, if it is `COMPRESSED`; otherwise 0.
    pub raw_len: u32,
    /// The encoded headers. Empty unless `HEADERS` is set.
    pub headers: &'a [u8],
    /// The payload as it is sent, compressed if `COMPRESSED` is set.
    pub payload: &'a [u8],
}

impl Data<'_> {
    /// Returns whether the message is at most once.
    pub fn is_direct(&self) -> bool {
        self.flags.has(DataFlags::DIRECT)
    }

    /// Returns the length of the payload before compression, in bytes.
    pub fn raw_size(&self) -> usize {
        if self.flags.has(DataFlags::COMPRESSED) { self.raw_len as usize } else { self.payload.len() }
    }
}

/// Opens a lane on this connection and lists what the sender still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The lane's number from now on.
    pub lane: LaneIx,
    /// The sender's own topic.
    pub source: Topic,
    /// The receiver's topic.
    pub topic: Topic,
    /// The incarnation before the first span, if there was one.
    pub predecessor: Option<Incarnation>,
    /// The last acked number. The receiver lifts its cursor to it.
    pub acked: Seq,
    /// Incarnations still queued, each with its first available number, oldest first. The current one is last. Empty for a
    /// lane that carries only at-most-once messages.
    pub spans: Vec<(Incarnation, Seq)>,
}

/// Reply to a [`Resume`]: where the lane continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeAt {
    /// The lane.
    pub lane: LaneIx,
    /// The last message the receiver has, or `None` if it has nothing of the listed incarnations.
    pub received: Option<(Incarnation, Seq)>,
    /// Messages that may be sent on this connection before the next [`Frame::Credit`].
    pub messages: u64,
    /// Bytes of payload and headers that may be sent on this connection before the next [`Frame::Credit`].
    pub bytes: u64,
}

/// The dialler's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Oldest protocol version the dialler speaks.
    pub min_version: u16,
    /// Newest protocol version the dialler speaks.
    pub max_version: u16,
    /// Optional features the dialler has.
    pub features: u64,
    /// The dialler's name.
    pub from: NodeId,
    /// The name of the node to reach.
    pub to: NodeId,
    /// The dialler's own topic.
    pub topic: Topic,
    /// The address the dialler listens on, or an empty string if it is not published.
    pub addr: String,
    /// The dialler's store.
    pub store: StoreId,
    /// The dialler's epoch on its store.
    pub epoch: Epoch,
    /// 16 random bytes, for challenges of a later version.
    pub nonce: [u8; 16],
    /// Reserved for authentication; empty in this version.
    pub auth: Bytes,
}

/// The acceptor's reply to a [`Hello`] that it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version of the connection.
    pub version: u16,
    /// Optional features both have.
    pub features: u64,
    /// The acceptor's name.
    pub node: NodeId,
    /// The acceptor's own topic.
    pub topic: Topic,
    /// The address the acceptor listens on.
    pub addr: String,
    /// The acceptor's store.
    pub store: StoreId,
    /// The acceptor's epoch on its store.
    pub epoch: Epoch,
    /// Largest frame the acceptor takes, in bytes.
    pub max_frame: u32,
    /// Largest message the acceptor takes, in bytes of payload and headers.
    pub max_message: u64,
    /// 16 random bytes, for challenges of a later version.
    pub nonce: [u8; 16],
    /// Reserved for authentication; empty in this version.
    pub auth: Bytes,
}

/// Reason why a connection is refused or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The node shuts down or was released.
    Goodbye,
    /// No protocol version in common.
    Version,
    /// The dialled node has another name.
    WrongNode,
    /// A process with a higher epoch holds the name.
    Fenced,
    /// Two live stores claim the name.
    NameConflict,
    /// The peer broke the protocol.
    Protocol,
    /// Numbers are missing that were not announced as skipped.
    Hole,
    /// A newer connection of the same peer replaced this one.
    Replaced,
    /// A limit of connections or lanes was reached.
    Limit,
    /// Reserved for authentication.
    Unauthorized,
    /// A code of a later version.
    Other(u8),
}

/// Reason why a receiver will never take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefuseCode {
    /// Larger than the receiver's maximum message.
    TooLarge,
    /// Headers or compressed payload do not decode.
    Undecodable,
    /// A code of a later version.
    Other(u8),
}

/// A decoded frame. `Data` is borrowed. Other frames are rare and owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Dialler to acceptor: the first frame.
    Hello(Hello),
    /// Acceptor to dialler: the first frame.
    Welcome(Welcome),
    /// Either direction, instead of a `Welcome` or at any later time: the connection ends.
    Close {
        /// The reason.
        code: CloseCode,
        /// The reason in words.
        text: String,
    },
    /// Sender to receiver: opens a lane.
    Resume(Resume),
    /// Receiver to sender: the reply to a `Resume`.
    ResumeAt(ResumeAt),
    /// Sender to receiver: a message or a part of one.
    Data(Data<'a>),
    /// Sender to receiver: the numbers `from..=to` will never be sent.
    Skip {
        /// The lane.
        lane: LaneIx,
        /// The first missing number.
        from: Seq,
        /// The last missing number.
        to: Seq,
    },
    /// Receiver to sender: everything up to and including `seq` is done.
    Ack {
        /// The lane.
        lane: LaneIx,
        /// The incarnation of `seq`.
        incarnation: Incarnation,
        /// The last acked number.
        seq: Seq,
    },
    /// Receiver to sender: the totals that may be sent on this connection since it was resumed. They never shrink.
    Credit {
        /// The lane.
        lane: LaneIx,
        /// Number of messages.
        messages: u64,
        /// Bytes of payload and headers.
        bytes: u64,
    },
    /// Receiver to sender: this message will never be taken. Everything after it is dropped until it is skipped.
    Refuse {
        /// The lane.
        lane: LaneIx,
        /// The incarnation of `seq`.
        incarnation: Incarnation,
        /// The message's number.
        seq: Seq,
        /// The reason.
        code: RefuseCode,
        /// The reason in words.
        text: String,
    },
    /// Either direction: reply with a `Pong`.
    Ping(u64),
    /// Either direction: the reply to a `Ping`, with the same number.
    Pong(u64),
    /// Either direction: this node subscribed to the topic.
    Subscribed(Topic),
    /// Either direction: this node unsubscribed from the topic.
    Unsubscribed(Topic),
    /// A frame of a later version that may be ignored.
    Unknown(u8),
}
