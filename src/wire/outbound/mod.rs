//! The sending half of a link: everything that goes from this node to one peer.
//!
//! It numbers what it accepts, asks for what must be durable to be written before it promises it, sends within the
//! credit the receiver gave, keeps what is not safe yet, and sends again after a break. It decides; its owner carries
//! bytes, rows and time.
//!
//! ```text
//!            offer ──┐                                ┌──▶ poll_transmit   bytes for the connection
//!    handle_frame ───┤                                │
//!    handle_append ──┼──▶  lanes · segments · credit ─┼──▶ poll_event      Append, Load, Accepted, Acked, ...
//!    handle_loaded ──┤                                │
//!    handle_timeout ─┘                                └──▶ poll_timeout    when to call handle_timeout
//! ```
//!
//! After any input call `poll_transmit` and `poll_event` until both answer `None`, then arm a timer for `poll_timeout`.

mod append;
mod inflight;
mod lane;
mod pump;
#[cfg(test)]
mod tests;

use crate::types::{Headers, Incarnation, Message, Payload, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::{CloseCode, Frame, LaneIx, RefuseCode, Resume, ResumeAt};
use crate::wire::heartbeat::{Heartbeat, Silence};
use bytes::{Bytes, BytesMut};
use inflight::{Kept, Segments, Sent};
use lane::{Connection, Credit, Given, Item, Lane, State};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Messages and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many messages.
    pub messages: u64,
    /// Their payloads and headers, in bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
    }

    fn remove(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size as u64);
    }

    fn remove_all(&mut self, other: Amount) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Whether one more message of `size` stays within `self` as a limit, given what is `used`. One message always fits
    /// where nothing is used.
    fn has_room(&self, used: Amount, size: usize) -> bool {
        used.messages == 0 || (used.messages < self.messages && used.bytes + size as u64 <= self.bytes)
    }
}

/// The limits of one link.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// How long a write-behind message may be unacked before it is written to the durable queue.
    pub max_delay: Duration,
    /// What the link holds in memory for at-least-once messages that are not stored yet.
    pub memory: Amount,
    /// What it holds for at-most-once messages that wait for the connection or for credit.
    pub direct: Amount,
    /// What each lane may have accepted and unacked, in memory and in the durable queue.
    pub lane: Amount,
    /// The transmit buffer: beyond this, nothing more is encoded until the connection took it.
    pub transmit_bytes: usize,
    /// One load from the durable queue, and what stays in memory of it.
    pub page: Amount,
    /// Rows in one append.
    pub append_messages: usize,
    /// Payloads above this are compressed.
    pub compress_threshold: usize,
    /// Larger payloads are sent in parts of this size.
    pub part_bytes: usize,
    /// See [`Heartbeat`].
    pub heartbeat: Duration,
    /// How long to leave the store alone after it failed.
    pub store_retry: Duration,
}

/// A message with its place in the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number.
    pub seq: Seq,
    /// The incarnation that gave the number.
    pub incarnation: Incarnation,
    /// The message.
    pub message: Message,
}

/// What the durable queue says of a lane when it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    /// Incarnations still queued with the first number of each, oldest first; the one minted for this process is last.
    pub spans: Vec<(Incarnation, Seq)>,
    /// The incarnation before the first span.
    pub predecessor: Option<Incarnation>,
    /// The number the next message gets.
    pub next: Seq,
    /// Everything up to here is acked.
    pub acked: Seq,
    /// What is queued.
    pub pending: Amount,
}

/// How a message is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Accepted at once, in memory; stored when it is not acked within `max_delay`.
    WriteBehind,
    /// Accepted when it is stored ([`Event::Accepted`]), or rejected by `deadline`.
    Stored {
        /// Until when.
        deadline: Instant,
        /// Whether the commit must be on the medium.
        synced: bool,
    },
    /// Accepted when its caller says so with [`Outbound::finish_group`].
    Group,
}

/// The body of a message: shared, or borrowed to be copied once, into the transmit buffer.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Shared by reference count.
    Shared(Payload),
    /// Borrowed, not empty.
    Borrowed(&'a [u8]),
}

impl Body<'_> {
    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Body::Shared(payload) => payload,
            Body::Borrowed(bytes) => bytes,
        }
    }

    fn into_payload(self) -> Payload {
        match self {
            Body::Shared(payload) => payload,
            Body::Borrowed(bytes) => Payload::new(Bytes::copy_from_slice(bytes)).expect("a borrowed body is not empty"),
        }
    }
}

