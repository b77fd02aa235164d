//! Handing over, cursors, acks and credit.

use super::*;

impl Inbound {
    pub(super) fn enqueue(&mut self, slot: LaneSlot) {
        let lane = &mut self.lanes[slot.0];
        if !lane.queued {
            lane.queued = true;
            self.turn.push_back(slot);
        }
    }

    /// The next message to hand over.
    pub fn poll_delivery(&mut self, now: Instant) -> Option<HandOver> {
        while let Some(slot) = self.turn.front().copied() {
            if let Some(delivery) = self.hand_over(slot, now) {
                return Some(delivery);
            }
            self.turn.pop_front();
            self.lanes[slot.0].queued = false;
        }
        self.detach();
        None
    }

    fn hand_over(&mut self, slot: LaneSlot, now: Instant) -> Option<HandOver> {
        if self.draining {
            return None;
        }
        let record = self.config.record_attempts;
        let max_attempts = self.config.max_attempts;
        let lane = &mut self.lanes[slot.0];
        let handler = lane.handler?;
        if lane.blocked.is_some_and(|until| lane.handed > 0 || until > now) || !lane.has_room(handler, record) {
            return None;
        }
        (lane.blocked, lane.whole) = (None, false);
        let (handed, last_alone) = (lane.handed, lane.alone);
        let (token, entry) = lane.next_waiting()?;
        if entry.failed >= max_attempts {
            self.give_up(slot, token, "the process that handled it died".to_owned());
            return self.hand_over(slot, now);
        }
        let redelivered = entry.flags.has(DataFlags::REDELIVERED) || entry.handed > 0;
        // One that was with a subscriber when a process died is alone with this one: should it be what kills processes,
        // it takes no other along to the dead letters.
        let alone = record && entry.failed > 0 && entry.place.is_some();
        if handed > 0 && (alone || last_alone) {
            return None;
        }
        match entry.state {
            EntryState::Recording => return None,
            EntryState::Waiting if record && redelivered && entry.place.is_some() => {
                let room = if alone { 1 } else { handler.in_flight - handed };
                self.record_attempts(slot, token, room);
                return None;
            }
            _ => entry.state = EntryState::Handed { since: now },
        }
        let place = entry.place;
        entry.handed += 1;
        let attempt = entry.handed;
        let message = if handler.borrows { entry.message.take() } else { entry.message.clone() }?;
        lane.next = token + 1;
        lane.handed += 1;
        lane.alone = alone;
        if handler.timeout.is_some() {
            self.timed.insert(slot);
        }
        Some(HandOver { slot, token, place, attempt, redelivered, message })
    }

    /// What the lane's subscriber has now is a batch: nothing more of the lane is handed over before all of it is answered.
    /// So its order holds across a nack.
    pub fn close_batch(&mut self, slot: LaneSlot) {
        self.lanes[slot.0].whole = true;
    }

    /// Has the attempt of a redelivered message recorded, together with those of as many behind it as may be handed over
    /// with it: one commit for all. It ends at one that is to be alone.
    fn record_attempts(&mut self, slot: LaneSlot, token: u64, room: u32) {
        let lane = &mut self.lanes[slot.0];
        for (at, token) in (token..).take(room as usize).enumerate() {
            let Some(entry) =
                lane.entry(token).filter(|e| e.state == EntryState::Waiting && (at == 0 || e.failed == 0))
            else {
                return;
            };
            let redelivered = entry.flags.has(DataFlags::REDELIVERED) || entry.handed > 0;
            let Some(place) = entry.place.filter(|_| redelivered) else { return };
            entry.state = EntryState::Recording;
            self.events.push_back(InboundEvent::RecordAttempt { slot, token, place, attempts: entry.failed + 1 });
        }
    }

    /// The owner holds up to `messages` of the lane ready for its subscriber beyond those the subscriber has, until the next
    /// subscription. Behind one that failed, it must give those back as [`Disposition::Untried`].
    pub fn set_prefetch(&mut self, slot: LaneSlot, messages: u32) {
        self.lanes[slot.0].ahead = messages;
    }

    /// What was held ready for an earlier subscriber of `topic` has not come back yet, or it has: until then nothing is handed
    /// over, so that nothing overtakes it.
    pub fn set_paused(&mut self, topic: &Topic, held_up: bool) {
        for slot in self.lanes_of(topic) {
            self.lanes[slot.0].held_up = held_up;
            self.enqueue(slot);
        }
    }

