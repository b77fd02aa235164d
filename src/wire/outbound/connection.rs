//! The connection: up, down, and what the peer says on it.

use super::*;

impl Outbound {
    /// A connection is being made: at-most-once messages wait for it from now on.
    pub fn handle_dialing(&mut self) {
        if !self.is_up() {
            self.link = LinkPhase::Dialing;
        }
    }

    /// The attempt failed: at-most-once messages are dropped until the next one.
    pub fn handle_dial_failed(&mut self) {
        if !self.is_up() {
            self.link = LinkPhase::Down;
            self.drop_direct();
        }
    }

    /// A connection is up and the handshake is done. Lanes with work are resumed.
    pub fn handle_connected(&mut self, now: Instant, peer: PeerLimits) {
        self.link =
            LinkPhase::Up { peer, heartbeat: Heartbeat::dialled(self.config.heartbeat, self.config.rounds, now) };
        let max_message = usize::try_from(peer.max_message).unwrap_or(usize::MAX);
        self.plain_bytes = self.part_bytes().min(self.config.compress_threshold).min(max_message);
        let busy = self.lanes.iter().flatten().filter(|l| l.has_work() || l.is_behind_acks());
        let busy: Vec<_> = busy.map(|l| l.ix).collect();
        for lane in busy {
            self.resume_lane(lane);
        }
    }

