//! The receiving half of a link: everything that comes from one peer.
//!
//! It checks order, drops duplicates, hands messages over, waits for the answers, and acks what is handled as far as the
//! lane's rule allows. It outlives connections: a message that is with a subscriber when the connection breaks is not
//! handed over again.
//!
//! ```text
//!  handle_frame ────┐                              ┌──▶ poll_delivery  hand this over, then handle_answer
//!  handle_answer ───┤                              │
//!  handle_opened ───┼──▶  lanes · handlers · acks ─┼──▶ poll_event     Advance, DeadLetter, OpenLane, ...
//!  handle_advanced ─┤                              ├──▶ poll_transmit  bytes for the connection
//!  handle_timeout ──┘                              └──▶ poll_timeout   when to call handle_timeout
//! ```
//!
//! After any input call the `poll_*` methods until all answer `None`, deliveries first, then arm a timer.

mod deliver;
mod lane;
#[cfg(test)]
mod tests;

use crate::types::{Cursor, Headers, Incarnation, LaneId, LaneName, Message, NodeId, Payload, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::{CloseCode, Data, DataFlags, Frame, LaneIx, RefuseCode, Resume, ResumeAt};
use crate::wire::heartbeat::{Heartbeat, Silence};
use bytes::{Bytes, BytesMut};
use lane::{Arriving, Entry, Knowledge, Lane, Partial, Session, State, meet};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Incarnations one `Resume` may list. A sender that restarts this often without any message being acked is broken.
const MAX_SPANS: usize = 4096;

/// The limits of the receiving half.
#[derive(Debug, Clone)]
pub struct InboundConfig {
    /// Messages each lane may have sent and not seen handled.
    pub window_messages: u64,
    /// Bytes, likewise; the last message may exceed it.
    pub window_bytes: u64,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
    /// Largest part after decompression, in bytes.
    pub max_part: usize,
    /// Lanes one peer may open.
    pub max_lanes: usize,
    /// Failures after which a message becomes a dead letter.
    pub max_attempts: u32,
    /// The first wait after a nack that names none.
    pub nack_first: Duration,
    /// The longest such wait.
    pub nack_cap: Duration,
    /// How far the cursor of a write-behind lane may be behind, in time.
    pub max_delay: Duration,
    /// See [`Heartbeat`].
    pub heartbeat: Duration,
    /// Record attempts before redelivered messages are handed over: the last process of this node died.
    pub record_attempts: bool,
}

/// A lane's number in an [`Inbound`], the same for its whole life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(usize);

/// Who takes the messages of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handler {
    /// Messages of one lane it has at a time.
    pub in_flight: u32,
    /// How long it may take for one.
    pub timeout: Option<Duration>,
}

/// A message to hand over now.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The lane's number here.
    pub slot: Slot,
    /// Names the message in [`Inbound::handle_answer`].
    pub token: u64,
    /// The lane.
    pub lane: LaneId,
    /// Its incarnation and number; `None`: at most once.
    pub place: Option<Cursor>,
    /// Hand-overs including this one.
    pub attempt: u32,
    /// Whether it may have been handed over before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// A subscriber's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Handled.
    Done,
    /// Not handled: again after `delay`, or after the backoff.
    Failed {
        /// The wait the subscriber names.
        delay: Option<Duration>,
        /// The reason, for the dead letter.
        reason: String,
    },
    /// The subscriber went away with it: it waits for the next one, and nothing is counted.
    Returned,
}

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Find the lane and its cursor in the store, then call [`Inbound::handle_opened`].
    OpenLane {
        /// The lane's number here.
        slot: Slot,
        /// The lane.
        lane: LaneId,
    },
    /// Commit the cursor, then call [`Inbound::handle_advanced`]. One at a time per lane.
    Advance {
        /// The lane's number here.
        slot: Slot,
        /// The incarnation that should be stored now.
        expected: Option<Incarnation>,
        /// The new cursor.
        cursor: Cursor,
    },
    /// Record the attempt, then call [`Inbound::handle_recorded`].
    RecordAttempt {
        /// The lane's number here.
        slot: Slot,
        /// The message.
        token: u64,
        /// Its place.
        place: Cursor,
        /// Hand-overs including the coming one.
        attempts: u32,
    },
    /// Keep the message as a dead letter, in one transaction with the cursor if it is to move, then call
    /// [`Inbound::handle_dead_lettered`].
    DeadLetter {
        /// The lane's number here.
        slot: Slot,
        /// The message.
        token: u64,
        /// Its place.
        place: Cursor,
        /// The message itself.
        message: Message,
        /// How often it was handed over.
        attempts: u32,
        /// The last reason.
        reason: String,
        /// The incarnation that should be stored now, if the cursor is to move to `place`.
        advance: Option<Option<Incarnation>>,
    },
    /// The sender's numbering is not the one this node knew: delivery starts at what the sender still has.
    LaneRestarted(LaneId),
    /// The peer serves a topic (again).
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// The peer said why it closes.
    PeerClosed(CloseCode, String),
    /// The peer went silent: close the connection.
    Silent,
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that came again and were dropped.
    pub duplicates: u64,
    /// At-most-once messages that failed or did not decode.
    pub dropped: u64,
    /// Messages refused for good.
    pub refused: u64,
}

