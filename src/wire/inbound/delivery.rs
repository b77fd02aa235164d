//! Handing messages over.

use super::queue::EntryState;
use super::{HandOver, Inbound, InboundEvent, LaneSlot};
use crate::types::Topic;
use std::time::Instant;

impl Inbound {
    /// Returns the next message to hand over. Report what the subscriber made of it with
    /// [`Inbound::handle_handled`] or [`Inbound::handle_disposition`].
    pub fn poll_delivery(&mut self, now: Instant) -> Option<HandOver> {
        while let Some(slot) = self.schedule.turn() {
            if let Some(delivery) = self.hand_over(slot, now) {
                return Some(delivery);
            }
            self.schedule.end_turn(&mut self.lanes[slot]);
        }
        self.detach();
        None
    }

    fn hand_over(&mut self, slot: LaneSlot, now: Instant) -> Option<HandOver> {
        if self.draining {
            return None;
        }
        let record = self.config.record_attempts;
        let lane = &mut self.lanes[slot];
        let subscriber = lane.gate.admit(now, record)?;
        let (token, entry) = lane.queue.next_waiting()?;
        if entry.failed >= self.config.max_attempts {
            self.give_up(slot, token, "the process that handled it died".to_owned());
            return self.hand_over(slot, now);
        }
        let redelivered = entry.is_redelivered();
        // A message that was with a subscriber when a process died is alone with this one: if it is what kills processes,
        // it does not take others along to the dead letters.
        let alone = record && entry.failed > 0 && entry.place.is_some();
        if !lane.gate.admits_with_others(alone) {
            return None;
        }
        match entry.state {
            EntryState::Recording => return None,
            EntryState::Waiting if record && redelivered && entry.place.is_some() => {
                let room = if alone { 1 } else { subscriber.in_flight - lane.gate.outstanding() };
                self.record_attempts(slot, token, room);
                return None;
            }
            _ => entry.state = EntryState::Handed { since: now },
        }
        let place = entry.place;
        entry.handed += 1;
        let attempt = entry.handed;
        let message = if subscriber.borrows { entry.message.take() } else { entry.message.clone() }?;
        lane.queue.set_handed(token);
        lane.gate.hand_over(alone);
        if subscriber.timeout.is_some() {
            self.schedule.add_timed(slot);
        }
        Some(HandOver { slot, token, place, attempt, redelivered, message })
    }

    /// Has the attempt of a redelivered message recorded, together with those of up to `room` messages that may be handed
    /// over with it: one commit for all. Ends before a message that must be alone.
    fn record_attempts(&mut self, slot: LaneSlot, token: u64, room: u32) {
        let lane = &mut self.lanes[slot];
        for (at, token) in (token..).take(room as usize).enumerate() {
            let waits = |failed| at == 0 || failed == 0;
            let entry = lane.queue.get_mut(token).filter(|e| e.state == EntryState::Waiting && waits(e.failed));
            let Some(entry) = entry else { return };
            let redelivered = entry.is_redelivered();
            let Some(place) = entry.place.filter(|_| redelivered) else { return };
            entry.state = EntryState::Recording;
            self.events.push_back(InboundEvent::RecordAttempt { slot, token, place, attempts: entry.failed + 1 });
        }
    }

    /// Handles that the attempt is recorded. The message may be handed over.
    pub fn handle_recorded(&mut self, slot: LaneSlot, token: u64) {
        let lane = &mut self.lanes[slot];
        if let Some(entry) = lane.queue.get_mut(token).filter(|e| e.state == EntryState::Recording) {
            entry.state = EntryState::Recorded;
            self.schedule.enqueue(slot, lane);
        }
    }

    /// Makes the messages that the lane's subscriber has a batch: nothing more of the lane is handed over until all of them
    /// are answered. So the order of a batch holds across a failure.
    pub fn close_batch(&mut self, slot: LaneSlot) {
        self.lanes[slot].gate.close_batch();
    }

    /// Sets how many messages of the lane the owner holds ready for its subscriber, beyond those the subscriber has, until
    /// the next subscription. After one that failed, the owner must give those back as
    /// [`Disposition::Untried`](super::Disposition::Untried).
    pub fn set_prefetch(&mut self, slot: LaneSlot, messages: u32) {
        self.lanes[slot].gate.set_prefetch(messages);
    }

    /// Pauses the hand-over of messages to `topic`, or resumes it. It is paused while the owner still holds messages ready
    /// for an earlier subscriber, so that nothing overtakes them.
    pub fn set_paused(&mut self, topic: &Topic, paused: bool) {
        for slot in self.lanes.to_topic(topic) {
            let lane = &mut self.lanes[slot];
            lane.gate.set_paused(paused);
            self.schedule.enqueue(slot, lane);
        }
    }
}
