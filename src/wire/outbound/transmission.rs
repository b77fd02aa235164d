//! Encoding messages for the connection.

use super::inflight::{Retained, SentMessage};
use super::lane_phase::PartialSend;
use super::{LaneIx, LinkPhase, Outbound, OutboundEvent};
use crate::types::{Headers, Message, Seq};
use crate::wire::codec;
use crate::wire::frame::{Data, DataFlags, RefuseCode};
use bytes::Bytes;

/// Messages one lane may send before the next has its turn.
const TURN_MESSAGES: usize = 64;

/// zstd's fastest regular level: links are usually faster than stronger levels compress.
const COMPRESSION_LEVEL: i32 = 1;

impl Outbound {
    /// Returns the next bytes for the connection, many frames at once. Returns `None` while the link is down.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if !self.is_up() {
            return None;
        }
        self.fill();
        self.buffers.seal();
        self.buffers.pop()
    }

    /// Takes bytes back that [`Outbound::poll_transmit`] returned and that were written, to use their memory again.
    pub fn handle_transmitted(&mut self, bytes: Bytes) {
        self.buffers.recycle(bytes);
    }

    /// The largest part of a message, in bytes.
    fn part_bytes(&self) -> usize {
        match &self.link {
            LinkPhase::Up { part_bytes, .. } => *part_bytes,
            LinkPhase::Down | LinkPhase::Dialing => self.config.part_bytes,
        }
    }

    /// The largest message that is encoded as one plain frame.
    #[inline]
    pub(super) fn plain_bytes(&self) -> usize {
        match &self.link {
            LinkPhase::Up { plain_bytes, .. } => *plain_bytes,
            LinkPhase::Down | LinkPhase::Dialing => 0,
        }
    }

    #[inline]
    pub(super) fn has_transmit_room(&self) -> bool {
        self.buffers.len() < self.config.transmit_bytes
    }

    /// Opens the lane on the connection if it is closed. Gives it a turn if it is open.
    pub(super) fn wake_lane(&mut self, lane: LaneIx) {
        match self.lanes.get(lane).map(|l| l.phase.is_closed()) {
            Some(true) => self.resume_lane(lane),
            Some(false) => self.enqueue(lane),
            None => {}
        }
    }

    /// Gives a lane a turn if it is open and has none.
    pub(super) fn enqueue(&mut self, lane: LaneIx) {
        if let Some(l) = self.lanes.get_mut(lane).filter(|l| l.phase.is_open() && !l.in_turn) {
            l.in_turn = true;
            self.schedule.push_turn(lane);
        }
    }

    /// Fills the transmit buffer from the lanes that have something to send, each in its turn.
    fn fill(&mut self) {
        while self.has_transmit_room() {
            let Some(lane) = self.schedule.pop_turn() else { return };
            let Some(l) = self.lanes.get_mut(lane) else { continue };
            l.in_turn = false;
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

    /// Encodes the lane's next message or part. Returns whether there may be another.
    fn send_next(&mut self, lane: LaneIx) -> bool {
        let LinkPhase::Up { peer, .. } = &self.link else { return false };
        let max_message = peer.max_message;
        let Some(l) = self.lanes.get_mut(lane) else { return false };
        let Some(open) = l.phase.open() else { return false };
        if l.refusals.is_stopped() {
            return false;
        }
        if open.partial.is_some() {
            self.send_part(lane);
            return true;
        }
        if !open.credit.allows() {
            return false;
        }
        if !l.ready.is_empty() {
            self.send_numbered(lane, true, max_message)
        } else if !l.progress.is_behind() && l.fresh.is_sendable() {
            self.send_numbered(lane, false, max_message)
        } else if let Some(message) = l.direct.pop_front() {
            self.memory.free_direct(message.size());
            self.announce_room();
            self.send_direct(lane, message, max_message);
            true
        } else {
            false
        }
    }

    /// Encodes the first of the messages that are stored, or of those that only memory holds.
    fn send_numbered(&mut self, lane: LaneIx, stored: bool, max_message: u64) -> bool {
        let plain_bytes = self.plain_bytes();
        let Some(l) = self.lanes.get_mut(lane) else { return false };
        let front = if stored { l.ready.front() } else { l.fresh.front() };
        let Some(next) = front else { return false };
        let (seq, size, since, redelivered) = (next.seq, next.message.size(), next.since, next.redelivered);
        if size as u64 > max_message {
            let text = format!("larger than the peer's {max_message} bytes");
            self.refuse(lane, seq, Some(size), RefuseCode::TooLarge, text);
            return false;
        }
        self.buffers.make_room(size);
        self.buffers.skip_to(lane, l.progress.sent(), seq);
        l.spend_credit(size);
        self.redelivered += u64::from(redelivered);
        let mut flags = DataFlags::empty();
        flags = if stored { flags.with(DataFlags::STRICT) } else { flags };
        flags = if redelivered { flags.with(DataFlags::REDELIVERED) } else { flags };
        let popped = if stored { l.ready.pop_front() } else { l.fresh.pop_front() };
        let Some(message) = popped.map(|next| next.message) else { return false };
        let plain = message.payload.len() <= plain_bytes;
        let retained = if plain {
            let data = data_frame(lane, flags, seq, &message.headers, &message.payload);
            if stored {
                self.buffers.encode_data(&data);
                Retained::Stored
            } else {
                Retained::Frame(self.buffers.encode_retained(&data, || since))
            }
        } else {
            if let Some(open) = l.phase.open_mut() {
                open.partial = Some(PartialSend { seq, message: message.clone(), offset: 0, flags });
            }
            if stored { Retained::Stored } else { Retained::Message(Box::new(message), since) }
        };
        l.progress.push_sent(SentMessage { seq, size, retained });
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
        let plain = message.payload.len() <= self.plain_bytes();
        self.buffers.make_room(message.size());
        let Some(open) = self.lanes.get_mut(lane).and_then(|l| l.phase.open_mut()) else { return };
        open.credit.spend(message.size());
        if plain {
            let data = data_frame(lane, DataFlags::DIRECT, Seq::ZERO, &message.headers, &message.payload);
            self.buffers.encode_data(&data);
        } else {
            open.partial = Some(PartialSend { seq: Seq::ZERO, message, offset: 0, flags: DataFlags::DIRECT });
            self.send_part(lane);
        }
    }

    /// Encodes the next part of a large message.
    fn send_part(&mut self, lane: LaneIx) {
        let part_bytes = self.part_bytes();
        self.buffers.make_room(part_bytes);
        let Some(open) = self.lanes.get_mut(lane).and_then(|l| l.phase.open_mut()) else { return };
        let Some(mut partial) = open.partial.take() else { return };
        let payload = partial.message.payload.as_bytes();
        let end = payload.len().min(partial.offset + part_bytes);
        let part = &payload[partial.offset..end];
        let headers = if partial.offset == 0 { partial.message.headers.clone() } else { Headers::EMPTY };
        let mut data = data_frame(lane, partial.flags, partial.seq, &headers, part);
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
        self.buffers.encode_data(&data);
        if end < payload.len() {
            partial.offset = end;
            open.partial = Some(partial);
        }
    }
}

/// A data frame without compression, with the headers' flag set if there are any.
#[inline]
pub(super) fn data_frame<'a>(
    lane: LaneIx,
    flags: DataFlags,
    seq: Seq,
    headers: &'a Headers,
    payload: &'a [u8],
) -> Data<'a> {
    let flags = if headers.is_empty() { flags } else { flags.with(DataFlags::HEADERS) };
    Data { lane, flags, seq, raw_len: 0, headers: headers.encoded(), payload }
}
