//! Buffers that were transmitted, kept for the frames in them that may be needed again.

use crate::types::{Headers, Message, Payload};
use crate::wire::codec;
use crate::wire::frame::Frame;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// Position of a frame in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameRef {
    segment: u64,
    offset: usize,
}

impl FrameRef {
    /// Whether both frames are in one segment.
    pub(super) fn shares_segment(self, other: FrameRef) -> bool {
        self.segment == other.segment
    }
}

#[derive(Debug)]
struct Segment {
    /// Empty while the buffer is still being written.
    bytes: Bytes,
    /// Number of entries that point here.
    entries: u32,
    /// When the first retained message in it was accepted.
    since: Instant,
}

/// The segments of a link.
///
/// A write-behind message is kept exactly once: in the buffer it was encoded into. When the write loop swaps that buffer,
/// it becomes a segment, and the entry of its lane points into it. Nothing is copied. A segment is released with its last
/// entry, when its messages were acked or are in the durable queue.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// Number of the first closed segment.
    base: u64,
    closed: VecDeque<Segment>,
    /// The buffer being written, with the number after the last closed one. `None` until a frame in it is kept.
    open: Option<Segment>,
}

impl Segments {
    /// Keeps the frame at `offset` of the transmit buffer. Reads the clock once per segment.
    #[inline]
    pub(super) fn keep(&mut self, offset: usize, now: impl FnOnce() -> Instant) -> FrameRef {
        self.open.get_or_insert_with(|| Segment { bytes: Bytes::new(), entries: 0, since: now() }).entries += 1;
        FrameRef { segment: self.base + self.closed.len() as u64, offset }
    }

    /// Closes the open segment. `bytes` is the content of the transmit buffer.
    pub(super) fn seal(&mut self, bytes: &Bytes) {
        if let Some(segment) = self.open.take().filter(|segment| segment.entries > 0) {
            self.closed.push_back(Segment { bytes: bytes.clone(), ..segment });
        }
    }

    /// Releases this many entries of the frame's segment. Returns the buffer if they were the last ones.
    pub(super) fn release(&mut self, frame: FrameRef, entries: u32) -> Option<Bytes> {
        let segment = self.get_mut(frame)?;
        segment.entries -= entries;
        if segment.entries > 0 {
            return None;
        }
        let bytes = std::mem::take(&mut segment.bytes);
        while self.closed.pop_front_if(|segment| segment.entries == 0).is_some() {
            self.base += 1;
        }
        Some(bytes)
    }

    fn get_mut(&mut self, frame: FrameRef) -> Option<&mut Segment> {
        let at = usize::try_from(frame.segment.checked_sub(self.base)?).ok()?;
        if at < self.closed.len() { self.closed.get_mut(at) } else { self.open.as_mut() }
    }

    fn get(&self, frame: FrameRef) -> Option<&Segment> {
        let at = usize::try_from(frame.segment.checked_sub(self.base)?).ok()?;
        if at < self.closed.len() { self.closed.get(at) } else { self.open.as_ref() }
    }

    /// Returns when the first retained message in the frame's segment was accepted.
    pub(super) fn since(&self, frame: FrameRef) -> Instant {
        self.get(frame).expect("an entry holds its segment").since
    }

    /// Decodes the message in a frame. The segment must be sealed.
    pub(super) fn message(&self, frame: FrameRef) -> Message {
        let bytes = &self.get(frame).expect("an entry holds its segment").bytes;
        let tail = bytes.slice(frame.offset..);
        match codec::decode(&tail, u32::MAX) {
            Ok(Some((Frame::Data(data), _))) => Message {
                headers: Headers::decode(tail.slice_ref(data.headers)).expect("encoded from valid headers"),
                payload: Payload::new(tail.slice_ref(data.payload)).expect("encoded from a payload"),
            },
            other => unreachable!("a kept frame is a data frame, found {other:?}"),
        }
    }

    /// Bytes in closed segments.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.closed.iter().map(|s| s.bytes.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Seq;
    use crate::wire::frame::{Data, DataFlags, LaneIx};
    use bytes::BytesMut;

    #[test]
    fn a_segment_lives_exactly_as_long_as_an_entry_needs_it() {
        let mut segments = Segments::default();
        let mut tx = BytesMut::new();
        let mut frames = Vec::new();
        for (n, payload) in [(1u64, &b"one"[..]), (2, b"two")] {
            frames.push(segments.keep(tx.len(), Instant::now));
            let data = Data {
                lane: LaneIx(0),
                flags: DataFlags::empty(),
                seq: Seq::new(n),
                raw_len: 0,
                headers: &[],
                payload,
            };
            codec::encode_data(&data, &mut tx);
        }
        segments.seal(&tx.split().freeze());
        assert!(segments.held() > 0);
        assert_eq!(&*segments.message(frames[1]).payload, b"two");
        segments.release(frames[0], 1);
        assert!(segments.held() > 0);
        segments.release(frames[1], 1);
        assert_eq!(segments.held(), 0);
        assert!(segments.closed.is_empty());
    }
}
