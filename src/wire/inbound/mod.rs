//! The receiving half of a link: everything that comes from one peer.
//!
//! It checks order, drops duplicates, hands messages over, waits for the answers, and acks what is handled as far as the
//! lane's rule allows. It outlives connections: a message that is with a subscriber when the connection breaks is not
//! handed over again.
//!
//! ```text
//!  handle_frame ────┐                              ┌──▶ poll_delivery  hand this over, then handle_disposition
//!  handle_disposition ───┤                              │
//!  handle_opened ───┼──▶  lanes · handlers · acks ─┼──▶ poll_event     Advance, DeadLetter, OpenLane, ...
//!  handle_advanced ─┤                              ├──▶ poll_transmit  bytes for the connection
//!  handle_timeout ──┘                              └──▶ poll_timeout   when to call handle_timeout
//! ```
//!
//! After any input call the `poll_*` methods until all answer `None`, deliveries first, then arm a timer.

mod answer;
mod api;
mod arrive;
mod deliver;
mod lane;
mod pass;
#[cfg(test)]
mod tests;

pub use api::{Disposition, HandOver, InboundConfig, InboundCounts, InboundEvent, LaneSlot, SubscriberSpec};

use crate::types::{Cursor, Headers, Incarnation, LaneId, LaneName, Message, NodeId, Payload, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::{CloseCode, Data, DataFlags, Frame, LaneIx, RefuseCode, Resume, ResumeAt};
use crate::wire::heartbeat::{Heartbeat, Silence};
use bytes::{Bytes, BytesMut};
use lane::{Arriving, ConnectionView, CursorState, EntryState, PartialMessage, QueueEntry, RecvLane, plan_resume};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Incarnations one `Resume` may list. A sender that restarts this often without any message being acked is broken.
const MAX_SPANS: usize = 4096;

/// The receiving half of a link. See the [module](self).
#[derive(Debug)]
pub struct Inbound {
    config: InboundConfig,
    me: NodeId,
    peer: NodeId,
    handlers: HashMap<Topic, SubscriberSpec>,
    lanes: Vec<RecvLane>,
    by_name: HashMap<(Topic, Topic), LaneSlot>,
    by_ix: HashMap<LaneIx, LaneSlot>,
    /// What the last frame was about: the next one mostly is, too.
    last_ix: Option<(LaneIx, LaneSlot)>,
    heartbeat: Option<Heartbeat>,
    tx: BytesMut,
    events: VecDeque<InboundEvent>,
    /// Lanes with something to hand over, in turn.
    turn: VecDeque<LaneSlot>,
    /// Lanes whose cursor is to be committed now.
    committing: BTreeSet<LaneSlot>,
    /// Lanes whose ack or credit may have changed.
    changed: Vec<LaneSlot>,
    /// When they are written at the latest.
    ack_due: Option<Instant>,
    /// They are to be written at once.
    ack_now: bool,
    /// Lanes with messages that share the buffer they arrived in.
    attached: Vec<LaneSlot>,
    /// Lanes with a deadline.
    timed: BTreeSet<LaneSlot>,
    draining: bool,
    counts: InboundCounts,
}

impl Inbound {
    /// The receiving half for messages from `peer` to `me`.
    pub fn new(config: InboundConfig, me: NodeId, peer: NodeId) -> Self {
        Inbound {
            config,
            me,
            peer,
            handlers: HashMap::new(),
            lanes: Vec::new(),
            by_name: HashMap::new(),
            by_ix: HashMap::new(),
            last_ix: None,
            heartbeat: None,
            tx: BytesMut::new(),
            events: VecDeque::new(),
            turn: VecDeque::new(),
            committing: BTreeSet::new(),
            changed: Vec::new(),
            ack_due: None,
            ack_now: false,
            attached: Vec::new(),
            timed: BTreeSet::new(),
            draining: false,
            counts: InboundCounts::default(),
        }
    }

    // ---- getters ----

    /// What was counted so far.
    pub fn counts(&self) -> InboundCounts {
        self.counts
    }

    /// Whether everything handled is committed and acked as far as it can be, and no subscriber has a message.
    pub fn is_settled(&self) -> bool {
        self.lanes.iter().all(RecvLane::is_settled)
    }

    /// What is held of each lane: arrived, and not done with. Messages, then bytes of payload and headers.
    pub fn held(&self) -> impl Iterator<Item = (&LaneId, u64, u64)> {
        self.lanes.iter().map(|lane| {
            let (messages, bytes) = lane.waiting();
            (&lane.id, messages, bytes)
        })
    }

    /// The number of a lane that is open on this connection.
    pub fn slot(&self, ix: LaneIx) -> Option<LaneSlot> {
        match self.last_ix {
            Some((last, slot)) if last == ix => Some(slot),
            _ => self.by_ix.get(&ix).copied(),
        }
    }

    /// The lane behind a number.
    pub fn lane(&self, slot: LaneSlot) -> &LaneId {
        &self.lanes[slot.0].id
    }

    // ---- commands ----

    /// A subscriber for `topic` is there: what waits is handed over, and senders get credit.
    pub fn subscribe(&mut self, topic: Topic, handler: SubscriberSpec) {
        for slot in self.lanes_of(&topic) {
            let lane = &mut self.lanes[slot.0];
            lane.handler = Some(handler);
            lane.ahead = 0;
            lane.note_change(slot, &mut self.changed);
            self.ack_now = true;
            self.enqueue(slot);
        }
        self.handlers.insert(topic, handler);
    }

    /// The subscriber went away. What it has is answered by the owner; what waits keeps waiting.
    pub fn unsubscribe(&mut self, topic: &Topic) {
        self.handlers.remove(topic);
        for slot in self.lanes_of(topic) {
            self.lanes[slot.0].handler = None;
        }
    }

    /// Hands nothing over any more and commits all cursors at once, for a shutdown.
    pub fn drain(&mut self) {
        self.draining = true;
        self.ack_now = true;
        let open = self.lanes.iter().enumerate().filter(|(_, l)| l.handled != l.committed);
        self.committing.extend(open.map(|(at, _)| LaneSlot(at)));
    }

    pub(super) fn lanes_of(&self, topic: &Topic) -> Vec<LaneSlot> {
        self.lanes.iter().enumerate().filter(|(_, l)| l.id.topic() == topic).map(|(at, _)| LaneSlot(at)).collect()
    }

    /// Tells the peer that this node serves `topic` again, or does not any more.
    pub fn announce(&mut self, topic: Topic, subscribed: bool) {
        let frame = if subscribed { Frame::Subscribed(topic) } else { Frame::Unsubscribed(topic) };
        if self.heartbeat.is_some() {
            codec::encode(&frame, &mut self.tx);
        }
    }

    /// Asks the peer to close the connection, behind everything written so far.
    pub fn goodbye(&mut self) {
        self.write_acks();
        let text = "shutting down".to_owned();
        codec::encode(&Frame::Close { code: CloseCode::Goodbye, text }, &mut self.tx);
    }

    // ---- the connection ----

    /// A connection is up and the handshake is done. It replaces an earlier one.
    pub fn handle_connected(&mut self, now: Instant) {
        self.handle_disconnected();
        self.heartbeat = Some(Heartbeat::accepted(self.config.heartbeat, now));
    }

    /// The connection is gone. What arrived stays and goes on.
    pub fn handle_disconnected(&mut self) {
        self.heartbeat = None;
        self.tx.clear();
        self.by_ix.clear();
        self.last_ix = None;
        for lane in &mut self.lanes {
            lane.session = None;
            if matches!(lane.knowledge, CursorState::Reading(_)) {
                lane.knowledge = CursorState::Unread;
            }
        }
    }

    /// Bytes arrived, whether or not they make a frame.
    pub fn handle_heard(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.heard(now);
        }
    }

    /// A frame arrived; `buffer` is what it was decoded from.
    ///
    /// # Errors
    /// [`LinkError`] when the peer broke the protocol: close the connection.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame<'_>, buffer: &Bytes) -> Result<(), LinkError> {
        match frame {
            Frame::Data(data) => self.handle_data(&data, buffer),
            Frame::Skip { lane, from, to } => self.handle_skip(now, lane, from, to),
            Frame::Resume(resume) => self.handle_resume(resume),
            Frame::Ping(n) => {
                codec::encode(&Frame::Pong(n), &mut self.tx);
                Ok(())
            }
            Frame::Pong(_) | Frame::Unknown(_) => Ok(()),
            Frame::Subscribed(topic) => self.tell(InboundEvent::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.tell(InboundEvent::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.tell(InboundEvent::PeerClosed(code, text)),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::ResumeAt(_)
            | Frame::Ack { .. }
            | Frame::Credit { .. }
            | Frame::Refuse { .. } => Err(LinkError::UnexpectedFrame),
        }
    }

    fn tell(&mut self, event: InboundEvent) -> Result<(), LinkError> {
        self.events.push_back(event);
        Ok(())
    }

    fn handle_resume(&mut self, resume: Resume) -> Result<(), LinkError> {
        let ordered = resume.spans.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        if !ordered || resume.spans.len() > MAX_SPANS || resume.spans.iter().any(|(_, first)| *first == Seq::ZERO) {
            return Err(LinkError::MalformedResume);
        }
        let slot = self.find_or_add(&resume.source, &resume.topic)?;
        self.by_ix.insert(resume.lane, slot);
        self.last_ix = None;
        let lane = &mut self.lanes[slot.0];
        lane.session = None;
        match lane.knowledge {
            _ if resume.spans.is_empty() => {
                // An older one that waits for the store is of a lane the sender has forgotten since.
                if matches!(lane.knowledge, CursorState::Reading(_)) {
                    lane.knowledge = CursorState::Unread;
                }
                self.answer_resume(slot, &resume);
            }
            CursorState::Read => self.answer_resume(slot, &resume),
            CursorState::Unread => {
                lane.knowledge = CursorState::Reading(Box::new(resume));
                let lane = lane.id.clone();
                self.events.push_back(InboundEvent::OpenLane { slot, lane });
            }
            CursorState::Reading(_) => lane.knowledge = CursorState::Reading(Box::new(resume)),
        }
        Ok(())
    }

    fn find_or_add(&mut self, source: &Topic, topic: &Topic) -> Result<LaneSlot, LinkError> {
        if let Some(slot) = self.by_name.get(&(source.clone(), topic.clone())) {
            return Ok(*slot);
        }
        if self.lanes.len() >= self.config.max_lanes {
            return Err(LinkError::TooManyLanes);
        }
        let name = LaneName {
            sender: self.peer.clone(),
            source: source.clone(),
            receiver: self.me.clone(),
            topic: topic.clone(),
        };
        let slot = LaneSlot(self.lanes.len());
        self.lanes.push(RecvLane::new(LaneId::new(name), self.handlers.get(topic).copied()));
        self.by_name.insert((source.clone(), topic.clone()), slot);
        Ok(slot)
    }

    /// The store's answer to [`InboundEvent::OpenLane`]: the cursor, and the attempts recorded behind it.
    pub fn handle_opened(&mut self, slot: LaneSlot, cursor: Option<Cursor>, attempts: Vec<(Incarnation, Seq, u32)>) {
        let lane = &mut self.lanes[slot.0];
        let waiting = match std::mem::replace(&mut lane.knowledge, CursorState::Read) {
            CursorState::Read => return,
            CursorState::Reading(resume) => Some(resume),
            CursorState::Unread => None,
        };
        (lane.received, lane.handled, lane.committed) = (cursor, cursor, cursor);
        lane.recorded = attempts;
        if let Some(resume) = waiting {
            self.answer_resume(slot, &resume);
        }
    }

    fn answer_resume(&mut self, slot: LaneSlot, resume: &Resume) {
        let lane = &mut self.lanes[slot.0];
        let meeting = plan_resume(resume, lane.received);
        if meeting.restarted {
            self.events.push_back(InboundEvent::LaneRestarted(lane.id.clone()));
        }
        if let Some(cursor) = meeting.lift {
            lane.received = Some(cursor);
            lane.handled = Some(cursor);
            self.committing.insert(slot);
        }
        let waited = lane.waiting();
        let serves = lane.handler.is_some();
        let window = if serves { (self.config.window_messages, self.config.window_bytes) } else { (0, 0) };
        let granted = (window.0.saturating_sub(waited.0), window.1.saturating_sub(waited.1));
        lane.session = Some(ConnectionView {
            ix: resume.lane,
            spans: resume.spans.clone(),
            position: meeting.position,
            refused: None,
            partial: None,
            arriving: None,
            acked: None,
            ack_again: false,
            consumed: (0, 0),
            told: (0, 0),
            waited,
            granted,
        });
        let at = ResumeAt { lane: resume.lane, received: meeting.received, messages: granted.0, bytes: granted.1 };
        codec::encode(&Frame::ResumeAt(at), &mut self.tx);
        lane.note_change(slot, &mut self.changed);
    }
}
