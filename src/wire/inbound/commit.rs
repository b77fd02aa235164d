//! Cursors: when they are committed, and what was acked for it.

use super::cursors::CommitEnd;
use super::{Inbound, InboundEvent, LaneSlot};
use crate::types::Cursor;
use std::time::Instant;

impl Inbound {
    /// Takes everything done off the queue of a lane, and gives the lane a turn.
    pub(super) fn advance(&mut self, now: Instant, slot: LaneSlot) {
        if self.lanes[slot].advance() {
            self.schedule_ack(now, slot);
        }
        self.schedule.enqueue(slot, &mut self.lanes[slot]);
    }

    /// Something of a lane is done: schedules its ack, and the commit of its cursor.
    pub(super) fn schedule_ack(&mut self, now: Instant, slot: LaneSlot) {
        let lane = &mut self.lanes[slot];
        self.acks.note(slot, lane);
        if lane.is_ack_due() {
            self.acks.set_due(|| now + self.config.ack_delay);
        }
        if lane.cursors.is_strict() || self.draining {
            self.schedule.commit(slot);
        } else if lane.cursors.schedule_commit(|| now + self.config.write_behind_delay) {
            self.schedule.add_timed(slot);
        }
    }

    /// Handles the end of a lane's cursor commit. `Err` is what the store holds if it does not hold what was expected.
    pub fn handle_advanced(&mut self, slot: LaneSlot, outcome: Result<(), Option<Cursor>>) {
        let lane = &mut self.lanes[slot];
        let Some(end) = lane.cursors.end_commit(outcome) else { return };
        if let CommitEnd::Behind(stored) = end {
            // The store may be ahead by a dead letter that is not known to be kept: the cursor continues when it is.
            let waits_for_letter = outcome.is_err() && lane.queue.is_dying_at(stored);
            let urgent = lane.cursors.is_strict() || self.draining || outcome.is_err();
            if !waits_for_letter && (urgent || lane.cursors.commit_due().is_none()) {
                self.schedule.commit(slot);
            }
        }
        self.acks.note(slot, lane);
        self.acks.hurry();
    }

    /// Returns the next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<InboundEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while let Some(slot) = self.schedule.pop_commit() {
            if let Some((expected, cursor)) = self.lanes[slot].cursors.begin_commit() {
                return Some(InboundEvent::Advance { slot, expected, cursor });
            }
        }
        None
    }
}
