//! The vocabulary every other module speaks: names, numbers and payloads, parsed once at the edge.
//!
//! Nothing here knows of sockets, stores, actors or clocks. Fields are private, so a value that exists is valid.

mod headers;
mod names;

pub use headers::{Headers, HeadersBuilder, HeadersError, MAX_HEADERS};
pub use names::{LaneId, LaneName, MAX_NAME, NameError, NodeId, RESERVED_PREFIX, Topic};

use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// A message's place in its lane, counted from 1. 64 bits: a lane at ten million a second lasts 58,000 years.
///
/// `Seq::ZERO` stands for "before the first message".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before the first message.
    pub const ZERO: Seq = Seq(0);

    /// The message number `n`; 0 is "before the first".
    pub const fn new(n: u64) -> Self {
        Seq(n)
    }

    /// The number as an integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number after this one. Saturates, which no lane lives long enough to see.
    #[must_use]
    pub const fn next(self) -> Self {
        Seq(self.0.saturating_add(1))
    }

    /// The number before this one; `ZERO` stays `ZERO`.
    #[must_use]
    pub const fn prev(self) -> Self {
        Seq(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! opaque_u64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that a store or a peer handed out.
            pub const fn new(n: u64) -> Self {
                $name(n)
            }

            /// The number as an integer.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

opaque_u64! {
    /// One unbroken life of a lane's numbering: random, minted when a sending process opens the lane. 64 random bits, so
    /// that two lives never share one by chance.
    Incarnation
}

opaque_u64! {
    /// How often a node of this name has started on its store. A process holding a lower epoch is fenced.
    Epoch
}

opaque_u64! {
    /// A random number made with a store; tells two nodes whether they share one.
    StoreId
}

/// How far a receiver has come in a lane: everything up to `seq` of `incarnation`, and of all earlier ones, is handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The life of the lane that `seq` counts in.
    pub incarnation: Incarnation,
    /// The highest number below which all are handled.
    pub seq: Seq,
}

/// A message body: never empty, shared without copying.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Bytes);

/// The error of [`Payload::new`]: a message must carry at least one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is empty")]
pub struct EmptyPayload;

impl Payload {
    /// Takes ownership of the bytes without copying them.
    ///
    /// # Errors
    /// [`EmptyPayload`] when there is no byte.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, EmptyPayload> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(EmptyPayload) } else { Ok(Payload(bytes)) }
    }

    /// A part of a buffer, which must not be empty, shared without copying.
    pub(crate) fn part_of(buffer: &Bytes, range: Range<usize>) -> Self {
        debug_assert!(!range.is_empty(), "a payload has at least one byte");
        Payload(buffer.slice(range))
    }

    /// The shared buffer.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The shared buffer, borrowed.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl std::ops::Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

/// What an application sends: a payload and, if it likes, headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Small key/value pairs; empty costs nothing.
    pub headers: Headers,
    /// The body.
    pub payload: Payload,
}

impl Message {
    /// Bytes of payload and headers: what counts against every byte budget.
    pub fn size(&self) -> usize {
        self.payload.len() + self.headers.encoded().len()
    }

    /// The same message, its bytes appended to `buffer` and taken off it.
    pub(crate) fn moved_into(&self, buffer: &mut bytes::BytesMut) -> Message {
        let headers = self.headers.moved_into(buffer);
        buffer.extend_from_slice(&self.payload);
        Message { headers, payload: Payload(buffer.split().freeze()) }
    }
}

/// Identifies one message for good: stable over redelivery, restarts and replays, equal in the sender's
/// [`Receipt`](crate::Receipt) and the receiver's [`Delivery`](crate::Delivery).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The lane, which names the sender.
    pub lane: LaneId,
    /// The life of the lane the number belongs to.
    pub incarnation: Incarnation,
    /// The number in the lane.
    pub seq: Seq,
}

impl MessageId {
    /// The node that sent the message.
    pub fn sender(&self) -> &NodeId {
        self.lane.sender()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lane, self.incarnation, self.seq)
    }
}
