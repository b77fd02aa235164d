//! What arrives: duplicates, holes, parts, refusals and skips.

use super::*;
use crate::wire::codec::MAX_READ;

/// What waits of one read may share the read buffer from this size on, in bytes: most of the buffer is in use then.
const SHARED_BYTES: usize = MAX_READ / 4;

impl Inbound {
    /// The lane of a frame, open on this connection.
    pub(super) fn open(&mut self, ix: LaneIx) -> Result<(LaneSlot, &mut RecvLane), LinkError> {
        let slot = self.slot(ix).ok_or(LinkError::UnknownLane)?;
        self.last_ix = Some((ix, slot));
        let lane = &mut self.lanes[slot.0];
        if lane.session.is_none() { Err(LinkError::UnknownLane) } else { Ok((slot, lane)) }
    }

    pub(super) fn handle_data(&mut self, data: &Data<'_>, buffer: &Bytes) -> Result<(), LinkError> {
        let last = !data.flags.has(DataFlags::MORE);
        let (slot, lane) = self.open(data.lane)?;
        let session = lane.session.as_mut().ok_or(LinkError::UnknownLane)?;
        let duplicate = session.check(data)?;
        let Arriving { size, dropped, .. } = session.arrive(data);
        if duplicate || dropped || (session.refused.is_some() && !data.is_direct()) {
            session.ack_again |= duplicate;
            if last {
                lane.consume(size);
                self.counts.duplicates += u64::from(duplicate);
                self.lanes[slot.0].note_change(slot, &mut self.changed);
                self.ack_now = true;
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

    /// A whole message, or a part that is kept until the rest has come.
    pub(super) fn collect(
        &mut self,
        slot: LaneSlot,
        data: &Data<'_>,
        buffer: &Bytes,
    ) -> Result<Option<Message>, (RefuseCode, String)> {
        let undecodable = |text: &str| (RefuseCode::Undecodable, text.to_owned());
        let part = if data.flags.has(DataFlags::COMPRESSED) {
            codec::decompress(data.payload, data.raw_len, self.config.max_part)
                .map_err(|e| (RefuseCode::Undecodable, e.to_string()))?
        } else {
            buffer.slice_ref(data.payload)
        };
        let max = self.config.max_message;
        let session = self.lanes[slot.0].session.as_mut().ok_or_else(|| undecodable("lane is closed"))?;
        let partial = session.partial.take().filter(|p| p.seq == data.seq);
        let so_far = partial.as_ref().map_or(data.headers.len(), |p| p.headers.len() + p.payload.len());
        if (so_far + part.len()) as u64 > max {
            return Err((RefuseCode::TooLarge, format!("larger than {max} bytes")));
        }
        let (headers, payload) = match (partial, data.flags.has(DataFlags::MORE)) {
            (None, false) => (buffer.slice_ref(data.headers), part),
            (partial, more) => {
                let mut partial = partial.unwrap_or_else(|| PartialMessage {
                    seq: data.seq,
                    headers: buffer.slice_ref(data.headers),
                    payload: BytesMut::new(),
                });
                partial.payload.extend_from_slice(&part);
                if more {
                    session.partial = Some(partial);
                    return Ok(None);
                }
                (partial.headers, partial.payload.freeze())
            }
        };
        let headers = Headers::decode(headers).map_err(|e| (RefuseCode::Undecodable, e.to_string()))?;
        let payload = Payload::new(payload).map_err(|e| (RefuseCode::Undecodable, e.to_string()))?;
        Ok(Some(Message { headers, payload }))
    }

    pub(super) fn arrived(&mut self, slot: LaneSlot, data: &Data<'_>, message: Message) {
        let lane = &mut self.lanes[slot.0];
        let place = lane.session.as_mut().and_then(|session| session.arrived(data));
        lane.received = place.or(lane.received);
        let size = message.size();
        let at = |(i, s, _): &(Incarnation, Seq, u32)| place == Some(Cursor { incarnation: *i, seq: *s });
        let failed = lane.recorded.iter().position(at).map_or(0, |at| lane.recorded.swap_remove(at).2);
        lane.queue.push_back(QueueEntry {
            place,
            message: Some(message),
            size: Some(size),
            flags: data.flags,
            handed: failed,
            failed,
            state: EntryState::Waiting,
        });
        self.note_attached(slot);
        self.enqueue(slot);
    }

    /// The last message of the queue shares the buffer it arrived in.
    pub(super) fn note_attached(&mut self, slot: LaneSlot) {
        let lane = &mut self.lanes[slot.0];
        if lane.attached.is_none() {
            lane.attached = Some(lane.base + lane.queue.len() as u64 - 1);
            self.attached.push(slot);
        }
    }

    /// What arrived and still waits must not keep a whole read buffer: unless it fills much of one, it moves into a buffer of
    /// its own, all of a lane into one.
    pub(super) fn detach(&mut self) {
        while let Some(slot) = self.attached.pop() {
            let lane = &mut self.lanes[slot.0];
            let Some(first) = lane.attached.take() else { continue };
            let from = usize::try_from(first.max(lane.next) - lane.base).unwrap_or(usize::MAX);
            let from = from.min(lane.queue.len());
            let waiting = || lane.queue.range(from..).filter_map(|e| e.message.as_ref());
            let bytes: usize = waiting().map(Message::size).sum();
            if bytes >= SHARED_BYTES {
                continue;
            }
            let mut own = BytesMut::with_capacity(bytes);
            for message in lane.queue.range_mut(from..).filter_map(|e| e.message.as_mut()) {
                *message = message.moved_into(&mut own);
            }
        }
    }

    /// This message will never be taken: say so, and drop what follows until it is skipped.
    pub(super) fn refuse(&mut self, slot: LaneSlot, data: &Data<'_>, size: usize, code: RefuseCode, text: String) {
        let lane = &mut self.lanes[slot.0];
        let more = data.flags.has(DataFlags::MORE);
        if !more {
            lane.consume(size);
            lane.note_change(slot, &mut self.changed);
            self.ack_now = true;
        }
        let Some(session) = &mut lane.session else { return };
        session.partial = None;
        session.arriving = session.arriving.map(|a| Arriving { dropped: true, ..a });
        if data.is_direct() {
            self.counts.dropped += 1;
            return;
        }
        let Some(Cursor { incarnation, seq }) = session.cursor(data.seq) else { return };
        session.refused = Some(seq);
        self.counts.refused += 1;
        codec::encode(&Frame::Refuse { lane: data.lane, incarnation, seq, code, text }, &mut self.tx);
    }

    pub(super) fn handle_skip(&mut self, now: Instant, ix: LaneIx, from: Seq, to: Seq) -> Result<(), LinkError> {
        let (slot, lane) = self.open(ix)?;
        let session = lane.session.as_mut().ok_or(LinkError::UnknownLane)?;
        if session.spans.is_empty() {
            return Err(LinkError::UnknownLane);
        }
        // Behind a refused message, the sender has not heard of it yet: it will say this again.
        let early = session.refused.is_some() && from > session.position.next();
        if to <= session.position || early {
            return Ok(());
        }
        if from > session.position.next() {
            return Err(LinkError::Hole { expected: session.position.next(), found: from });
        }
        session.position = to;
        session.partial = None;
        session.arriving = None;
        session.refused = session.refused.filter(|refused| *refused > to);
        let place = session.cursor(to);
        lane.received = place;
        lane.skip(place);
        self.moved(now, slot);
        Ok(())
    }
}
