//! Sends to topics: an application publishes, routing says where to, and what cannot be done at once waits in the queue of
//! its topic. Order, deadlines and outcomes are held against what was sent.

use crate::application::Draft;
use crate::checker::{Mode, Sent, Told, body};
use crate::counters::Hit;
use crate::mesh::{SimTarget, Step, TopicNo};
use crate::node::Group;
use crate::store::{Op, ReplyTo, Request};
use crate::trace;
use crate::world::{LaneNo, World};
use liner::wire::frame::LaneIx;
use liner::wire::outbound::{AcceptMode, Body, GroupOutcome, OfferError};
use liner::wire::routing;
use liner::wire::routing::selection::{Blocked, Guarantee, offer_in_turn, usable};
use liner::wire::send_queue::{
    Destination, Offered, QueueLookUpId, QueueTicket, QueuedSend, SendId, SendOutcome, SendQueue, SendQueueEvent,
    Shape, Tickets,
};
use liner::{Incarnation, OnFull, Seq};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Sends that may wait at a topic.
const WAITING_SENDS: usize = 12;

/// A message's place on a lane: peer, lane, its index, incarnation and number.
type Place = (usize, LaneNo, LaneIx, Incarnation, Seq);

/// What the application asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendPlan {
    /// Counts the sends of a process.
    order: u64,
    shape: Shape,
    /// `None`: at most once.
    mode: Option<Mode>,
    on_full: OnFull,
    since: Duration,
    deadline: Duration,
}

impl SendPlan {
    fn guarantee(&self) -> Guarantee {
        if self.mode.is_some() { Guarantee::AtLeastOnce } else { Guarantee::AtMostOnce }
    }
}

/// A send in a queue.
#[derive(Debug)]
struct Waiting {
    plan: SendPlan,
    taken: usize,
    _ticket: QueueTicket,
}

/// The sends of a process to one topic.
#[derive(Debug, Default)]
pub(crate) struct TopicSends {
    pub(crate) targets: Vec<SimTarget>,
    turn: usize,
    tickets: Arc<Tickets>,
    queue: SendQueue,
    /// On their way into the queue.
    arriving: VecDeque<(SendPlan, QueueTicket)>,
    waiting: BTreeMap<SendId, Waiting>,
    /// Messages with places on several lanes, and whether the application was told that the outcome is open.
    groups: BTreeMap<SendId, (Vec<Place>, bool)>,
    look_ups: Vec<(QueueLookUpId, routing::LookUpId)>,
    opening: BTreeMap<usize, Duration>,
    awaited: Vec<usize>,
    armed: Option<Duration>,
    /// The last send that each lane took.
    last: BTreeMap<LaneNo, u64>,
}

impl TopicSends {
    /// Whether nothing waits and no commit is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_idle() && self.arriving.is_empty() && self.groups.is_empty()
    }
}

impl World {
    fn sends(&mut self, node: usize, topic: TopicNo) -> Option<&mut TopicSends> {
        self.mesh(node).map(|mesh| &mut mesh.topics[topic])
    }

    // ---- the application ----

    /// The application sends something to a topic.
    pub(crate) fn publish(&mut self, node: usize) {
        let topic = self.rng.index(self.plan.topics.len());
        let name = self.plan.topics[topic].clone();
        let is_new = self.mesh(node).is_some_and(|mesh| mesh.routing.use_topic(&name));
        if is_new {
            self.drive_routing(node);
        }
        let plan = self.send_plan(node);
        let may_pass = self.sends(node, topic).is_some_and(|sends| sends.tickets.may_pass());
        if plan.shape == Shape::One && may_pass {
            let targets = self.targets_now(node, topic);
            if self.offer_next(node, topic, &targets, &plan).is_ok() {
                return self.hits.hit(Hit::SentAtOnce);
            }
        }
        let Some(sends) = self.sends(node, topic) else { return };
        match sends.tickets.take(WAITING_SENDS) {
            None => self.hits.hit(Hit::TooManyWaiting),
            Some(ticket) => {
                sends.arriving.push_back((plan, ticket));
                let wait = self.rng.micros(0, 300);
                self.step_later(node, wait, Step::Arrive { topic });
            }
        }
    }

