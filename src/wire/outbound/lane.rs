//! One lane as its sender sees it.
//!
//! Numbers up to `stored` are in the durable queue (or acked, or holes). Everything above is in memory only, in `fresh` or
//! retained in flight. The durable queue therefore always holds a prefix of the lane, and a crash loses only a suffix. See
//! [`LaneProgress`] for a picture.

use super::append::AppendState;
use super::buffers::SendBuffers;
use super::inflight::{Retained, SentMessage};
use super::lane_phase::LanePhase;
use super::load::LoadState;
use super::numbering::Numbering;
use super::progress::LaneProgress;
use super::queued::{FreshQueue, QueuedState, ReadyQueue};
use super::refusals::Refusals;
use super::{LaneRecord, Numbered};
use crate::types::{Amount, Message, Seq, Topic};
use std::collections::VecDeque;
use std::time::Instant;

/// The two topics that name a lane on its link.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LaneEnds {
    pub(super) source: Topic,
    pub(super) topic: Topic,
}

/// A lane as its sender sees it. Each part owns one fact.
#[derive(Debug)]
pub(super) struct SendLane {
    ends: LaneEnds,
    pub(super) numbering: Numbering,
    pub(super) progress: LaneProgress,
    /// Stored messages that come next.
    pub(super) ready: ReadyQueue,
    /// Messages that only memory holds and that were not sent.
    pub(super) fresh: FreshQueue,
    /// At-most-once messages that wait for the connection or for credit.
    pub(super) direct: VecDeque<Message>,
    pub(super) phase: LanePhase,
    pub(super) append: AppendState,
    pub(super) load: LoadState,
    pub(super) refusals: Refusals,
    /// Accepted and not acked.
    pub(super) pending: Amount,
    /// Whether the lane is in the link's turn.
    pub(super) in_turn: bool,
}

impl SendLane {
    pub(super) fn new(ends: LaneEnds) -> Self {
        SendLane {
            ends,
            numbering: Numbering::new(),
            progress: LaneProgress::default(),
            ready: ReadyQueue::default(),
            fresh: FreshQueue::default(),
            direct: VecDeque::new(),
            phase: LanePhase::Closed,
            append: AppendState::default(),
            load: LoadState::default(),
            refusals: Refusals::default(),
            pending: Amount::default(),
            in_turn: false,
        }
    }

    pub(super) fn ends(&self) -> &LaneEnds {
        &self.ends
    }

    /// The durable queue was opened.
    pub(super) fn open(&mut self, record: LaneRecord) {
        self.progress.open(record.acked, record.next.prev());
        self.pending = record.pending;
        self.numbering.open(record);
    }

    pub(super) fn is_durable(&self) -> bool {
        self.numbering.is_open()
    }

    /// Whether there is anything the receiver should get.
    pub(super) fn has_work(&self) -> bool {
        self.pending.messages > 0 || !self.fresh.is_empty() || !self.direct.is_empty()
    }

    /// Whether numbers were given out that are not acked. They need not count as pending.
    pub(super) fn is_behind_acks(&self) -> bool {
        self.is_durable() && self.progress.acked().next() < self.numbering.next()
    }

    /// Whether something accepted, or waiting to be, is in memory only.
    #[inline]
    pub(super) fn has_unstored(&self) -> bool {
        !self.fresh.is_empty() || self.progress.has_retained()
    }

    /// Since when the oldest message waits that only memory holds; `None` if no append may carry it now.
    pub(super) fn unstored_since(&self, buffers: &SendBuffers) -> Option<Instant> {
        match self.progress.retained().next().map(|sent| &sent.retained) {
            Some(Retained::Frame(frame)) => Some(buffers.since(*frame)),
            Some(Retained::Message(_, since)) => Some(*since),
            Some(Retained::Stored) | None => self.fresh.writable_since(&self.refusals),
        }
    }

