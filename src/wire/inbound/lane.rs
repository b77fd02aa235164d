//! One lane as its receiver sees it.
//!
//! ```text
//!   committed     handled                         received
//!      |  cursor due |  handed over  |   waiting    |
//! -----+-------------+---------------+--------------+---->  order of arrival
//!                    '----------- queue -----------'
//! ```
//!
//! Positions are cursors, (incarnation, number): numbers of different incarnations are never compared. What counts is the
//! order of arrival, which is the order of the queue.

use super::{LaneSlot, SubscriberSpec};
use crate::types::{Cursor, Incarnation, LaneId, Message, Seq};
use crate::wire::error::LinkError;
use crate::wire::frame::{Data, DataFlags, LaneIx, Resume};
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Instant;

/// As much is acked at once: what one write of the sender mostly has, so that its memory is free again.
const ACK_BYTES: u64 = 64 * 1024;
/// The same for small messages.
const ACK_MESSAGES: u64 = 1024;

/// Where a message stands between arrival and ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    /// To be handed over.
    Waiting,
    /// Its attempt is being recorded before it is handed over.
    Recording,
    /// Its attempt is recorded; to be handed over.
    Recorded,
    /// With the subscriber.
    Handed { since: Instant },
    /// Being kept as a dead letter.
    Dying,
    /// Handled, dead-lettered or skipped.
    Done,
}

#[derive(Debug)]
pub(super) struct QueueEntry {
    /// `None`: at most once.
    pub(super) place: Option<Cursor>,
    /// Gone once done.
    pub(super) message: Option<Message>,
    /// What it takes of the credit; 0 messages for a skip.
    pub(super) size: Option<usize>,
    pub(super) flags: DataFlags,
    /// Hand-overs, those recorded by an earlier process included.
    pub(super) handed: u32,
    /// Hand-overs that ended in failure.
    pub(super) failed: u32,
    pub(super) state: EntryState,
}

impl QueueEntry {
    /// Whether the subscriber has it, handed over for the `attempt`th time.
    pub(super) fn is_with_subscriber(&self, attempt: u32) -> bool {
        matches!(self.state, EntryState::Handed { .. }) && self.handed == attempt
    }
}

/// Whether the cursor was read.
#[derive(Debug)]
pub(super) enum CursorState {
    /// Nobody asked yet.
    Unread,
    /// The store was asked; the latest `Resume` waits for the answer.
    Reading(Box<Resume>),
    /// The store answered.
    Read,
}

/// The parts of a large message that have arrived.
#[derive(Debug)]
pub(super) struct PartialMessage {
    pub(super) seq: Seq,
    pub(super) headers: bytes::Bytes,
    pub(super) payload: bytes::BytesMut,
}

/// A message of which not all parts are here yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arriving {
    /// `Seq::ZERO`: at most once.
    pub(super) seq: Seq,
    /// Raw bytes so far.
    pub(super) size: usize,
    /// The rest of it is dropped.
    pub(super) dropped: bool,
}

/// The lane on the present connection.
#[derive(Debug)]
pub(super) struct ConnectionView {
    pub(super) ix: LaneIx,
    /// The sender's incarnations with their first numbers.
    pub(super) spans: Vec<(Incarnation, Seq)>,
    /// The last number that arrived in order, in the sender's numbering.
    pub(super) position: Seq,
    /// Refused: everything with a number is dropped until it is skipped.
    pub(super) refused: Option<Seq>,
    pub(super) partial: Option<PartialMessage>,
    pub(super) arriving: Option<Arriving>,
    /// The ack sent last.
    pub(super) acked: Option<Cursor>,
    /// Send the ack even if it is the same.
    pub(super) ack_again: bool,
    /// Messages and bytes that left the queue since the lane was resumed.
    pub(super) consumed: (u64, u64),
    /// The same when the sender was last told.
    pub(super) told: (u64, u64),
    /// Messages and bytes that waited already when the lane was resumed: they take their part of the window.
    pub(super) waited: (u64, u64),
    /// Credit as last announced.
    pub(super) granted: (u64, u64),
}

impl ConnectionView {
    /// The credit a receiver with this window may have granted since the lane was resumed.
    pub(super) fn credit(&self, window: (u64, u64)) -> (u64, u64) {
        let of = |window: u64, consumed: u64, waited: u64| (window + consumed).saturating_sub(waited);
        (of(window.0, self.consumed.0, self.waited.0), of(window.1, self.consumed.1, self.waited.1))
    }

