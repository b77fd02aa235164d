//! Accepting messages and putting them on the wire.

use super::item::PartialSend;
use super::*;
use crate::wire::frame::{Data, DataFlags};
use bytes::BytesMut;

/// Messages one lane may send before the next has its turn.
const TURN_MESSAGES: usize = 64;

/// zstd's fastest regular level: links are usually faster than stronger levels compress.
const COMPRESSION_LEVEL: i32 = 1;

impl Outbound {
    /// Takes an at-least-once message and numbers it. The lane must be durable.
    ///
    /// `now` is asked only when the time is needed, which is not for every message.
    ///
    /// # Errors
    /// [`OfferError`]; the message is not kept then and has no number.
    pub fn offer(
        &mut self,
        now: impl Fn() -> Instant,
        lane: LaneIx,
        headers: &Headers,
        body: Body<'_>,
        mode: AcceptMode,
    ) -> Result<Seq, OfferError> {
        let size = headers.encoded().len() + body.bytes().len();
        let fits = self.fits_buffer(size);
        let Some(l) = lane_mut(&mut self.lanes, lane).filter(|l| l.is_durable()) else {
            return Err(OfferError::NotOpen);
        };
        if !self.config.lane.has_room(l.pending, size) {
            return Err(OfferError::LaneFull);
        }
        if !self.config.memory.has_room(self.memory, size) {
            self.starved = true;
            return Err(OfferError::Full);
        }
        let seq = l.next;
        l.next = seq.next();
        self.memory.add(size);
        if mode == AcceptMode::WriteBehind {
            l.pending.add(size);
            if fits && l.sends_at_once() {
                // The hot path: the message is encoded straight into the transmit buffer, where it is also kept.
                make_transmit_room(&mut self.segments, &mut self.transmit, size);
                let buffer = self.transmit.buffer();
                skip_to(lane, l.sent, seq, buffer);
                let frame = self.segments.keep(buffer.len(), now);
                codec::encode_data(&data_frame(lane, DataFlags::empty(), seq, headers, body.bytes()), buffer);
                l.credit.use_for(size);
                l.sent = seq;
                if !l.has_unstored() {
                    self.unstored.insert(lane);
                }
                l.inflight.push(SentMessage { seq, size, kept: Retained::Frame(frame) });
                return Ok(seq);
            }
        }
        self.queue(lane, seq, Message { headers: headers.clone(), payload: body.to_payload() }, mode, now);
        Ok(seq)
    }

