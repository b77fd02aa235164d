//! What becomes of messages that were handed over.

use super::*;
use crate::wire::backoff;

impl Inbound {
    /// A subscriber that borrows brings a message back: it is about to answer that it was not handled.
    pub fn handle_return(&mut self, slot: LaneSlot, token: u64, message: Message) {
        if let Some(entry) = self.lanes[slot.0].entry(token) {
            entry.message = Some(message);
        }
    }

    /// The subscriber handled some messages in a row, each at this attempt. Answers for how many that was new.
    pub fn handle_handled(&mut self, now: Instant, slot: LaneSlot, tokens: Range<u64>, attempt: u32) -> u64 {
        let lane = &mut self.lanes[slot.0];
        let (before, with_subscriber) = (lane.base, lane.handed);
        for token in tokens {
            // Mostly they are the first in the queue, and leave it.
            if token == lane.base
                && let Some(entry) = lane.queue.pop_front_if(|e| e.is_with_subscriber(attempt))
            {
                lane.handed -= 1;
                lane.leave(entry.place, entry.size, entry.flags);
            } else if let Some(entry) = lane.entry(token).filter(|e| e.is_with_subscriber(attempt)) {
                entry.message = None;
                entry.state = EntryState::Done;
                lane.handed -= 1;
            }
        }
        lane.advance();
        let handled = u64::from(with_subscriber - lane.handed);
        if lane.base != before {
            self.left(now, slot);
        }
        self.enqueue(slot);
        handled
    }

    /// The subscriber answered to one attempt. `random` gives any 64 random bits, for a backoff. Answers whether that was new.
    pub fn handle_disposition(
        &mut self,
        now: Instant,
        slot: LaneSlot,
        token: u64,
        attempt: u32,
        answer: Disposition,
        random: impl FnOnce() -> u64,
    ) -> bool {
        let record = self.config.record_attempts;
        let lane = &mut self.lanes[slot.0];
        let Some(entry) = lane.entry(token).filter(|e| e.is_with_subscriber(attempt)) else { return false };
        match answer {
            Disposition::Done => return self.handle_handled(now, slot, token..token + 1, attempt) > 0,
            Disposition::Untried => {
                entry.handed -= 1;
                self.counts.untried += 1;
                self.counts.untried_bytes += entry.size.unwrap_or_default() as u64;
                let redelivered = entry.flags.has(DataFlags::REDELIVERED) || entry.handed > 0;
                let recorded = record && redelivered && entry.place.is_some();
                entry.state = if recorded { EntryState::Recorded } else { EntryState::Waiting };
                lane.handed -= 1;
                lane.next = lane.next.min(token);
                // It waits again, and may share the buffer it arrived in.
                if lane.attached.is_none() {
                    self.attached.push(slot);
                }
                lane.attached = Some(lane.attached.map_or(token, |first| first.min(token)));
            }
            Disposition::Failed { delay, reason } => {
                lane.handed -= 1;
                self.failed(now, slot, token, delay, reason, random());
            }
        }
        self.moved(now, slot);
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
        let (first, cap, max) = (self.config.nack_backoff_min, self.config.nack_backoff_max, self.config.max_attempts);
        let lane = &mut self.lanes[slot.0];
        let Some(entry) = lane.entry(token) else { return };
        entry.failed += 1;
        if entry.place.is_none() {
            entry.message = None;
            entry.state = EntryState::Done;
            self.counts.dropped += 1;
            return;
        }
        let wait = delay.unwrap_or_else(|| backoff::delay(first, cap, entry.failed, random));
        if entry.failed >= max {
            self.give_up(slot, token, reason);
            return;
        }
        entry.state = EntryState::Waiting;
        lane.next = lane.next.min(token);
        let until = now + wait;
        lane.blocked = Some(lane.blocked.map_or(until, |b| b.max(until)));
        self.timed.insert(slot);
    }

    /// The message becomes a dead letter.
    pub(super) fn give_up(&mut self, slot: LaneSlot, token: u64, reason: String) {
        let lane = &mut self.lanes[slot.0];
        let front = lane.base == token;
        let stored = lane.committing.or(lane.committed).map(|c| c.incarnation);
        let Some(entry) = lane.entry(token) else { return };
        entry.state = EntryState::Dying;
        let (Some(place), Some(message)) = (entry.place, entry.message.clone()) else { return };
        let attempts = entry.failed;
        let advance = front.then_some(stored);
        self.events.push_back(InboundEvent::DeadLetter { slot, token, place, message, attempts, reason, advance });
    }

    /// The dead letter is kept.
    pub fn handle_dead_lettered(&mut self, now: Instant, slot: LaneSlot, token: u64) {
        let lane = &mut self.lanes[slot.0];
        if let Some(entry) = lane.entry(token).filter(|e| e.state == EntryState::Dying) {
            entry.message = None;
            entry.state = EntryState::Done;
            self.moved(now, slot);
        }
    }
}