/// Why a message was not taken. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferError {
    /// The link's memory is full just now: wait for [`Event::Room`].
    Full,
    /// The lane's outbox limit is reached.
    LaneFull,
    /// At most once, and the peer cannot be reached: dropped.
    Unreachable,
    /// At least once, and the lane's durable queue was not opened.
    NotOpen,
}

/// How an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOutcome {
    /// All rows are committed.
    Done,
    /// None is; trying again may help.
    Failed,
    /// All are or none.
    Unknown,
    /// None is, and none ever will be.
    Fatal,
}

/// Why a message that waited for its commit is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// Its deadline passed before it was given to the store.
    Deadline,
    /// The store refused it for good, or until the deadline.
    Store,
}

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Write these rows, then call [`Outbound::handle_append`]. One at a time per lane.
    Append {
        /// The lane.
        lane: LaneIx,
        /// In number order.
        messages: Vec<Numbered>,
        /// Whether the commit must be on the medium.
        synced: bool,
    },
    /// Read a page of the durable queue, then call [`Outbound::handle_loaded`] with the same id.
    Load {
        /// The lane.
        lane: LaneIx,
        /// Tells answers apart.
        id: u64,
        /// Numbers above this.
        after: Seq,
    },
    /// Every message up to here that waited for its commit and was not rejected is accepted.
    Accepted {
        /// The lane.
        lane: LaneIx,
        /// The last.
        through: Seq,
    },
    /// This message will never be delivered.
    Rejected {
        /// The lane.
        lane: LaneIx,
        /// The message.
        seq: Seq,
        /// The reason.
        why: Rejection,
    },
    /// The deadline passed while the store had the message: it may be delivered.
    Indeterminate {
        /// The lane.
        lane: LaneIx,
        /// The message.
        seq: Seq,
    },
    /// The receiver is done with everything up to here: the rows may go.
    Acked {
        /// The lane.
        lane: LaneIx,
        /// The ack floor.
        through: Seq,
        /// What was acked since the last such event, as far as it was sent by this process.
        amount: Amount,
    },
    /// The receiver will never take this message: keep it as a dead letter, remove its row, then call
    /// [`Outbound::handle_refused`].
    Refused {
        /// The lane.
        lane: LaneIx,
        /// The message; the body is in the durable queue when `None`.
        seq: Seq,
        /// Its incarnation.
        incarnation: Incarnation,
        /// The body, when it is not in the durable queue.
        message: Option<Message>,
        /// The reason.
        code: RefuseCode,
        /// The reason in words.
        text: String,
    },
    /// The peer serves a topic (again).
    PeerSubscribed(Topic),
    /// The peer unsubscribed from a topic.
    PeerUnsubscribed(Topic),
    /// At-most-once messages were dropped because the peer could not be reached.
    Dropped(u64),
    /// There is room again after [`OfferError::Full`] was answered.
    Room,
    /// The peer said why it closes.
    PeerClosed(CloseCode, String),
    /// The peer went silent: close the connection.
    Silent,
}

/// What the connected peer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Largest frame, in bytes.
    pub max_frame: u32,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
}

/// How a new message of a lane is taken.
enum Accept {
    /// Encode it now.
    Send,
    /// Let it wait its turn.
    Queue,
}

#[derive(Debug)]
enum Link {
    /// No connection and none being made.
    Down,
    /// A connection is being made.
    Dialing,
    Up {
        peer: PeerLimits,
        heartbeat: Heartbeat,
    },
}

/// The sending half of a link. See the [module](self).
#[derive(Debug)]
pub struct Outbound {
    config: OutboundConfig,
    link: Link,
    lanes: Vec<Option<Lane>>,
    by_name: HashMap<(Topic, Topic), LaneIx>,
    /// Lanes that may have something to send, in turn.
    turn: VecDeque<LaneIx>,
    /// Lanes with messages that only memory holds.
    unstored: BTreeSet<LaneIx>,
    /// Lanes whose messages are to be written now.
    committing: BTreeSet<LaneIx>,
    /// Lanes that wait until the store may be asked to load again.
    reload: BTreeSet<LaneIx>,
    tx: BytesMut,
    segments: Segments,
    /// Swapped buffers that were not transmitted yet.
    outgoing: VecDeque<Bytes>,
    events: VecDeque<Event>,
    memory: Amount,
    direct: Amount,
    /// `Full` was answered since the last `Room`.
    starved: bool,
    next_load: u64,
    redelivered: u64,
}

