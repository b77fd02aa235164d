//! What becomes of messages that were handed over.

use super::queue::EntryState;
use super::{CursorStep, Disposition, Inbound, InboundEvent, LaneSlot};
use crate::types::Message;
use crate::wire::backoff;
use std::ops::Range;
use std::time::{Duration, Instant};

impl Inbound {
    /// Takes a message back from a subscriber that borrows and did not handle it. Report its disposition next.
    pub fn handle_return(&mut self, slot: LaneSlot, token: u64, message: Message) {
        if let Some(entry) = self.lanes[slot].queue.get_mut(token) {
            entry.message = Some(message);
        }
    }

    /// Handles that the subscriber handled some messages in a row, each at this attempt. Returns how many of them the
    /// subscriber had.
    pub fn handle_handled(&mut self, now: Instant, slot: LaneSlot, tokens: Range<u64>, attempt: u32) -> u64 {
        let lane = &mut self.lanes[slot];
        let (before, outstanding) = (lane.queue.base(), lane.gate.outstanding());
        for token in tokens {
            // Mostly they are the first in the queue, and leave it.
            if token == lane.queue.base()
                && let Some(entry) = lane.queue.pop_front_if(|e| e.is_with_subscriber(attempt))
            {
                lane.gate.answered();
                lane.finish(entry.place, entry.size, entry.flags);
            } else if let Some(entry) = lane.queue.get_mut(token).filter(|e| e.is_with_subscriber(attempt)) {
                entry.finish();
                lane.gate.answered();
            }
        }
        lane.advance();
        let handled = u64::from(outstanding - lane.gate.outstanding());
        if lane.queue.base() != before {
            self.schedule_ack(now, slot);
        }
        self.schedule.enqueue(slot, &mut self.lanes[slot]);
        handled
    }

    /// Handles what the subscriber made of a message at one attempt. Returns whether the subscriber had it.
    ///
    /// `random` returns any 64 random bits, for a backoff.
    pub fn handle_disposition(
        &mut self,
        now: Instant,
        slot: LaneSlot,
        token: u64,
        attempt: u32,
        disposition: Disposition,
        random: impl FnOnce() -> u64,
    ) -> bool {
        let record = self.config.record_attempts;
        let lane = &mut self.lanes[slot];
        let Some(entry) = lane.queue.get_mut(token).filter(|e| e.is_with_subscriber(attempt)) else { return false };
        match disposition {
            Disposition::Done => return self.handle_handled(now, slot, token..token + 1, attempt) > 0,
            Disposition::Untried => {
                entry.handed -= 1;
                self.counts.untried += 1;
                self.counts.untried_bytes += entry.size.unwrap_or_default() as u64;
                let recorded = record && entry.is_redelivered() && entry.place.is_some();
                entry.state = if recorded { EntryState::Recorded } else { EntryState::Waiting };
                lane.gate.answered();
                lane.queue.set_waiting(token);
                // It waits again, and may share the buffer it arrived in.
                self.schedule.attach(slot, lane, token);
            }
            Disposition::Failed { delay, reason } => {
                lane.gate.answered();
                self.failed(now, slot, token, delay, reason, random());
            }
        }
        self.advance(now, slot);
        true
    }

    fn failed(
        &mut self,
        now: Instant,
        slot: LaneSlot,
        token: u64,
        delay: Option<Duration>,
        reason: String,
        random: u64,
    ) {
        let (min, max) = (self.config.nack_backoff_min, self.config.nack_backoff_max);
        let lane = &mut self.lanes[slot];
        let Some(entry) = lane.queue.get_mut(token) else { return };
        entry.failed += 1;
        if entry.place.is_none() {
            entry.finish();
            self.counts.dropped += 1;
            return;
        }
        let wait = delay.unwrap_or_else(|| backoff::delay(min, max, entry.failed, random));
        if entry.failed >= self.config.max_attempts {
            self.give_up(slot, token, reason);
            return;
        }
        entry.state = EntryState::Waiting;
        lane.queue.set_waiting(token);
        lane.gate.block_until(now + wait);
        self.schedule.add_timed(slot);
    }

    /// Makes a message a dead letter.
    pub(super) fn give_up(&mut self, slot: LaneSlot, token: u64, reason: String) {
        let lane = &mut self.lanes[slot];
        let is_first = lane.queue.base() == token;
        let expected = lane.cursors.stored_incarnation();
        let Some(entry) = lane.queue.get_mut(token) else { return };
        entry.state = EntryState::Dying;
        let (Some(place), Some(message)) = (entry.place, entry.message.clone()) else { return };
        let attempts = entry.failed;
        let advance = if is_first { CursorStep::Advance { expected } } else { CursorStep::Stay };
        self.events.push_back(InboundEvent::DeadLetter { slot, token, place, message, attempts, reason, advance });
    }

    /// Handles that the dead letter is kept.
    pub fn handle_dead_lettered(&mut self, now: Instant, slot: LaneSlot, token: u64) {
        if let Some(entry) = self.lanes[slot].queue.get_mut(token).filter(|e| e.state == EntryState::Dying) {
            entry.finish();
            self.advance(now, slot);
        }
    }
}
