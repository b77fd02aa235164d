//! A node as thin as its actors: it carries bytes, rows and time between the machines and the world, and decides
//! nothing about the protocol.

use crate::checker::{Mode, Told};
use crate::counters::Hit;
use crate::mesh::{Mesh, Step};
use crate::network::ConnNo;
use crate::store::{Done, Key, Op, Outcome, ReplyTo, Request};
use crate::trace;
use crate::world::{Coming, LaneNo, ProcessNo, World};
use liner::wire::backoff::Backoff;
use liner::wire::frame::{LaneIx, RefuseCode};
use liner::wire::inbound::{CursorStep, HandOver, Inbound, InboundConfig, InboundEvent, LaneSlot, SubscriberSpec};
use liner::wire::outbound::{
    AppendOutcome, GroupOutcome, LoadedPage, Outbound, OutboundConfig, OutboundEvent, Rejection,
};
use liner::{Cursor, Epoch, Incarnation, Message, Seq, Topic};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// How often the same instant may time out before it counts as a circle.
const MAX_SPINS: u32 = 20;

/// One name in the mesh, through all its processes.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) process: Option<Process>,
    pub(crate) epoch: u64,
    /// The last process: its number, when it ended, and whether cleanly.
    pub(crate) died: Option<(ProcessNo, Duration, bool)>,
    /// Whether the last end was a crash.
    pub(crate) unclean: bool,
}

/// What a crash takes.
pub(crate) struct Process {
    pub(crate) number: ProcessNo,
    pub(crate) epoch: Epoch,
    pub(crate) peers: Vec<Option<Peer>>,
    pub(crate) handlers: BTreeMap<Topic, SubscriberSpec>,
    pub(crate) stopping: bool,
    pub(crate) mesh: Mesh,
}

/// Everything between this node and one other.
pub(crate) struct Peer {
    pub(crate) out: Outbound,
    pub(crate) inn: Inbound,
    /// The connection this node dialled.
    pub(crate) dialled: Option<ConnNo>,
    /// The connection the peer dialled.
    pub(crate) accepted: Option<ConnNo>,
    pub(crate) attempt: u64,
    pub(crate) backoff: Backoff,
    pub(crate) lanes: Vec<LaneSide>,
    pub(crate) handed: HashMap<(LaneSlot, u64), Handed>,
    /// Lanes with messages held ready for their subscribers: how many may be, and those that are.
    pub(crate) ahead: HashMap<LaneSlot, (u32, VecDeque<HandOver>)>,
    pub(crate) starved: bool,
    pub(crate) highest_epoch: Epoch,
    armed: Option<Duration>,
    spins: (Duration, u32),
}

/// A lane this node sends on.
#[derive(Debug)]
pub(crate) struct LaneSide {
    pub(crate) no: LaneNo,
    pub(crate) ix: Option<LaneIx>,
    pub(crate) key: Option<Key>,
    pub(crate) incarnation: Option<Incarnation>,
    pub(crate) opening: bool,
    /// The store has not forgotten it yet: it must not be opened again.
    pub(crate) forgetting: bool,
}

/// A message with the subscriber.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) stamp: u64,
    pub(crate) attempt: u32,
    pub(crate) lane: LaneNo,
    pub(crate) place: Option<Cursor>,
    /// When the machine gives up on it.
    pub(crate) until: Option<Duration>,
    /// The message, if its subscriber borrows.
    pub(crate) borrowed: Option<Message>,
}

/// An append over several lanes.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) node: usize,
    pub(crate) process: ProcessNo,
    pub(crate) members: Vec<(usize, LaneNo, LaneIx, Incarnation, Seq)>,
    pub(crate) request: Request,
    /// What to do when it certainly failed.
    pub(crate) fall_back: bool,
    pub(crate) told: bool,
}

impl LaneSide {
    fn new(no: LaneNo) -> Self {
        LaneSide { no, ix: None, key: None, incarnation: None, opening: false, forgetting: false }
    }

