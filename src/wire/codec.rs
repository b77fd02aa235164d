//! Conversion of frames to bytes and back.
//!
//! ```text
//! read:   socket ─▶ Decoder ─▶ Bytes of whole frames ─▶ frames() ─▶ Frame<'_>, payload borrowed from the chunk
//! write:  Frame<'_> ─▶ encode() ─▶ BytesMut ─▶ socket
//! ```
//!
//! This module owns the byte layout and its limits, and checks everything that can be seen in one frame alone. It does not
//! know earlier frames: order, credit, open lanes and versions belong to the machines that use it. All integers are
//! little-endian.
//!
//! No allocation depends on a length field alone: a length is checked against its limit first, and buffers grow with the
//! bytes received. Bytes from a peer never cause a panic.

mod compress;
mod decode;
mod decoder;
mod encode;
mod layout;

pub use compress::{compress, decompress};
pub use decode::{Frames, decode, decode_data, frames};
pub use decoder::{Decoder, MAX_READ, MIN_READ};
pub use encode::{data_frame_len, encode, encode_data, max_part};
pub use layout::{DEFAULT_MAX_FRAME, FIRST_FRAME_MAX, IGNORABLE, LEN_BYTES, MAGIC, MAX_AUTH, MAX_TEXT};

use crate::wire::error::WireError;
use crc32fast::Hasher;
use std::sync::LazyLock;

/// The checksum in a `Data` frame. The features of the processor are detected once, not for every frame.
#[inline]
fn checksum(bytes: &[u8]) -> u32 {
    static START: LazyLock<Hasher> = LazyLock::new(Hasher::new);
    let mut hasher = START.clone();
    hasher.update(bytes);
    hasher.finalize()
}

/// The whole frames at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Number of leading bytes that are whole frames.
    pub bytes: usize,
    /// Bytes still needed to complete the frame after them. Until its length field is complete, the rest of that field. 0
    /// if a malformed length follows, which is the error of the next call.
    pub missing: usize,
}

/// Finds the whole frames at the front of `buf`. Reads length fields only. `max_frame` limits the bytes after a length
/// field.
///
/// # Errors
/// Returns [`WireError::TooLong`] or [`WireError::Empty`] if the first length is malformed. A malformed length after whole
/// frames only ends the prefix, so that the frames before it still arrive.
#[inline]
pub fn complete_prefix(buf: &[u8], max_frame: u32) -> Result<Prefix, WireError> {
    let mut bytes = 0;
    loop {
        let rest = &buf[bytes..];
        let Some(field) = rest.first_chunk::<LEN_BYTES>() else {
            return Ok(Prefix { bytes, missing: LEN_BYTES - rest.len() });
        };
        let len = match check_len(*field, max_frame) {
            Ok(len) => len,
            Err(error) if bytes == 0 => return Err(error),
            Err(_) => return Ok(Prefix { bytes, missing: 0 }),
        };
        let have = rest.len() - LEN_BYTES;
        if have < len {
            return Ok(Prefix { bytes, missing: len - have });
        }
        bytes += LEN_BYTES + len;
    }
}

/// Checks the value of a length field.
#[inline]
fn check_len(field: [u8; LEN_BYTES], max: u32) -> Result<usize, WireError> {
    let len = u32::from_le_bytes(field);
    if len == 0 {
        return Err(WireError::Empty);
    }
    if len > max {
        return Err(WireError::TooLong { len, max });
    }
    usize::try_from(len).map_err(|_| WireError::TooLong { len, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_counts_whole_frames_and_what_the_next_one_needs() {
        let buf = [1, 0, 0, 0, 0x40, 2, 0, 0, 0, 0x41, 7, 9, 0, 0, 0, 1];
        assert_eq!(complete_prefix(&buf, 16), Ok(Prefix { bytes: 11, missing: 8 }));
        assert_eq!(complete_prefix(&buf[..13], 16), Ok(Prefix { bytes: 11, missing: 2 }));
        assert_eq!(complete_prefix(&buf[..5], 16), Ok(Prefix { bytes: 5, missing: 4 }));
        assert_eq!(complete_prefix(&[], 16), Ok(Prefix { bytes: 0, missing: 4 }));
    }

    #[test]
    fn a_malformed_length_is_an_error_only_once_it_is_first() {
        let buf = [1, 0, 0, 0, 0x40, 17, 0, 0, 0];
        assert_eq!(complete_prefix(&buf, 16), Ok(Prefix { bytes: 5, missing: 0 }));
        assert_eq!(complete_prefix(&buf[5..], 16), Err(WireError::TooLong { len: 17, max: 16 }));
        assert_eq!(complete_prefix(&[0; 4], 16), Err(WireError::Empty));
    }
}