    fn send_plan(&mut self, node: usize) -> SendPlan {
        let mode = match self.rng.below(10) {
            0 => None,
            1..5 => Some(Mode::WriteBehind),
            5..9 => Some(Mode::Committed),
            _ => Some(Mode::Synced),
        };
        let shape = match self.rng.below(8) {
            0 => Shape::Batch(usize::try_from(self.rng.between(1, 4)).expect("few")),
            1 | 2 => Shape::All { commits: matches!(mode, Some(Mode::Committed | Mode::Synced)) },
            _ => Shape::One,
        };
        let on_full = if self.rng.chance(700) { OnFull::Wait } else { OnFull::Reject };
        let (since, wait) = (self.now, self.rng.millis(5, 300));
        let order = self.mesh(node).map_or(0, |mesh| {
            mesh.next_order += 1;
            mesh.next_order
        });
        SendPlan { order, shape, mode, on_full, since, deadline: since + wait }
    }

    // ---- offering ----

    fn targets_now(&mut self, node: usize, topic: TopicNo) -> Vec<SimTarget> {
        let mut targets = self.sends(node, topic).map(|sends| sends.targets.clone()).unwrap_or_default();
        for target in &mut targets {
            target.is_up = self.peer(node, target.peer).is_some_and(|p| p.out.is_up());
        }
        targets
    }

    fn offer_next(
        &mut self,
        node: usize,
        topic: TopicNo,
        targets: &[SimTarget],
        plan: &SendPlan,
    ) -> Result<(), Blocked<SimTarget>> {
        let turn = self.turn(node, topic);
        offer_in_turn(usable(targets, plan.guarantee()), turn, |target| self.offer_to(node, topic, target, plan))
            .map_err(|blocked| blocked.map(SimTarget::clone))
    }

    fn turn(&mut self, node: usize, topic: TopicNo) -> usize {
        self.sends(node, topic).map_or(0, |sends| {
            sends.turn += 1;
            sends.turn
        })
    }

    /// Offers a message to one target.
    fn offer_to(&mut self, node: usize, topic: TopicNo, to: &SimTarget, plan: &SendPlan) -> Result<(), OfferError> {
        let promise = match plan.mode {
            None => {
                self.offer_once(node, to)?;
                return self.took(node, topic, to, plan);
            }
            Some(Mode::WriteBehind) => AcceptMode::WriteBehind,
            Some(mode) => AcceptMode::Stored { deadline: self.base + plan.deadline, synced: mode == Mode::Synced },
        };
        self.offer_draft(node, to, plan.mode.unwrap_or(Mode::WriteBehind), promise)?;
        self.took(node, topic, to, plan)
    }

    fn took(&mut self, node: usize, topic: TopicNo, to: &SimTarget, plan: &SendPlan) -> Result<(), OfferError> {
        self.check_target(node, topic, to, plan.shape != Shape::One);
        let last = self.sends(node, topic).and_then(|sends| sends.last.insert(to.lane, plan.order));
        if last.is_some_and(|last| last > plan.order) {
            let what = format!("lane {}: send {} comes after {last:?}", to.lane, plan.order);
            self.checker.fail(4, what);
        }
        self.arm_soon(node, to.peer);
        Ok(())
    }