impl Outbound {
    /// A link without lanes and connection.
    pub fn new(config: OutboundConfig) -> Self {
        Outbound {
            config,
            link: Link::Down,
            lanes: Vec::new(),
            by_name: HashMap::new(),
            turn: VecDeque::new(),
            unstored: BTreeSet::new(),
            committing: BTreeSet::new(),
            reload: BTreeSet::new(),
            tx: BytesMut::new(),
            segments: Segments::default(),
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            memory: Amount::default(),
            direct: Amount::default(),
            starved: false,
            next_load: 0,
            redelivered: 0,
        }
    }

    // ---- getters ----

    /// The lane from `source` to `topic`, if it was added.
    pub fn lane(&self, source: &Topic, topic: &Topic) -> Option<LaneIx> {
        self.by_name.get(&(source.clone(), topic.clone())).copied()
    }

    /// Whether at-least-once messages can be offered: the durable queue was opened.
    pub fn is_durable(&self, lane: LaneIx) -> bool {
        self.get(lane).is_some_and(Lane::is_durable)
    }

    /// Whether a connection is up.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up { .. })
    }

    /// Accepted and not acked, on one lane.
    pub fn pending(&self, lane: LaneIx) -> Amount {
        self.get(lane).map_or(Amount::default(), |l| l.pending)
    }

    /// The incarnation of the messages accepted now, once the lane is durable.
    pub fn incarnation(&self, lane: LaneIx) -> Option<Incarnation> {
        self.get(lane)?.spans.last().map(|(incarnation, _)| *incarnation)
    }

    /// All lanes: number, source and topic.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneIx, &Topic, &Topic)> {
        self.lanes.iter().flatten().map(|l| (l.ix, &l.source, &l.topic))
    }

    /// Whether a message that met [`OfferError::Full`] may be offered again; otherwise [`Event::Room`] will say so.
    pub fn has_room(&self) -> bool {
        !self.starved
    }

    /// What memory holds for messages that are not stored.
    pub fn memory(&self) -> Amount {
        self.memory
    }

    /// Whether [`Outbound::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.committing.is_empty()
    }

    /// Messages sent again so far.
    pub fn redelivered(&self) -> u64 {
        self.redelivered
    }

    /// Whether any lane has something accepted and unacked, or waiting to be accepted.
    pub fn has_work(&self) -> bool {
        self.lanes.iter().flatten().any(Lane::has_work)
    }

    fn get(&self, lane: LaneIx) -> Option<&Lane> {
        self.lanes.get(lane.0 as usize)?.as_ref()
    }

    // ---- lanes ----

    /// Finds or adds a lane. At-most-once messages may be offered at once.
    pub fn add_lane(&mut self, source: &Topic, topic: &Topic) -> LaneIx {
        if let Some(lane) = self.lane(source, topic) {
            return lane;
        }
        let ix = LaneIx(u32::try_from(self.lanes.len()).expect("memory ends before four billion lanes"));
        self.lanes.push(Some(Lane::new(ix, source.clone(), topic.clone())));
        self.by_name.insert((source.clone(), topic.clone()), ix);
        ix
    }

    /// The durable queue of a lane was opened. Does nothing when it already was.
    pub fn open_lane(&mut self, lane: LaneIx, record: LaneRecord) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        if l.is_durable() {
            return;
        }
        l.open(record);
        if l.connection != Connection::Closed || l.pending.messages > 0 {
            self.resume_lane(lane);
        }
    }

    /// Drops a lane with everything it holds; the durable queue is the caller's. Its number is not used again.
    pub fn remove_lane(&mut self, lane: LaneIx) {
        let Some(mut l) = self.lanes.get_mut(lane.0 as usize).and_then(Option::take) else { return };
        self.by_name.remove(&(l.source.clone(), l.topic.clone()));
        while let Some(sent) = l.inflight.pop_acked(Seq::new(u64::MAX)) {
            self.free(sent);
        }
        for item in &l.fresh {
            self.memory.remove(item.message.size());
            match item.state {
                State::Reserved { given: Given::No, .. } => {
                    self.events.push_back(Event::Rejected { lane, seq: item.seq, why: Rejection::Store });
                }
                State::Reserved { given: Given::Now | Given::Unknown, .. } => {
                    self.events.push_back(Event::Indeterminate { lane, seq: item.seq });
                }
                _ => {}
            }
        }
        for message in &l.direct {
            self.direct.remove(message.size());
        }
        self.unstored.remove(&lane);
        self.reload.remove(&lane);
        self.make_room();
    }

    /// The durable queue of a lane was cleared: what was accepted and not acked is forgotten, what waits for its commit
    /// stays. The receiver is told of the hole when the next message goes.
    pub fn clear_lane(&mut self, lane: LaneIx) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let mut freed = Amount::default();
        l.fresh.retain(|item| {
            let stays = matches!(item.state, State::Reserved { .. } | State::External);
            if !stays {
                freed.add(item.message.size());
            }
            stays
        });
        while let Some(sent) = l.inflight.pop_acked(Seq::new(u64::MAX)) {
            if !matches!(sent.kept, Kept::Stored) {
                freed.add(sent.size);
            }
            release(&mut self.segments, sent.kept);
        }
        l.ready.clear();
        l.ready_bytes = 0;
        l.loading = None;
        l.refused.clear();
        let limit = l.fresh.front().map_or(l.next, |i| i.seq).prev();
        l.stored = l.stored.max(limit);
        l.cached = l.covered().max(l.stored);
        l.pending = Amount::default();
        self.memory.remove_all(freed);
        self.note_unstored(lane);
        self.make_room();
        self.enqueue(lane);
    }

    // ---- the connection ----

    /// A connection is being made: at-most-once messages wait for it from now on.
    pub fn handle_dialing(&mut self) {
        if !self.is_up() {
            self.link = Link::Dialing;
        }
    }

    /// The attempt failed: at-most-once messages are dropped until the next one.
    pub fn handle_dial_failed(&mut self) {
        if !self.is_up() {
            self.link = Link::Down;
            self.drop_direct();
        }
    }

    /// A connection is up and the handshake is done. Lanes with work are resumed.
    pub fn handle_connected(&mut self, now: Instant, peer: PeerLimits) {
        self.link = Link::Up { peer, heartbeat: Heartbeat::new(self.config.heartbeat, now) };
        let busy = self.lanes.iter().flatten().filter(|l| l.has_work() || l.is_behind_acks());
        let busy: Vec<_> = busy.map(|l| l.ix).collect();
        for lane in busy {
            self.resume_lane(lane);
        }
    }

    /// The connection is gone, with whatever was in its buffers. What memory holds is written to the durable queue.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.seal();
        self.outgoing.clear();
        self.turn.clear();
        self.link = Link::Down;
        for l in self.lanes.iter_mut().flatten() {
            l.connection = Connection::Closed;
            l.credit = Credit::default();
            l.rest = None;
            l.queued = false;
            l.flush = l.has_unstored();
        }
        self.drop_direct();
        self.append_due(now);
    }

    fn drop_direct(&mut self) {
        let dropped: usize = self.lanes.iter_mut().flatten().map(|l| std::mem::take(&mut l.direct).len()).sum();
        self.direct = Amount::default();
        if dropped > 0 {
            self.events.push_back(Event::Dropped(dropped as u64));
        }
        self.make_room();
    }

    fn resume_lane(&mut self, lane: LaneIx) {
        let up = self.is_up();
        let Some(l) = lane_mut(&mut self.lanes, lane).filter(|_| up) else { return };
        let outstanding = match l.connection {
            Connection::Resuming(n) => n,
            Connection::Closed | Connection::Open => 0,
        };
        l.connection = Connection::Resuming(outstanding + 1);
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
        codec::encode(&Frame::Resume(resume), &mut self.tx);
    }

    /// Bytes arrived on the connection, whether or not they make a frame.
    pub fn handle_heard(&mut self, now: Instant) {
        if let Link::Up { heartbeat, .. } = &mut self.link {
            heartbeat.heard(now);
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
                if let Some(l) = lane_mut(&mut self.lanes, lane).filter(|l| l.connection == Connection::Open) {
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
                codec::encode(&Frame::Pong(n), &mut self.tx);
                Ok(())
            }
            Frame::Pong(_) | Frame::Unknown(_) => Ok(()),
            Frame::Subscribed(topic) => self.tell(Event::PeerSubscribed(topic)),
            Frame::Unsubscribed(topic) => self.tell(Event::PeerUnsubscribed(topic)),
            Frame::Close { code, text } => self.tell(Event::PeerClosed(code, text)),
            Frame::Hello(_) | Frame::Welcome(_) | Frame::Resume(_) | Frame::Data(_) | Frame::Skip { .. } => {
                Err(LinkError::UnexpectedFrame)
            }
        }
    }

    fn tell(&mut self, event: Event) -> Result<(), LinkError> {
        self.events.push_back(event);
        Ok(())
    }

    fn handle_resume_at(&mut self, at: &ResumeAt) -> Result<(), LinkError> {
        self.seal();
        let Some(l) = lane_mut(&mut self.lanes, at.lane) else { return Ok(()) };
        match l.connection {
            Connection::Resuming(1) => l.connection = Connection::Open,
            Connection::Resuming(n) => {
                l.connection = Connection::Resuming(n - 1);
                return Ok(());
            }
            Connection::Closed | Connection::Open => return Err(LinkError::UnexpectedFrame),
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

    fn handle_ack(&mut self, lane: LaneIx, incarnation: Incarnation, seq: Seq) -> Result<(), LinkError> {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return Ok(()) };
        let Some(through) = l.position(incarnation, seq) else { return Ok(()) };
        // What an earlier process sent is not counted here: it is sent once more, and the ack comes again.
        let through = through.min(l.sent);
        if through <= l.acked {
            return Ok(());
        }
        l.acked = through;
        l.cached = l.cached.max(through);
        let mut amount = Amount::default();
        while let Some(sent) = l.inflight.pop_acked(through) {
            amount.add(sent.size);
            if !matches!(sent.kept, Kept::Stored) {
                self.memory.remove(sent.size);
            }
            release(&mut self.segments, sent.kept);
        }
        while let Some(item) = l.ready.pop_front_if(|i| i.seq <= through) {
            l.ready_bytes -= item.message.size();
        }
        l.pending.remove_all(amount);
        l.forget_spans(through);
        self.events.push_back(Event::Acked { lane, through, amount });
        self.note_unstored(lane);
        self.make_room();
        self.enqueue(lane);
        Ok(())
    }

    fn handle_refuse(
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

    // ---- time ----

    /// When to call [`Outbound::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heartbeat = match &self.link {
            Link::Up { heartbeat, .. } => Some(heartbeat.deadline()),
            Link::Down | Link::Dialing => None,
        };
        let appends = self.unstored.iter().filter_map(|lane| self.append_at(self.get(*lane)?)).min();
        let loads = self.reload.iter().filter_map(|lane| self.get(*lane)?.load_after).min();
        [heartbeat, appends, loads].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Link::Up { heartbeat, .. } = &mut self.link {
            match heartbeat.check(now) {
                Silence::Fine => {}
                Silence::Ask => codec::encode(&Frame::Ping(0), &mut self.tx),
                Silence::Dead => self.events.push_back(Event::Silent),
            }
        }
        self.expire(now);
        self.append_due(now);
        let due = |lane: &LaneIx| self.get(*lane).and_then(|l| l.load_after).is_none_or(|at| at <= now);
        let lanes: Vec<_> = self.reload.iter().copied().filter(due).collect();
        for lane in lanes {
            self.reload.remove(&lane);
            if let Some(l) = lane_mut(&mut self.lanes, lane) {
                l.load_after = None;
            }
            self.enqueue(lane);
        }
    }

    // ---- outputs ----

    /// The next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.next_append())
    }

    // ---- memory ----

    fn free(&mut self, sent: Sent) {
        if !matches!(sent.kept, Kept::Stored) {
            self.memory.remove(sent.size);
        }
        release(&mut self.segments, sent.kept);
    }

    /// Tells a caller that was sent away that it may come back.
    fn make_room(&mut self) {
        let half = |limit: Amount, used: Amount| used.messages <= limit.messages / 2 && used.bytes <= limit.bytes / 2;
        if self.starved && half(self.config.memory, self.memory) && half(self.config.direct, self.direct) {
            self.starved = false;
            self.events.push_back(Event::Room);
        }
    }
}

fn release(segments: &mut Segments, kept: Kept) {
    if let Kept::Frame(frame) = kept {
        segments.release(frame);
    }
}

fn lane_mut(lanes: &mut [Option<Lane>], lane: LaneIx) -> Option<&mut Lane> {
    lanes.get_mut(lane.0 as usize)?.as_mut()
}
