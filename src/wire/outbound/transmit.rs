//! [`Transmit`]: bytes that wait for the connection.
//!
//! Buffers are used again. After the first burst, neither sending nor transmitting allocates.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Size of a full buffer, in bytes. Larger ones need fewer writes, but fall out of the processor's cache between
/// encoding and writing.
pub(super) const CHUNK: usize = 64 * 1024;

/// Most buffers kept for the next burst: about a lane's window.
const MAX_SPARE: usize = 128;

/// Upper bound of the bytes of a frame and a skip before it, without payload and headers.
const FRAME_OVERHEAD: usize = 64;

/// The buffer being written, and the full ones before it.
#[derive(Debug, Default)]
pub(super) struct Transmit {
    buffer: BytesMut,
    full: VecDeque<Bytes>,
    full_bytes: usize,
    spare: Vec<BytesMut>,
}

impl Transmit {
    /// Returns the buffer that frames are encoded into.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the number of bytes that wait.
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

    /// Closes the buffer being written and returns its bytes, if there are any.
    pub(super) fn seal(&mut self) -> Option<Bytes> {
        if self.buffer.is_empty() {
            return None;
        }
        // A buffer with little in it is copied, so that a message that is kept for long keeps no more memory than it needs.
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

    /// Takes the oldest closed buffer.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.full.pop_front()?;
        self.full_bytes -= bytes.len();
        Some(bytes)
    }

    /// Keeps a buffer to be used again, if nothing else refers to it.
    pub(super) fn recycle(&mut self, bytes: Bytes) {
        if self.spare.len() < MAX_SPARE
            && let Ok(mut buffer) = bytes.try_into_mut()
            && (CHUNK / 2..=2 * CHUNK).contains(&buffer.capacity())
        {
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Drops the closed buffers: the connection is lost.
    pub(super) fn clear(&mut self) {
        self.full.clear();
        self.full_bytes = 0;
    }

    /// Frees the memory of the last burst: the link is idle.
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
