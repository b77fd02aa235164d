//! Messages that are handed over as they come.
//!
//! A callback is done with a message before the next frame is looked at. So most messages of its lane plan_resume an empty queue,
//! and there is nothing to be remembered of them but that they were handled. An actor that keeps up has all that was in
//! the queue before, and the next message does not have to wait for its turn there.

use super::*;

impl Inbound {
    /// As [`Inbound::handle_frame`] for a `Data` frame. A message that nothing is before, for a subscriber that borrows, is
    /// handed to `call` at once, and not by [`Inbound::poll_delivery`]. `call` gives a message that was not handled back
    /// with the answer. `random` gives any 64 random bits, for a backoff.
    ///
    /// # Errors
    /// As [`Inbound::handle_frame`].
    pub fn handle_data_with(
        &mut self,
        now: Instant,
        data: &Data<'_>,
        buffer: &Bytes,
        random: impl FnOnce() -> u64,
        call: impl FnOnce(HandOver) -> Result<(), (Message, Disposition)>,
    ) -> Result<(), LinkError> {
        let may_call = |lane: &RecvLane| lane.queue.is_empty() && lane.handler.is_some_and(|handler| handler.borrows);
        let Some((slot, place, message)) = self.pass(data, buffer, may_call)? else {
            return self.handle_data(data, buffer);
        };
        let token = self.lanes[slot.0].base;
        let size = message.size();
        let redelivered = data.flags.has(DataFlags::REDELIVERED);
        let next = HandOver { slot, token, place, attempt: 1, redelivered, message };
        let result = call(next);
        let lane = &mut self.lanes[slot.0];
        let (message, answer) = match result {
            Ok(()) => {
                lane.leave(place, Some(size), data.flags);
                self.left(now, slot);
                return Ok(());
            }
            Err((message, answer)) => (Some(message), answer),
        };
        let state = EntryState::Handed { since: now };
        lane.queue.push_back(QueueEntry {
            place,
            message,
            size: Some(size),
            flags: data.flags,
            handed: 1,
            failed: 0,
            state,
        });
        lane.next = token + 1;
        lane.handed += 1;
        self.note_attached(slot);
        self.handle_disposition(now, slot, token, 1, answer, random);
        Ok(())
    }

    /// As [`Inbound::handle_frame`] for a `Data` frame. Answers the message if nothing waits before it and its subscriber may
    /// have it now: it is handed over then, and not by [`Inbound::poll_delivery`].
    ///
    /// # Errors
    /// As [`Inbound::handle_frame`].
    pub fn handle_data_now(
        &mut self,
        now: Instant,
        data: &Data<'_>,
        buffer: &Bytes,
    ) -> Result<Option<HandOver>, LinkError> {
        let Some((slot, place, message)) = self.pass(data, buffer, RecvLane::may_hand_over_next)? else {
            return self.handle_data(data, buffer).map(|()| None);
        };
        let lane = &mut self.lanes[slot.0];
        let token = lane.next;
        let (size, state) = (Some(message.size()), EntryState::Handed { since: now });
        let kept = Some(message.clone());
        lane.queue.push_back(QueueEntry { place, message: kept, size, flags: data.flags, handed: 1, failed: 0, state });
        lane.next = token + 1;
        lane.handed += 1;
        let redelivered = data.flags.has(DataFlags::REDELIVERED);
        Ok(Some(HandOver { slot, token, place, attempt: 1, redelivered, message }))
    }

    /// The message in the frame, taken as arrived, with its place, if it may be handed over before it is queued.
    fn pass(
        &mut self,
        data: &Data<'_>,
        buffer: &Bytes,
        may: impl FnOnce(&RecvLane) -> bool,
    ) -> Result<Option<(LaneSlot, Option<Cursor>, Message)>, LinkError> {
        let (records, max, draining) = (self.config.record_attempts, self.config.max_message, self.draining);
        let (slot, lane) = self.open(data.lane)?;
        let whole = !data.flags.has(DataFlags::MORE) && !data.flags.has(DataFlags::COMPRESSED);
        let size = data.headers.len() + data.payload.len();
        let may = whole && lane.recorded.is_empty() && lane.blocked.is_none() && may(lane);
        let Some(session) = lane.session.as_mut().filter(|s| may && s.is_between_messages()) else {
            return Ok(None);
        };
        if draining || records || size as u64 > max || session.check(data)? {
            return Ok(None);
        }
        // Whatever is wrong with it is found again, and answered, where it is queued.
        let headers = if data.headers.is_empty() {
            Headers::EMPTY
        } else {
            match Headers::decode(buffer.slice_ref(data.headers)) {
                Ok(headers) => headers,
                Err(_) => return Ok(None),
            }
        };
        let Ok(payload) = Payload::new(buffer.slice_ref(data.payload)) else { return Ok(None) };
        let place = session.arrived(data);
        lane.received = place.or(lane.received);
        Ok(Some((slot, place, Message { headers, payload })))
    }
}

impl RecvLane {
    /// Whether the next message that arrives may go to the subscriber at once, which does not borrow.
    fn may_hand_over_next(&self) -> bool {
        let Some(handler) = self.handler.filter(|h| h.timeout.is_none() && !h.borrows) else { return false };
        let nothing_waits = self.next == self.base + self.queue.len() as u64;
        nothing_waits && !self.alone && !self.whole && self.has_room(handler, false)
    }
}
