//! The receiving half of a link: everything that comes from one peer.
//!
//! It checks order, drops duplicates, hands messages over, waits until they are handled, and acks as far as the lane's
//! rule allows. It outlives connections: a message that is with a subscriber when the connection is lost is not handed
//! over again.
//!
//! ```text
//!  handle_frame ───────┐                                  ┌──▶ poll_delivery  hand this over, then handle_disposition
//!  handle_disposition ─┤                                  │
//!  handle_opened ──────┼──▶  lanes · subscribers · acks ──┼──▶ poll_event     Advance, DeadLetter, OpenLane, ...
//!  handle_advanced ────┤                                  ├──▶ poll_transmit  bytes for the connection
//!  handle_timeout ─────┘                                  └──▶ poll_timeout   when to call handle_timeout
//! ```
//!
//! After any input, call the `poll_*` methods until all return `None`, deliveries first, then set a timer.

mod acks;
mod arrival;
mod commit;
mod config;
mod connection_view;
mod cursors;
mod delivery;
mod disposition;
mod event;
mod gate;
mod hand_over;
mod lane;
mod lanes;
mod passage;
mod queue;
mod reassembly;
mod resume_plan;
mod schedule;
#[cfg(test)]
mod tests;
mod timer;
mod window;

pub use config::InboundConfig;
pub use event::{CursorStep, InboundCounts, InboundEvent};
pub use hand_over::{Disposition, HandOver, LaneSlot, SubscriberSpec};

