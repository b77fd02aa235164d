//! The queue of a topic: sends that cannot be done at once, in order.
//!
//! A send waits for a route, for a lane to be opened, for room, or, when it is one transaction over several lanes, for its
//! commit. The first of the queue is worked on until it is finished; nothing overtakes it. Every send has a deadline,
//! wherever it stands.
//!
//! ```text
//!         enqueue ──┐                       ┌──▶ Offer      offer a message to a target, then handle_offered
//! handle_looked_up ─┤                       ├──▶ LookUp     look the topic up
//!   handle_opened ──┼──▶  first · others  ──┼──▶ OpenLane   open a lane in the store
//!     handle_room ──┤     deadlines         ├──▶ AwaitRoom  say when a link has room
//! handle_committed ─┤                       ├──▶ Commit, Settle   a message with a place on several lanes
//!  handle_timeout ──┘                       └──▶ Finished   what became of a send
//! ```
//!
//! After any input call `poll_event` until it returns `None`, then arm a timer for `poll_timeout`. [`Tickets`] keeps later
//! sends from overtaking those on their way into the queue.

mod api;
#[cfg(test)]
mod tests;
mod tickets;

pub use api::{Destination, Offered, QueueLookUpId, QueuedSend, SendId, SendOutcome, SendQueueEvent, Shape};
pub use tickets::{QueueTicket, Tickets};

use crate::types::{NodeId, OnFull};
use crate::wire::outbound::GroupOutcome;
use crate::wire::routing::selection::{Blocked, Guarantee, Target, every, pick, usable};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

/// What the first send of the queue waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Nothing: its next message is to be offered.
    Ready,
    /// The topic was looked up since it was found to have no target.
    LookedUp,
    Offering,
    LookingUp(QueueLookUpId),
    Opening(NodeId),
    AwaitingRoom(NodeId),
    Committing,
}

/// How far the first send of the queue is.
#[derive(Debug)]
struct HeadProgress {
    stage: Stage,
    /// Messages of a batch that were taken.
    taken: usize,
    /// The target of a batch.
    lane: Option<NodeId>,
    /// Targets of a message to all that are still to be offered it; `None` until they are chosen.
    left: Option<Remaining>,
    /// The message has places to be settled.
    has_places: bool,
    /// A target of a message to all had no room.
    was_full: bool,
}

/// Targets of a message to all, in the order in which it is offered to them.
#[derive(Debug)]
struct Remaining {
    nodes: Vec<NodeId>,
    /// The index of the next.
    next: usize,
}

impl Remaining {
    /// Returns the index of the next target that is still one.
    fn next<T: Target>(&mut self, targets: &[T]) -> Option<usize> {
        while let Some(node) = self.nodes.get(self.next) {
            // Mostly the targets are the same as when they were chosen.
            let is_there = targets.get(self.next).is_some_and(|target| target.node() == node);
            if let Some(at) = if is_there { Some(self.next) } else { position(targets, node) } {
                return Some(at);
            }
            self.next += 1;
        }
        None
    }
}

fn position<T: Target>(targets: &[T], node: &NodeId) -> Option<usize> {
    targets.iter().position(|target| target.node() == node)
}

impl HeadProgress {
    fn new() -> Self {
        let stage = Stage::Ready;
        HeadProgress { stage, taken: 0, lane: None, left: None, has_places: false, was_full: false }
    }
}

/// The sends of one topic that wait. See the [module](self).
#[derive(Debug)]
pub struct SendQueue {
    /// In order.
    sends: BTreeMap<SendId, QueuedSend>,
    deadlines: BTreeSet<(Instant, SendId)>,
    first: HeadProgress,
    /// Targets whose lane is being opened.
    opening: BTreeSet<NodeId>,
    /// Targets whose room the owner waits for.
    awaited: BTreeSet<NodeId>,
    /// Sends whose commit is under way, though they may be finished.
    committing: BTreeSet<SendId>,
    events: VecDeque<SendQueueEvent>,
    last_send: u64,
    last_look_up: u64,
}

impl Default for SendQueue {
    fn default() -> Self {
        SendQueue::new()
    }
}

impl SendQueue {
    /// Returns an empty queue.
    pub fn new() -> Self {
        SendQueue {
            sends: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            first: HeadProgress::new(),
            opening: BTreeSet::new(),
            awaited: BTreeSet::new(),
            committing: BTreeSet::new(),
            events: VecDeque::new(),
            last_send: 0,
            last_look_up: 0,
        }
    }

    /// Whether no send waits and no commit is under way.
    pub fn is_idle(&self) -> bool {
        self.sends.is_empty() && self.committing.is_empty()
    }

