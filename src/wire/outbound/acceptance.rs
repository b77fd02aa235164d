//! Accepting messages.

use super::inflight::{Retained, SentMessage};
use super::queued::{QueuedMessage, QueuedState, StoreHandoff};
use super::transmission::data_frame;
use super::{AcceptMode, Body, LaneIx, LinkPhase, OfferError, Outbound};
use crate::types::{Headers, Message, Seq};
use crate::wire::frame::DataFlags;
use std::time::Instant;

impl Outbound {
    /// Takes an at-least-once message and numbers it. The lane must be durable.
    ///
    /// `now` is called only when the time is needed, which is not for every message.
    ///
    /// # Errors
    /// Returns an [`OfferError`] if the lane is not open or a limit is reached. The message is not kept and has no number.
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
        let Some(l) = self.lanes.get_mut(lane).filter(|l| l.is_durable()) else {
            return Err(OfferError::NotOpen);
        };
        if !self.config.lane.has_room(l.pending, size) {
            return Err(OfferError::LaneFull);
        }
        if !self.memory.reserve(&self.config, size) {
            return Err(OfferError::Full);
        }
        let seq = l.numbering.take_next();
        if mode == AcceptMode::WriteBehind {
            l.pending.add(size);
            if fits && l.sends_at_once() {
                // The hot path: the message is encoded straight into the transmit buffer, where it is also retained.
                self.buffers.make_room(size);
                self.buffers.skip_to(lane, l.progress.sent(), seq);
                let data = data_frame(lane, DataFlags::empty(), seq, headers, body.bytes());
                let retained = Retained::Frame(self.buffers.encode_retained(&data, now));
                l.spend_credit(size);
                if !l.has_unstored() {
                    self.schedule.set_unstored(lane, true);
                }
                l.progress.push_sent(SentMessage { seq, size, retained });
                return Ok(seq);
            }
        }
        self.queue(lane, seq, Message { headers: headers.clone(), payload: body.to_payload() }, mode, now);
        Ok(seq)
    }

    /// Takes an at-most-once message.
    ///
    /// # Errors
    /// Returns [`OfferError::Unreachable`] if there is no connection and none is being made, or the peer does not take
    /// messages of this size, and [`OfferError::Full`] if too many wait already.
    pub fn offer_direct(&mut self, lane: LaneIx, headers: &Headers, body: Body<'_>) -> Result<(), OfferError> {
        let size = headers.encoded().len() + body.bytes().len();
        let fits = self.fits_buffer(size);
        let too_large = matches!(&self.link, LinkPhase::Up { peer, .. } if size as u64 > peer.max_message);
        if too_large || matches!(self.link, LinkPhase::Down) {
            return Err(OfferError::Unreachable);
        }
        let Some(l) = self.lanes.get_mut(lane) else { return Err(OfferError::Unreachable) };
        if l.direct.is_empty()
            && fits
            && let Some(open) = l.phase.open_mut()
            && open.partial.is_none()
            && open.credit.allows()
        {
            open.credit.spend(size);
            self.buffers.make_room(size);
            self.buffers.encode_data(&data_frame(lane, DataFlags::DIRECT, Seq::ZERO, headers, body.bytes()));
            return Ok(());
        }
        if !self.memory.reserve_direct(&self.config, size) {
            return Err(OfferError::Full);
        }
        l.direct.push_back(Message { headers: headers.clone(), payload: body.to_payload() });
        self.wake_lane(lane);
        Ok(())
    }

    /// Whether a message of this size is encoded as one plain frame into the buffer as it stands.
    fn fits_buffer(&self, size: usize) -> bool {
        size <= self.plain_bytes() && self.has_transmit_room()
    }

    fn queue(&mut self, lane: LaneIx, seq: Seq, message: Message, mode: AcceptMode, now: impl FnOnce() -> Instant) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        // A message that queues up during an append is not in it and waits on its own.
        let last = if l.append.is_under_way() { None } else { l.fresh.since_of_last(seq) };
        let since = last.unwrap_or_else(now);
        let state = match mode {
            AcceptMode::WriteBehind => QueuedState::Accepted,
            AcceptMode::Group => QueuedState::External,
            AcceptMode::Stored { deadline, synced } => {
                QueuedState::Reserved { deadline, synced, handoff: StoreHandoff::NotGiven }
            }
        };
        if !l.has_unstored() {
            self.schedule.set_unstored(lane, true);
        }
        l.fresh.push_back(QueuedMessage { seq, message, state, since, redelivered: false });
        if matches!(mode, AcceptMode::Stored { .. }) {
            self.schedule.commit(lane);
        }
        self.wake_lane(lane);
    }
}
