//! One lane as its sender sees it.
//!
//! ```text
//!   acked        sent            cached        stored                 next
//!     |  in flight  |     ready     |  to be loaded |   fresh   |
//! ----+-------------+---------------+---------------+-----------+----->  numbers
//!                   '--- in the durable queue ------'  memory only
//! ```
//!
//! Numbers up to `stored` are in the durable queue (or acked, or holes); everything above is in memory only, in `fresh`
//! or kept in flight. The durable queue therefore always holds a prefix of the lane, and a crash loses only a suffix.

use super::inflight::{Inflight, Retained, Segments, SentMessage};
use super::item::{Credit, PartialSend, QueuedMessage, QueuedState, StoreHandoff};
use super::{LaneRecord, Numbered, Volume};
use crate::types::{Incarnation, Message, Seq, Topic};
use crate::wire::frame::{LaneIx, RefuseCode};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// Of messages that queue up one behind the other, every so many asks the clock.
const CLOCK_EVERY: u64 = 16;

/// The lane on the present connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LanePhase {
    /// Not opened on it.
    Closed,
    /// So many `Resume`s were sent and not answered; only the last answer counts.
    Resuming(u32),
    /// Data may flow, within the credit.
    Open,
}

/// A message that the receiver will never take.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedMessage {
    pub(super) code: RefuseCode,
    /// Its row may have come back since its removal was asked for.
    pub(super) again: bool,
}

#[derive(Debug)]
pub(super) struct SendLane {
    pub(super) ix: LaneIx,
    pub(super) source: Topic,
    pub(super) topic: Topic,
    /// Incarnations with the first number of each, oldest first; empty until the durable queue was opened.
    pub(super) spans: Vec<(Incarnation, Seq)>,
    pub(super) predecessor: Option<Incarnation>,
    /// The number the next message gets.
    pub(super) next: Seq,
    pub(super) acked: Seq,
    /// The last number sent, or skipped, on this connection.
    pub(super) sent: Seq,
    pub(super) cached: Seq,
    pub(super) stored: Seq,
    pub(super) inflight: Inflight,
    /// Stored messages that come next, with their bytes.
    pub(super) ready: VecDeque<QueuedMessage>,
    pub(super) ready_bytes: usize,
    /// Messages that only memory holds, not sent yet.
    pub(super) fresh: VecDeque<QueuedMessage>,
    /// At-most-once messages that wait for the connection or for credit.
    pub(super) direct: VecDeque<Message>,
    pub(super) rest: Option<PartialSend>,
    pub(super) connection: LanePhase,
    pub(super) credit: Credit,
    /// Messages in `fresh` that are `Reserved`.
    pub(super) reserved: usize,
    /// The earliest deadline among them, or earlier.
    pub(super) deadline: Option<Instant>,
    /// Up to where an append is under way.
    pub(super) appending: Option<Seq>,
    /// Write what memory holds at once: the link is down, or the node shuts down.
    pub(super) flush: bool,
    /// The store failed: not before this.
    pub(super) append_after: Option<Instant>,
    /// The load under way.
    pub(super) loading: Option<u64>,
    /// What was stored when it was asked for.
    pub(super) load_through: Seq,
    /// The store failed: not before this.
    pub(super) load_after: Option<Instant>,
    /// The receiver will never take these; nothing is sent until they are dead-lettered. With what each counts as pending:
    /// nothing if it was cleared after it was sent.
    pub(super) refused: BTreeMap<Seq, Option<usize>>,
    /// All refusals above `acked`: a group append that was under way may have brought the row back.
    pub(super) refusals: BTreeMap<Seq, RefusedMessage>,
    /// Accepted and not acked.
    pub(super) pending: Volume,
    /// Whether the lane stands in the link's queue of lanes with something to send.
    pub(super) queued: bool,
}