    /// The connection is gone, with whatever was in its buffers. What memory holds is written to the durable queue.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.seal();
        self.transmit.clear();
        self.turn.clear();
        self.link = LinkPhase::Down;
        self.plain_bytes = 0;
        for l in self.lanes.iter_mut().flatten() {
            l.connection = LanePhase::Closed;
            l.credit = Credit::default();
            l.rest = None;
            l.queued = false;
            l.flush = l.has_unstored();
        }
        self.drop_direct();
        self.append_due(now);
    }

    pub(super) fn drop_direct(&mut self) {
        let dropped: usize = self.lanes.iter_mut().flatten().map(|l| std::mem::take(&mut l.direct).len()).sum();
        self.direct = Volume::default();
        if dropped > 0 {
            self.events.push_back(OutboundEvent::Dropped(dropped as u64));
        }
        self.make_room();
    }

    pub(super) fn resume_lane(&mut self, lane: LaneIx) {
        let up = self.is_up();
        let Some(l) = lane_mut(&mut self.lanes, lane).filter(|_| up) else { return };
        let outstanding = match l.connection {
            LanePhase::Resuming(n) => n,
            LanePhase::Closed | LanePhase::Open => 0,
        };
        l.connection = LanePhase::Resuming(outstanding + 1);
        l.credit = Credit::default();
        l.rest = None;
        let resume = Resume {
            lane,
            source: l.source.clone(),
            topic: l.topic.clone(),
            predecessor: l.predecessor,
            acked: l.acked,
            spans: l.spans.clone(),
        };
        codec::encode(&Frame::Resume(resume), self.transmit.buffer());
    }

    /// Bytes arrived on the connection, whether or not they make a frame.
    pub fn handle_heard(&mut self, now: Instant) {
        if let LinkPhase::Up { heartbeat, .. } = &mut self.link {
            heartbeat.heard(now);
        }
    }

    /// Tells the peer that this node serves `topic` again, or does not any more.
    pub fn announce(&mut self, topic: Topic, subscribed: bool) {
        let frame = if subscribed { Frame::Subscribed(topic) } else { Frame::Unsubscribed(topic) };
        if self.is_up() {
            codec::encode(&frame, self.transmit.buffer());
        }
    }

    /// A frame arrived.
    ///
    /// # Errors
    /// [`LinkError`] when the peer broke the protocol: close the connection.
    pub fn handle_frame(&mut self, frame: Frame<'_>) -> Result<(), LinkError> {
        match frame {
            Frame::ResumeAt(at) => self.handle_resume_at(&at),
            Frame::Ack { lane, incarnation, seq } => self.handle_ack(lane, incarnation, seq),
            Frame::Credit { lane, messages, bytes } => {
                if let Some(l) = lane_mut(&mut self.lanes, lane).filter(|l| l.connection == LanePhase::Open) {
                    l.credit.messages = l.credit.messages.max(messages);
                    l.credit.bytes = l.credit.bytes.max(bytes);
                    self.enqueue(lane);
                }
                Ok(())
            }
            Frame::Refuse { lane, incarnation, seq, code, text } => {
                self.handle_refuse(lane, incarnation, seq, code, text)
            }
            Frame::Ping(n) => {
                codec::encode(&Frame::Pong(n), self.transmit.buffer());
                Ok(())
            }
            Frame::Pong(_) | Frame::Unknown(_) => Ok(()),
            Frame::Subscribed(topic) => self.tell(OutboundEvent::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.tell(OutboundEvent::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.tell(OutboundEvent::PeerClosed(code, text)),
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Resume(_) | Frame::Data(_) | Frame::Skip { .. } => {
                Err(LinkError::UnexpectedFrame)
            }
        }
    }

    pub(super) fn tell(&mut self, event: OutboundEvent) -> Result<(), LinkError> {
        self.events.push_back(event);
        Ok(())
    }

    pub(super) fn handle_resume_at(&mut self, at: &ResumeAt) -> Result<(), LinkError> {
        self.seal();
        let Some(l) = lane_mut(&mut self.lanes, at.lane) else { return Ok(()) };
        match l.connection {
            LanePhase::Resuming(1) => l.connection = LanePhase::Open,
            LanePhase::Resuming(n) => {
                l.connection = LanePhase::Resuming(n - 1);
                return Ok(());
            }
            LanePhase::Closed | LanePhase::Open => return Err(LinkError::UnexpectedFrame),
        }
        l.credit = Credit { messages: at.messages, bytes: at.bytes, ..Credit::default() };
        if l.is_durable() {
            let first = l.spans[0].1;
            let theirs =
                at.received.and_then(|(incarnation, seq)| l.position(incarnation, seq)).unwrap_or(first.prev());
            // What an earlier process sent is not known here: it is sent again, and the receiver drops what it has.
            let known = l.sent.max(first.prev());
            l.rewind(theirs.min(known), &mut self.segments);
            self.note_unstored(at.lane);
        }
        self.enqueue(at.lane);
        Ok(())
    }

    pub(super) fn handle_ack(&mut self, lane: LaneIx, incarnation: Incarnation, seq: Seq) -> Result<(), LinkError> {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return Ok(()) };
        let Some(through) = l.position(incarnation, seq) else { return Ok(()) };
        // What an earlier process sent is not counted here: it is sent once more, and the ack comes again.
        let through = through.min(l.sent);
        if through <= l.acked {
            return Ok(());
        }
        l.acked = through;
        l.cached = l.cached.max(through);
        let (amount, held) = release_through(&mut self.segments, &mut self.transmit, &mut l.inflight, through);
        self.memory.remove_all(held);
        let mut has_rows = held != amount || l.appending.is_some();
        while let Some(item) = l.ready.pop_front_if(|i| i.seq <= through) {
            l.ready_bytes -= item.message.size();
            has_rows = true;
        }
        l.pending.remove_all(amount);
        l.forget_spans(through);
        if !l.refusals.is_empty() {
            l.refusals = l.refusals.split_off(&through.next());
        }
        self.events.push_back(OutboundEvent::Acked { lane, through, amount, has_rows });
        self.note_unstored(lane);
        self.make_room();
        self.enqueue(lane);
        Ok(())
    }

    pub(super) fn handle_refuse(
        &mut self,
        lane: LaneIx,
        incarnation: Incarnation,
        seq: Seq,
        code: RefuseCode,
        text: String,
    ) -> Result<(), LinkError> {
        self.seal();
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return Ok(()) };
        let Some(at) = l.position(incarnation, seq) else { return Ok(()) };
        if at != seq || seq > l.sent {
            return Err(LinkError::BeyondSent);
        }
        if seq <= l.acked || l.refused.contains_key(&seq) {
            return Ok(());
        }
        let size = l.inflight.size(seq);
        let rest = l.rest.take();
        l.rewind(seq.prev(), &mut self.segments);
        match rest {
            // At most once: the refusal is not about it.
            Some(rest) if rest.seq == Seq::ZERO => l.rest = Some(rest),
            Some(rest) => l.credit.give_back(rest.message.size()),
            None => {}
        }
        l.refused.insert(seq, size);
        self.refuse(lane, seq, code, text);
        Ok(())
    }
}
