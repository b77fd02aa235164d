//! The connection: whether it is up, and the frames that arrive on it.

use super::lane_phase::LanePhase;
use super::{LaneIx, LinkPhase, Outbound, OutboundEvent, PeerLimits};
use crate::types::{Incarnation, Seq, Topic};
use crate::wire::error::LinkError;
use crate::wire::frame::{Frame, RefuseCode, Resume, ResumeAt};
use crate::wire::heartbeat::Heartbeat;
use std::time::Instant;

impl Outbound {
    /// Handles that a connection is being made. At-most-once messages wait for it from now on.
    pub fn handle_dialing(&mut self) {
        if !self.is_up() {
            self.link = LinkPhase::Dialing;
        }
    }

    /// Handles that the attempt to connect failed. At-most-once messages are dropped until the next one.
    pub fn handle_dial_failed(&mut self) {
        if !self.is_up() {
            self.link = LinkPhase::Down;
            self.drop_direct();
        }
    }

    /// Handles that a connection is up and the handshake is done. Resumes the lanes that have something to send.
    pub fn handle_connected(&mut self, now: Instant, peer: PeerLimits) {
        let heartbeat = Heartbeat::dialled(self.config.heartbeat, self.config.rounds, now);
        let part_bytes = self.config.part_bytes.min(peer.max_frame as usize / 2);
        let max_message = usize::try_from(peer.max_message).unwrap_or(usize::MAX);
        let plain_bytes = part_bytes.min(self.config.compress_threshold).min(max_message);
        self.link = LinkPhase::Up { peer, heartbeat, part_bytes, plain_bytes };
        let busy = self.lanes.iter().filter(|(_, l)| l.has_work() || l.is_behind_acks());
        let busy: Vec<_> = busy.map(|(lane, _)| lane).collect();
        for lane in busy {
            self.resume_lane(lane);
        }
    }