    /// The owner holds nothing ready any more for the subscriber of `topic`.
    pub fn clear_prefetch(&mut self, topic: &Topic) {
        for slot in self.lanes_of(topic) {
            self.lanes[slot.0].ahead = 0;
        }
    }

    /// The attempt is recorded: the message may be handed over.
    pub fn handle_recorded(&mut self, slot: LaneSlot, token: u64) {
        if let Some(entry) = self.lanes[slot.0].entry(token).filter(|e| e.state == EntryState::Recording) {
            entry.state = EntryState::Recorded;
            self.enqueue(slot);
        }
    }

    /// The queue of a lane may have become shorter.
    pub(super) fn moved(&mut self, now: Instant, slot: LaneSlot) {
        if self.lanes[slot.0].advance() {
            self.left(now, slot);
        }
        self.enqueue(slot);
    }

    /// Something left the queue of a lane, or passed it.
    pub(super) fn left(&mut self, now: Instant, slot: LaneSlot) {
        let lane = &mut self.lanes[slot.0];
        lane.note_change(slot, &mut self.changed);
        if self.ack_due.is_none() && lane.is_ack_due() {
            self.ack_due = Some(now + self.config.ack_delay);
        }
        if lane.strict || self.draining {
            self.committing.insert(slot);
        } else if lane.commit_due.is_none() && lane.handled != lane.committed {
            lane.commit_due = Some(now + self.config.write_behind_delay);
            self.timed.insert(slot);
        }
    }

    /// The cursor commit of a lane ended. `Err` carries what the store holds instead of what was expected.
    pub fn handle_advanced(&mut self, slot: LaneSlot, outcome: Result<(), Option<Cursor>>) {
        let lane = &mut self.lanes[slot.0];
        let Some(cursor) = lane.committing.take() else { return };
        lane.committed = match outcome {
            Ok(()) => Some(cursor),
            Err(stored) => stored,
        };
        if lane.committed == lane.handled {
            lane.strict = false;
            lane.commit_due = None;
        } else if outcome.is_err() && lane.is_dying_at(lane.committed) {
            // The store is ahead: the cursor goes on from there when the letter is known to be kept.
        } else if lane.strict || self.draining || outcome.is_err() || lane.commit_due.is_none() {
            self.committing.insert(slot);
        }
        lane.note_change(slot, &mut self.changed);
        self.ack_now = true;
    }

    // ---- outputs ----

