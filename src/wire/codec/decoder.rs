//! [`Decoder`]: the buffer of the reading side. Bytes go in, chunks of whole frames come out.
//!
//! ```text
//!            ┌───────── yielded, shared ─────────┬── unfinished ──┬──── spare ────┐
//!            │ frame │ frame │ frame │ frame     │ fra            │ next read     │
//!            └───────────────────────────────────┴────────────────┴───────────────┘
//! ```
//!
//! It bounds the memory of a connection's input. It does not know the meaning of frames, except that the first one of a
//! connection has a lower limit, because the peer is not known yet.

use super::{FIRST_FRAME_MAX, LEN_BYTES, Prefix, complete_prefix};
use crate::wire::error::WireError;
use bytes::{Bytes, BytesMut};

/// Smallest buffer space for a read, in bytes. An idle connection holds as much.
pub const MIN_READ: usize = 4 * 1024;

/// Largest buffer space for a read that does not complete a large frame, in bytes. One read then returns hundreds of small
/// messages, and a message that is kept for long pins no more than this.
pub const MAX_READ: usize = 64 * 1024;

/// Splits the bytes of a socket into chunks of whole frames.
///
/// Fill [`read_buf`](Decoder::read_buf) from the socket, then call [`next_chunk`](Decoder::next_chunk) until it returns
/// `None`, and iterate over each chunk with [`frames`](super::frames).
///
/// The buffer grows only with bytes received: its capacity stays below twice the bytes received so far plus [`MIN_READ`],
/// and below the frame limit plus [`MAX_READ`]. A length field alone allocates nothing.
#[derive(Debug)]
pub struct Decoder {
    buf: BytesMut,
    max_frame: u32,
    /// Whether the first frame is still expected. It has a limit of its own and is returned alone.
    first: bool,
    /// Bytes that the incomplete frame at the front still needs.
    missing: usize,
    /// Buffer space for the next read. It adapts to the size of reads.
    read_size: usize,
    /// Bytes in `buf` at the last call. Bytes after them were read since.
    seen: usize,
    /// Bytes received on this connection.
    received: usize,
    /// Size of the allocation of `buf`, including returned chunks.
    allocated: usize,
}

impl Decoder {
    /// Creates a decoder for a new connection. `max_frame` limits the bytes after a length field. The first frame is limited
    /// to [`FIRST_FRAME_MAX`] if that is lower.
    pub fn new(max_frame: u32) -> Self {
        Decoder {
            buf: BytesMut::new(),
            max_frame,
            first: true,
            missing: LEN_BYTES,
            read_size: MIN_READ,
            seen: 0,
            received: 0,
            allocated: 0,
        }
    }

    /// Returns the buffer to append to, with space for the next read. Read at most its spare capacity.
    pub fn read_buf(&mut self) -> &mut BytesMut {
        self.note_read();
        let room = self.room();
        let oversized = self.allocated > 2 * MAX_READ && self.buf.len() + room <= MAX_READ;
        let spare = self.buf.capacity() - self.buf.len();
        // A quarter of the space is enough for now. That saves an allocation for every read.
        if oversized || (spare < room.div_ceil(4) && !self.buf.try_reclaim(room)) {
            self.reallocate(room);
        }
        &mut self.buf
    }