    /// Handles that the connection is lost, with everything in its buffers. What only memory holds is written to the durable
    /// queue.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.buffers.disconnect();
        self.schedule.clear_turn();
        self.link = LinkPhase::Down;
        for (_, l) in self.lanes.iter_mut() {
            l.phase = LanePhase::Closed;
            l.in_turn = false;
            l.append.set_flush(l.has_unstored());
        }
        self.drop_direct();
        self.append_due(now);
    }

    fn drop_direct(&mut self) {
        let dropped: usize = self.lanes.iter_mut().map(|(_, l)| std::mem::take(&mut l.direct).len()).sum();
        self.memory.free_all_direct();
        if dropped > 0 {
            self.events.push_back(OutboundEvent::Dropped(dropped as u64));
        }
        self.announce_room();
    }

    /// Asks the receiver where the lane continues, if the link is up.
    pub(super) fn resume_lane(&mut self, lane: LaneIx) {
        let up = self.is_up();
        let Some(l) = self.lanes.get_mut(lane).filter(|_| up) else { return };
        l.phase.resume();
        let resume = Resume {
            lane,
            source: l.ends().source.clone(),
            topic: l.ends().topic.clone(),
            predecessor: l.numbering.predecessor(),
            acked: l.progress.acked(),
            spans: l.numbering.spans().to_vec(),
        };
        self.buffers.encode(&Frame::Resume(resume));
    }

    /// Handles that bytes arrived on the connection, whether or not they complete a frame.
    pub fn handle_heard(&mut self, now: Instant) {
        if let LinkPhase::Up { heartbeat, .. } = &mut self.link {
            heartbeat.heard(now);
        }
    }

    /// Tells the peer that this node subscribed to `topic`, or unsubscribed from it.
    pub fn announce(&mut self, topic: Topic, subscribed: bool) {
        let frame = if subscribed { Frame::Subscribed(topic) } else { Frame::Unsubscribed(topic) };
        if self.is_up() {
            self.buffers.encode(&frame);
        }
    }

    /// Handles a frame that arrived.
    ///
    /// # Errors
    /// Returns a [`LinkError`] if the peer broke the protocol. Close the connection then.
    pub fn handle_frame(&mut self, frame: Frame<'_>) -> Result<(), LinkError> {
        match frame {
            Frame::ResumeAt(at) => return self.handle_resume_at(&at),
            Frame::Ack { lane, incarnation, seq } => self.handle_ack(lane, incarnation, seq),
            Frame::Credit { lane, messages, bytes } => self.handle_credit(lane, messages, bytes),
            Frame::Refuse { lane, incarnation, seq, code, text } => {
                return self.handle_refuse(lane, incarnation, seq, code, text);
            }
            Frame::Ping(n) => self.buffers.encode(&Frame::Pong(n)),
            Frame::Pong(_) | Frame::Unknown(_) => {}
            Frame::Subscribed(topic) => self.events.push_back(OutboundEvent::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.events.push_back(OutboundEvent::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.events.push_back(OutboundEvent::PeerClosed(code, text)),
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Resume(_) | Frame::Data(_) | Frame::Skip { .. } => {
                return Err(LinkError::UnexpectedFrame);
            }
        }
        Ok(())
    }

    fn handle_credit(&mut self, lane: LaneIx, messages: u64, bytes: u64) {
        if let Some(open) = self.lanes.get_mut(lane).and_then(|l| l.phase.open_mut()) {
            open.credit.grant(messages, bytes);
            self.enqueue(lane);
        }
    }

    fn handle_resume_at(&mut self, at: &ResumeAt) -> Result<(), LinkError> {
        self.buffers.seal();
        let Some(l) = self.lanes.get_mut(at.lane) else { return Ok(()) };
        if !l.phase.handle_resume_at(at).ok_or(LinkError::UnexpectedFrame)? {
            return Ok(());
        }
        if let Some(first) = l.numbering.first() {
            let theirs = at.received.and_then(|(incarnation, seq)| l.numbering.position(incarnation, seq));
            // What an earlier process sent is not known here: it is sent again, and the receiver drops what it has.
            let known = l.progress.sent().max(first.prev());
            l.rewind(theirs.unwrap_or(first.prev()).min(known), &mut self.buffers);
            self.note_unstored(at.lane);
        }
        self.enqueue(at.lane);
        Ok(())
    }

    fn handle_ack(&mut self, lane: LaneIx, incarnation: Incarnation, seq: Seq) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let Some(through) = l.numbering.position(incarnation, seq) else { return };
        // What an earlier process sent is not counted here: it is sent once more, and the ack comes again.
        let through = through.min(l.progress.sent());
        if through <= l.progress.acked() {
            return;
        }
        let (amount, held) = l.progress.ack(through, &mut self.buffers);
        self.memory.free(held);
        let mut has_rows = held != amount || l.append.is_under_way();
        while l.ready.pop_front_if(|m| m.seq <= through).is_some() {
            has_rows = true;
        }
        l.pending.remove_all(amount);
        l.numbering.forget_through(through);
        l.refusals.forget_through(through);
        self.events.push_back(OutboundEvent::Acked { lane, through, amount, has_rows });
        self.note_unstored(lane);
        self.announce_room();
        self.enqueue(lane);
    }

    fn handle_refuse(
        &mut self,
        lane: LaneIx,
        incarnation: Incarnation,
        seq: Seq,
        code: RefuseCode,
        text: String,
    ) -> Result<(), LinkError> {
        self.buffers.seal();
        let Some(l) = self.lanes.get_mut(lane) else { return Ok(()) };
        let Some(at) = l.numbering.position(incarnation, seq) else { return Ok(()) };
        if at != seq || seq > l.progress.sent() {
            return Err(LinkError::BeyondSent);
        }
        if seq <= l.progress.acked() || l.refusals.is_open(seq) {
            return Ok(());
        }
        let size = l.progress.size_of(seq);
        // The sending of a large at-most-once message continues: the refusal is not about it.
        if let Some(open) = l.phase.open_mut()
            && let Some(partial) = open.partial.take_if(|partial| partial.seq != Seq::ZERO)
        {
            open.credit.refund(partial.message.size());
        }
        l.rewind(seq.prev(), &mut self.buffers);
        self.refuse(lane, seq, size, code, text);
        Ok(())
    }
}