    /// The next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<InboundEvent> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        while let Some(slot) = self.committing.pop_first() {
            let lane = &mut self.lanes[slot.0];
            let Some(cursor) = lane.handled.filter(|_| lane.handled != lane.committed) else { continue };
            if lane.committing.is_none() {
                lane.committing = Some(cursor);
                lane.commit_due = None;
                let expected = lane.committed.map(|c| c.incarnation);
                return Some(InboundEvent::Advance { slot, expected, cursor });
            }
        }
        None
    }

    /// The next bytes for the connection.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if self.heartbeat.is_none() {
            for slot in self.changed.drain(..) {
                self.lanes[slot.0].changed = false;
            }
            (self.ack_due, self.ack_now) = (None, false);
            return None;
        }
        if self.ack_now || self.draining || !self.tx.is_empty() || self.has_news() {
            self.write_acks();
        }
        (!self.tx.is_empty()).then(|| self.tx.split().freeze())
    }

    fn has_news(&self) -> bool {
        let window = (self.config.window_messages, self.config.window_bytes);
        let sessions = self.changed.iter().filter_map(|slot| self.lanes[slot.0].session.as_ref());
        sessions.into_iter().any(|session| session.has_news(window))
    }

    pub(super) fn write_acks(&mut self) {
        (self.ack_due, self.ack_now) = (None, false);
        while let Some(slot) = self.changed.pop() {
            let lane = &mut self.lanes[slot.0];
            lane.changed = false;
            if let Some(session) = &mut lane.session {
                session.told = session.consumed;
            }
            self.write_ack(slot);
            self.write_credit(slot);
        }
    }

    fn write_ack(&mut self, slot: LaneSlot) {
        let lane = &mut self.lanes[slot.0];
        let floor = lane.ack_floor();
        let Some(session) = &mut lane.session else { return };
        let again = std::mem::take(&mut session.ack_again);
        let Some(cursor) = floor.filter(|c| session.knows(c.incarnation)) else { return };
        // A strict message behind others takes the floor back to the cursor, but what was acked stays so.
        let cursor = session.acked.map_or(cursor, |acked| session.later(acked, cursor));
        if again || session.acked != Some(cursor) {
            session.acked = Some(cursor);
            let Cursor { incarnation, seq } = cursor;
            codec::encode(&Frame::Ack { lane: session.ix, incarnation, seq }, &mut self.tx);
        }
    }

    /// Grants credit when a quarter of the window has become free, or the lane has a subscriber at last.
    fn write_credit(&mut self, slot: LaneSlot) {
        let window = (self.config.window_messages, self.config.window_bytes);
        let lane = &mut self.lanes[slot.0];
        if lane.handler.is_none() {
            return;
        }
        let Some(session) = &mut lane.session else { return };
        let (messages, bytes) = session.credit(window);
        let (had_messages, had_bytes) = session.granted;
        if messages - had_messages >= window.0.div_ceil(4) || bytes - had_bytes >= window.1.div_ceil(4) {
            session.granted = (messages, bytes);
            codec::encode(&Frame::Credit { lane: session.ix, messages, bytes }, &mut self.tx);
        }
    }

    // ---- time ----

    /// When to call [`Inbound::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lanes = self.timed.iter().filter_map(|slot| self.deadline(*slot)).min();
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::deadline);
        let acks = self.ack_due.filter(|_| heartbeat.is_some());
        [lanes, heartbeat, acks].into_iter().flatten().min()
    }

    fn deadline(&self, slot: LaneSlot) -> Option<Instant> {
        let lane = &self.lanes[slot.0];
        let hands_over = !self.draining && lane.handler.is_some();
        let blocked = lane.blocked.filter(|_| lane.handed == 0 && hands_over);
        let commit = lane.commit_due.filter(|_| lane.committing.is_none());
        [blocked, commit, Self::handler_deadline(lane)].into_iter().flatten().min()
    }

    fn handler_deadline(lane: &RecvLane) -> Option<Instant> {
        let timeout = lane.handler?.timeout?;
        let handed = lane.queue.iter().filter_map(|e| match e.state {
            EntryState::Handed { since } => Some(since),
            _ => None,
        });
        handed.min().map(|since| since + timeout)
    }

    /// Time has passed. `random` is any 64 random bits.
    pub fn handle_timeout(&mut self, now: Instant, random: u64) {
        if let Some(heartbeat) = &mut self.heartbeat {
            match heartbeat.check(now) {
                Silence::Fine => {}
                Silence::Ask => codec::encode(&Frame::Ping(0), &mut self.tx),
                Silence::Dead => self.events.push_back(InboundEvent::Silent),
            }
        }
        self.ack_now |= self.ack_due.take_if(|due| *due <= now).is_some();
        let due: Vec<_> = self.timed.iter().copied().filter(|s| self.deadline(*s).is_some_and(|d| d <= now)).collect();
        for slot in due {
            self.expire_handlers(now, slot, random);
            let lane = &mut self.lanes[slot.0];
            if lane.commit_due.is_some_and(|d| d <= now) {
                self.committing.insert(slot);
            }
            self.enqueue(slot);
        }
        let idle: Vec<_> = self.timed.iter().copied().filter(|s| self.is_untimed(*s)).collect();
        for slot in idle {
            self.timed.remove(&slot);
        }
    }

    fn is_untimed(&self, slot: LaneSlot) -> bool {
        let lane = &self.lanes[slot.0];
        lane.blocked.is_none() && lane.commit_due.is_none() && lane.handed == 0
    }

    /// Those that took too long have failed; what they answer later is ignored.
    fn expire_handlers(&mut self, now: Instant, slot: LaneSlot, random: u64) {
        let lane = &self.lanes[slot.0];
        let Some(timeout) = lane.handler.and_then(|h| h.timeout) else { return };
        let late = |e: &QueueEntry| matches!(e.state, EntryState::Handed { since } if since + timeout <= now);
        let entries = (lane.base..).zip(&lane.queue).filter(|(_, e)| late(e));
        let overdue: Vec<_> = entries.map(|(token, e)| (token, e.handed)).collect();
        for (token, attempt) in overdue {
            self.events.push_back(InboundEvent::Overdue { slot, token, attempt });
            let reason = format!("no answer within {timeout:?}");
            self.handle_disposition(now, slot, token, attempt, Disposition::Failed { delay: None, reason }, || random);
        }
    }
}
