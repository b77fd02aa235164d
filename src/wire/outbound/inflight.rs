//! Messages of a lane that were sent and are not acked.

use super::segments::FrameRef;
use crate::types::{Message, Seq};
use std::collections::VecDeque;
use std::time::Instant;

/// Where the body of a sent message is kept in case it must be sent again.
#[derive(Debug)]
pub(super) enum Retained {
    /// In the durable queue.
    Stored,
    /// In a segment of the link.
    Frame(FrameRef),
    /// In memory of its own, since this time: a message sent compressed or in parts.
    Message(Box<Message>, Instant),
}

/// A message that was sent and is not acked.
#[derive(Debug)]
pub(super) struct SentMessage {
    pub(super) seq: Seq,
    /// Bytes of payload and headers.
    pub(super) size: usize,
    pub(super) retained: Retained,
}

/// The messages in flight of one lane, in number order.
#[derive(Debug, Default)]
pub(super) struct Inflight {
    sent: VecDeque<SentMessage>,
    /// How many of them only memory holds. They are the last ones: the stored ones are a prefix.
    retained: usize,
}

impl Inflight {
    #[inline]
    pub(super) fn push(&mut self, sent: SentMessage) {
        self.retained += usize::from(!matches!(sent.retained, Retained::Stored));
        self.sent.push_back(sent);
    }

    /// Returns the size of a message in bytes, or `None` if it is not in flight.
    pub(super) fn size(&self, seq: Seq) -> Option<usize> {
        let at = self.sent.binary_search_by_key(&seq, |s| s.seq).ok()?;
        self.sent.get(at).map(|s| s.size)
    }

    /// Whether only memory holds any of them.
    #[inline]
    pub(super) fn has_retained(&self) -> bool {
        self.retained > 0
    }

    /// The messages that only memory holds, oldest first.
    pub(super) fn retained(&self) -> impl Iterator<Item = &SentMessage> {
        self.sent.range(self.sent.len() - self.retained..)
    }

    /// Removes the messages up to `through`, oldest first, and passes each to `show`.
    pub(super) fn remove_acked(&mut self, through: Seq, show: impl FnMut(&SentMessage)) {
        let acked = self.sent.partition_point(|s| s.seq <= through);
        self.sent.range(..acked).for_each(show);
        self.sent.drain(..acked);
        self.retained = self.retained.min(self.sent.len());
    }

    /// Takes the newest message if its number is above `position`.
    pub(super) fn pop_after(&mut self, position: Seq) -> Option<SentMessage> {
        let sent = self.sent.pop_back_if(|s| s.seq > position)?;
        self.retained -= usize::from(!matches!(sent.retained, Retained::Stored));
        Some(sent)
    }

    /// Marks the messages up to `through` as stored. Passes what was retained of each, and its size, to `freed`.
    pub(super) fn mark_stored(&mut self, through: Seq, mut freed: impl FnMut(Retained, usize)) {
        let first = self.sent.len() - self.retained;
        for sent in self.sent.range_mut(first..) {
            if sent.seq > through {
                break;
            }
            self.retained -= 1;
            freed(std::mem::replace(&mut sent.retained, Retained::Stored), sent.size);
        }
    }
}