    // ---- commands ----

    /// Adds a send at the end.
    pub fn enqueue(&mut self, send: QueuedSend) -> SendId {
        self.last_send += 1;
        let id = SendId(self.last_send);
        self.deadlines.insert((send.deadline, id));
        self.sends.insert(id, send);
        id
    }

    // ---- inputs ----

    /// What came of an offer of [`SendQueueEvent::Offer`].
    pub fn handle_offered(&mut self, send: SendId, offered: Offered) {
        let Some((id, first)) = self.first() else { return };
        if id != send || self.first.stage != Stage::Offering {
            return;
        }
        self.first.stage = Stage::Ready;
        match offered {
            Offered::Taken => self.taken(id, first),
            Offered::Blocked(blocked) => self.blocked(id, first, blocked),
            Offered::Refused => self.finish(id, SendOutcome::Refused),
        }
    }

    /// A look-up ended. `read` says whether the catalogue was read.
    pub fn handle_looked_up(&mut self, look_up: QueueLookUpId, read: bool) {
        if self.first.stage == Stage::LookingUp(look_up) {
            self.go_on(read, Stage::LookedUp);
        }
    }

    /// The opening of the lane to a target ended. `opened` says whether it is open.
    pub fn handle_opened(&mut self, node: &NodeId, opened: bool) {
        self.opening.remove(node);
        if matches!(&self.first.stage, Stage::Opening(opening) if opening == node) {
            self.go_on(opened, Stage::Ready);
        }
    }

    /// The link to a target has room.
    pub fn handle_room(&mut self, node: &NodeId) {
        self.awaited.remove(node);
        if matches!(&self.first.stage, Stage::AwaitingRoom(awaited) if awaited == node) {
            self.first.stage = Stage::Ready;
        }
    }

