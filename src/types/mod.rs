//! Names, numbers, payloads and choices that several other modules use. They are validated once, when they are made.
//!
//! Nothing here knows of sockets, stores, actors or clocks. Fields of validated types are private, so a value that exists is
//! valid.

mod amount;
mod headers;
mod names;
mod on_full;
mod receipt;

pub use amount::Amount;
pub use headers::{Headers, HeadersBuilder, HeadersError, MAX_HEADERS};
pub use names::{LaneId, LaneName, MAX_NAME, NameError, NodeId, RESERVED_PREFIX, Topic};
pub use on_full::OnFull;
pub use receipt::Receipt;

use bytes::Bytes;
use std::fmt;
use std::ops::Range;

/// The number of a message in its lane, counted from 1. 64 bits last a lane with ten million messages a second for 58,000
/// years.
///
/// [`Seq::ZERO`] stands for the position before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// The position before the first message.
    pub const ZERO: Seq = Seq(0);

    /// Creates the number `n`; 0 is [`Seq::ZERO`].
    pub const fn new(n: u64) -> Self {
        Seq(n)
    }

    /// Returns the number as an integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Returns the next number. Saturates, which no lane lives long enough to reach.
    #[must_use]
    pub const fn next(self) -> Self {
        Seq(self.0.saturating_add(1))
    }

    /// Returns the previous number. [`Seq::ZERO`] stays the same.
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
            /// Wraps a number that a store or a peer issued.
            pub const fn new(n: u64) -> Self {
                $name(n)
            }

            /// Returns the number as an integer.
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
    /// Identity of an unbroken numbering of a lane: 64 random bits, drawn when a sending process opens the lane. Two
    /// numberings of a lane never share them by chance.
    Incarnation
}

opaque_u64! {
    /// The number of starts of a node's name on its store. A process with a lower epoch is fenced. Only stores deal in
    /// epochs.
    Epoch
}

opaque_u64! {
    /// The random identity of a store. Two nodes that compare it know whether they share a store.
    StoreId
}

/// The position of a receiver in a lane: everything up to `seq` of `incarnation`, and everything of earlier incarnations, is
/// handled. Only stores deal in cursors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// The incarnation of the lane that issued `seq`.
    pub incarnation: Incarnation,
    /// The last number up to which all messages are handled.
    pub seq: Seq,
}

/// The body of a message. It is never empty, and clones share the bytes.
///
/// ```
/// use liner::Payload;
///
/// let payload = Payload::new("invoice 7")?;
/// assert_eq!(&payload[..7], b"invoice");
/// # Ok::<(), liner::EmptyPayload>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Payload(Bytes);

/// Error of [`Payload::new`]: a payload needs at least one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is empty")]
pub struct EmptyPayload;

impl Payload {
    /// Creates a payload from the bytes, without copying them.
    ///
    /// # Errors
    /// Returns [`EmptyPayload`] if there are no bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, EmptyPayload> {
        let bytes = bytes.into();
        if bytes.is_empty() { Err(EmptyPayload) } else { Ok(Payload(bytes)) }
    }

    /// Creates a payload that shares a part of a buffer. The part must not be empty.
    pub(crate) fn part_of(buffer: &Bytes, range: Range<usize>) -> Self {
        debug_assert!(!range.is_empty(), "a payload has at least one byte");
        Payload(buffer.slice(range))
    }

    /// Converts the payload into its shared buffer.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the shared buffer.
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

/// A payload with its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The headers, possibly empty.
    pub headers: Headers,
    /// The body.
    pub payload: Payload,
}

impl Message {
    /// Returns the size of payload and headers in bytes, which is what limits in bytes count.
    pub fn size(&self) -> usize {
        self.payload.len() + self.headers.encoded().len()
    }

    /// Copies the message into `buffer` and returns it as a share of that buffer.
    pub(crate) fn moved_into(&self, buffer: &mut bytes::BytesMut) -> Message {
        let headers = self.headers.moved_into(buffer);
        buffer.extend_from_slice(&self.payload);
        Message { headers, payload: Payload(buffer.split().freeze()) }
    }
}

/// The permanent identity of a message. It is the same over redelivery, restarts and replays, and the same in the sender's
/// [`Receipt`](crate::Receipt) and the receiver's [`Delivery`](crate::Delivery).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// The lane, which names the sender.
    pub lane: LaneId,
    /// The incarnation of the lane that issued the number.
    pub incarnation: Incarnation,
    /// The number of the message in the lane.
    pub seq: Seq,
}

impl MessageId {
    /// Returns the node that sent the message.
    pub fn sender(&self) -> &NodeId {
        self.lane.sender()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.lane, self.incarnation, self.seq)
    }
}