    fn offer_once(&mut self, node: usize, to: &SimTarget) -> Result<(), OfferError> {
        let Draft { id, len, headers } = self.draft(8);
        let payload = body(id, len);
        let p = self.peer(node, to.peer).ok_or(OfferError::Unreachable)?;
        let ix = p.side(to.lane).and_then(|side| side.ix).ok_or(OfferError::Unreachable)?;
        match p.out.offer_direct(ix, &crate::checker::headers(id, headers), Body::Borrowed(&payload)) {
            Ok(()) => self.checker.offered_direct(to.lane, id, len, headers),
            // Dropped and counted.
            Err(OfferError::Unreachable) => self.hits.hit(Hit::Unreachable),
            Err(error) => {
                p.starved = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn offer_draft(
        &mut self,
        node: usize,
        to: &SimTarget,
        mode: Mode,
        accept: AcceptMode,
    ) -> Result<Place, OfferError> {
        let Draft { id, len, headers } = self.draft(1);
        let (now, at, process) = (self.instant(), self.now, self.process_no(node));
        let payload = body(id, len);
        let p = self.peer(node, to.peer).ok_or(OfferError::NotOpen)?;
        let side = p.side(to.lane).ok_or(OfferError::NotOpen)?;
        let (Some(ix), Some(incarnation)) = (side.ix, side.incarnation) else { return Err(OfferError::NotOpen) };
        let headers_of = crate::checker::headers(id, headers);
        match p.out.offer(|| now, ix, &headers_of, Body::Borrowed(&payload), accept) {
            Ok(seq) => {
                let told = if mode == Mode::WriteBehind { Told::Accepted } else { Told::Nothing };
                trace!(self, "node {node}: lane {} takes {seq} {mode:?} from a topic, id {id}", to.lane);
                self.checker.offered(to.lane, incarnation, seq, Sent::new((id, len, headers), mode, told, at, process));
                Ok((to.peer, to.lane, ix, incarnation, seq))
            }
            Err(error) => {
                p.starved |= error == OfferError::Full;
                Err(error)
            }
        }
    }

    // ---- the queue ----

    pub(crate) fn send_arrives(&mut self, node: usize, topic: TopicNo) {
        let base = self.base;
        let Some(sends) = self.sends(node, topic) else { return };
        let Some((plan, ticket)) = sends.arriving.pop_front() else { return };
        let SendPlan { shape, on_full, deadline, .. } = plan;
        let queued = QueuedSend { shape, guarantee: plan.guarantee(), deadline: base + deadline, on_full };
        let id = sends.queue.enqueue(queued);
        sends.waiting.insert(id, Waiting { plan, taken: 0, _ticket: ticket });
        self.hits.hit(Hit::Queued);
        self.drive_queue(node, topic);
    }

    pub(crate) fn queue_expires(&mut self, node: usize, topic: TopicNo) {
        let now = self.instant();
        if let Some(sends) = self.sends(node, topic) {
            sends.queue.handle_timeout(now);
        }
        self.drive_queue(node, topic);
    }

    pub(crate) fn drive_queue(&mut self, node: usize, topic: TopicNo) {
        let process = self.process_no(node);
        loop {
            let targets = self.targets_now(node, topic);
            let turn = self.turn(node, topic);
            let Some(sends) = self.sends(node, topic) else { return };
            let Some(event) = sends.queue.poll_event(&targets, || turn) else { break };
            trace!(self, "node {node}: queue of topic {topic}: {event:?}");
            self.queue_event(node, topic, &targets, event);
            if !self.is_running(node, process) {
                return;
            }
        }
        let (now, base) = (self.now, self.base);
        let Some(sends) = self.sends(node, topic) else { return };
        let at = sends.queue.poll_timeout().map(|at| at.saturating_duration_since(base).max(now));
        if let Some(at) = at.filter(|at| sends.armed.is_none_or(|armed| armed > *at || armed <= now)) {
            sends.armed = Some(at);
            self.step_later(node, at - now, Step::Expire { topic });
        }
    }

    fn queue_event(&mut self, node: usize, topic: TopicNo, targets: &[SimTarget], event: SendQueueEvent) {
        let of = |name: &liner::NodeId| targets.iter().find(|target| target.node == *name);
        match event {
            SendQueueEvent::Offer { send, to, .. } => {
                let offered = self.offer_queued(node, topic, targets, send, &to);
                if let Some(sends) = self.sends(node, topic) {
                    sends.queue.handle_offered(send, offered);
                }
            }
            SendQueueEvent::LookUp(id) => {
                let name = self.plan.topics[topic].clone();
                self.hits.hit(Hit::SendLookUp);
                let Some(mesh) = self.mesh(node) else { return };
                let after = mesh.routing.look_up(&name);
                mesh.topics[topic].look_ups.push((id, after));
                self.drive_routing(node);
            }
            SendQueueEvent::OpenLane(name) => self.open_for(node, topic, self.node_no(&name)),
            SendQueueEvent::AwaitRoom(name) => {
                let peer = self.node_no(&name);
                self.hits.hit(Hit::SendAwaitsRoom);
                let has_room = of(&name).is_none() || self.peer(node, peer).is_some_and(|p| p.out.has_room());
                if let Some(sends) = self.sends(node, topic) {
                    sends.awaited.push(peer);
                }
                if has_room {
                    self.has_room(node, peer);
                }
            }
            SendQueueEvent::Commit(send) => self.commit_send(node, topic, send),
            SendQueueEvent::Settle { send, outcome } => self.settle_send(node, topic, send, outcome),
            SendQueueEvent::Finished { send, outcome } => self.send_finished(node, topic, send, outcome),
        }
    }

    fn offer_queued(
        &mut self,
        node: usize,
        topic: TopicNo,
        targets: &[SimTarget],
        send: SendId,
        to: &Destination,
    ) -> Offered {
        let is_stopping = self.nodes[node].process.as_ref().is_none_or(|process| process.stopping);
        let waiting = self.sends(node, topic).and_then(|sends| sends.waiting.get_mut(&send));
        let Some(plan) = waiting.map(|waiting| waiting.plan).filter(|_| !is_stopping) else { return Offered::Refused };
        let offered = match *to {
            Destination::Next => self.offer_next(node, topic, targets, &plan),
            Destination::Target(at) => match targets.get(at) {
                Some(to) => self.offer_to(node, topic, to, &plan).map_err(|error| Blocked::new(error, to.clone())),
                None => Err(Blocked::NoRoute),
            },
            Destination::Reserve(at) => match targets.get(at) {
                Some(to) => self.reserve(node, topic, to, send, &plan),
                None => Err(Blocked::NoRoute),
            },
        };
        if let Err(Blocked::Full(_)) = offered {
            self.hits.hit(Hit::SendBlockedByRoom);
        }
        match offered {
            Ok(()) => {
                if let Some(waiting) = self.sends(node, topic).and_then(|sends| sends.waiting.get_mut(&send)) {
                    waiting.taken += 1;
                }
                Offered::Taken
            }
            Err(blocked) => Offered::Blocked(blocked.map(|target| target.node)),
        }
    }

    fn reserve(
        &mut self,
        node: usize,
        topic: TopicNo,
        to: &SimTarget,
        send: SendId,
        plan: &SendPlan,
    ) -> Result<(), Blocked<SimTarget>> {
        let offered = self.offer_draft(node, to, Mode::GroupCommitted, AcceptMode::Group);
        let place = offered.map_err(|error| Blocked::new(error, to.clone()))?;
        let Some(sends) = self.sends(node, topic) else { return Err(Blocked::NoRoute) };
        let (places, _) = sends.groups.entry(send).or_default();
        let is_twice = places.iter().any(|(_, lane, ..)| *lane == to.lane);
        places.push(place);
        if is_twice {
            self.checker.fail(3, format!("lane {}: a message to all has two places", to.lane));
        }
        let _ = self.took(node, topic, to, plan);
        Ok(())
    }

    // ---- what the queue waits for ----

    pub(crate) fn queue_looked_up(&mut self, node: usize, topic: TopicNo, id: routing::LookUpId, read: bool) {
        let Some(sends) = self.sends(node, topic) else { return };
        let (ended, left) = std::mem::take(&mut sends.look_ups).into_iter().partition(|(_, after)| *after < id);
        sends.look_ups = left;
        let ended: Vec<_> = ended;
        for (look_up, _) in ended {
            sends.queue.handle_looked_up(look_up, read);
        }
        self.step_later(node, Duration::ZERO, Step::Drive { topic });
    }

    fn open_for(&mut self, node: usize, topic: TopicNo, peer: usize) {
        let now = self.now;
        let lane = self
            .plan
            .lanes
            .iter()
            .position(|l| (l.sender, l.receiver) == (node, peer) && l.topic == self.plan.topics[topic]);
        let fails = self.rng.chance(self.plan.store_fail);
        if let Some(lane) = lane.filter(|_| !fails) {
            self.open_lane(node, peer, lane);
            let side = self.peer(node, peer).and_then(|p| p.side(lane));
            let (is_open, opening) = side.map_or((false, false), |side| (side.key.is_some(), side.opening));
            if let Some(sends) = self.sends(node, topic) {
                sends.opening.insert(peer, now);
            }
            if is_open {
                return self.lane_opened(node, lane);
            }
            if opening {
                return;
            }
        }
        let wait = self.rng.millis(1, 10);
        self.step_later(node, wait, Step::NotOpened { topic, peer });
    }

    pub(crate) fn lane_not_opened(&mut self, node: usize, topic: TopicNo, peer: usize) {
        let name = self.plan.names[peer].clone();
        self.hits.hit(Hit::SendNotOpened);
        if let Some(sends) = self.sends(node, topic) {
            sends.opening.remove(&peer);
            sends.queue.handle_opened(&name, false);
        }
        self.drive_queue(node, topic);
    }

    /// A lane of this node was opened, whoever asked for it.
    pub(crate) fn lane_opened(&mut self, node: usize, lane: LaneNo) {
        let (peer, topic) = (self.plan.lanes[lane].receiver, self.plan.lanes[lane].topic.clone());
        let (name, now) = (self.plan.names[peer].clone(), self.now);
        let Some(no) = self.topic_no(&topic) else { return };
        let Some(mesh) = self.mesh(node) else { return };
        mesh.routing.handle_lane_opened(&name, &topic);
        let asked = mesh.topics[no].opening.remove(&peer);
        if asked.is_some() {
            mesh.topics[no].queue.handle_opened(&name, true);
        }
        if asked.is_some_and(|since| now > since + Duration::from_millis(20)) {
            self.hits.hit(Hit::SendOpenedLate);
        }
        self.drive_routing(node);
        self.step_later(node, Duration::ZERO, Step::Drive { topic: no });
    }

    /// The link to a peer has room.
    pub(crate) fn has_room(&mut self, node: usize, peer: usize) {
        if let Some(p) = self.peer(node, peer).filter(|p| p.out.has_room()) {
            p.starved = false;
        }
        let name = self.plan.names[peer].clone();
        for topic in 0..self.plan.topics.len() {
            let Some(sends) = self.sends(node, topic) else { return };
            let before = sends.awaited.len();
            sends.awaited.retain(|awaited| *awaited != peer);
            if sends.awaited.len() < before {
                sends.queue.handle_room(&name);
                let wait = self.rng.micros(0, 100);
                self.step_later(node, wait, Step::Drive { topic });
            }
        }
    }

    /// Whether messages to all nodes of a topic are being committed.
    pub(crate) fn commits_sends(&mut self, node: usize) -> bool {
        self.mesh(node).is_some_and(|mesh| mesh.topics.iter().any(|sends| !sends.groups.is_empty()))
    }

    fn commit_send(&mut self, node: usize, topic: TopicNo, send: SendId) {
        let process = self.process_no(node);
        let places =
            self.sends(node, topic).and_then(|sends| sends.groups.get(&send)).map(|(places, _)| places.clone());
        let mut rows = Vec::new();
        for (peer, lane, ix, _, seq) in places.unwrap_or_default() {
            let Some(p) = self.peer(node, peer) else { continue };
            let Some(key) = p.side(lane).and_then(|side| side.key) else { continue };
            rows.push((lane, key, p.out.group_rows(ix, seq)));
        }
        self.submit(Request { node, process, op: Op::Append { rows }, reply: ReplyTo::Commit { topic, send } });
    }

    pub(crate) fn send_committed(&mut self, node: usize, topic: TopicNo, send: SendId) {
        if let Some(sends) = self.sends(node, topic) {
            sends.queue.handle_committed(send, true);
        }
        self.drive_queue(node, topic);
    }

    fn settle_send(&mut self, node: usize, topic: TopicNo, send: SendId, outcome: GroupOutcome) {
        let process = self.process_no(node);
        let Some((members, told)) = self.sends(node, topic).and_then(|sends| sends.groups.remove(&send)) else {
            return;
        };
        self.hits.hit(match outcome {
            GroupOutcome::Committed | GroupOutcome::WriteBehind => Hit::SendAllAccepted,
            GroupOutcome::Rejected => Hit::SendAllReleased,
        });
        let op = Op::Append { rows: Vec::new() };
        let request = Request { node, process, op, reply: ReplyTo::Commit { topic, send } };
        self.finish_group(Group { node, process, members, request, fall_back: false, told }, outcome);
    }

    // ---- outcomes ----

    fn send_finished(&mut self, node: usize, topic: TopicNo, send: SendId, outcome: SendOutcome) {
        let now = self.now;
        let Some(sends) = self.sends(node, topic) else { return };
        let Some(Waiting { plan, taken, .. }) = sends.waiting.remove(&send) else {
            return self.checker.fail(3, format!("node {node}: {send:?} is finished twice"));
        };
        let has_places = sends.groups.contains_key(&send);
        if outcome == SendOutcome::Indeterminate
            && let Some((places, told)) = sends.groups.get_mut(&send)
        {
            *told = true;
            for (_, lane, _, incarnation, seq) in places.clone() {
                self.tell(lane, incarnation, seq, Told::Indeterminate);
            }
        } else if has_places {
            self.checker.fail(3, format!("node {node}: send {} is {outcome:?} and has places", plan.order));
        }
        if now > plan.deadline {
            let late = now - plan.deadline;
            self.checker
                .fail(3, format!("node {node}: send {} is {outcome:?} {late:?} after its deadline", plan.order));
        }
        self.hits.hit(match outcome {
            SendOutcome::Accepted => Hit::SendAccepted,
            SendOutcome::NoRoute => Hit::SendNoRoute,
            SendOutcome::QueueFull => Hit::SendQueueFull,
            SendOutcome::Deadline => Hit::SendDeadline,
            SendOutcome::Indeterminate => Hit::SendIndeterminate,
            SendOutcome::Failed => Hit::SendFailed,
            SendOutcome::Refused => Hit::SendRefused,
        });
        if outcome == SendOutcome::NoRoute && taken == 0 {
            self.check_no_route(node, topic, plan.since);
        }
    }
}