    /// Takes the rows of the next append, in number order and at most `limit`: everything accepted that only memory holds,
    /// and what waits for its commit. Ends before a message that no append may carry now. Returns whether a message wants
    /// the commit synced, too.
    pub(super) fn take_rows(&mut self, buffers: &SendBuffers, limit: usize) -> (Vec<Numbered>, bool) {
        let mut rows = self.retained_rows(buffers, limit);
        let room = limit.saturating_sub(rows.len());
        let numbering = &self.numbering;
        let synced = self.fresh.hand_to_store(room, &self.refusals, |seq, message| {
            rows.push(Numbered { seq, incarnation: numbering.incarnation(seq), message: message.clone() });
        });
        (rows, synced)
    }

    /// Returns the rows a group append must write for its message `seq`: what was accepted before it, and the message.
    pub(super) fn group_rows(&self, buffers: &SendBuffers, seq: Seq) -> Vec<Numbered> {
        let mut rows = self.retained_rows(buffers, usize::MAX);
        rows.retain(|row| row.seq < seq);
        let fresh = self.fresh.iter().filter(|m| m.state == QueuedState::Accepted && m.seq < seq);
        rows.extend(fresh.chain(self.fresh.find(seq)).map(|m| self.numbered(m.seq, m.message.clone())));
        rows
    }

    fn retained_rows(&self, buffers: &SendBuffers, limit: usize) -> Vec<Numbered> {
        let row = |sent: &SentMessage| match &sent.retained {
            Retained::Frame(frame) => Some(self.numbered(sent.seq, buffers.message(*frame))),
            Retained::Message(message, _) => Some(self.numbered(sent.seq, Message::clone(message))),
            Retained::Stored => None,
        };
        self.progress.retained().filter_map(row).take(limit).collect()
    }

    fn numbered(&self, seq: Seq, message: Message) -> Numbered {
        Numbered { seq, incarnation: self.numbering.incarnation(seq), message }
    }

    /// Moves committed messages from the front of `fresh` to the stored ones. Those that follow what is in memory stay there
    /// to be sent while `ready` is below `limit`. Returns how much memory was freed.
    pub(super) fn settle(&mut self, through: Seq, limit: Amount) -> Amount {
        let mut freed = Amount::default();
        let unstored = self.progress.retained().next().map(|sent| sent.seq);
        while unstored.is_none()
            && let Some(message) = self.fresh.pop_stored()
        {
            freed.add(message.message.size());
            let ready = self.ready.amount();
            let follows = !self.progress.is_behind() && ready.messages < limit.messages && ready.bytes < limit.bytes;
            self.progress.advance_stored(message.seq, follows);
            if follows {
                self.ready.push(message);
            }
        }
        let unstored = unstored.or(self.fresh.front().map(|m| m.seq));
        let limit = unstored.map_or(through, |seq| through.min(seq.prev()));
        if limit > self.progress.stored() {
            self.progress.advance_stored(limit, !self.progress.is_behind());
        }
        freed
    }

    /// The receiver has everything up to `position`: what was sent after it must be sent again.
    pub(super) fn rewind(&mut self, position: Seq, buffers: &mut SendBuffers) {
        self.load.cancel();
        self.progress.rewind(position, &mut self.fresh, buffers);
        self.ready.clear();
    }

    /// Whether the next accepted message may be sent at once.
    #[inline]
    pub(super) fn sends_at_once(&self) -> bool {
        let Some(open) = self.phase.open() else { return false };
        let idle = self.ready.is_empty() && self.fresh.is_empty() && open.partial.is_none();
        idle && !self.progress.is_behind() && !self.refusals.is_stopped() && open.credit.allows()
    }

    /// Counts a message of `size` bytes against the credit.
    #[inline]
    pub(super) fn spend_credit(&mut self, size: usize) {
        if let Some(open) = self.phase.open_mut() {
            open.credit.spend(size);
        }
    }
}
