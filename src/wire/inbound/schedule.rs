//! Lanes that have something to do.

use super::LaneSlot;
use super::lane::RecvLane;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

/// The lanes of a peer that have something to do.
#[derive(Debug, Default)]
pub(super) struct RecvSchedule {
    /// Lanes that may have something to hand over, in turn.
    turn: VecDeque<LaneSlot>,
    /// Lanes whose cursor is to be committed now.
    committing: BTreeSet<LaneSlot>,
    /// Lanes with a deadline.
    timed: BTreeSet<LaneSlot>,
    /// Lanes with messages that share the buffer they arrived in.
    attached: Vec<LaneSlot>,
}

impl RecvSchedule {
    /// Gives a lane a turn if it has none.
    #[inline]
    pub(super) fn enqueue(&mut self, slot: LaneSlot, lane: &mut RecvLane) {
        if !lane.in_turn {
            lane.in_turn = true;
            self.turn.push_back(slot);
        }
    }

    /// Returns the lane whose turn it is.
    pub(super) fn turn(&self) -> Option<LaneSlot> {
        self.turn.front().copied()
    }

    /// Ends the turn of a lane, which is the first.
    pub(super) fn end_turn(&mut self, lane: &mut RecvLane) {
        self.turn.pop_front();
        lane.in_turn = false;
    }

    pub(super) fn commit(&mut self, slot: LaneSlot) {
        self.committing.insert(slot);
    }

    pub(super) fn pop_commit(&mut self) -> Option<LaneSlot> {
        self.committing.pop_first()
    }

    pub(super) fn add_timed(&mut self, slot: LaneSlot) {
        self.timed.insert(slot);
    }

    pub(super) fn retain_timed(&mut self, is_timed: impl Fn(LaneSlot) -> bool) {
        self.timed.retain(|slot| is_timed(*slot));
    }

    pub(super) fn timed(&self) -> impl Iterator<Item = LaneSlot> {
        self.timed.iter().copied()
    }

    /// Notes that the message `token` of a lane may share the buffer it arrived in.
    #[inline]
    pub(super) fn attach(&mut self, slot: LaneSlot, lane: &mut RecvLane, token: u64) {
        if lane.queue.attach(token) {
            self.attached.push(slot);
        }
    }

    pub(super) fn pop_attached(&mut self) -> Option<LaneSlot> {
        self.attached.pop()
    }
}

/// When acks and credit are written.
#[derive(Debug, Default)]
pub(super) struct AckSchedule {
    /// Lanes whose ack or credit may have changed.
    changed: Vec<LaneSlot>,
    /// When they are written at the latest.
    due: Option<Instant>,
    /// Whether they are written at once.
    now: bool,
}

impl AckSchedule {
    /// Notes that the ack or the credit of a lane may have changed.
    #[inline]
    pub(super) fn note(&mut self, slot: LaneSlot, lane: &mut RecvLane) {
        if !std::mem::replace(&mut lane.in_acks, true) {
            self.changed.push(slot);
        }
    }

    /// Writes them at once.
    pub(super) fn hurry(&mut self) {
        self.now = true;
    }

    /// Whether they are written at once.
    pub(super) fn is_now(&self) -> bool {
        self.now
    }

    /// Writes them at the latest at `due`, unless they are due before.
    #[inline]
    pub(super) fn set_due(&mut self, due: impl FnOnce() -> Instant) {
        if self.due.is_none() {
            self.due = Some(due());
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Time has passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.now |= self.due.take_if(|due| *due <= now).is_some();
    }

    pub(super) fn changed(&self) -> impl Iterator<Item = LaneSlot> {
        self.changed.iter().copied()
    }

    /// Takes one of the lanes. They are being written.
    pub(super) fn pop(&mut self) -> Option<LaneSlot> {
        (self.due, self.now) = (None, false);
        self.changed.pop()
    }
}