    /// The commit of a message to all ended.
    pub fn handle_committed(&mut self, send: SendId, committed: bool) {
        if !self.committing.remove(&send) {
            return;
        }
        let outcome = if committed { GroupOutcome::Committed } else { GroupOutcome::Rejected };
        self.events.push_back(SendQueueEvent::Settle { send, outcome });
        if self.sends.contains_key(&send) {
            self.first.has_places = false;
            self.finish(send, if committed { SendOutcome::Accepted } else { SendOutcome::Failed });
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, id)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            let is_first = self.first().is_some_and(|(first, _)| first == id);
            let committing = is_first && self.first.stage == Stage::Committing;
            self.finish(id, if committing { SendOutcome::Indeterminate } else { SendOutcome::Deadline });
        }
    }

    // ---- outputs ----

    /// Returns when to call [`SendQueue::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns the next thing for the owner to do. `targets` are those of the topic now, the best first, and `turn`
    /// counts messages: it is called for each that is bound to one of them.
    pub fn poll_event<T: Target>(&mut self, targets: &[T], mut turn: impl FnMut() -> usize) -> Option<SendQueueEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let (id, first) = self.first()?;
            if !matches!(self.first.stage, Stage::Ready | Stage::LookedUp) {
                return None;
            }
            match first.shape {
                Shape::One => match usable(targets, first.guarantee) {
                    [] => self.no_route(id),
                    _ => self.offer(id, 0, Destination::Next),
                },
                Shape::Batch(messages) if self.first.taken == messages => self.finish(id, SendOutcome::Accepted),
                Shape::Batch(_) => self.offer_on_lane(id, first, targets, &mut turn),
                Shape::All { commits } => self.offer_to_all(id, first, commits, targets),
            }
        }
    }

    // ---- the first send ----

    fn first(&self) -> Option<(SendId, QueuedSend)> {
        self.sends.first_key_value().map(|(id, send)| (*id, *send))
    }

    fn offer(&mut self, send: SendId, message: usize, to: Destination) {
        self.first.stage = Stage::Offering;
        self.events.push_back(SendQueueEvent::Offer { send, message, to });
    }

    fn offer_on_lane<T: Target>(
        &mut self,
        id: SendId,
        first: QueuedSend,
        targets: &[T],
        turn: &mut impl FnMut() -> usize,
    ) {
        if self.first.taken == 0 {
            // Nothing binds the batch to a lane yet.
            self.first.lane = self.first.lane.take().filter(|node| position(targets, node).is_some());
        }
        let chosen = || pick(usable(targets, first.guarantee), turn()).map(|target| target.node().clone());
        let Some(node) = self.first.lane.take().or_else(chosen) else { return self.no_route(id) };
        match position(targets, &node) {
            None => self.finish(id, SendOutcome::NoRoute),
            Some(at) => {
                self.first.lane = Some(node);
                self.offer(id, self.first.taken, Destination::Target(at));
            }
        }
    }

    fn offer_to_all<T: Target>(&mut self, id: SendId, first: QueuedSend, commits: bool, targets: &[T]) {
        let once = first.guarantee == Guarantee::AtMostOnce;
        let left = self.first.left.get_or_insert_with(|| {
            let targets = if once { usable(targets, first.guarantee) } else { every(targets, first.guarantee) };
            Remaining { nodes: targets.iter().map(|target| target.node().clone()).collect(), next: 0 }
        });
        match left.next(targets) {
            Some(at) if once => self.offer(id, 0, Destination::Target(at)),
            Some(at) => self.offer(id, 0, Destination::Reserve(at)),
            None if self.first.was_full => self.finish(id, SendOutcome::QueueFull),
            None if self.first.has_places && commits => {
                self.first.stage = Stage::Committing;
                self.committing.insert(id);
                self.events.push_back(SendQueueEvent::Commit(id));
            }
            None if self.first.has_places => {
                self.settle(id, GroupOutcome::WriteBehind);
                self.finish(id, SendOutcome::Accepted);
            }
            None if self.first.taken > 0 => self.finish(id, SendOutcome::Accepted),
            None => {
                self.first.left = None;
                self.no_route(id);
            }
        }
    }

    /// There is no target: the topic is looked up once.
    fn no_route(&mut self, id: SendId) {
        if self.first.stage == Stage::LookedUp {
            return self.finish(id, SendOutcome::NoRoute);
        }
        self.last_look_up += 1;
        let look_up = QueueLookUpId(self.last_look_up);
        self.first.stage = Stage::LookingUp(look_up);
        self.events.push_back(SendQueueEvent::LookUp(look_up));
    }

    fn taken(&mut self, id: SendId, first: QueuedSend) {
        self.first.taken += 1;
        match first.shape {
            Shape::One => self.finish(id, SendOutcome::Accepted),
            Shape::Batch(_) => {}
            Shape::All { .. } => {
                self.first.has_places = first.guarantee == Guarantee::AtLeastOnce;
                self.pass_on();
            }
        }
    }

    /// A message to all is done with one target.
    fn pass_on(&mut self) {
        if let Some(left) = &mut self.first.left {
            left.next += 1;
        }
    }

    fn blocked(&mut self, id: SendId, first: QueuedSend, blocked: Blocked<NodeId>) {
        if matches!(first.shape, Shape::All { .. }) && first.guarantee == Guarantee::AtLeastOnce {
            // All nodes or none: places are not held while one is waited for.
            self.settle(id, GroupOutcome::Rejected);
            self.first.left = None;
        }
        match blocked {
            Blocked::NoRoute => self.no_route(id),
            Blocked::LaneFull => self.finish(id, SendOutcome::QueueFull),
            Blocked::NotOpen(node) => {
                if self.opening.insert(node.clone()) {
                    self.events.push_back(SendQueueEvent::OpenLane(node.clone()));
                }
                self.first.stage = Stage::Opening(node);
            }
            Blocked::Full(node) if first.on_full == OnFull::Wait => {
                if self.awaited.insert(node.clone()) {
                    self.events.push_back(SendQueueEvent::AwaitRoom(node.clone()));
                }
                self.first.stage = Stage::AwaitingRoom(node);
            }
            // At most once, a node without room costs the others nothing.
            Blocked::Full(_) if self.first.left.is_some() => {
                self.first.was_full = true;
                self.pass_on();
            }
            Blocked::Full(_) => self.finish(id, SendOutcome::QueueFull),
        }
    }

    /// What the first send waited for has ended.
    fn go_on(&mut self, done: bool, stage: Stage) {
        match self.first() {
            Some((id, _)) if !done => self.finish(id, SendOutcome::Failed),
            _ => self.first.stage = stage,
        }
    }

    fn settle(&mut self, send: SendId, outcome: GroupOutcome) {
        if std::mem::take(&mut self.first.has_places) {
            self.events.push_back(SendQueueEvent::Settle { send, outcome });
        }
    }

    /// Removes a send, wherever it stands.
    fn finish(&mut self, id: SendId, outcome: SendOutcome) {
        let is_first = self.first().is_some_and(|(first, _)| first == id);
        if is_first {
            // The places of a commit under way are settled when it ends.
            if !self.committing.contains(&id) {
                self.settle(id, GroupOutcome::Rejected);
            }
            self.first = HeadProgress::new();
        }
        if let Some(send) = self.sends.remove(&id) {
            self.deadlines.remove(&(send.deadline, id));
            self.events.push_back(SendQueueEvent::Finished { send: id, outcome });
        }
    }
}
