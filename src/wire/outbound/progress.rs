//! How far a lane is acked, sent, in memory and stored.

use super::buffers::SendBuffers;
use super::inflight::{Inflight, Retained, SentMessage};
use super::queued::FreshQueue;
use crate::types::{Amount, Message, Seq};
use std::time::Instant;

/// The watermarks of a lane, and the messages in flight between the first two.
///
/// ```text
///   acked        sent            cached        stored                 next
///     |  in flight  |     ready     |  to be loaded |   fresh   |
/// ----+-------------+---------------+---------------+-----------+----->  numbers
///                   '--- in the durable queue ------'  memory only
/// ```
#[derive(Debug, Default)]
pub(super) struct LaneProgress {
    /// The last acked number.
    acked: Seq,
    /// The last number sent or skipped on this connection.
    sent: Seq,
    /// Everything up to here needs no load. Never below `acked` and `sent`.
    cached: Seq,
    /// Everything up to here is in the durable queue, or acked, or a hole.
    stored: Seq,
    inflight: Inflight,
}

impl LaneProgress {
    /// The durable queue was opened.
    pub(super) fn open(&mut self, acked: Seq, stored: Seq) {
        (self.acked, self.sent, self.cached, self.stored) = (acked, acked, acked, stored);
    }

    pub(super) fn acked(&self) -> Seq {
        self.acked
    }

    pub(super) fn sent(&self) -> Seq {
        self.sent
    }

    pub(super) fn cached(&self) -> Seq {
        self.cached
    }

    pub(super) fn stored(&self) -> Seq {
        self.stored
    }

    /// Whether stored messages are missing from memory.
    #[inline]
    pub(super) fn is_behind(&self) -> bool {
        self.cached < self.stored
    }

    /// Whether memory holds the only copy of a message in flight.
    #[inline]
    pub(super) fn has_retained(&self) -> bool {
        self.inflight.has_retained()
    }

    /// The messages in flight that only memory holds, oldest first.
    pub(super) fn retained(&self) -> impl Iterator<Item = &SentMessage> {
        self.inflight.retained()
    }

    /// The size in bytes of a message in flight.
    pub(super) fn size_of(&self, seq: Seq) -> Option<usize> {
        self.inflight.size(seq)
    }

    /// A message was sent.
    #[inline]
    pub(super) fn push_sent(&mut self, message: SentMessage) {
        self.sent = message.seq;
        self.cached = self.cached.max(message.seq);
        self.inflight.push(message);
    }

    /// Everything up to `through` is acked. Returns what left the flight, and the part of it that only memory held.
    pub(super) fn ack(&mut self, through: Seq, buffers: &mut SendBuffers) -> (Amount, Amount) {
        self.acked = through;
        self.cached = self.cached.max(through);
        buffers.release_through(&mut self.inflight, through)
    }

    /// Everything up to `through` is in the durable queue. Returns what memory need not hold any more.
    pub(super) fn mark_stored(&mut self, through: Seq, buffers: &mut SendBuffers) -> Amount {
        let mut freed = Amount::default();
        self.inflight.mark_stored(through, |retained, size| {
            freed.add(size);
            if let Retained::Frame(frame) = retained {
                buffers.release(frame, 1);
            }
        });
        freed
    }

    /// The number `seq` is in the durable queue, after everything before it. `in_memory` tells whether memory holds it,
    /// too.
    pub(super) fn advance_stored(&mut self, seq: Seq, in_memory: bool) {
        self.stored = seq;
        if in_memory {
            self.cached = self.cached.max(seq);
        }
    }

    /// A page was read up to `seq`.
    pub(super) fn advance_cached(&mut self, seq: Seq) {
        self.cached = self.cached.max(seq);
    }

    /// The receiver has everything up to `position`. What was sent after it and is not stored goes back to `fresh`.
    pub(super) fn rewind(&mut self, position: Seq, fresh: &mut FreshQueue, buffers: &mut SendBuffers) {
        while let Some(sent) = self.inflight.pop_after(position) {
            let (message, since): (Message, Instant) = match sent.retained {
                Retained::Stored => continue,
                Retained::Message(message, since) => (*message, since),
                Retained::Frame(frame) => {
                    let copy = (buffers.message(frame), buffers.since(frame));
                    buffers.release(frame, 1);
                    copy
                }
            };
            fresh.push_front_accepted(sent.seq, message, since);
        }
        self.sent = position;
        self.cached = position.max(self.acked);
    }

    /// The durable queue was cleared up to `through`. Returns what memory held of the messages in flight.
    pub(super) fn clear(&mut self, through: Seq, buffers: &mut SendBuffers) -> Amount {
        let (_, held) = buffers.release_through(&mut self.inflight, Seq::new(u64::MAX));
        self.stored = self.stored.max(through);
        self.cached = self.cached.max(self.stored);
        held
    }
}
