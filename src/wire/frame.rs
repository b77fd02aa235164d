//! The frames two nodes exchange, and their byte layout.

use crate::types::{Epoch, Incarnation, NodeId, Seq, StoreId, Topic};
use bytes::Bytes;

/// A lane's number on one link, given by the sender and the same for the life of its process. 32 bits: four billion
/// lanes between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneIx(pub u32);

/// Flags of a [`Data`] frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataFlags(u8);

impl DataFlags {
    /// Headers stand before the payload.
    pub const HEADERS: DataFlags = DataFlags(0x01);
    /// The payload part is zstd; its raw length is declared.
    pub const COMPRESSED: DataFlags = DataFlags(0x02);
    /// The message may have been seen before.
    pub const REDELIVERED: DataFlags = DataFlags(0x04);
    /// The receiver commits its cursor before it acks.
    pub const STRICT: DataFlags = DataFlags(0x08);
    /// Another part of the same message follows on this lane.
    pub const MORE: DataFlags = DataFlags(0x10);
    /// At most once: no number, never acked.
    pub const DIRECT: DataFlags = DataFlags(0x20);
    /// Every flag this version knows.
    pub const ALL: DataFlags = DataFlags(0x3f);

    /// No flag.
    pub const fn empty() -> Self {
        DataFlags(0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: DataFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: DataFlags) -> Self {
        DataFlags(self.0 | other.0)
    }

    /// As on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// From the wire; `None` when a bit is unknown.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(DataFlags(bits)) } else { None }
    }
}

/// One message, or one part of a large one, borrowed from the buffer it was read into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The lane.
    pub lane: LaneIx,
    /// See [`DataFlags`].
    pub flags: DataFlags,
    /// The number; `Seq::ZERO` exactly when `DIRECT`.
    pub seq: Seq,
    /// Raw length of `payload` when `COMPRESSED`, else 0.
    pub raw_len: u32,
    /// Encoded headers; empty unless `HEADERS`.
    pub headers: &'a [u8],
    /// The payload part as sent (compressed if `COMPRESSED`).
    pub payload: &'a [u8],
}

impl Data<'_> {
    /// Whether it is at most once.
    pub fn is_direct(&self) -> bool {
        self.flags.has(DataFlags::DIRECT)
    }

    /// Bytes of payload before compression.
    pub fn raw_size(&self) -> usize {
        if self.flags.has(DataFlags::COMPRESSED) { self.raw_len as usize } else { self.payload.len() }
    }
}

/// Opens a lane on this connection and says what the sender still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// The lane's number from here on.
    pub lane: LaneIx,
    /// The sender's own topic.
    pub source: Topic,
    /// The topic addressed.
    pub topic: Topic,
    /// The incarnation before the first span, if there was one.
    pub predecessor: Option<Incarnation>,
    /// Everything up to here was acked; the receiver lifts its cursor to it.
    pub acked: Seq,
    /// Incarnations still queued, oldest first, each with the first number available; the current one is last. Empty for
    /// a lane that only carries at-most-once messages.
    pub spans: Vec<(Incarnation, Seq)>,
}

/// Where the receiver wants a lane to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumeAt {
    /// The lane.
    pub lane: LaneIx,
    /// What the receiver has; `None`: nothing of the spans announced.
    pub received: Option<(Incarnation, Seq)>,
    /// Messages that may be sent on this connection before the next [`Frame::Credit`].
    pub messages: u64,
    /// Bytes of payload and headers that may be sent, likewise.
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
    /// Who dials.
    pub from: NodeId,
    /// Whom it means to reach.
    pub to: NodeId,
    /// The dialler's own topic.
    pub topic: Topic,
    /// Where the dialler listens; empty when it does not say.
    pub addr: String,
    /// The dialler's store.
    pub store: StoreId,
    /// The dialler's epoch on its store.
    pub epoch: Epoch,
    /// Random, for challenges of a later version.
    pub nonce: [u8; 16],
    /// Reserved for authentication; empty in this version.
    pub auth: Bytes,
}

/// The acceptor's answer to a [`Hello`] it agrees with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version both will speak.
    pub version: u16,
    /// Optional features both have.
    pub features: u64,
    /// Who answers.
    pub node: NodeId,
    /// The acceptor's own topic.
    pub topic: Topic,
    /// Where the acceptor listens.
    pub addr: String,
    /// The acceptor's store.
    pub store: StoreId,
    /// The acceptor's epoch on its store.
    pub epoch: Epoch,
    /// Largest frame the acceptor takes, in bytes.
    pub max_frame: u32,
    /// Largest message the acceptor takes, in bytes of payload and headers.
    pub max_message: u64,
    /// Random, for challenges of a later version.
    pub nonce: [u8; 16],
    /// Reserved for authentication; empty in this version.
    pub auth: Bytes,
}

/// Why a connection is refused or closed.
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
    /// A newer connection of the same peer took over.
    Replaced,
    /// A limit was reached: connections, lanes.
    Limit,
    /// Reserved for authentication.
    Unauthorized,
    /// A code of a later version.
    Other(u8),
}

/// Why a receiver will never take a message.
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

/// One frame, decoded. Data is borrowed, the rest is rare and owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Dialler to acceptor, first.
    Hello(Hello),
    /// Acceptor to dialler, first.
    Welcome(Welcome),
    /// Instead of a `Welcome`, or at any time from either side: why the connection ends now.
    Close {
        /// The reason.
        code: CloseCode,
        /// For people to read.
        text: String,
    },
    /// Sender to receiver: open a lane.
    Resume(Resume),
    /// Receiver to sender: the answer to a `Resume`.
    ResumeAt(ResumeAt),
    /// Sender to receiver: a message or a part of one.
    Data(Data<'a>),
    /// Sender to receiver: the numbers `from..=to` will never come.
    Skip {
        /// The lane.
        lane: LaneIx,
        /// First missing number.
        from: Seq,
        /// Last missing number.
        to: Seq,
    },
    /// Receiver to sender: everything up to `seq` is done.
    Ack {
        /// The lane.
        lane: LaneIx,
        /// Whose numbers.
        incarnation: Incarnation,
        /// The ack floor.
        seq: Seq,
    },
    /// Receiver to sender: totals since `ResumeAt` that may be sent on this connection. Never shrink.
    Credit {
        /// The lane.
        lane: LaneIx,
        /// Messages.
        messages: u64,
        /// Bytes of payload and headers.
        bytes: u64,
    },
    /// Receiver to sender: this message will never be taken; everything behind it waits for the `Skip` over it.
    Refuse {
        /// The lane.
        lane: LaneIx,
        /// Whose number.
        incarnation: Incarnation,
        /// The message.
        seq: Seq,
        /// The reason.
        code: RefuseCode,
        /// For people to read.
        text: String,
    },
    /// Either way: answer with a `Pong`.
    Ping(u64),
    /// Either way: the answer, with the same number.
    Pong(u64),
    /// Either way: this node serves `topic` (again).
    Subscribed(Topic),
    /// Either way: this node unsubscribed from `topic`.
    Unsubscribed(Topic),
    /// A frame of a later version that may be ignored.
    Unknown(u8),
}