    /// Whether enough has left the queue for the sender to be told at once, out of this window.
    pub(super) fn has_news(&self, window: (u64, u64)) -> bool {
        let (messages, bytes) = (self.consumed.0 - self.told.0, self.consumed.1 - self.told.1);
        messages >= (window.0 / 8).min(ACK_MESSAGES) || bytes >= (window.1 / 8).min(ACK_BYTES)
    }

    /// Whether nothing is half here, and nothing is to be dropped.
    pub(super) fn is_between_messages(&self) -> bool {
        self.arriving.is_none() && self.partial.is_none() && self.refused.is_none()
    }

    /// A message is here. Answers its place.
    pub(super) fn arrived(&mut self, data: &Data<'_>) -> Option<Cursor> {
        if data.is_direct() {
            return None;
        }
        self.position = data.seq;
        self.cursor(data.seq)
    }

    /// InboundCounts a part. A part of another message means that the sender gave the last one up.
    pub(super) fn arrive(&mut self, data: &Data<'_>) -> Arriving {
        let before = self.arriving.filter(|a| a.seq == data.seq);
        let mut arriving = before.unwrap_or(Arriving { seq: data.seq, size: 0, dropped: false });
        arriving.size += data.headers.len() + data.raw_size();
        self.arriving = data.flags.has(DataFlags::MORE).then_some(arriving);
        arriving
    }

    /// The later of two places, by the order of this session's incarnations.
    pub(super) fn later(&self, a: Cursor, b: Cursor) -> Cursor {
        let rank = |c: Cursor| (self.spans.iter().position(|(i, _)| *i == c.incarnation), c.seq);
        if rank(a) > rank(b) { a } else { b }
    }

    /// The incarnation of a number of this session.
    pub(super) fn cursor(&self, seq: Seq) -> Option<Cursor> {
        // Nearly always it is of the last one.
        let (incarnation, _) = match self.spans.last()? {
            last if last.1 <= seq => last,
            _ => self.spans.iter().rev().find(|(_, first)| *first <= seq).or(self.spans.first())?,
        };
        Some(Cursor { incarnation: *incarnation, seq })
    }

    /// Whether a message is a duplicate.
    pub(super) fn check(&self, data: &Data<'_>) -> Result<bool, LinkError> {
        if data.is_direct() {
            return Ok(false);
        }
        let expected = self.position.next();
        match data.seq.cmp(&expected) {
            _ if self.spans.is_empty() => Err(LinkError::UnknownLane),
            Ordering::Less => Ok(true),
            Ordering::Greater if self.refused.is_none() => Err(LinkError::Hole { expected, found: data.seq }),
            Ordering::Equal | Ordering::Greater => Ok(false),
        }
    }

    pub(super) fn knows(&self, incarnation: Incarnation) -> bool {
        self.spans.iter().any(|(i, _)| *i == incarnation)
    }
}

/// How a `Resume` meets what this node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResumePlan {
    /// What arrives next is the number after this one.
    pub(super) position: Seq,
    /// What to tell the sender.
    pub(super) received: Option<(Incarnation, Seq)>,
    /// The sender acked more than this node remembers: lift the cursor to it.
    pub(super) lift: Option<Cursor>,
    /// The incarnation is not the one this node knew, nor one that follows it.
    pub(super) restarted: bool,
}

/// Decides where a lane goes on. See the module for what the positions mean.
pub(super) fn plan_resume(resume: &Resume, received: Option<Cursor>) -> ResumePlan {
    let Some((_, first)) = resume.spans.first().copied() else {
        return ResumePlan { position: Seq::ZERO, received: None, lift: None, restarted: false };
    };
    let start = first.prev();
    let known = received.and_then(|c| resume.spans.iter().position(|(i, _)| *i == c.incarnation).map(|at| (c, at)));
    let (position, told, restarted) = match (received, known) {
        (_, Some((cursor, at))) => {
            let end = resume.spans.get(at + 1).map(|(_, next)| next.prev());
            let position = end.map_or(cursor.seq, |end| cursor.seq.min(end));
            (position, Some((cursor.incarnation, cursor.seq)), false)
        }
        (None, None) => (start, None, false),
        (Some(cursor), None) => (start, None, resume.predecessor != Some(cursor.incarnation)),
    };
    if resume.acked <= position || resume.acked < first || restarted {
        return ResumePlan { position, received: told, lift: None, restarted };
    }
    let owner = resume.spans.iter().rev().find(|(_, first)| *first <= resume.acked);
    let lift = owner.map(|(incarnation, _)| Cursor { incarnation: *incarnation, seq: resume.acked });
    let received = lift.map(|c| (c.incarnation, c.seq));
    ResumePlan { position: resume.acked, received, lift, restarted }
}

