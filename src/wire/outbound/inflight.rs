//! What a link has put on the wire and is not yet relieved of.
//!
//! A write-behind message is kept exactly once: in the buffer it was encoded into. The write loop swaps that buffer, the
//! swapped one becomes a *segment*, and an entry of its lane points into it. Nothing is copied to be kept. A segment is
//! let go when no entry needs it any more, because its messages were acked or are in the durable queue.

use crate::types::{Headers, Message, Payload, Seq};
use crate::wire::codec;
use crate::wire::frame::Frame;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Instant;

/// Where the body of a sent message is, should it be needed again.
#[derive(Debug)]
pub(super) enum Retained {
    /// In the durable queue.
    Stored,
    /// In a segment of this link.
    Frame(FrameRef),
    /// In memory of its own, since then: messages sent compressed or in parts.
    Message(Box<Message>, Instant),
}

/// A frame inside a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameRef {
    pub(super) segment: u64,
    offset: usize,
}

/// A message that was sent and is not acked.
#[derive(Debug)]
pub(super) struct SentMessage {
    pub(super) seq: Seq,
    pub(super) size: usize,
    pub(super) kept: Retained,
}

#[derive(Debug)]
struct Segment {
    /// Empty while the buffer is still being written.
    bytes: Bytes,
    /// Entries that point here.
    entries: u32,
    /// When its first kept message was accepted.
    since: Instant,
}

/// The segments of a link.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// Number of the first closed one.
    base: u64,
    closed: VecDeque<Segment>,
    /// The buffer being written, with the number that follows, once something in it is kept.
    open: Option<Segment>,
}

impl Segments {
    /// Notes that a frame at `offset` of the transmit buffer is kept. `now` is asked once per segment.
    #[inline]
    pub(super) fn keep(&mut self, offset: usize, now: impl FnOnce() -> Instant) -> FrameRef {
        self.open.get_or_insert_with(|| Segment { bytes: Bytes::new(), entries: 0, since: now() }).entries += 1;
        FrameRef { segment: self.base + self.closed.len() as u64, offset }
    }

    /// The transmit buffer was swapped: `bytes` is what it held.
    pub(super) fn seal(&mut self, bytes: &Bytes) {
        if let Some(segment) = self.open.take().filter(|segment| segment.entries > 0) {
            self.closed.push_back(Segment { bytes: bytes.clone(), ..segment });
        }
    }

    /// So many entries of the frame's segment are gone. Answers the buffer, if they were the last ones there.
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

    /// When the segment's first kept message was accepted.
    pub(super) fn since(&self, frame: FrameRef) -> Instant {
        self.get(frame).expect("an entry holds its segment").since
    }

    /// The message in a kept frame. The segment must be sealed.
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

    /// Bytes held by sealed segments.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.closed.iter().map(|s| s.bytes.len()).sum()
    }
}

/// One lane's sent and unacked messages, in number order.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    sent: VecDeque<SentMessage>,
    /// How many of them are kept in memory rather than stored. They are the last ones: the stored ones are a prefix.
    kept: usize,
}

impl Inflight {
    #[inline]
    pub(super) fn push(&mut self, sent: SentMessage) {
        self.kept += usize::from(!matches!(sent.kept, Retained::Stored));
        self.sent.push_back(sent);
    }

    /// The size of an entry; `None` when it was not sent, or was acked or cleared.
    pub(super) fn size(&self, seq: Seq) -> Option<usize> {
        let at = self.sent.binary_search_by_key(&seq, |s| s.seq).ok()?;
        self.sent.get(at).map(|s| s.size)
    }

    /// Whether any entry is kept in memory.
    pub(super) fn has_kept(&self) -> bool {
        self.kept > 0
    }

    /// The entries kept in memory, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = &SentMessage> {
        self.sent.range(self.sent.len() - self.kept..)
    }

    /// Removes the entries covered by an ack up to `through`, oldest first, and shows each of them.
    pub(super) fn remove_acked(&mut self, through: Seq, show: impl FnMut(&SentMessage)) {
        let acked = self.sent.partition_point(|s| s.seq <= through);
        self.sent.range(..acked).for_each(show);
        self.sent.drain(..acked);
        self.kept = self.kept.min(self.sent.len());
    }

    /// Takes the newest entry if it lies behind `position`.
    pub(super) fn pop_behind(&mut self, position: Seq) -> Option<SentMessage> {
        let sent = self.sent.pop_back_if(|s| s.seq > position)?;
        self.kept -= usize::from(!matches!(sent.kept, Retained::Stored));
        Some(sent)
    }

    /// The entries up to `through` are in the durable queue now: answers each body that was kept for them.
    pub(super) fn mark_stored(&mut self, through: Seq, mut freed: impl FnMut(Retained, usize)) {
        let first = self.sent.len() - self.kept;
        for sent in self.sent.range_mut(first..) {
            if sent.seq > through {
                break;
            }
            self.kept -= 1;
            freed(std::mem::replace(&mut sent.kept, Retained::Stored), sent.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
