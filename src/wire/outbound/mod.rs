//! The sending half of a link: everything that goes from this node to one peer.
//!
//! It numbers the messages it accepts, has them written where they must be durable before they count as accepted, sends
//! within the credit of the receiver, keeps what is not safe yet, and sends again after a break. It decides; its owner
//! carries bytes, rows and time.
//!
//! ```text
//!            offer ──┐                                ┌──▶ poll_transmit   bytes for the connection
//!    handle_frame ───┤                                │
//!    handle_append ──┼──▶  lanes · segments · credit ─┼──▶ poll_event      Append, Load, Accepted, Acked, ...
//!    handle_loaded ──┤                                │
//!    handle_timeout ─┘                                └──▶ poll_timeout    when to call handle_timeout
//! ```
//!
//! After any input, call `poll_transmit` and `poll_event` until both return `None`, then set a timer for `poll_timeout`.

mod acceptance;
mod append;
mod buffers;
mod config;
mod connection;
mod event;
mod inflight;
mod lane;
mod lane_phase;
mod lanes;
mod load;
mod memory;
mod message;
mod numbering;
mod progress;
mod queued;
mod refusals;
mod refuse;
mod schedule;
mod segments;
#[cfg(test)]
mod tests;
mod transmission;
mod transmit;

pub use config::{OutboundConfig, PeerLimits};
pub use event::{AppendOutcome, GroupOutcome, OutboundEvent, Rejection};
pub use message::{AcceptMode, Body, LaneRecord, LoadedPage, Numbered, OfferError};

use crate::types::{Amount, Incarnation, Seq, Topic};
use crate::wire::frame::{Frame, LaneIx};
use crate::wire::heartbeat::{Heartbeat, Silence};
use buffers::SendBuffers;
use lane::{LaneEnds, SendLane};
use lanes::SendLanes;
use memory::MemoryUse;
use queued::{QueuedState, StoreHandoff};
use schedule::SendSchedule;
use std::collections::VecDeque;
use std::time::Instant;

#[derive(Debug)]
enum LinkPhase {
    /// There is no connection and none is being made.
    Down,
    /// A connection is being made.
    Dialing,
    Up {
        peer: PeerLimits,
        heartbeat: Heartbeat,
        /// The largest part of a message: it fits the peer's largest frame together with headers.
        part_bytes: usize,
        /// The largest message that is encoded as one plain frame.
        plain_bytes: usize,
    },
}

/// The sending half of a link. See the [module](self).
#[derive(Debug)]
pub struct Outbound {
    config: OutboundConfig,
    link: LinkPhase,
    lanes: SendLanes,
    schedule: SendSchedule,
    buffers: SendBuffers,
    events: VecDeque<OutboundEvent>,
    memory: MemoryUse,
    next_load: u64,
    /// Messages sent again so far.
    redelivered: u64,
}

impl Outbound {
    /// Creates a link without lanes and without a connection.
    pub fn new(config: OutboundConfig) -> Self {
        Outbound {
            config,
            link: LinkPhase::Down,
            lanes: SendLanes::default(),
            schedule: SendSchedule::default(),
            buffers: SendBuffers::default(),
            events: VecDeque::new(),
            memory: MemoryUse::default(),
            next_load: 0,
            redelivered: 0,
        }
    }

    // ---- getters ----

    /// Returns the lane from `source` to `topic`, if it was added.
    pub fn lane(&self, source: &Topic, topic: &Topic) -> Option<LaneIx> {
        self.lanes.find(&LaneEnds { source: source.clone(), topic: topic.clone() })
    }

    /// Returns whether the lane's durable queue is open, so that at-least-once messages can be offered.
    pub fn is_durable(&self, lane: LaneIx) -> bool {
        self.lanes.get(lane).is_some_and(SendLane::is_durable)
    }

    /// Returns whether a connection is up.
    pub fn is_up(&self) -> bool {
        matches!(self.link, LinkPhase::Up { .. })
    }

    /// Returns what is accepted and not acked on one lane.
    pub fn pending(&self, lane: LaneIx) -> Amount {
        self.lanes.get(lane).map_or(Amount::default(), |l| l.pending)
    }

    /// Returns the incarnation of newly accepted messages, if the lane is durable.
    pub fn incarnation(&self, lane: LaneIx) -> Option<Incarnation> {
        self.lanes.get(lane)?.numbering.current()
    }