    /// Takes an at-most-once message.
    ///
    /// # Errors
    /// [`OfferError::Unreachable`] when there is no connection and none is being made, [`OfferError::Full`] when too many
    /// wait already.
    pub fn offer_direct(&mut self, lane: LaneIx, headers: &Headers, body: Body<'_>) -> Result<(), OfferError> {
        let size = headers.encoded().len() + body.bytes().len();
        let fits = self.fits_buffer(size);
        let too_large = matches!(&self.link, LinkPhase::Up { peer, .. } if size as u64 > peer.max_message);
        if too_large || matches!(self.link, LinkPhase::Down) {
            return Err(OfferError::Unreachable);
        }
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return Err(OfferError::Unreachable) };
        let open = l.connection == LanePhase::Open && l.direct.is_empty() && l.rest.is_none();
        if open && fits && l.credit.allows() {
            l.credit.use_for(size);
            make_transmit_room(&mut self.segments, &mut self.transmit, size);
            let data = data_frame(lane, DataFlags::DIRECT, Seq::ZERO, headers, body.bytes());
            codec::encode_data(&data, self.transmit.buffer());
            return Ok(());
        }
        if !self.config.direct.has_room(self.direct, size) {
            self.starved = true;
            return Err(OfferError::Full);
        }
        self.direct.add(size);
        l.direct.push_back(Message { headers: headers.clone(), payload: body.to_payload() });
        self.wake_lane(lane);
        Ok(())
    }

    /// Whether a message of this size is encoded as one plain frame into the buffer as it stands.
    fn fits_buffer(&self, size: usize) -> bool {
        size <= self.plain_bytes && self.has_transmit_room()
    }

    /// A part fits the peer's largest frame with headers beside it.
    pub(super) fn part_bytes(&self) -> usize {
        match &self.link {
            LinkPhase::Up { peer, .. } => self.config.part_bytes.min(peer.max_frame as usize / 2),
            LinkPhase::Down | LinkPhase::Dialing => self.config.part_bytes,
        }
    }

    fn has_transmit_room(&self) -> bool {
        self.transmit.len() < self.config.transmit_bytes
    }

    fn queue(&mut self, lane: LaneIx, seq: Seq, message: Message, mode: AcceptMode, now: impl FnOnce() -> Instant) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let since = l.since_of_queued(seq).unwrap_or_else(now);
        let state = match mode {
            AcceptMode::WriteBehind => QueuedState::Accepted,
            AcceptMode::Group => QueuedState::External,
            AcceptMode::Stored { deadline, synced } => {
                l.reserved += 1;
                l.deadline = Some(l.deadline.map_or(deadline, |d| d.min(deadline)));
                QueuedState::Reserved { deadline, synced, given: StoreHandoff::NotGiven }
            }
        };
        if !l.has_unstored() {
            self.unstored.insert(lane);
        }
        l.fresh.push_back(QueuedMessage { seq, message, state, since, redelivered: false });
        if matches!(mode, AcceptMode::Stored { .. }) {
            self.committing.insert(lane);
        }
        self.wake_lane(lane);
    }

    /// Opens the lane on the connection if it is not, and gives it a turn.
    pub(super) fn wake_lane(&mut self, lane: LaneIx) {
        match self.get(lane).map(|l| l.connection) {
            Some(LanePhase::Closed) => self.resume_lane(lane),
            Some(LanePhase::Open) => self.enqueue(lane),
            Some(LanePhase::Resuming(_)) | None => {}
        }
    }

    pub(super) fn enqueue(&mut self, lane: LaneIx) {
        if let Some(l) = lane_mut(&mut self.lanes, lane).filter(|l| l.connection == LanePhase::Open && !l.queued) {
            l.queued = true;
            self.turn.push_back(lane);
        }
    }

    /// The next bytes for the connection, many frames at once. Nothing while the link is down.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !self.is_up() {
            return None;
        }
        self.pump();
        self.seal();
        self.transmit.pop()
    }

    /// What [`Outbound::poll_transmit`] answered was written: its memory can be used again.
    pub fn handle_transmitted(&mut self, bytes: Bytes) {
        self.transmit.recycle(bytes);
    }

    /// Swaps the transmit buffer out.
    pub(super) fn seal(&mut self) {
        seal(&mut self.segments, &mut self.transmit);
    }

    /// Fills the transmit buffer from the lanes that have something to send, each in its turn.
    fn pump(&mut self) {
        while self.has_transmit_room() {
            let Some(lane) = self.turn.pop_front() else { return };
            let Some(l) = lane_mut(&mut self.lanes, lane) else { continue };
            l.queued = false;
            let mut again = false;
            for _ in 0..TURN_MESSAGES {
                again = self.send_next(lane);
                if !again || !self.has_transmit_room() {
                    break;
                }
            }
            self.load_lane(lane);
            if again {
                self.enqueue(lane);
            }
        }
    }

    /// Encodes the lane's next message or part. Answers whether there may be another.
    fn send_next(&mut self, lane: LaneIx) -> bool {
        let LinkPhase::Up { peer, .. } = &self.link else { return false };
        let max_message = peer.max_message;
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return false };
        if l.connection != LanePhase::Open || !l.refused.is_empty() {
            return false;
        }
        if l.rest.is_some() {
            self.send_part(lane);
            return true;
        }
        if !l.credit.allows() {
            return false;
        }
        if !l.ready.is_empty() {
            self.send_item(lane, true, max_message)
        } else if !l.is_behind() && l.fresh.front().is_some_and(|i| matches!(i.state, QueuedState::Accepted)) {
            self.send_item(lane, false, max_message)
        } else if let Some(message) = l.direct.pop_front() {
            self.direct.remove(message.size());
            self.make_room();
            self.send_direct(lane, message, max_message);
            true
        } else {
            false
        }
    }

    /// Encodes the message at the front of what is stored, or of what only memory holds.
    fn send_item(&mut self, lane: LaneIx, stored: bool, max_message: u64) -> bool {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return false };
        let queue = if stored { &mut l.ready } else { &mut l.fresh };
        let Some(item) = queue.front() else { return false };
        let (seq, size) = (item.seq, item.message.size());
        if size as u64 > max_message {
            l.refused.insert(seq, Some(size));
            self.refuse(lane, seq, RefuseCode::TooLarge, format!("larger than the peer's {max_message} bytes"));
            return false;
        }
        make_transmit_room(&mut self.segments, &mut self.transmit, size);
        let buffer = self.transmit.buffer();
        skip_to(l.ix, l.sent, seq, buffer);
        l.sent = seq;
        l.cached = l.cached.max(seq);
        l.credit.use_for(size);
        self.redelivered += u64::from(item.redelivered);
        let mut flags = DataFlags::empty();
        flags = if stored { flags.with(DataFlags::STRICT) } else { flags };
        flags = if item.redelivered { flags.with(DataFlags::REDELIVERED) } else { flags };
        let (offset, since) = (buffer.len(), item.since);
        let plain = item.message.payload.len() <= self.plain_bytes;
        if plain {
            codec::encode_data(&data_frame(lane, flags, seq, &item.message.headers, &item.message.payload), buffer);
        }
        let whole = queue.pop_front().map(|item| item.message).filter(|_| !plain);
        if let Some(message) = &whole {
            l.rest = Some(PartialSend { seq, message: message.clone(), offset: 0, flags });
        }
        let kept = match whole {
            _ if stored => Retained::Stored,
            None => Retained::Frame(self.segments.keep(offset, || since)),
            Some(message) => Retained::Message(Box::new(message), since),
        };
        if stored {
            l.ready_bytes -= size;
        }
        l.inflight.push(SentMessage { seq, size, kept });
        if !plain {
            self.send_part(lane);
        }
        true
    }

    fn send_direct(&mut self, lane: LaneIx, message: Message, max_message: u64) {
        if message.size() as u64 > max_message {
            self.events.push_back(OutboundEvent::Dropped(1));
            return;
        }
        make_transmit_room(&mut self.segments, &mut self.transmit, message.size());
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        l.credit.use_for(message.size());
        if message.payload.len() <= self.plain_bytes {
            let data = data_frame(lane, DataFlags::DIRECT, Seq::ZERO, &message.headers, &message.payload);
            codec::encode_data(&data, self.transmit.buffer());
        } else {
            l.rest = Some(PartialSend { seq: Seq::ZERO, message, offset: 0, flags: DataFlags::DIRECT });
            self.send_part(lane);
        }
    }

    /// Encodes the next part of a large message.
    fn send_part(&mut self, lane: LaneIx) {
        let part_bytes = self.part_bytes();
        make_transmit_room(&mut self.segments, &mut self.transmit, part_bytes);
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let Some(mut rest) = l.rest.take() else { return };
        let payload = rest.message.payload.as_bytes();
        let end = payload.len().min(rest.offset + part_bytes);
        let part = &payload[rest.offset..end];
        let headers = if rest.offset == 0 { rest.message.headers.clone() } else { Headers::EMPTY };
        let mut data = data_frame(lane, rest.flags, rest.seq, &headers, part);
        if end < payload.len() {
            data.flags = data.flags.with(DataFlags::MORE);
        }
        let compressed = (payload.len() > self.config.compress_threshold)
            .then(|| codec::compress(part, COMPRESSION_LEVEL))
            .flatten();
        if let Some(compressed) = &compressed {
            data.flags = data.flags.with(DataFlags::COMPRESSED);
            data.raw_len = u32::try_from(part.len()).expect("a part is smaller than a frame");
            data.payload = compressed;
        }
        codec::encode_data(&data, self.transmit.buffer());
        if end < payload.len() {
            rest.offset = end;
            l.rest = Some(rest);
        }
    }

    /// Asks for the next page when the lane runs out of what is stored.
    fn load_lane(&mut self, lane: LaneIx) {
        let limit = self.config.page.messages / 2;
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let wanted = l.is_behind() && l.connection == LanePhase::Open && l.credit.allows() && l.refused.is_empty();
        if !wanted || l.loading.is_some() || l.load_after.is_some() || l.ready.len() as u64 > limit {
            return;
        }
        let id = self.next_load;
        self.next_load += 1;
        l.loading = Some(id);
        l.load_through = l.stored;
        let after = l.covered().max(l.acked);
        self.events.push_back(OutboundEvent::Load { lane, id, after });
    }
}

/// Makes sure that the transmit buffer does not become much larger with a message of this size.
#[inline]
fn make_transmit_room(segments: &mut Segments, transmit: &mut Transmit, size: usize) {
    if transmit.is_full_for(size) {
        seal(segments, transmit);
    }
}

/// Announces the numbers between what was sent and `seq` as missing.
#[inline]
fn skip_to(lane: LaneIx, sent: Seq, seq: Seq, tx: &mut BytesMut) {
    if sent.next() < seq {
        codec::encode(&Frame::Skip { lane, from: sent.next(), to: seq.prev() }, tx);
    }
}

fn data_frame<'a>(lane: LaneIx, flags: DataFlags, seq: Seq, headers: &'a Headers, payload: &'a [u8]) -> Data<'a> {
    let flags = if headers.is_empty() { flags } else { flags.with(DataFlags::HEADERS) };
    Data { lane, flags, seq, raw_len: 0, headers: headers.encoded(), payload }
}
