//! Messages that arrive: duplicates, holes, parts, refusals and skips.

use super::queue::{EntryState, QueueEntry};
use super::reassembly::PartialMessage;
use super::{Inbound, LaneSlot};
use crate::types::{Cursor, Headers, Message, Payload, Seq};
use crate::wire::codec::{self, MAX_READ};
use crate::wire::error::LinkError;
use crate::wire::frame::{Data, DataFlags, Frame, LaneIx, RefuseCode};
use bytes::Bytes;
use std::time::Instant;

/// Waiting messages of one read may share the read buffer from this size on, in bytes: most of the buffer is in use then.
const SHARED_BYTES: usize = MAX_READ / 4;

impl Inbound {
    pub(super) fn handle_data(&mut self, data: &Data<'_>, buffer: &Bytes) -> Result<(), LinkError> {
        let last = !data.flags.has(DataFlags::MORE);
        let (slot, lane) = self.lanes.open(data.lane)?;
        let view = lane.view.as_mut().ok_or(LinkError::UnknownLane)?;
        let duplicate = view.check(data)?;
        let (size, dropped) = view.reassembly.count(data);
        if duplicate || dropped || view.drops(data) {
            if duplicate {
                view.ack_again();
            }
            if last {
                lane.consume(size);
                self.acks.note(slot, lane);
                self.acks.hurry();
                self.counts.duplicates += u64::from(duplicate);
            }
            return Ok(());
        }
        match self.collect(slot, data, buffer) {
            Ok(None) => {}
            Ok(Some(message)) => self.arrived(slot, data, message),
            Err((code, text)) => self.refuse(slot, data, size, code, text),
        }
        Ok(())
    }

    /// Returns the message if it is complete, and keeps a part until the rest arrives.
    fn collect(
        &mut self,
        slot: LaneSlot,
        data: &Data<'_>,
        buffer: &Bytes,
    ) -> Result<Option<Message>, (RefuseCode, String)> {
        let undecodable = |text: String| (RefuseCode::Undecodable, text);
        let part = if data.flags.has(DataFlags::COMPRESSED) {
            codec::decompress(data.payload, data.raw_len, self.config.max_part)
                .map_err(|e| undecodable(e.to_string()))?
        } else {
            buffer.slice_ref(data.payload)
        };
        let max = self.config.max_message;
        let view = self.lanes[slot].view.as_mut().ok_or_else(|| undecodable("lane is closed".to_owned()))?;
        let partial = view.reassembly.take(data.seq);
        let so_far = partial.as_ref().map_or(data.headers.len(), PartialMessage::size);
        if (so_far + part.len()) as u64 > max {
            return Err((RefuseCode::TooLarge, format!("larger than {max} bytes")));
        }
        let (headers, payload) = match (partial, data.flags.has(DataFlags::MORE)) {
            (None, false) => (buffer.slice_ref(data.headers), part),
            (partial, more) => {
                let mut partial =
                    partial.unwrap_or_else(|| PartialMessage::new(data.seq, buffer.slice_ref(data.headers)));
                partial.payload.extend_from_slice(&part);
                if more {
                    view.reassembly.keep(partial);
                    return Ok(None);
                }
                (partial.headers, partial.payload.freeze())
            }
        };
        let headers = Headers::decode(headers).map_err(|e| undecodable(e.to_string()))?;
        let payload = Payload::new(payload).map_err(|e| undecodable(e.to_string()))?;
        Ok(Some(Message { headers, payload }))
    }

    fn arrived(&mut self, slot: LaneSlot, data: &Data<'_>, message: Message) {
        let lane = &mut self.lanes[slot];
        let place = lane.view.as_mut().and_then(|view| view.arrived(data));
        lane.cursors.arrived(place);
        let failed = lane.attempts.take(place);
        let token = lane.queue.end();
        lane.queue.push(QueueEntry {
            place,
            size: Some(message.size()),
            message: Some(message),
            flags: data.flags,
            handed: failed,
            failed,
            state: EntryState::Waiting,
        });
        self.schedule.attach(slot, lane, token);
        self.schedule.enqueue(slot, lane);
    }

    /// Moves waiting messages out of the buffers they arrived in, so that few of them do not keep a whole read buffer. Those
    /// of one lane go into one new buffer, unless they fill much of one.
    pub(super) fn detach(&mut self) {
        while let Some(slot) = self.schedule.pop_attached() {
            self.lanes[slot].queue.detach(SHARED_BYTES);
        }
    }

    /// Refuses a message for good and drops what follows it until it is skipped.
    fn refuse(&mut self, slot: LaneSlot, data: &Data<'_>, size: usize, code: RefuseCode, text: String) {
        let lane = &mut self.lanes[slot];
        if !data.flags.has(DataFlags::MORE) {
            lane.consume(size);
            self.acks.note(slot, lane);
            self.acks.hurry();
        }
        let Some(view) = &mut lane.view else { return };
        view.reassembly.drop_rest();
        if data.is_direct() {
            self.counts.dropped += 1;
            return;
        }
        let Some(Cursor { incarnation, seq }) = view.refuse(data.seq) else { return };
        self.counts.refused += 1;
        codec::encode(&Frame::Refuse { lane: data.lane, incarnation, seq, code, text }, &mut self.tx);
    }

    pub(super) fn handle_skip(&mut self, now: Instant, ix: LaneIx, from: Seq, to: Seq) -> Result<(), LinkError> {
        let (slot, lane) = self.lanes.open(ix)?;
        let view = lane.view.as_mut().ok_or(LinkError::UnknownLane)?;
        if view.skip(from, to)? {
            let place = view.cursor(to);
            lane.cursors.skipped(place);
            lane.queue.push_skip(place);
            self.advance(now, slot);
        }
        Ok(())
    }
}