impl SendLane {
    pub(super) fn new(ix: LaneIx, source: Topic, topic: Topic) -> Self {
        SendLane {
            ix,
            source,
            topic,
            spans: Vec::new(),
            predecessor: None,
            next: Seq::new(1),
            acked: Seq::ZERO,
            sent: Seq::ZERO,
            cached: Seq::ZERO,
            stored: Seq::ZERO,
            inflight: Inflight::default(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            fresh: VecDeque::new(),
            direct: VecDeque::new(),
            rest: None,
            connection: LanePhase::Closed,
            credit: Credit::default(),
            reserved: 0,
            deadline: None,
            appending: None,
            flush: false,
            append_after: None,
            loading: None,
            load_through: Seq::ZERO,
            load_after: None,
            refused: BTreeMap::new(),
            refusals: BTreeMap::new(),
            pending: Volume::default(),
            queued: false,
        }
    }

    /// The durable queue was opened.
    pub(super) fn open(&mut self, record: LaneRecord) {
        self.next = record.next;
        self.acked = record.acked;
        self.sent = record.acked;
        self.cached = record.acked;
        self.stored = record.next.prev();
        self.spans = record.spans;
        self.predecessor = record.predecessor;
        self.pending = record.pending;
    }

    pub(super) fn is_durable(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Whether there is anything the receiver should get.
    pub(super) fn has_work(&self) -> bool {
        self.pending.messages > 0 || !self.fresh.is_empty() || !self.direct.is_empty()
    }

    /// Whether the receiver may be owed something that is not counted as pending.
    pub(super) fn is_behind_acks(&self) -> bool {
        self.is_durable() && self.acked.next() < self.next
    }

    /// The incarnation that gave out `seq`.
    pub(super) fn incarnation(&self, seq: Seq) -> Incarnation {
        let span = self.spans.iter().rev().find(|(_, first)| *first <= seq).or(self.spans.first());
        span.expect("a lane that gives out numbers was opened").0
    }

    /// `seq` of `incarnation` in this sender's numbering: never beyond what that incarnation gave out here. `None` for an
    /// incarnation that is not queued here.
    pub(super) fn position(&self, incarnation: Incarnation, seq: Seq) -> Option<Seq> {
        let at = self.spans.iter().position(|(i, _)| *i == incarnation)?;
        let end = self.spans.get(at + 1).map_or(self.next, |(_, first)| *first).prev();
        Some(seq.min(end))
    }

    /// Everything up to `cached` or `sent`, whichever is further, needs no load.
    pub(super) fn covered(&self) -> Seq {
        self.cached.max(self.sent)
    }

    /// Whether stored messages are missing from memory.
    pub(super) fn is_behind(&self) -> bool {
        self.covered() < self.stored
    }

    /// Whether something accepted, or waiting to be, is in memory only.
    pub(super) fn has_unstored(&self) -> bool {
        !self.fresh.is_empty() || self.inflight.has_kept()
    }

    /// The append under way ended without a commit that is known of.
    pub(super) fn end_append(&mut self, now: StoreHandoff) {
        for item in &mut self.fresh {
            if let QueuedState::Reserved { given: given @ StoreHandoff::InAppend, .. } = &mut item.state {
                *given = now;
            }
        }
    }

    /// Everything up to `through` is acked: incarnations that have nothing queued any more are forgotten.
    pub(super) fn forget_spans(&mut self, through: Seq) {
        while self.spans.get(1).is_some_and(|(_, first)| *first <= through.next()) {
            self.predecessor = Some(self.spans.remove(0).0);
        }
    }

    /// Since when the oldest message waits that only memory holds.
    pub(super) fn unstored_since(&self, segments: &Segments) -> Option<Instant> {
        match self.inflight.kept().next().map(|sent| &sent.kept) {
            Some(Retained::Frame(frame)) => Some(segments.since(*frame)),
            Some(Retained::Message(_, since)) => Some(*since),
            Some(Retained::Stored) | None => self.fresh.front().filter(|i| self.is_writable(i)).map(|i| i.since),
        }
    }

    /// Since when a message that queues up now is to count as waiting, where the clock need not be asked: it is written
    /// together with the one before it, when that one has waited long enough.
    pub(super) fn since_of_queued(&self, seq: Seq) -> Option<Instant> {
        let last = self.fresh.back().filter(|_| self.appending.is_none())?;
        (!seq.get().is_multiple_of(CLOCK_EVERY)).then_some(last.since)
    }

    /// Whether an append of this lane may carry the message now.
    fn is_writable(&self, item: &QueuedMessage) -> bool {
        matches!(item.state, QueuedState::Accepted | QueuedState::Reserved { .. })
            && !self.refused.contains_key(&item.seq)
    }

    /// The rows of the next append: everything accepted that only memory holds, and what waits for its commit, in number
    /// order, at most `limit` messages, and none behind one that must wait. Answers them with whether one wants the commit
    /// synced.
    pub(super) fn take_rows(&mut self, segments: &Segments, limit: usize) -> (Vec<Numbered>, bool) {
        let mut rows = self.kept_rows(segments, limit);
        let mut synced = false;
        let ready = self.fresh.iter().position(|i| !self.is_writable(i)).unwrap_or(self.fresh.len());
        let room = limit.saturating_sub(rows.len());
        for item in self.fresh.range_mut(..ready.min(room)) {
            if let QueuedState::Reserved { synced: wants, given, .. } = &mut item.state {
                if *given == StoreHandoff::NotGiven {
                    *given = StoreHandoff::InAppend;
                }
                synced |= *wants;
            }
            rows.push((item.seq, item.message.clone()));
        }
        let rows = rows.into_iter().map(|(seq, message)| self.numbered(seq, message)).collect();
        (rows, synced)
    }

    /// The rows a group append must write together with its own message: what was accepted before it.
    pub(super) fn accepted_rows(&self, segments: &Segments) -> Vec<Numbered> {
        let fresh = self.fresh.iter().filter(|i| i.state == QueuedState::Accepted).map(|i| (i.seq, i.message.clone()));
        let kept = self.kept_rows(segments, usize::MAX).into_iter();
        kept.chain(fresh).map(|(seq, message)| self.numbered(seq, message)).collect()
    }

    fn kept_rows(&self, segments: &Segments, limit: usize) -> Vec<(Seq, Message)> {
        let body = |sent: &SentMessage| match &sent.kept {
            Retained::Frame(frame) => Some((sent.seq, segments.message(*frame))),
            Retained::Message(message, _) => Some((sent.seq, Message::clone(message))),
            Retained::Stored => None,
        };
        self.inflight.kept().filter_map(body).take(limit).collect()
    }

    pub(super) fn numbered(&self, seq: Seq, message: Message) -> Numbered {
        Numbered { seq, incarnation: self.incarnation(seq), message }
    }

    /// The append up to `through` is committed: its messages are stored. Answers the last number that became accepted
    /// by it.
    pub(super) fn mark_stored(&mut self, through: Seq) -> Option<Seq> {
        let mut accepted = None;
        for item in self.fresh.iter_mut().take_while(|i| i.seq <= through) {
            match item.state {
                QueuedState::Reserved { .. } => {
                    accepted = Some(item.seq);
                    self.reserved -= 1;
                    self.pending.add(item.message.size());
                }
                QueuedState::Accepted => {}
                QueuedState::External | QueuedState::Stored => continue,
            }
            item.state = QueuedState::Stored;
        }
        accepted
    }

    /// The group append of the external message `seq` is committed, and with it all that was accepted before.
    pub(super) fn mark_group_stored(&mut self, seq: Seq) {
        for item in self.fresh.iter_mut().take_while(|i| i.seq <= seq) {
            if item.seq == seq {
                self.pending.add(item.message.size());
            } else if item.state != QueuedState::Accepted {
                continue;
            }
            item.state = QueuedState::Stored;
        }
    }

    /// Moves committed messages from the front of `fresh` behind the others that are stored; those that `keep` allows stay
    /// in memory to be sent. Answers how much memory was freed.
    pub(super) fn settle(&mut self, through: Seq, keep: impl Fn(&SendLane) -> bool) -> Volume {
        let mut freed = Volume::default();
        let unstored = self.inflight.kept().next().map(|sent| sent.seq);
        while let Some(item) = self.fresh.pop_front_if(|i| i.state == QueuedState::Stored && unstored.is_none()) {
            freed.add(item.message.size());
            let follows = !self.is_behind() && keep(self);
            self.stored = item.seq;
            if follows {
                self.cached = item.seq;
                self.ready_bytes += item.message.size();
                self.ready.push_back(item);
            }
        }
        let unstored = unstored.or(self.fresh.front().map(|i| i.seq));
        let limit = unstored.map_or(through, |seq| through.min(seq.prev()));
        if limit > self.stored {
            let behind = self.is_behind();
            self.stored = limit;
            if !behind {
                self.cached = self.covered().max(limit);
            }
        }
        freed
    }

    /// The receiver has everything up to `position`: what was sent behind it must be sent again.
    pub(super) fn rewind(&mut self, position: Seq, segments: &mut Segments) {
        self.rest = None;
        self.loading = None;
        while let Some(sent) = self.inflight.pop_behind(position) {
            let (message, since) = match sent.kept {
                Retained::Stored => continue,
                Retained::Message(message, since) => (*message, since),
                Retained::Frame(frame) => {
                    let kept = (segments.message(frame), segments.since(frame));
                    segments.release(frame, 1);
                    kept
                }
            };
            let item = QueuedMessage { seq: sent.seq, message, state: QueuedState::Accepted, since, redelivered: true };
            self.fresh.push_front(item);
        }
        self.ready.clear();
        self.ready_bytes = 0;
        self.sent = position;
        self.cached = position.max(self.acked);
    }

    /// Whether the next accepted message of this lane may be sent at once.
    #[inline]
    pub(super) fn sends_at_once(&self) -> bool {
        let idle = self.ready.is_empty() && self.fresh.is_empty() && self.rest.is_none() && !self.is_behind();
        self.connection == LanePhase::Open && idle && self.refused.is_empty() && self.credit.allows()
    }
}