#[derive(Debug)]
pub(super) struct RecvLane {
    pub(super) id: LaneId,
    /// Who takes its messages.
    pub(super) handler: Option<SubscriberSpec>,
    pub(super) knowledge: CursorState,
    pub(super) session: Option<ConnectionView>,
    pub(super) received: Option<Cursor>,
    pub(super) handled: Option<Cursor>,
    pub(super) committed: Option<Cursor>,
    /// The commit under way.
    pub(super) committing: Option<Cursor>,
    /// Something handled and not committed may be acked only when it is.
    pub(super) strict: bool,
    /// When the cursor must be committed at the latest.
    pub(super) commit_due: Option<Instant>,
    pub(super) queue: VecDeque<QueueEntry>,
    /// Token of the first entry.
    pub(super) base: u64,
    /// Token of the first entry that may be waiting.
    pub(super) next: u64,
    /// Entries with the subscriber, or ready for it.
    pub(super) handed: u32,
    /// How many of them may be ready for it beyond those it has.
    pub(super) ahead: u32,
    /// The one handed over last must be answered before the next.
    pub(super) alone: bool,
    /// Nothing is handed over for now.
    pub(super) held_up: bool,
    /// Those handed over are a whole: all must be answered before the next.
    pub(super) whole: bool,
    /// After a nack: not before this, and not before all that were handed over are answered.
    pub(super) blocked: Option<Instant>,
    /// Attempts recorded by an earlier process: (incarnation, number, attempts).
    pub(super) recorded: Vec<(Incarnation, Seq, u32)>,
    /// Whether the lane stands in the queue of lanes with something to hand over.
    pub(super) queued: bool,
    /// Whether the lane is among those whose ack or credit may have changed.
    pub(super) changed: bool,
    /// The first entry that may share the buffer it arrived in.
    pub(super) attached: Option<u64>,
}

impl RecvLane {
    pub(super) fn new(id: LaneId, handler: Option<SubscriberSpec>) -> Self {
        RecvLane {
            id,
            handler,
            knowledge: CursorState::Unread,
            session: None,
            received: None,
            handled: None,
            committed: None,
            committing: None,
            strict: false,
            commit_due: None,
            queue: VecDeque::new(),
            base: 0,
            next: 0,
            handed: 0,
            ahead: 0,
            alone: false,
            held_up: false,
            whole: false,
            blocked: None,
            recorded: Vec::new(),
            queued: false,
            changed: false,
            attached: None,
        }
    }

    pub(super) fn entry(&mut self, token: u64) -> Option<&mut QueueEntry> {
        self.queue.get_mut(usize::try_from(token.checked_sub(self.base)?).ok()?)
    }

    /// The ack or the credit of this lane, which is `slot`, may have changed.
    pub(super) fn note_change(&mut self, slot: LaneSlot, changed: &mut Vec<LaneSlot>) {
        if !std::mem::replace(&mut self.changed, true) {
            changed.push(slot);
        }
    }

    /// The next entry to hand over, with its token.
    pub(super) fn next_waiting(&mut self) -> Option<(u64, &mut QueueEntry)> {
        let from = usize::try_from(self.next.saturating_sub(self.base)).ok()?;
        let waits =
            |e: &QueueEntry| matches!(e.state, EntryState::Waiting | EntryState::Recorded | EntryState::Recording);
        let at = self.queue.range(from.min(self.queue.len())..).position(waits)? + from;
        self.next = self.base + at as u64;
        let token = self.next;
        self.queue.get_mut(at).map(|entry| (token, entry))
    }

    /// Whether the subscriber may have one more message, or it may be held ready for it.
    pub(super) fn has_room(&self, handler: SubscriberSpec, records: bool) -> bool {
        // What waits for the subscriber would use up its time; and an attempt is recorded when it is made.
        let ahead = if records || handler.timeout.is_some() { 0 } else { self.ahead };
        let whole = self.whole && self.handed > 0;
        !self.held_up && !whole && self.handed < handler.in_flight.saturating_add(ahead)
    }

    /// Takes what is done off the front of the queue. Answers whether anything was.
    pub(super) fn advance(&mut self) -> bool {
        let before = self.base;
        while let Some(entry) = self.queue.pop_front_if(|e| e.state == EntryState::Done) {
            self.leave(entry.place, entry.size, entry.flags);
        }
        self.base != before
    }