    /// Returns all lanes: number, source and topic.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneIx, &Topic, &Topic)> {
        self.lanes.iter().map(|(lane, l)| (lane, &l.ends().source, &l.ends().topic))
    }

    /// Returns whether a message that met [`OfferError::Full`] may be offered again. If not, [`OutboundEvent::Room`] will
    /// report it.
    pub fn has_room(&self) -> bool {
        !self.memory.is_starved()
    }

    /// Returns the at-least-once messages that only memory holds.
    pub fn memory(&self) -> Amount {
        self.memory.unstored()
    }

    /// Returns whether [`Outbound::poll_event`] has something to return.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty() || self.schedule.has_commit()
    }

    /// Returns whether [`Outbound::poll_transmit`] may have something to return.
    pub fn has_transmit(&self) -> bool {
        self.is_up() && (!self.buffers.is_empty() || self.schedule.has_turn())
    }

    /// Returns whether the transmit buffer is full. Senders that can wait should pause until
    /// [`Outbound::has_caught_up`].
    pub fn is_congested(&self) -> bool {
        !self.has_transmit_room()
    }

    /// Returns whether the transmit buffer is less than half full.
    pub fn has_caught_up(&self) -> bool {
        self.buffers.len() < self.config.transmit_bytes / 2
    }

    /// Returns how many messages were sent again so far.
    pub fn redelivered(&self) -> u64 {
        self.redelivered
    }

    /// Returns whether any lane has something accepted and unacked, or waiting to be accepted.
    pub fn has_work(&self) -> bool {
        self.lanes.iter().any(|(_, l)| l.has_work())
    }

    // ---- lanes ----

    /// Finds a lane or adds it. At-most-once messages may be offered at once.
    pub fn add_lane(&mut self, source: &Topic, topic: &Topic) -> LaneIx {
        self.lanes.add(LaneEnds { source: source.clone(), topic: topic.clone() })
    }

    /// Makes a lane durable: its durable queue was opened. Does nothing if it already is.
    pub fn open_lane(&mut self, lane: LaneIx, record: LaneRecord) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        if l.is_durable() {
            return;
        }
        l.open(record);
        if !l.phase.is_closed() || l.pending.messages > 0 {
            self.resume_lane(lane);
        }
    }

    /// Drops a lane with everything it holds. The durable queue is left to the caller. The number is never used again.
    pub fn remove_lane(&mut self, lane: LaneIx) {
        let Some(mut l) = self.lanes.remove(lane) else { return };
        self.memory.free(l.progress.clear(Seq::ZERO, &mut self.buffers));
        for message in l.fresh.iter() {
            self.memory.free_one(message.message.size());
            match message.state {
                QueuedState::Reserved { handoff: StoreHandoff::NotGiven, .. } => {
                    let why = Rejection::Store;
                    self.events.push_back(OutboundEvent::Rejected { lane, seq: message.seq, why });
                }
                QueuedState::Reserved { handoff: StoreHandoff::InAppend | StoreHandoff::Unknown, .. } => {
                    self.events.push_back(OutboundEvent::Indeterminate { lane, seq: message.seq });
                }
                _ => {}
            }
        }
        for message in &l.direct {
            self.memory.free_direct(message.size());
        }
        self.schedule.remove(lane);
        self.announce_room();
    }

    /// Forgets what a lane accepted and what is not acked, after its durable queue was cleared. Messages that wait for
    /// their commit stay. The hole is announced to the receiver with the next message.
    pub fn clear_lane(&mut self, lane: LaneIx) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        self.memory.free(l.fresh.clear_accepted());
        let next = l.fresh.front().map_or(l.numbering.next(), |m| m.seq);
        self.memory.free(l.progress.clear(next.prev(), &mut self.buffers));
        l.ready.clear();
        l.load.cancel();
        l.refusals.close_all();
        l.pending = Amount::default();
        self.note_unstored(lane);
        self.announce_room();
        self.enqueue(lane);
    }

    // ---- time ----

    /// Returns when to call [`Outbound::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let heartbeat = match &self.link {
            LinkPhase::Up { heartbeat, .. } => Some(heartbeat.deadline()),
            LinkPhase::Down | LinkPhase::Dialing => None,
        };
        let appends = self.schedule.unstored().filter_map(|lane| self.append_at(self.lanes.get(lane)?)).min();
        let loads = self.schedule.reload().filter_map(|lane| self.lanes.get(lane)?.load.retry_at()).min();
        [heartbeat, appends, loads].into_iter().flatten().min()
    }

    /// Handles that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let LinkPhase::Up { heartbeat, .. } = &mut self.link {
            match heartbeat.check(now) {
                Silence::Fine => {}
                Silence::Ask => {
                    self.buffers.shrink();
                    self.buffers.encode(&Frame::Ping(0));
                }
                Silence::Dead => self.events.push_back(OutboundEvent::Silent),
            }
        }
        self.expire(now);
        self.append_due(now);
        self.reload_due(now);
    }

    // ---- outputs ----

    /// Returns the next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<OutboundEvent> {
        self.events.pop_front().or_else(|| self.next_append())
    }

    // ---- memory ----

    /// Reports room to callers that were turned away.
    fn announce_room(&mut self) {
        if self.memory.take_room(&self.config) {
            self.events.push_back(OutboundEvent::Room);
        }
    }
}
