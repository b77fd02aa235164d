//! The bytes that wait for the connection: the buffer being written, and full ones before it.
//!
//! Buffers are used again. Once a burst has made them, neither sending nor transmitting allocates.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// A buffer is handed out when it is this full. Larger ones make fewer writes, but fall out of the processor's cache
/// between encoding and writing.
pub(super) const CHUNK: usize = 64 * 1024;

/// Buffers kept for the next burst: about a lane's window.
const MAX_SPARE: usize = 128;

/// More than what a frame and a skip before it take besides payload and headers.
const FRAME_OVERHEAD: usize = 64;

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Transmit {
    buffer: BytesMut,
    full: VecDeque<Bytes>,
    full_bytes: usize,
    spare: Vec<BytesMut>,
}

impl Transmit {
    /// Where frames are encoded.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.buffer.len() + self.full_bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a message of `size` bytes should go into a new buffer.
    pub(super) fn is_full_for(&self, size: usize) -> bool {
        !self.buffer.is_empty() && self.buffer.len() + size + FRAME_OVERHEAD > CHUNK
    }

    /// Closes the buffer being written, if there is anything in it, and answers what it holds.
    pub(super) fn seal(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            return None;
        }
        // What holds little is copied, so that a message that is kept for long keeps no more memory than it needs.
        let bytes = if self.buffer.len() < self.buffer.capacity() / 4 {
            let bytes = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            bytes
        } else {
            let next = self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(self.buffer.capacity().min(CHUNK)));
            std::mem::replace(&mut self.buffer, next).freeze()
        };
        self.full_bytes += bytes.len();
        self.full.push_back(bytes.clone());
        Some(bytes)
    }

    /// The oldest closed buffer.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.full.pop_front()?;
        self.full_bytes -= bytes.len();
        Some(bytes)
    }

    /// A buffer that may not be needed any more is used again, if nobody else holds it.
    pub(super) fn recycle(&mut self, bytes: Bytes) {
        if self.spare.len() < MAX_SPARE
            && let Ok(mut buffer) = bytes.try_into_mut()
            && (CHUNK / 2..=2 * CHUNK).contains(&buffer.capacity())
        {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// What waits is gone with the connection.
    pub(super) fn clear(&mut self) {
        self.full.clear();
        self.full_bytes = 0;
    }

    /// The link is silent: gives back the memory of the last burst.
    pub(super) fn shrink(&mut self) {
        self.spare = Vec::new();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nobody_holds_it() {
        let mut transmit = Transmit::default();
        transmit.buffer().extend_from_slice(&[1; CHUNK]);
        let kept = transmit.seal().expect("there is something");
        let sent = transmit.pop().expect("it waits");
        transmit.recycle(sent);
        assert!(transmit.spare.is_empty(), "it is kept for a retry");
        transmit.recycle(kept);
        assert_eq!(transmit.spare.len(), 1);
        transmit.shrink();
        assert!(transmit.spare.is_empty());
    }

    #[test]
    fn a_small_message_does_not_keep_a_large_buffer() {
        let mut transmit = Transmit::default();
        transmit.buffer().reserve(CHUNK);
        transmit.buffer().extend_from_slice(b"small");
        assert_eq!(transmit.len(), 5);
        let sealed = transmit.seal().expect("there is something");
        assert!(transmit.buffer().capacity() >= CHUNK, "the buffer stays");
        assert_eq!(sealed, "small");
        assert_eq!(transmit.pop(), Some(sealed));
        assert!(transmit.is_empty() && transmit.seal().is_none());
    }
}