    /// What is first in order of arrival is done with.
    pub(super) fn leave(&mut self, place: Option<Cursor>, size: Option<usize>, flags: DataFlags) {
        self.base += 1;
        if let Some(place) = place {
            self.handled = Some(place);
            self.strict |= flags.has(DataFlags::STRICT);
        }
        if let Some(size) = size {
            self.consume(size);
        }
        self.next = self.next.max(self.base);
    }

    /// Numbers up to `place` will never come. Skips in a row are one entry, so that a peer cannot pile them up.
    pub(super) fn skip(&mut self, place: Option<Cursor>) {
        if let Some(last) = self.queue.back_mut().filter(|e| e.size.is_none()) {
            last.place = place;
            return;
        }
        let (flags, state) = (DataFlags::empty(), EntryState::Done);
        self.queue.push_back(QueueEntry { place, message: None, size: None, flags, handed: 0, failed: 0, state });
    }

    /// A message left the queue, or never entered it: its credit is free again.
    pub(super) fn consume(&mut self, size: usize) {
        if let Some(session) = &mut self.session {
            session.consumed.0 += 1;
            session.consumed.1 += size as u64;
        }
    }

    /// Whether the store's cursor stands on a message whose dead letter is under way: it moved with the letter.
    pub(super) fn is_dying_at(&self, cursor: Option<Cursor>) -> bool {
        self.queue.iter().any(|e| e.state == EntryState::Dying && e.place == cursor)
    }

    /// What may be acked now.
    pub(super) fn ack_floor(&self) -> Option<Cursor> {
        if self.strict { self.committed } else { self.handled }
    }

    /// What the queue holds against the window.
    pub(super) fn waiting(&self) -> (u64, u64) {
        let sizes = self.queue.iter().filter_map(|e| e.size);
        sizes.fold((0, 0), |(messages, bytes), size| (messages + 1, bytes + size as u64))
    }

    /// Whether the sender does not know yet how far it may be acked.
    pub(super) fn is_ack_due(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.acked != self.ack_floor())
    }

    /// Whether everything handled is committed and nothing is with a subscriber.
    pub(super) fn is_settled(&self) -> bool {
        self.handed == 0 && self.committing.is_none() && self.handled == self.committed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Topic;

    const A: Incarnation = Incarnation::new(0xa);
    const B: Incarnation = Incarnation::new(0xb);
    const C: Incarnation = Incarnation::new(0xc);

    fn resume(predecessor: Option<Incarnation>, acked: u64, spans: &[(Incarnation, u64)]) -> Resume {
        Resume {
            lane: LaneIx(0),
            source: Topic::new("s").expect("valid"),
            topic: Topic::new("t").expect("valid"),
            predecessor,
            acked: Seq::new(acked),
            spans: spans.iter().map(|(i, n)| (*i, Seq::new(*n))).collect(),
        }
    }

    fn at(incarnation: Incarnation, seq: u64) -> Option<Cursor> {
        Some(Cursor { incarnation, seq: Seq::new(seq) })
    }

    fn position(resume: &Resume, received: Option<Cursor>) -> (u64, bool) {
        let meeting = plan_resume(resume, received);
        (meeting.position.get(), meeting.restarted)
    }

    #[test]
    fn a_lane_goes_on_where_the_cursor_is() {
        let chain = resume(None, 50, &[(A, 1), (B, 101)]);
        assert_eq!(position(&chain, at(A, 70)), (70, false));
        assert_eq!(position(&chain, at(B, 130)), (130, false));
    }

    #[test]
    fn numbers_an_incarnation_gave_out_and_lost_do_not_hide_those_of_the_next() {
        let chain = resume(None, 50, &[(A, 51), (B, 101)]);
        assert_eq!(position(&chain, at(A, 120)), (100, false));
    }

    #[test]
    fn the_predecessor_is_an_unbroken_chain_and_anything_else_a_restart() {
        let chain = resume(Some(A), 100, &[(B, 101)]);
        assert_eq!(position(&chain, at(A, 120)), (100, false));
        assert_eq!(position(&chain, at(C, 500)), (100, true));
        assert_eq!(position(&chain, None), (100, false));
    }

    #[test]
    fn the_cursor_is_lifted_to_what_the_sender_knows_is_acked() {
        let meeting = plan_resume(&resume(None, 80, &[(A, 1)]), at(A, 60));
        assert_eq!(meeting.position, Seq::new(80));
        assert_eq!(meeting.lift, at(A, 80));
        assert_eq!(plan_resume(&resume(None, 80, &[(A, 1)]), None).lift, at(A, 80));
    }
}