    /// The lane was forgotten.
    pub(crate) fn reset(&mut self) {
        *self = LaneSide::new(self.no);
    }
}

impl Peer {
    pub(crate) fn side(&mut self, lane: LaneNo) -> Option<&mut LaneSide> {
        self.lanes.iter_mut().find(|l| l.no == lane)
    }

    pub(crate) fn side_of(&mut self, ix: LaneIx) -> Option<&mut LaneSide> {
        self.lanes.iter_mut().find(|l| l.ix == Some(ix))
    }

    fn deadline(&self) -> Option<Instant> {
        [self.out.poll_timeout(), self.inn.poll_timeout()].into_iter().flatten().min()
    }
}

impl World {
    pub(crate) fn is_running(&self, node: usize, process: ProcessNo) -> bool {
        self.nodes[node].process.as_ref().is_some_and(|p| p.number == process)
    }

    pub(crate) fn peer(&mut self, node: usize, peer: usize) -> Option<&mut Peer> {
        self.nodes[node].process.as_mut()?.peers[peer].as_mut()
    }

    pub(crate) fn process_no(&self, node: usize) -> ProcessNo {
        self.nodes[node].process.as_ref().map_or(0, |p| p.number)
    }

    // ---- life ----

    pub(crate) fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        self.bury(node);
        let number = self.next_process;
        self.next_process += 1;
        self.nodes[node].epoch += 1;
        let epoch = Epoch::new(self.nodes[node].epoch);
        let record_attempts = std::mem::replace(&mut self.nodes[node].unclean, true);
        let config =
            InboundConfig { max_message: self.plan.max_message[node], record_attempts, ..self.plan.inbound.clone() };
        let peers = (0..self.plan.nodes).map(|peer| (peer != node).then(|| self.new_peer(node, peer, &config)));
        let peers = peers.collect();
        let mesh = Mesh::new(&self.plan.names[node], self.plan.topics.len());
        let process = Process { number, epoch, peers, handlers: BTreeMap::new(), stopping: false, mesh };
        self.nodes[node].process = Some(process);
        trace!(self, "node {node}: process {number} starts, recording {record_attempts}");
        self.step_later(node, Duration::ZERO, Step::Renew);
        for topic in self.plan.topics.clone() {
            if self.healed || self.rng.chance(700) {
                self.subscribe(node, topic);
            }
        }
        for peer in 0..self.plan.nodes {
            if peer == node {
                continue;
            }
            let wait = self.rng.millis(0, 4);
            self.after(wait, Coming::Dial { node, process: number, peer });
            // What waits in the queue goes without any new send: an actor opens the lanes its store lists.
            let lanes: Vec<_> =
                self.peer(node, peer).map(|p| p.lanes.iter().map(|l| l.no).collect()).unwrap_or_default();
            for lane in lanes {
                let store = self.plan.store_of[node];
                if self.stores[store].send.contains_key(&lane) {
                    self.open_lane(node, peer, lane);
                }
            }
        }
    }

    fn new_peer(&self, node: usize, peer: usize, config: &InboundConfig) -> Peer {
        let lanes = self.plan.lanes.iter().enumerate().filter(|(_, l)| (l.sender, l.receiver) == (node, peer));
        Peer {
            out: Outbound::new(OutboundConfig { rounds: self.base, ..self.plan.outbound.clone() }),
            inn: Inbound::new(config.clone(), self.plan.names[node].clone(), self.plan.names[peer].clone()),
            dialled: None,
            accepted: None,
            attempt: 0,
            backoff: Backoff::new(Duration::from_millis(5), Duration::from_millis(100)),
            lanes: lanes.map(|(no, _)| LaneSide::new(no)).collect(),
            handed: HashMap::new(),
            ahead: HashMap::new(),
            starved: false,
            highest_epoch: Epoch::new(0),
            armed: None,
            spins: (Duration::ZERO, 0),
        }
    }

    /// A clean stop begins: nothing new is taken, everything is written.
    pub(crate) fn stop(&mut self, node: usize) {
        let Some(process) = self.nodes[node].process.as_mut().filter(|p| !p.stopping) else { return };
        process.stopping = true;
        let number = process.number;
        for peer in process.peers.iter_mut().flatten() {
            peer.inn.drain();
            peer.out.flush();
        }
        trace!(self, "node {node}: stops");
        self.wait_idle(node);
        let wait = self.rng.millis(50, 400);
        self.after(wait, Coming::StopDeadline { node, process: number });
        for peer in 0..self.plan.nodes {
            self.give_back_all(node, peer, |_| true);
            self.drive(node, peer);
        }
    }

    fn try_to_end(&mut self, node: usize) {
        let Some(process) = self.nodes[node].process.as_ref().filter(|p| p.stopping) else { return };
        let number = process.number;
        let busy = process
            .peers
            .iter()
            .flatten()
            .any(|p| p.out.has_unstored() || !p.inn.is_settled() || p.lanes.iter().any(|l| l.opening));
        let store = &self.stores[self.plan.store_of[node]];
        let waits = process.mesh.topics.iter().any(|sends| !sends.is_idle());
        if busy || waits || store.queue.iter().any(|r| r.process == number) || !self.is_settled(node) {
            return;
        }
        for topic in self.plan.topics.clone() {
            self.unpublish_route(node, &topic, false);
        }
        trace!(self, "node {node}: ends cleanly");
        self.hits.hit(Hit::CleanStop);
        self.nodes[node].process = None;
        self.nodes[node].unclean = false;
        self.nodes[node].died = Some((number, self.now, true));
        self.groups.retain(|_, g| g.process != number);
        self.break_connections(number);
        let wait = self.rng.millis(1, 100);
        self.after(wait, Coming::Start { node });
    }

    pub(crate) fn stop_deadline(&mut self, node: usize, process: ProcessNo) {
        if self.is_running(node, process) {
            self.hits.hit(Hit::StopPastDeadline);
            self.crash(node);
        }
    }

    /// A step of a machine was taken. Whether the process is still there.
    fn survives(&mut self, node: usize) -> bool {
        if let Some((victim, steps)) = self.crash_inside.filter(|(victim, _)| *victim == node) {
            if steps == 0 {
                self.crash_inside = None;
                self.hits.hit(Hit::CrashInsideStep);
                self.crash(node);
            } else {
                self.crash_inside = Some((victim, steps - 1));
            }
        }
        self.nodes[node].process.is_some()
    }

    // ---- the machines ----

    /// After any input: everything the machines have to say, then the timer.
    pub(crate) fn drive(&mut self, node: usize, peer: usize) {
        let process = self.process_no(node);
        loop {
            let now = self.instant();
            let Some(p) = self.peer(node, peer) else { return };
            if let Some(delivery) = p.inn.poll_delivery(now) {
                self.hand_over(node, peer, delivery);
            } else if let Some(event) = p.inn.poll_event() {
                self.inbound_event(node, peer, event);
            } else if let Some(event) = p.out.poll_event() {
                self.outbound_event(node, peer, event);
            } else if !self.transmit(node, peer) {
                break;
            }
            if !self.survives(node) || !self.is_running(node, process) {
                return;
            }
        }
        self.check_bounds(node, peer);
        self.arm(node, peer);
        self.try_to_end(node);
    }

    fn arm(&mut self, node: usize, peer: usize) {
        let process = self.process_no(node);
        let (now, base) = (self.now, self.instant() - self.now);
        let Some(p) = self.peer(node, peer) else { return };
        let Some(at) = p.deadline() else { return };
        let at = at.saturating_duration_since(base).max(now);
        if p.armed.is_none_or(|armed| armed > at || armed < now) {
            p.armed = Some(at);
            self.after(at - now, Coming::Timer { node, process, peer });
        }
    }

    pub(crate) fn timer(&mut self, node: usize, process: ProcessNo, peer: usize) {
        if !self.is_running(node, process) {
            return;
        }
        let (now, virtual_now, random) = (self.instant(), self.now, self.rng.next());
        let Some(p) = self.peer(node, peer) else { return };
        if p.armed != Some(virtual_now) {
            return;
        }
        p.armed = None;
        if p.deadline().is_some_and(|at| at <= now) {
            p.spins = if p.spins.0 == virtual_now { (virtual_now, p.spins.1 + 1) } else { (virtual_now, 0) };
            let spins = p.spins.1;
            p.out.handle_timeout(now);
            p.inn.handle_timeout(now, random);
            if spins > MAX_SPINS {
                self.checker.fail(18, format!("node {node} to {peer}: the timer runs in a circle"));
            }
        }
        self.drive(node, peer);
    }

    fn check_bounds(&mut self, node: usize, peer: usize) {
        let (limit, window) = (self.plan.outbound.memory, &self.plan.inbound);
        let (messages, bytes) = (window.window_messages, window.window_bytes + self.plan.max_message[node]);
        let Some(p) = self.peer(node, peer) else { return };
        let used = p.out.memory();
        let over = used.messages > limit.messages.max(1) || (used.bytes > limit.bytes && used.messages > 1);
        let held = p.inn.held().find(|(_, m, b)| *m > messages || *b > bytes);
        let held = held.map(|(lane, m, b)| format!("{lane}: {m} messages, {b} bytes are held"));
        if over {
            self.checker.fail(19, format!("node {node} to {peer}: holds {used:?}, at most {limit:?} are allowed"));
        }
        if let Some(held) = held {
            self.checker.fail(19, format!("{held}, at most {messages} and {bytes} are allowed"));
        }
    }

    // ---- what the machines want ----

    fn request(&mut self, node: usize, op: Op, reply: ReplyTo) {
        let process = self.process_no(node);
        self.submit(Request { node, process, op, reply });
    }

    pub(crate) fn open_lane(&mut self, node: usize, peer: usize, lane: LaneNo) {
        let incarnation = Incarnation::new(self.rng.next());
        let def = &self.plan.lanes[lane];
        let (source, topic) = (def.source.clone(), def.topic.clone());
        let Some(p) = self.peer(node, peer) else { return };
        let ix = p.out.add_lane(&source, &topic);
        let Some(side) = p.side(lane).filter(|s| !s.opening && !s.forgetting && s.key.is_none()) else { return };
        side.ix = Some(ix);
        side.opening = true;
        self.request(node, Op::Open { lane, incarnation }, ReplyTo::Open { peer });
    }

    fn outbound_event(&mut self, node: usize, peer: usize, event: OutboundEvent) {
        trace!(self, "node {node} to {peer}: {event:?}");
        match event {
            OutboundEvent::Append { lane, messages, synced } => {
                self.hits.hit(Hit::Append);
                if synced {
                    self.hits.hit(Hit::AppendSynced);
                }
                if messages.len() > 1 {
                    self.hits.hit(Hit::AppendOfSeveral);
                }
                if let Some((no, key)) = self.keyed(node, peer, lane) {
                    let op = Op::Append { rows: vec![(no, key, messages)] };
                    self.request(node, op, ReplyTo::Append { peer, lane });
                }
            }
            OutboundEvent::Load { lane, id, after } => {
                self.hits.hit(Hit::Load);
                if let Some((no, key)) = self.keyed(node, peer, lane) {
                    let op = Op::Load { lane: no, key, after, limit: self.plan.outbound.page };
                    self.request(node, op, ReplyTo::Load { peer, lane, id });
                }
            }
            OutboundEvent::Accepted { lane, through } => {
                let now = self.now;
                if let Some((no, incarnation)) = self.numbered(node, peer, lane) {
                    for _ in 0..self.checker.accepted_through(no, incarnation, through, now) {
                        self.hits.hit(Hit::Accepted);
                    }
                }
            }
            OutboundEvent::Rejected { lane, seq, why } => {
                self.hits.hit(Hit::Rejected);
                self.hits.hit(match why {
                    Rejection::Deadline => Hit::RejectedDeadline,
                    Rejection::Store => Hit::RejectedStore,
                });
                self.tell_about(node, peer, lane, seq, Told::Rejected);
            }
            OutboundEvent::Indeterminate { lane, seq } => {
                self.hits.hit(Hit::Indeterminate);
                self.tell_about(node, peer, lane, seq, Told::Indeterminate);
            }
            OutboundEvent::Acked { lane, through, has_rows, .. } => self.acked(node, peer, lane, through, has_rows),
            OutboundEvent::Refused { lane, seq, incarnation, message, code, .. } => {
                self.hits.hit(Hit::Refused);
                self.hits.hit(if message.is_some() { Hit::RefusedWithBody } else { Hit::RefusedFromQueue });
                if code != RefuseCode::TooLarge {
                    self.checker.fail(9, format!("{seq} was refused as {code:?}"));
                }
                if let Some((no, key)) = self.keyed(node, peer, lane) {
                    let op = Op::Refuse { lane: no, key, seq, incarnation, body: message };
                    self.request(node, op, ReplyTo::Refuse { peer, lane });
                }
            }
            OutboundEvent::Dropped(_) => self.hits.hit(Hit::Dropped),
            OutboundEvent::Room => {
                self.hits.hit(Hit::Room);
                self.has_room(node, peer);
            }
            OutboundEvent::Silent => {
                self.hits.hit(Hit::Silent);
                self.lose_dialled(node, peer);
            }
            OutboundEvent::PeerSubscribed(topic) => self.serves(node, peer, &topic, true),
            OutboundEvent::PeerUnsubscribed(topic) => self.serves(node, peer, &topic, false),
            OutboundEvent::PeerClosed(..) => {}
        }
    }

    pub(crate) fn keyed(&mut self, node: usize, peer: usize, lane: LaneIx) -> Option<(LaneNo, Key)> {
        let side = self.peer(node, peer)?.side_of(lane)?;
        Some((side.no, side.key?))
    }

    fn numbered(&mut self, node: usize, peer: usize, lane: LaneIx) -> Option<(LaneNo, Incarnation)> {
        let side = self.peer(node, peer)?.side_of(lane)?;
        Some((side.no, side.incarnation?))
    }

    fn tell_about(&mut self, node: usize, peer: usize, lane: LaneIx, seq: Seq, told: Told) {
        if let Some((no, incarnation)) = self.numbered(node, peer, lane) {
            self.tell(no, incarnation, seq, told);
        }
    }

    fn inbound_event(&mut self, node: usize, peer: usize, event: InboundEvent) {
        trace!(self, "node {node} from {peer}: {event:?}");
        match event {
            InboundEvent::OpenLane { slot, lane } => {
                self.hits.hit(Hit::OpenLane);
                let lane = self.lane_of[&lane];
                self.request(node, Op::Receive { lane }, ReplyTo::Receive { peer, slot });
            }
            InboundEvent::Advance { slot, expected, cursor } => {
                self.hits.hit(Hit::Advance);
                if let Some(lane) = self.lane_of_slot(node, peer, slot) {
                    self.request(node, Op::Advance { lane, expected, cursor }, ReplyTo::Advance { peer, slot });
                }
            }
            InboundEvent::RecordAttempt { slot, token, place, attempts } => {
                self.hits.hit(Hit::RecordAttempt);
                if let Some(lane) = self.lane_of_slot(node, peer, slot) {
                    let op = Op::Attempt { lane, place, attempts };
                    self.request(node, op, ReplyTo::Attempt { peer, slot, token });
                }
            }
            InboundEvent::DeadLetter { slot, token, place, attempts, reason, advance, .. } => {
                self.hits.hit(Hit::DeadLetter);
                self.hits.hit(match advance {
                    CursorStep::Advance { .. } => Hit::DeadLetterWithCursor,
                    CursorStep::Stay => Hit::DeadLetterWithoutCursor,
                });
                if reason.contains("died") {
                    self.hits.hit(Hit::DeadLetterOfDeath);
                }
                if attempts < self.plan.inbound.max_attempts {
                    self.checker.fail(9, format!("{place:?} is dead after {attempts} attempts"));
                }
                if let Some(lane) = self.lane_of_slot(node, peer, slot) {
                    let op = Op::Letter { lane, place, advance };
                    self.request(node, op, ReplyTo::Letter { peer, slot, token });
                }
            }
            InboundEvent::LaneRestarted(_) => self.hits.hit(Hit::LaneRestarted),
            InboundEvent::Overdue { .. } => {}
            InboundEvent::Silent => {
                self.hits.hit(Hit::Silent);
                self.lose_accepted(node, peer);
            }
            InboundEvent::PeerSubscribed(topic) => self.serves(node, peer, &topic, true),
            InboundEvent::PeerUnsubscribed(topic) => self.serves(node, peer, &topic, false),
            InboundEvent::PeerClosed(..) => {}
        }
    }

    fn lane_of_slot(&mut self, node: usize, peer: usize, slot: LaneSlot) -> Option<LaneNo> {
        let lane = self.peer(node, peer)?.inn.lane(slot).clone();
        self.lane_of.get(&lane).copied()
    }

    // ---- results of the medium ----

    pub(crate) fn reply(&mut self, request: Request, outcome: Outcome) {
        let node = request.node;
        if !self.is_running(node, request.process) {
            return;
        }
        trace!(self, "node {node}: reply {:?} {outcome:?}", request.reply);
        let now = self.instant();
        let peer = match request.reply.clone() {
            ReplyTo::Append { peer, lane } => {
                let outcome = match outcome {
                    Outcome::Done(_) => AppendOutcome::Done,
                    Outcome::Failed => AppendOutcome::Failed,
                    Outcome::Unknown => AppendOutcome::Unknown,
                };
                if let Some(p) = self.peer(node, peer) {
                    p.out.handle_append(now, lane, outcome);
                }
                peer
            }
            ReplyTo::Load { peer, lane, id } => {
                let page = match outcome {
                    Outcome::Done(Done::Page(messages, is_last)) => Some(LoadedPage { messages, is_last }),
                    _ => None,
                };
                if page.as_ref().is_some_and(|page| page.messages.is_empty()) {
                    self.hits.hit(Hit::LoadOfNothing);
                }
                if page.as_ref().is_some_and(|page| !page.is_last) {
                    self.hits.hit(Hit::LoadBehindPage);
                }
                if let Some(p) = self.peer(node, peer) {
                    p.out.handle_loaded(now, lane, id, page);
                }
                peer
            }
            ReplyTo::Group(id) => return self.group_ended(id, outcome),
            _ => match outcome {
                Outcome::Done(done) => match self.done(node, &request, done) {
                    Some(peer) => peer,
                    None => return,
                },
                Outcome::Failed | Outcome::Unknown => return self.again(request),
            },
        };
        if self.survives(node) {
            self.drive(node, peer);
        }
    }

    /// What may simply be repeated is, after a while.
    fn again(&mut self, request: Request) {
        let wait = self.rng.millis(1, 20);
        self.after(wait, Coming::Submit { request: Box::new(request) });
    }

    fn done(&mut self, node: usize, request: &Request, done: Done) -> Option<usize> {
        let now = self.instant();
        match (&request.reply, &request.op, done) {
            (ReplyTo::Open { peer }, Op::Open { lane, incarnation }, Done::Opened(key, record)) => {
                let no = *lane;
                let p = self.peer(node, *peer)?;
                let side = p.side(no).filter(|s| s.opening)?;
                side.opening = false;
                side.key = Some(key);
                side.incarnation = Some(*incarnation);
                let ix = side.ix?;
                for (incarnation, _) in &record.spans {
                    self.checker.opened(no, *incarnation);
                }
                self.peer(node, *peer)?.out.open_lane(ix, record);
                self.lane_opened(node, no);
                Some(*peer)
            }
            (ReplyTo::Trim, ..) => {
                self.trimmed(node);
                Some((node + 1) % self.plan.nodes)
            }
            (ReplyTo::Commit { topic, send }, ..) => {
                self.send_committed(node, *topic, *send);
                Some((node + 1) % self.plan.nodes)
            }
            (ReplyTo::Refuse { peer, lane }, Op::Refuse { seq, .. }, _) => {
                self.peer(node, *peer)?.out.handle_refused(*lane, *seq);
                Some(*peer)
            }
            (ReplyTo::Clear { peer }, Op::Clear { lane, key }, _) => {
                let p = self.peer(node, *peer)?;
                let ix = p.side(*lane).filter(|s| s.key == Some(*key))?.ix?;
                p.out.clear_lane(ix);
                self.checker.forget(*lane);
                Some(*peer)
            }
            (ReplyTo::Forget { peer }, Op::Forget { lane, .. }, _) => {
                self.peer(node, *peer)?.side(*lane)?.forgetting = false;
                Some(*peer)
            }
            (ReplyTo::Receive { peer, slot }, _, Done::Received(cursor, attempts)) => {
                self.peer(node, *peer)?.inn.handle_opened(*slot, cursor, attempts);
                Some(*peer)
            }
            (ReplyTo::Advance { peer, slot }, _, Done::Advanced(outcome)) => {
                if outcome.is_err() {
                    self.hits.hit(Hit::AdvanceStale);
                }
                self.peer(node, *peer)?.inn.handle_advanced(*slot, outcome);
                Some(*peer)
            }
            (ReplyTo::Attempt { peer, slot, token }, ..) => {
                self.peer(node, *peer)?.inn.handle_recorded(*slot, *token);
                Some(*peer)
            }
            (ReplyTo::Letter { peer, slot, token }, ..) => {
                self.peer(node, *peer)?.inn.handle_dead_lettered(now, *slot, *token);
                Some(*peer)
            }
            _ => None,
        }
    }

    fn group_ended(&mut self, id: u64, outcome: Outcome) {
        let Some(node) = self.groups.get(&id).map(|g| g.node) else { return };
        let newest = self.groups.iter().filter(|(_, g)| g.node == node).all(|(other, _)| *other <= id);
        let newest = newest && !self.commits_sends(node);
        let Some(group) = self.groups.get_mut(&id) else { return };
        let outcome = match outcome {
            Outcome::Done(_) => GroupOutcome::Committed,
            Outcome::Failed if !group.told && group.fall_back && newest => GroupOutcome::WriteBehind,
            Outcome::Failed if !group.told => GroupOutcome::Rejected,
            Outcome::Failed | Outcome::Unknown => {
                let first = !std::mem::replace(&mut group.told, true);
                let (request, members) = (group.request.clone(), group.members.clone());
                if first {
                    self.hits.hit(Hit::GroupUnknown);
                    for (_, lane, _, incarnation, seq) in members {
                        self.tell(lane, incarnation, seq, Told::Indeterminate);
                    }
                }
                return self.again(request);
            }
        };
        let Some(group) = self.groups.remove(&id) else { return };
        self.finish_group(group, outcome);
    }

    pub(crate) fn finish_group(&mut self, group: Group, outcome: GroupOutcome) {
        let (told, hit) = match outcome {
            GroupOutcome::Committed => (Told::Accepted, Hit::GroupCommitted),
            GroupOutcome::WriteBehind => (Told::Accepted, Hit::GroupWriteBehind),
            GroupOutcome::Rejected => (Told::Rejected, Hit::GroupRejected),
        };
        self.hits.hit(hit);
        for (peer, lane, ix, incarnation, seq) in group.members {
            if let Some(sent) = self.checker.get(lane, incarnation, seq)
                && outcome == GroupOutcome::WriteBehind
            {
                sent.mode = Mode::GroupWriteBehind;
            }
            if !group.told {
                self.tell(lane, incarnation, seq, told);
            }
            let Some(p) = self.peer(group.node, peer) else { return };
            p.out.finish_group(ix, seq, outcome);
            self.drive(group.node, peer);
        }
    }
}