    /// Returns the whole frames received since the last call, or `None` if there are none.
    ///
    /// # Errors
    /// Returns a [`WireError`] if the length of the next frame is malformed. Every frame before it was returned.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, WireError> {
        self.note_read();
        let Prefix { bytes, missing } = if self.first { self.first_frame()? } else { self.whole_frames()? };
        self.missing = missing;
        if bytes == 0 {
            return Ok(None);
        }
        self.first = false;
        let chunk = self.buf.split_to(bytes).freeze();
        self.seen = self.buf.len();
        Ok(Some(chunk))
    }

    /// Returns the number of bytes received and not returned yet: part of a frame, once `next_chunk` has returned `None`.
    pub fn buffered(&self) -> usize {
        self.buf.len()
    }

    /// Returns the capacity of the buffer in bytes, including those not returned yet.
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    fn whole_frames(&self) -> Result<Prefix, WireError> {
        complete_prefix(&self.buf, self.max_frame)
    }

    /// Returns the first frame alone: another limit applies to the next ones.
    fn first_frame(&self) -> Result<Prefix, WireError> {
        let limit = FIRST_FRAME_MAX.min(self.max_frame);
        let end = match self.buf.first_chunk::<LEN_BYTES>() {
            Some(field) => LEN_BYTES + super::check_len(*field, limit)?,
            None => LEN_BYTES,
        };
        complete_prefix(&self.buf[..end.min(self.buf.len())], limit)
    }

    /// Adapts the size of reads: doubles it after a read that filled its space, halves it after one that used little.
    fn note_read(&mut self) {
        let brought = self.buf.len().saturating_sub(self.seen);
        if brought == 0 {
            return;
        }
        self.seen = self.buf.len();
        self.received = self.received.saturating_add(brought);
        if self.buf.len() == self.buf.capacity() {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if brought < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }

    /// Space to reserve: a usual read, or the missing bytes of the incomplete frame, limited by the bytes received so
    /// far.
    fn room(&self) -> usize {
        let usual = self.read_size.min(self.received.max(MIN_READ));
        let vouched = self.buf.len().max(MIN_READ);
        self.missing.min(vouched).max(usual)
    }

    /// Moves the incomplete frame to a buffer of exactly the wanted size, where `BytesMut` would double it.
    fn reallocate(&mut self, room: usize) {
        let mut fresh = BytesMut::with_capacity(self.buf.len() + room);
        fresh.extend_from_slice(&self.buf);
        self.allocated = fresh.capacity();
        self.buf = fresh;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    fn frame(len: usize) -> Vec<u8> {
        let mut bytes = u32::try_from(len).expect("small").to_le_bytes().to_vec();
        bytes.resize(LEN_BYTES + len, 0xff);
        bytes
    }

    /// Plays a socket that has `bytes` ready: fills the spare capacity, as a read does. Returns the rest.
    fn read<'a>(decoder: &mut Decoder, bytes: &'a [u8]) -> &'a [u8] {
        let buf = decoder.read_buf();
        let spare = buf.capacity() - buf.len();
        assert!(spare > 0);
        let (now, later) = bytes.split_at(spare.min(bytes.len()));
        buf.put_slice(now);
        later
    }

    #[test]
    fn a_giant_length_alone_allocates_nothing() {
        let mut decoder = Decoder::new(16 << 20);
        read(&mut decoder, &frame(10));
        assert_eq!(decoder.next_chunk().map(|chunk| chunk.map(|c| c.len())), Ok(Some(14)));
        read(&mut decoder, &(16u32 << 20).to_le_bytes());
        assert_eq!(decoder.next_chunk(), Ok(None));
        assert!(decoder.read_buf().capacity() <= 2 * MIN_READ);
        read(&mut decoder, &[0xff; 100]);
        assert!(decoder.read_buf().capacity() <= 2 * MIN_READ);
    }

    #[test]
    fn capacity_stays_below_twice_the_bytes_received() {
        let mut stream = frame(10);
        stream.extend(frame(8 << 20));
        let mut decoder = Decoder::new(16 << 20);
        let (mut rest, mut received) = (&stream[..], 0);
        let mut yielded = 0;
        while !rest.is_empty() {
            let before = rest.len();
            rest = read(&mut decoder, rest);
            let capacity = decoder.capacity();
            assert!(capacity <= 2 * received + MIN_READ, "{capacity} for {received}");
            received += before - rest.len();
            while let Some(chunk) = decoder.next_chunk().expect("well formed") {
                yielded += chunk.len();
            }
        }
        assert_eq!(yielded, stream.len());
        assert!(decoder.read_buf().capacity() <= 2 * MAX_READ, "shrinks after a large frame");
    }

    #[test]
    fn the_first_frame_has_its_own_limit_and_comes_alone() {
        let mut decoder = Decoder::new(16 << 20);
        read(&mut decoder, &4097u32.to_le_bytes());
        assert_eq!(decoder.next_chunk(), Err(WireError::TooLong { len: 4097, max: FIRST_FRAME_MAX }));

        let mut decoder = Decoder::new(16 << 20);
        let stream = [frame(10), frame(5000), frame(20)].concat();
        let mut rest = &stream[..];
        let mut lens = Vec::new();
        while !rest.is_empty() {
            rest = read(&mut decoder, rest);
            while let Some(chunk) = decoder.next_chunk().expect("well formed") {
                lens.push(chunk.len());
            }
        }
        assert_eq!(lens[0], 14);
        assert_eq!(lens.iter().sum::<usize>(), stream.len());
        read(&mut decoder, &((16u32 << 20) + 1).to_le_bytes());
        assert!(decoder.next_chunk().is_err());
    }

    #[test]
    fn frames_before_a_malformed_length_are_yielded() {
        let mut decoder = Decoder::new(100);
        read(&mut decoder, &[frame(1), frame(2), frame(3), frame(101)].concat());
        assert_eq!(decoder.next_chunk().map(|c| c.map(|c| c.len())), Ok(Some(5)));
        assert_eq!(decoder.next_chunk().map(|c| c.map(|c| c.len())), Ok(Some(13)));
        assert_eq!(decoder.next_chunk(), Err(WireError::TooLong { len: 101, max: 100 }));
    }

    #[test]
    fn reads_grow_under_load_and_shrink_when_idle() {
        let mut decoder = Decoder::new(1 << 20);
        let load = frame(99).repeat(5000);
        let mut rest = &load[..];
        while !rest.is_empty() {
            rest = read(&mut decoder, rest);
            while decoder.next_chunk().expect("well formed").is_some() {}
        }
        assert_eq!(decoder.read_size, MAX_READ);
        for _ in 0..8 {
            read(&mut decoder, &frame(1));
            while decoder.next_chunk().expect("well formed").is_some() {}
        }
        assert_eq!(decoder.read_size, MIN_READ);
    }
}