/// The receiving half of a link. See the [module](self).
#[derive(Debug)]
pub struct Inbound {
    config: InboundConfig,
    me: NodeId,
    peer: NodeId,
    handlers: HashMap<Topic, Handler>,
    lanes: Vec<Lane>,
    by_name: HashMap<(Topic, Topic), Slot>,
    by_ix: HashMap<LaneIx, Slot>,
    heartbeat: Option<Heartbeat>,
    tx: BytesMut,
    events: VecDeque<Event>,
    /// Lanes with something to hand over, in turn.
    turn: VecDeque<Slot>,
    /// Lanes whose cursor is to be committed now.
    committing: BTreeSet<Slot>,
    /// Lanes whose ack or credit may have changed.
    changed: BTreeSet<Slot>,
    /// Lanes with a deadline.
    timed: BTreeSet<Slot>,
    draining: bool,
    counts: Counts,
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
            heartbeat: None,
            tx: BytesMut::new(),
            events: VecDeque::new(),
            turn: VecDeque::new(),
            committing: BTreeSet::new(),
            changed: BTreeSet::new(),
            timed: BTreeSet::new(),
            draining: false,
            counts: Counts::default(),
        }
    }

    // ---- getters ----

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether everything handled is committed and acked as far as it can be, and no subscriber has a message.
    pub fn is_settled(&self) -> bool {
        self.lanes.iter().all(Lane::is_settled)
    }

    /// What is held of each lane: arrived, and not done with. Messages, then bytes of payload and headers.
    pub fn held(&self) -> impl Iterator<Item = (&LaneId, u64, u64)> {
        self.lanes.iter().map(|lane| {
            let (messages, bytes) = lane.waiting();
            (&lane.id, messages, bytes)
        })
    }

    /// The lane behind a number.
    pub fn lane(&self, slot: Slot) -> &LaneId {
        &self.lanes[slot.0].id
    }

    // ---- commands ----

    /// A subscriber for `topic` is there: what waits is handed over, and senders get credit.
    pub fn subscribe(&mut self, topic: Topic, handler: Handler) {
        for slot in self.lanes_of(&topic) {
            self.changed.insert(slot);
            self.enqueue(slot);
        }
        self.handlers.insert(topic, handler);
    }

    /// The subscriber went away. What it has is answered by the owner; what waits keeps waiting.
    pub fn unsubscribe(&mut self, topic: &Topic) {
        self.handlers.remove(topic);
    }

    /// Hands nothing over any more and commits all cursors at once, for a shutdown.
    pub fn drain(&mut self) {
        self.draining = true;
        let open = self.lanes.iter().enumerate().filter(|(_, l)| l.handled != l.committed);
        self.committing.extend(open.map(|(at, _)| Slot(at)));
    }

    fn lanes_of(&self, topic: &Topic) -> Vec<Slot> {
        self.lanes.iter().enumerate().filter(|(_, l)| l.id.topic() == topic).map(|(at, _)| Slot(at)).collect()
    }

    /// Tells the peer that this node serves `topic` again, or does not any more.
    pub fn announce(&mut self, topic: Topic, subscribed: bool) {
        let frame = if subscribed { Frame::Subscribed(topic) } else { Frame::Unsubscribed(topic) };
        if self.heartbeat.is_some() {
            codec::encode(&frame, &mut self.tx);
        }
    }

    // ---- the connection ----

    /// A connection is up and the handshake is done. It replaces an earlier one.
    pub fn handle_connected(&mut self, now: Instant) {
        self.handle_disconnected();
        self.heartbeat = Some(Heartbeat::new(self.config.heartbeat, now));
    }

    /// The connection is gone. What arrived stays and goes on.
    pub fn handle_disconnected(&mut self) {
        self.heartbeat = None;
        self.tx.clear();
        self.by_ix.clear();
        for lane in &mut self.lanes {
            lane.session = None;
            if matches!(lane.knowledge, Knowledge::Reading(_)) {
                lane.knowledge = Knowledge::Unread;
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
            Frame::Subscribed(topic) => self.tell(Event::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.tell(Event::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.tell(Event::PeerClosed(code, text)),
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::ResumeAt(_)
            | Frame::Ack { .. }
            | Frame::Credit { .. }
            | Frame::Refuse { .. } => Err(LinkError::UnexpectedFrame),
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), LinkError> {
        self.events.push_back(event);
        Ok(())
    }

    fn handle_resume(&mut self, resume: Resume) -> Result<(), LinkError> {
        let ordered = resume.spans.windows(2).all(|pair| pair[0].1 <= pair[1].1);
        if !ordered || resume.spans.len() > MAX_SPANS || resume.spans.iter().any(|(_, first)| *first == Seq::ZERO) {
            return Err(LinkError::MalformedResume);
        }
        let slot = self.slot(&resume.source, &resume.topic)?;
        self.by_ix.insert(resume.lane, slot);
        let lane = &mut self.lanes[slot.0];
        lane.session = None;
        match lane.knowledge {
            _ if resume.spans.is_empty() => {
                // An older one that waits for the store is of a lane the sender has forgotten since.
                if matches!(lane.knowledge, Knowledge::Reading(_)) {
                    lane.knowledge = Knowledge::Unread;
                }
                self.answer_resume(slot, &resume);
            }
            Knowledge::Known => self.answer_resume(slot, &resume),
            Knowledge::Unread => {
                lane.knowledge = Knowledge::Reading(Box::new(resume));
                let lane = lane.id.clone();
                self.events.push_back(Event::OpenLane { slot, lane });
            }
            Knowledge::Reading(_) => lane.knowledge = Knowledge::Reading(Box::new(resume)),
        }
        Ok(())
    }

    fn slot(&mut self, source: &Topic, topic: &Topic) -> Result<Slot, LinkError> {
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
        let slot = Slot(self.lanes.len());
        self.lanes.push(Lane::new(LaneId::new(name)));
        self.by_name.insert((source.clone(), topic.clone()), slot);
        Ok(slot)
    }

    /// The store's answer to [`Event::OpenLane`]: the cursor, and the attempts recorded behind it.
    pub fn handle_opened(&mut self, slot: Slot, cursor: Option<Cursor>, attempts: Vec<(Incarnation, Seq, u32)>) {
        let lane = &mut self.lanes[slot.0];
        let waiting = match std::mem::replace(&mut lane.knowledge, Knowledge::Known) {
            Knowledge::Known => return,
            Knowledge::Reading(resume) => Some(resume),
            Knowledge::Unread => None,
        };
        (lane.received, lane.handled, lane.committed) = (cursor, cursor, cursor);
        lane.recorded = attempts;
        if let Some(resume) = waiting {
            self.answer_resume(slot, &resume);
        }
    }

    fn answer_resume(&mut self, slot: Slot, resume: &Resume) {
        let lane = &mut self.lanes[slot.0];
        let meeting = meet(resume, lane.received);
        if meeting.restarted {
            self.events.push_back(Event::LaneRestarted(lane.id.clone()));
        }
        if let Some(cursor) = meeting.lift {
            lane.received = Some(cursor);
            lane.handled = Some(cursor);
            self.committing.insert(slot);
        }
        let waited = lane.waiting();
        let serves = self.handlers.contains_key(lane.id.topic());
        let window = if serves { (self.config.window_messages, self.config.window_bytes) } else { (0, 0) };
        let granted = (window.0.saturating_sub(waited.0), window.1.saturating_sub(waited.1));
        lane.session = Some(Session {
            ix: resume.lane,
            spans: resume.spans.clone(),
            position: meeting.position,
            refused: None,
            partial: None,
            arriving: None,
            acked: None,
            ack_again: false,
            consumed: (0, 0),
            waited,
            granted,
        });
        let at = ResumeAt { lane: resume.lane, received: meeting.received, messages: granted.0, bytes: granted.1 };
        codec::encode(&Frame::ResumeAt(at), &mut self.tx);
        self.changed.insert(slot);
    }

    // ---- what arrives ----

    /// The lane of a frame, open on this connection.
    fn open(&mut self, ix: LaneIx) -> Result<(Slot, &mut Lane), LinkError> {
        let slot = *self.by_ix.get(&ix).ok_or(LinkError::UnknownLane)?;
        let lane = &mut self.lanes[slot.0];
        if lane.session.is_none() { Err(LinkError::UnknownLane) } else { Ok((slot, lane)) }
    }

    fn handle_data(&mut self, data: &Data<'_>, buffer: &Bytes) -> Result<(), LinkError> {
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
                self.changed.insert(slot);
            }
            return Ok(());
        }
        match self.collect(slot, data, buffer) {
            Ok(None) => {}
            Ok(Some(message)) => self.arrived(slot, data, message, buffer.len()),
            Err((code, text)) => self.refuse(slot, data, size, code, text),
        }
        Ok(())
    }

    /// A whole message, or a part that is kept until the rest has come.
    fn collect(
        &mut self,
        slot: Slot,
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
                let mut partial = partial.unwrap_or_else(|| Partial {
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

    fn arrived(&mut self, slot: Slot, data: &Data<'_>, mut message: Message, buffer: usize) {
        let now_or_later = self.hands_over(slot);
        let lane = &mut self.lanes[slot.0];
        let place = match &mut lane.session {
            Some(session) if data.seq > Seq::ZERO => {
                session.position = data.seq;
                session.cursor(data.seq)
            }
            _ => None,
        };
        lane.received = place.or(lane.received);
        let size = message.size();
        // A message that waits must not keep the whole buffer it arrived in.
        if !now_or_later && size < buffer / 4 {
            message.payload = Payload::new(Bytes::copy_from_slice(&message.payload)).expect("was a payload");
            message.headers = Headers::decode(Bytes::copy_from_slice(message.headers.encoded())).expect("were headers");
        }
        let at = |(i, s, _): &(Incarnation, Seq, u32)| place == Some(Cursor { incarnation: *i, seq: *s });
        let failed = lane.recorded.iter().position(at).map_or(0, |at| lane.recorded.swap_remove(at).2);
        lane.queue.push_back(Entry {
            place,
            message: Some(message),
            size: Some(size),
            flags: data.flags,
            handed: failed,
            failed,
            state: State::Waiting,
        });
        self.enqueue(slot);
    }

    /// This message will never be taken: say so, and drop what follows until it is skipped.
    fn refuse(&mut self, slot: Slot, data: &Data<'_>, size: usize, code: RefuseCode, text: String) {
        let lane = &mut self.lanes[slot.0];
        let more = data.flags.has(DataFlags::MORE);
        if !more {
            lane.consume(size);
            self.changed.insert(slot);
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

    fn handle_skip(&mut self, now: Instant, ix: LaneIx, from: Seq, to: Seq) -> Result<(), LinkError> {
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
