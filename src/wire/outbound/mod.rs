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

mod api;
mod append;
mod connection;
mod inflight;
mod item;
mod lane;
mod pump;
mod refusal;
#[cfg(test)]
mod tests;
mod transmit;

pub use api::{
    AcceptMode, AppendOutcome, Body, LaneRecord, Numbered, OfferError, OutboundConfig, OutboundEvent, PeerLimits,
    Rejection, Volume,
};

use crate::types::{Headers, Incarnation, Message, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::{Frame, LaneIx, RefuseCode, Resume, ResumeAt};
use crate::wire::heartbeat::{Heartbeat, Silence};
use bytes::Bytes;
use inflight::{FrameRef, Inflight, Retained, Segments, SentMessage};
use item::{Credit, QueuedMessage, QueuedState, StoreHandoff};
use lane::{LanePhase, SendLane};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Instant;
use transmit::Transmit;

#[derive(Debug)]
enum LinkPhase {
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
    link: LinkPhase,
    /// The largest message that is encoded as one plain frame; 0 while there is no connection.
    plain_bytes: usize,
    lanes: Vec<Option<SendLane>>,
    by_name: HashMap<(Topic, Topic), LaneIx>,
    /// Lanes that may have something to send, in turn.
    turn: VecDeque<LaneIx>,
    /// Lanes with messages that only memory holds.
    unstored: BTreeSet<LaneIx>,
    /// Lanes whose messages are to be written now.
    committing: BTreeSet<LaneIx>,
    /// Lanes that wait until the store may be asked to load again.
    reload: BTreeSet<LaneIx>,
    transmit: Transmit,
    segments: Segments,
    events: VecDeque<OutboundEvent>,
    memory: Volume,
    direct: Volume,
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
            link: LinkPhase::Down,
            plain_bytes: 0,
            lanes: Vec::new(),
            by_name: HashMap::new(),
            turn: VecDeque::new(),
            unstored: BTreeSet::new(),
            committing: BTreeSet::new(),
            reload: BTreeSet::new(),
            transmit: Transmit::default(),
            segments: Segments::default(),
            events: VecDeque::new(),
            memory: Volume::default(),
            direct: Volume::default(),
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
        self.get(lane).is_some_and(SendLane::is_durable)
    }

    /// Whether a connection is up.
    pub fn is_up(&self) -> bool {
        matches!(self.link, LinkPhase::Up { .. })
    }

    /// Accepted and not acked, on one lane.
    pub fn pending(&self, lane: LaneIx) -> Volume {
        self.get(lane).map_or(Volume::default(), |l| l.pending)
    }

    /// The incarnation of the messages accepted now, once the lane is durable.
    pub fn incarnation(&self, lane: LaneIx) -> Option<Incarnation> {
        self.get(lane)?.spans.last().map(|(incarnation, _)| *incarnation)
    }

    /// All lanes: number, source and topic.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneIx, &Topic, &Topic)> {
        self.lanes.iter().flatten().map(|l| (l.ix, &l.source, &l.topic))
    }

    /// Whether a message that met [`OfferError::Full`] may be offered again; otherwise [`OutboundEvent::Room`] will say so.
    pub fn has_room(&self) -> bool {
        !self.starved
    }

    /// What memory holds for messages that are not stored.
    pub fn memory(&self) -> Volume {
        self.memory
    }

    /// Whether [`Outbound::poll_event`] has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || !self.committing.is_empty()
    }

    /// Whether [`Outbound::poll_transmit`] may have something.
    pub fn has_transmit(&self) -> bool {
        self.is_up() && !(self.transmit.is_empty() && self.turn.is_empty())
    }

    /// Whether as much waits for the connection as should: whoever can had better wait until half of it is gone.
    pub fn is_congested(&self) -> bool {
        self.transmit.len() >= self.config.transmit_bytes
    }

    /// Whether less than half as much waits.
    pub fn has_caught_up(&self) -> bool {
        self.transmit.len() < self.config.transmit_bytes / 2
    }

    /// Messages sent again so far.
    pub fn redelivered(&self) -> u64 {
        self.redelivered
    }

    /// Whether any lane has something accepted and unacked, or waiting to be accepted.
    pub fn has_work(&self) -> bool {
        self.lanes.iter().flatten().any(SendLane::has_work)
    }

    fn get(&self, lane: LaneIx) -> Option<&SendLane> {
        self.lanes.get(lane.0 as usize)?.as_ref()
    }

    // ---- lanes ----

    /// Finds or adds a lane. At-most-once messages may be offered at once.
    pub fn add_lane(&mut self, source: &Topic, topic: &Topic) -> LaneIx {
        if let Some(lane) = self.lane(source, topic) {
            return lane;
        }
        let ix = LaneIx(u32::try_from(self.lanes.len()).expect("memory ends before four billion lanes"));
        self.lanes.push(Some(SendLane::new(ix, source.clone(), topic.clone())));
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
        if l.connection != LanePhase::Closed || l.pending.messages > 0 {
            self.resume_lane(lane);
        }
    }

    /// Drops a lane with everything it holds; the durable queue is the caller's. Its number is not used again.
    pub fn remove_lane(&mut self, lane: LaneIx) {
        let Some(mut l) = self.lanes.get_mut(lane.0 as usize).and_then(Option::take) else { return };
        self.by_name.remove(&(l.source.clone(), l.topic.clone()));
        let (_, held) = release_through(&mut self.segments, &mut self.transmit, &mut l.inflight, Seq::new(u64::MAX));
        self.memory.remove_all(held);
        for item in &l.fresh {
            self.memory.remove(item.message.size());
            match item.state {
                QueuedState::Reserved { given: StoreHandoff::NotGiven, .. } => {
                    self.events.push_back(OutboundEvent::Rejected { lane, seq: item.seq, why: Rejection::Store });
                }
                QueuedState::Reserved { given: StoreHandoff::InAppend | StoreHandoff::Unknown, .. } => {
                    self.events.push_back(OutboundEvent::Indeterminate { lane, seq: item.seq });
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
        let mut freed = Volume::default();
        l.fresh.retain(|item| {
            let stays = matches!(item.state, QueuedState::Reserved { .. } | QueuedState::External);
            if !stays {
                freed.add(item.message.size());
            }
            stays
        });
        let (_, held) = release_through(&mut self.segments, &mut self.transmit, &mut l.inflight, Seq::new(u64::MAX));
        l.ready.clear();
        l.ready_bytes = 0;
        l.loading = None;
        l.refused.clear();
        let limit = l.fresh.front().map_or(l.next, |i| i.seq).prev();
        l.stored = l.stored.max(limit);
        l.cached = l.covered().max(l.stored);
        l.pending = Volume::default();
        self.memory.remove_all(freed);
        self.memory.remove_all(held);
        self.note_unstored(lane);
        self.make_room();
        self.enqueue(lane);
    }

    // ---- time ----

    /// When to call [`Outbound::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heartbeat = match &self.link {
            LinkPhase::Up { heartbeat, .. } => Some(heartbeat.deadline()),
            LinkPhase::Down | LinkPhase::Dialing => None,
        };
        let appends = self.unstored.iter().filter_map(|lane| self.append_at(self.get(*lane)?)).min();
        let loads = self.reload.iter().filter_map(|lane| self.get(*lane)?.load_after).min();
        [heartbeat, appends, loads].into_iter().flatten().min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let LinkPhase::Up { heartbeat, .. } = &mut self.link {
            match heartbeat.check(now) {
                Silence::Fine => {}
                Silence::Ask => {
                    self.transmit.shrink();
                    codec::encode(&Frame::Ping(0), self.transmit.buffer());
                }
                Silence::Dead => self.events.push_back(OutboundEvent::Silent),
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
    pub fn poll_event(&mut self) -> Option<OutboundEvent> {
        self.events.pop_front().or_else(|| self.next_append())
    }

    // ---- memory ----

    /// Tells a caller that was sent away that it may come back.
    fn make_room(&mut self) {
        let half = |limit: Volume, used: Volume| used.messages <= limit.messages / 2 && used.bytes <= limit.bytes / 2;
        if self.starved && half(self.config.memory, self.memory) && half(self.config.direct, self.direct) {
            self.starved = false;
            self.events.push_back(OutboundEvent::Room);
        }
    }
}

/// So many entries of the frame's segment are gone.
fn release(segments: &mut Segments, transmit: &mut Transmit, frame: FrameRef, entries: u32) {
    if let Some(buffer) = segments.release(frame, entries) {
        transmit.recycle(buffer);
    }
}

/// Removes the entries up to `through` with what is kept for them; a run of them mostly lies in one segment. Answers what
/// they were, and what of it memory held.
fn release_through(
    segments: &mut Segments,
    transmit: &mut Transmit,
    sent: &mut Inflight,
    through: Seq,
) -> (Volume, Volume) {
    let (mut all, mut held) = (Volume::default(), Volume::default());
    let mut run: Option<(FrameRef, u32)> = None;
    sent.remove_acked(through, |SentMessage { size, kept, .. }| {
        all.add(*size);
        match (kept, &mut run) {
            (Retained::Stored, _) => return,
            (Retained::Message(..), _) => {}
            (Retained::Frame(frame), Some((first, entries))) if first.segment == frame.segment => *entries += 1,
            (Retained::Frame(frame), run) => {
                if let Some((first, entries)) = run.replace((*frame, 1)) {
                    release(segments, transmit, first, entries);
                }
            }
        }
        held.add(*size);
    });
    if let Some((first, entries)) = run {
        release(segments, transmit, first, entries);
    }
    (all, held)
}

/// Swaps the transmit buffer out.
fn seal(segments: &mut Segments, transmit: &mut Transmit) {
    if let Some(bytes) = transmit.seal() {
        segments.seal(&bytes);
    }
}

#[inline]
fn lane_mut(lanes: &mut [Option<SendLane>], lane: LaneIx) -> Option<&mut SendLane> {
    lanes.get_mut(lane.0 as usize)?.as_mut()
}
