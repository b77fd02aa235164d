//! Messages that are handed over as they come.
//!
//! A callback is done with a message before the next frame is looked at. So most messages of its lane meet an empty queue,
//! and there is nothing to be remembered of them but that they were handled.

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
        call: impl FnOnce(HandOver) -> Result<(), (Message, Answer)>,
    ) -> Result<(), LinkError> {
        let Some(next) = self.pass(data, buffer)? else { return self.handle_data(data, buffer) };
        let HandOver { slot, token, place, .. } = next;
        let size = next.message.size();
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
        let state = State::Handed { since: now };
        lane.queue.push_back(Entry {
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
        self.handle_answer(now, slot, token, answer, random);
        Ok(())
    }

    /// The message in the frame, taken as arrived, if it may be handed over before it is queued.
    fn pass(&mut self, data: &Data<'_>, buffer: &Bytes) -> Result<Option<HandOver>, LinkError> {
        let (records, max, draining) = (self.config.record_attempts, self.config.max_message, self.draining);
        let (slot, lane) = self.open(data.lane)?;
        let whole = !data.flags.has(DataFlags::MORE) && !data.flags.has(DataFlags::COMPRESSED);
        let size = data.headers.len() + data.payload.len();
        let idle = lane.queue.is_empty() && lane.recorded.is_empty() && lane.blocked.is_none();
        let borrows = lane.handler.is_some_and(|handler| handler.borrows);
        let Some(session) = lane.session.as_mut().filter(|s| whole && idle && borrows && s.is_between_messages())
        else {
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
        let (token, redelivered) = (lane.base, data.flags.has(DataFlags::REDELIVERED));
        Ok(Some(HandOver { slot, token, place, attempt: 1, redelivered, message: Message { headers, payload } }))
    }
}
