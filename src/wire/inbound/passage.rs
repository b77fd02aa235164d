//! Messages that are handed over as they arrive.
//!
//! A callback is done with a message before the next frame is looked at. So most messages of its lane meet an empty queue,
//! and nothing needs to be remembered but that they were handled. An actor that keeps up has everything that was in the
//! queue, and the next message does not have to wait there for its turn.

use super::lane::RecvLane;
use super::queue::{EntryState, QueueEntry};
use super::{Disposition, HandOver, Inbound, LaneSlot};
use crate::types::{Cursor, Headers, Message, Payload};
use crate::wire::error::LinkError;
use crate::wire::frame::{Data, DataFlags};
use bytes::Bytes;
use std::time::Instant;

impl Inbound {
    /// Handles a `Data` frame like [`Inbound::handle_frame`], and hands the message over before it is queued if its
    /// subscriber borrows and no message is before it. It is then passed to `call`, and not returned by
    /// [`Inbound::poll_delivery`]. If it is not handled, `call` returns it with its disposition.
    ///
    /// `random` returns any 64 random bits, for a backoff.
    ///
    /// # Errors
    /// Returns the errors of [`Inbound::handle_frame`].
    pub fn handle_data_with(
        &mut self,
        now: Instant,
        data: &Data<'_>,
        buffer: &Bytes,
        random: impl FnOnce() -> u64,
        call: impl FnOnce(HandOver) -> Result<(), (Message, Disposition)>,
    ) -> Result<(), LinkError> {
        let may_call = |lane: &RecvLane| lane.queue.is_empty() && lane.gate.admits_loan();
        let Some((slot, place, message)) = self.pass(data, buffer, may_call)? else {
            return self.handle_data(data, buffer);
        };
        let token = self.lanes[slot].queue.base();
        let size = message.size();
        let redelivered = data.flags.has(DataFlags::REDELIVERED);
        let result = call(HandOver { slot, token, place, attempt: 1, redelivered, message });
        let lane = &mut self.lanes[slot];
        let (message, disposition) = match result {
            Ok(()) => {
                lane.queue.pass_one();
                lane.finish(place, Some(size), data.flags);
                self.schedule_ack(now, slot);
                return Ok(());
            }
            Err((message, disposition)) => (message, disposition),
        };
        lane.queue.push(handed_entry(now, place, size, data.flags, message));
        lane.queue.set_handed(token);
        lane.gate.hand_over(false);
        self.schedule.attach(slot, lane, token);
        self.handle_disposition(now, slot, token, 1, disposition, random);
        Ok(())
    }

    /// Handles a `Data` frame like [`Inbound::handle_frame`]. Returns the message if nothing waits before it and its
    /// subscriber may have it now. It is then handed over, and not returned by [`Inbound::poll_delivery`].
    ///
    /// # Errors
    /// Returns the errors of [`Inbound::handle_frame`].
    pub fn handle_data_now(
        &mut self,
        now: Instant,
        data: &Data<'_>,
        buffer: &Bytes,
    ) -> Result<Option<HandOver>, LinkError> {
        let may_hand_over = |lane: &RecvLane| lane.queue.has_none_waiting() && lane.gate.admits_arrival();
        let Some((slot, place, message)) = self.pass(data, buffer, may_hand_over)? else {
            return self.handle_data(data, buffer).map(|()| None);
        };
        let lane = &mut self.lanes[slot];
        let token = lane.queue.end();
        lane.queue.push(handed_entry(now, place, message.size(), data.flags, message.clone()));
        lane.queue.set_handed(token);
        lane.gate.hand_over(false);
        let redelivered = data.flags.has(DataFlags::REDELIVERED);
        Ok(Some(HandOver { slot, token, place, attempt: 1, redelivered, message }))
    }

    /// Takes the message in the frame as arrived, with its place, if it may be handed over before it is queued.
    fn pass(
        &mut self,
        data: &Data<'_>,
        buffer: &Bytes,
        may: impl FnOnce(&RecvLane) -> bool,
    ) -> Result<Option<(LaneSlot, Option<Cursor>, Message)>, LinkError> {
        let (records, max, draining) = (self.config.record_attempts, self.config.max_message, self.draining);
        let (slot, lane) = self.lanes.open(data.lane)?;
        let whole = !data.flags.has(DataFlags::MORE) && !data.flags.has(DataFlags::COMPRESSED);
        let size = data.headers.len() + data.payload.len();
        let may = whole && lane.attempts.is_empty() && may(lane);
        let Some(view) = lane.view.as_mut().filter(|view| may && view.is_between_messages()) else {
            return Ok(None);
        };
        if draining || records || size as u64 > max || view.check(data)? {
            return Ok(None);
        }
        // If anything is wrong with the message, it is found again where it is queued, and handled there.
        let headers = if data.headers.is_empty() {
            Headers::EMPTY
        } else {
            match Headers::decode(buffer.slice_ref(data.headers)) {
                Ok(headers) => headers,
                Err(_) => return Ok(None),
            }
        };
        let Ok(payload) = Payload::new(buffer.slice_ref(data.payload)) else { return Ok(None) };
        let place = view.arrived(data);
        lane.cursors.arrived(place);
        Ok(Some((slot, place, Message { headers, payload })))
    }
}

/// The queue entry of a message that was handed over as it arrived.
fn handed_entry(now: Instant, place: Option<Cursor>, size: usize, flags: DataFlags, message: Message) -> QueueEntry {
    let state = EntryState::Handed { since: now };
    QueueEntry { place, message: Some(message), size: Some(size), flags, handed: 1, failed: 0, state }
}