use crate::types::{Amount, Cursor, Incarnation, LaneId, NodeId, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::{CloseCode, Frame, LaneIx, Resume, ResumeAt};
use crate::wire::heartbeat::Heartbeat;
use bytes::{Bytes, BytesMut};
use connection_view::ConnectionView;
use cursors::{CursorState, ResumeStep};
use lane::RecordedAttempts;
use lanes::RecvLanes;
use resume_plan::plan_resume;
use schedule::{AckSchedule, RecvSchedule};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;
use window::ReceiveWindow;

/// Incarnations that one `Resume` may list. A sender that restarts this often without any message being acked is broken.
const MAX_SPANS: usize = 4096;

/// The receiving half of a link. See the [module](self).
#[derive(Debug)]
pub struct Inbound {
    config: InboundConfig,
    subscribers: HashMap<Topic, SubscriberSpec>,
    lanes: RecvLanes,
    schedule: RecvSchedule,
    acks: AckSchedule,
    /// `None` while there is no connection.
    heartbeat: Option<Heartbeat>,
    /// Frames that wait for the connection.
    tx: BytesMut,
    events: VecDeque<InboundEvent>,
    draining: bool,
    counts: InboundCounts,
}

impl Inbound {
    /// Creates the receiving half for messages from `peer` to `me`, without a connection.
    pub fn new(config: InboundConfig, me: NodeId, peer: NodeId) -> Self {
        Inbound {
            config,
            subscribers: HashMap::new(),
            lanes: RecvLanes::new(me, peer),
            schedule: RecvSchedule::default(),
            acks: AckSchedule::default(),
            heartbeat: None,
            tx: BytesMut::new(),
            events: VecDeque::new(),
            draining: false,
            counts: InboundCounts::default(),
        }
    }

    // ---- getters ----

    /// Returns the counters.
    pub fn counts(&self) -> InboundCounts {
        self.counts
    }

    /// Returns whether everything handled is committed and acked as far as it can be, and no subscriber has a message.
    pub fn is_settled(&self) -> bool {
        self.lanes.iter().all(|(_, lane)| lane.is_settled())
    }

    /// Returns what is held of each lane: messages that arrived and are not done, and their bytes of payload and headers.
    pub fn held(&self) -> impl Iterator<Item = (&LaneId, u64, u64)> {
        self.lanes.iter().map(|(_, lane)| {
            let Amount { messages, bytes } = lane.queue.amount();
            (&lane.id, messages, bytes)
        })
    }

    /// Returns the number of a lane that is open on this connection.
    pub fn slot(&self, ix: LaneIx) -> Option<LaneSlot> {
        self.lanes.slot(ix)
    }

    /// Returns the lane with a number.
    ///
    /// # Panics
    /// If the number is of another `Inbound`.
    pub fn lane(&self, slot: LaneSlot) -> &LaneId {
        &self.lanes[slot].id
    }

    // ---- commands ----

    /// Adds or replaces the subscriber of `topic`. What waits is handed over, and senders get credit.
    pub fn subscribe(&mut self, topic: Topic, subscriber: SubscriberSpec) {
        for slot in self.lanes.to_topic(&topic) {
            let lane = &mut self.lanes[slot];
            lane.gate.subscribe(subscriber);
            self.acks.note(slot, lane);
            self.acks.hurry();
            self.schedule.enqueue(slot, lane);
        }
        self.subscribers.insert(topic, subscriber);
    }

    /// Removes the subscriber of `topic`. The owner reports what becomes of the messages it has. Others wait.
    pub fn unsubscribe(&mut self, topic: &Topic) {
        self.subscribers.remove(topic);
        for slot in self.lanes.to_topic(topic) {
            self.lanes[slot].gate.unsubscribe();
        }
    }

    /// Stops handing messages over and commits all cursors at once, for a shutdown.
    pub fn drain(&mut self) {
        self.draining = true;
        self.acks.hurry();
        for (slot, _) in self.lanes.iter().filter(|(_, lane)| !lane.cursors.is_committed()) {
            self.schedule.commit(slot);
        }
    }

    /// Tells the peer that this node subscribed to `topic`, or unsubscribed from it.
    pub fn announce(&mut self, topic: Topic, subscribed: bool) {
        let frame = if subscribed { Frame::Subscribed(topic) } else { Frame::Unsubscribed(topic) };
        if self.heartbeat.is_some() {
            codec::encode(&frame, &mut self.tx);
        }
    }

    /// Asks the peer to close the connection, after everything written so far.
    pub fn goodbye(&mut self) {
        self.write_acks();
        let text = "shutting down".to_owned();
        codec::encode(&Frame::Close { code: CloseCode::Goodbye, text }, &mut self.tx);
    }

    // ---- the connection ----

    /// Handles that a connection is up and the handshake is done. It replaces an earlier one.
    pub fn handle_connected(&mut self, now: Instant) {
        self.handle_disconnected();
        self.heartbeat = Some(Heartbeat::accepted(self.config.heartbeat, now));
    }

    /// Handles that the connection is lost. Messages that arrived stay, and are handed over.
    pub fn handle_disconnected(&mut self) {
        self.heartbeat = None;
        self.tx.clear();
        self.lanes.unbind_all();
        for (_, lane) in self.lanes.iter_mut() {
            lane.view = None;
            lane.cursors.cancel_read();
        }
    }

    /// Handles that bytes arrived on the connection, whether or not they complete a frame.
    pub fn handle_heard(&mut self, now: Instant) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.heard(now);
        }
    }

    /// Handles a frame that arrived. `buffer` is what it was decoded from.
    ///
    /// # Errors
    /// Returns a [`LinkError`] if the peer broke the protocol. Close the connection then.
    pub fn handle_frame(&mut self, now: Instant, frame: Frame<'_>, buffer: &Bytes) -> Result<(), LinkError> {
        match frame {
            Frame::Data(data) => return self.handle_data(&data, buffer),
            Frame::Skip { lane, from, to } => return self.handle_skip(now, lane, from, to),
            Frame::Resume(resume) => return self.handle_resume(resume),
            Frame::Ping(n) => codec::encode(&Frame::Pong(n), &mut self.tx),
            Frame::Pong(_) | Frame::Unknown(_) => {}
            Frame::Subscribed(topic) => self.events.push_back(InboundEvent::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.events.push_back(InboundEvent::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.events.push_back(InboundEvent::PeerClosed(code, text)),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::ResumeAt(_)
            | Frame::Ack { .. }
            | Frame::Credit { .. }
            | Frame::Refuse { .. } => return Err(LinkError::UnexpectedFrame),
        }
        Ok(())
    }

    fn handle_resume(&mut self, resume: Resume) -> Result<(), LinkError> {
        let ordered = resume.spans.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        if !ordered || resume.spans.len() > MAX_SPANS || resume.spans.iter().any(|(_, first)| *first == Seq::ZERO) {
            return Err(LinkError::MalformedResume);
        }
        let subscriber = self.subscribers.get(&resume.topic).copied();
        let slot = self.lanes.find_or_add(&resume.source, &resume.topic, self.config.max_lanes, subscriber)?;
        self.lanes.bind(resume.lane, slot);
        let lane = &mut self.lanes[slot];
        lane.view = None;
        if resume.spans.is_empty() {
            // An earlier one that waits for the store is of a lane the sender has forgotten since.
            lane.cursors.cancel_read();
            self.answer_resume(slot, &resume);
            return Ok(());
        }
        match lane.cursors.resume(resume) {
            ResumeStep::Reply(resume) => self.answer_resume(slot, &resume),
            ResumeStep::Read => {
                let lane = lane.id.clone();
                self.events.push_back(InboundEvent::OpenLane { slot, lane });
            }
            ResumeStep::Wait => {}
        }
        Ok(())
    }

    /// Handles the result of [`InboundEvent::OpenLane`]: the stored cursor, and the attempts recorded after it.
    pub fn handle_opened(&mut self, slot: LaneSlot, cursor: Option<Cursor>, attempts: Vec<(Incarnation, Seq, u32)>) {
        let lane = &mut self.lanes[slot];
        let waiting = match lane.cursors.open(cursor) {
            CursorState::Read => return,
            CursorState::Reading(resume) => Some(resume),
            CursorState::Unread => None,
        };
        lane.attempts = RecordedAttempts::new(attempts);
        if let Some(resume) = waiting {
            self.answer_resume(slot, &resume);
        }
    }

    fn answer_resume(&mut self, slot: LaneSlot, resume: &Resume) {
        let lane = &mut self.lanes[slot];
        let plan = plan_resume(resume, lane.cursors.received());
        if plan.restarted {
            self.events.push_back(InboundEvent::LaneRestarted(lane.id.clone()));
        }
        if let Some(cursor) = plan.lift {
            lane.cursors.lift(cursor);
            self.schedule.commit(slot);
        }
        let window = lane.gate.subscriber().map_or(Amount::default(), |_| self.config.window());
        let window = ReceiveWindow::new(window, lane.queue.amount());
        let Amount { messages, bytes } = window.granted();
        lane.view = Some(ConnectionView::new(resume, plan.position, window));
        let at = ResumeAt { lane: resume.lane, received: plan.received, messages, bytes };
        codec::encode(&Frame::ResumeAt(at), &mut self.tx);
        self.acks.note(slot, lane);
    }
}
