//! [`Reassembly`]: large messages that arrive in parts.

use crate::types::Seq;
use crate::wire::frame::{Data, DataFlags};
use bytes::{Bytes, BytesMut};

/// The parts of a message that have arrived.
#[derive(Debug)]
pub(super) struct PartialMessage {
    seq: Seq,
    pub(super) headers: Bytes,
    pub(super) payload: BytesMut,
}

impl PartialMessage {
    pub(super) fn new(seq: Seq, headers: Bytes) -> Self {
        PartialMessage { seq, headers, payload: BytesMut::new() }
    }

    /// Bytes of headers and payload so far.
    pub(super) fn size(&self) -> usize {
        self.headers.len() + self.payload.len()
    }
}

/// Size of a message that has not arrived completely.
#[derive(Debug, Clone, Copy)]
struct PartCount {
    /// The message's number, or `Seq::ZERO` if it is at most once.
    seq: Seq,
    /// Bytes so far, before compression.
    size: usize,
    /// Whether the rest of it is dropped.
    dropped: bool,
}

/// Collects the parts of a large message of one lane, and counts their bytes.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    partial: Option<PartialMessage>,
    count: Option<PartCount>,
}

impl Reassembly {
    /// Whether no message has arrived in part.
    pub(super) fn is_idle(&self) -> bool {
        self.partial.is_none() && self.count.is_none()
    }

    /// Counts a part. A part of another message means that the sender gave up on the one before. Returns the bytes of the
    /// message so far, and whether the message is dropped.
    #[inline]
    pub(super) fn count(&mut self, data: &Data<'_>) -> (usize, bool) {
        let before = self.count.filter(|count| count.seq == data.seq);
        let mut count = before.unwrap_or(PartCount { seq: data.seq, size: 0, dropped: false });
        count.size += data.headers.len() + data.raw_size();
        self.count = data.flags.has(DataFlags::MORE).then_some(count);
        (count.size, count.dropped)
    }

    /// Takes the earlier parts of a message. Parts of any other one are dropped.
    pub(super) fn take(&mut self, seq: Seq) -> Option<PartialMessage> {
        self.partial.take().filter(|partial| partial.seq == seq)
    }

    /// Keeps the parts of a message until the rest arrives.
    pub(super) fn keep(&mut self, partial: PartialMessage) {
        self.partial = Some(partial);
    }

    /// Drops what has arrived of the present message, and what will.
    pub(super) fn drop_rest(&mut self) {
        self.partial = None;
        if let Some(count) = &mut self.count {
            count.dropped = true;
        }
    }

    /// Forgets the present message.
    pub(super) fn clear(&mut self) {
        (self.partial, self.count) = (None, None);
    }
}
