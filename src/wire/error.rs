//! Errors in bytes and frames from a peer.
//!
//! Every variant but the three about compression means that the peer broke the protocol or that the bytes were damaged in
//! transit. Nothing after them can be trusted, so the connection closes. A part that does not decompress is a well-formed
//! frame: its message is refused, and the connection stays open.

use crate::types::{NameError, Seq};

/// Error of decoding a frame or decompressing a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A length field names more bytes than a frame may have.
    #[error("frame of {len} bytes, at most {max} are allowed")]
    TooLong {
        /// The announced length, in bytes.
        len: u32,
        /// The limit at this point of the connection, in bytes.
        max: u32,
    },
    /// A length field is 0. A frame has at least its type.
    #[error("frame without a type")]
    Empty,
    /// A frame ends before its last field.
    #[error("frame ends before its last field")]
    Truncated,
    /// Bytes follow the last field of a frame that cannot be extended.
    #[error("{0} bytes follow the last field of a frame")]
    Trailing(usize),
    /// The type is one that this version does not know and may not ignore.
    #[error("unknown frame type {0:#04x}")]
    UnknownType(u8),
    /// The first frame does not start with the protocol's magic bytes.
    #[error("not this protocol")]
    Magic,
    /// The checksum of a message does not match its bytes.
    #[error("checksum does not match")]
    Checksum,
    /// A message carries a flag this version does not know.
    #[error("unknown message flags {0:#04x}")]
    Flags(u8),
    /// A numbered message carries the number 0.
    #[error("message number is zero")]
    SeqZero,
    /// Headers are announced but empty, or longer than allowed.
    #[error("headers of {0} bytes")]
    HeadersLength(u32),
    /// A presence byte is neither 0 nor 1.
    #[error("presence byte {0:#04x}")]
    Presence(u8),
    /// A range ends before it starts.
    #[error("range ends before it starts")]
    Range,
    /// A name is invalid.
    #[error("malformed name")]
    Name(#[from] NameError),
    /// A name or text is not UTF-8.
    #[error("text is not utf-8")]
    Utf8,
    /// A text or an authentication field is longer than allowed.
    #[error("field of {0} bytes is too long")]
    FieldLength(usize),
    /// A compressed part declares no bytes, or more than the receiver takes.
    #[error("compressed part declares {declared} bytes, at most {cap} are allowed")]
    RawLength {
        /// The declared length, in bytes.
        declared: u32,
        /// The limit, in bytes.
        cap: usize,
    },
    /// A part declared as compressed does not decompress.
    #[error("compressed part is damaged")]
    Compression,
    /// A part decompresses to more or fewer bytes than it declares.
    #[error("compressed part does not have the {0} bytes it declares")]
    RawMismatch(u32),
}

/// Violation of the protocol by a peer. The connection is closed, and messages in transit are sent again on the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The bytes are not a frame.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The frame is not allowed in this direction, or not at this time.
    #[error("unexpected frame")]
    UnexpectedFrame,
    /// A frame refers to a message that was never sent.
    #[error("frame refers to a message that was never sent")]
    BeyondSent,
    /// The lane was not opened.
    #[error("unknown lane")]
    UnknownLane,
    /// The peer opened more lanes than it may.
    #[error("too many lanes")]
    TooManyLanes,
    /// The incarnations of a lane are not in order, or too many.
    #[error("malformed resume")]
    MalformedResume,
    /// Numbers are missing that were not announced as skipped.
    #[error("message {found} where {expected} was due")]
    Hole {
        /// The expected number.
        expected: Seq,
        /// The number that arrived.
        found: Seq,
    },
}
