//! A run: virtual time, one queue of things to come, and everything they happen to.

use crate::checker::{Checker, Told};
use crate::counters::{Counters, Hit};
use crate::faults::{MAX_DELAY, Plan, STORE_RETRY};
use crate::mesh::{Catalogue, Step};
use crate::network::{Conn, ConnNo};
use crate::node::{Group, Node, Process};
use crate::rng::Rng;
use crate::store::{Done, Effect, Outcome, Request, Store};
use liner::LaneId;
use liner::wire::inbound::{Disposition, LaneSlot};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

/// Virtual time after the faults in which everything must come to rest.
const PATIENCE: Duration = Duration::from_secs(60);

/// Steps after which a run counts as stuck in a circle.
const MAX_STEPS: u64 = 3_000_000;

/// A lane's index in the plan.
pub(crate) type LaneNo = usize;

/// Counts the processes of a run.
pub(crate) type ProcessNo = u64;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Coming {
    Timer {
        node: usize,
        process: ProcessNo,
        peer: usize,
    },
    Execute {
        store: usize,
    },
    Reply {
        request: Box<Request>,
        outcome: Outcome,
    },
    Submit {
        request: Box<Request>,
    },
    Mesh {
        node: usize,
        process: ProcessNo,
        step: Step,
    },
    Deliver {
        conn: ConnNo,
        end: usize,
    },
    Dialled {
        node: usize,
        process: ProcessNo,
        peer: usize,
        attempt: u64,
    },
    DialTimeout {
        node: usize,
        process: ProcessNo,
        peer: usize,
        attempt: u64,
    },
    Dial {
        node: usize,
        process: ProcessNo,
        peer: usize,
    },
    Disposition {
        node: usize,
        process: ProcessNo,
        peer: usize,
        slot: LaneSlot,
        token: u64,
        stamp: u64,
        answer: Disposition,
    },
    Drive {
        node: usize,
        process: ProcessNo,
        peer: usize,
    },
    Work {
        node: usize,
    },
    Fault,
    Start {
        node: usize,
    },
    StopDeadline {
        node: usize,
        process: ProcessNo,
    },
    Heal,
    LookAround,
}

/// Everything there is.
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) base: Instant,
    pub(crate) rng: Rng,
    pub(crate) hits: Counters,
    pub(crate) plan: Plan,
    pub(crate) nodes: Vec<Node>,
    pub(crate) stores: Vec<Store>,
    pub(crate) catalogues: Vec<Catalogue>,
    pub(crate) conns: Vec<Conn>,
    pub(crate) checker: Checker,
    pub(crate) groups: BTreeMap<u64, Group>,
    pub(crate) lane_of: HashMap<LaneId, LaneNo>,
    /// Nodes that cannot reach each other until then.
    pub(crate) partitions: BTreeMap<(usize, usize), Duration>,
    pub(crate) trouble: Vec<Duration>,
    pub(crate) healed: bool,
    pub(crate) next_id: u64,
    pub(crate) next_process: ProcessNo,
    /// The node to crash, after so many more steps of its machines.
    pub(crate) crash_inside: Option<(usize, u32)>,
    pub(crate) trace: Option<Vec<String>>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    coming: HashMap<u64, Coming>,
    next_coming: u64,
    steps: u64,
    finished: bool,
}

/// Notes a step, if anybody reads it.
#[macro_export]
macro_rules! trace {
    ($world:expr, $($arg:tt)*) => {
        if let Some(trace) = &mut $world.trace {
            trace.push(format!("{:>12?} {}", $world.now, format_args!($($arg)*)));
        }
    };
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let stores = plan.store_of.iter().max().map_or(0, |m| m + 1);
        let mut world = World {
            now: Duration::ZERO,
            base: Instant::now(),
            hits: Counters::new(),
            nodes: (0..plan.nodes).map(|_| Node::default()).collect(),
            stores: (0..stores).map(|_| Store::default()).collect(),
            catalogues: (0..stores).map(|_| Catalogue::default()).collect(),
            conns: Vec::new(),
            checker: Checker::new(plan.lanes.len()),
            groups: BTreeMap::new(),
            lane_of: plan.lanes.iter().enumerate().map(|(no, l)| (l.id.clone(), no)).collect(),
            partitions: BTreeMap::new(),
            trouble: vec![Duration::ZERO; stores],
            healed: false,
            next_id: 1,
            next_process: 1,
            crash_inside: None,
            trace: traced.then(Vec::new),
            queue: BinaryHeap::new(),
            coming: HashMap::new(),
            next_coming: 0,
            steps: 0,
            finished: false,
            rng,
            plan,
        };
        if traced {
            let plan = format!("{:#?}", world.plan);
            trace!(world, "{plan}");
        }
        world.plant_seeds();
        for node in 0..world.plan.nodes {
            let wait = world.rng.millis(0, 30);
            world.after(wait, Coming::Start { node });
            world.after(wait, Coming::Work { node });
        }
        world.after(Duration::from_millis(20), Coming::Fault);
        world.after(world.plan.active, Coming::Heal);
        world
    }

    /// Runs to the end. The violation, if there was one, is in the checker.
    pub(crate) fn run(&mut self) {
        while let Some(Reverse((at, no))) = self.queue.pop() {
            self.now = at;
            self.steps += 1;
            if let Some(coming) = self.coming.remove(&no) {
                self.happen(coming);
            }
            if self.steps > MAX_STEPS {
                self.checker.fail(18, "runs in a circle".to_owned());
            }
            if self.finished || self.checker.violation.is_some() {
                return;
            }
        }
    }

    pub(crate) fn after(&mut self, wait: Duration, coming: Coming) {
        self.next_coming += 1;
        self.coming.insert(self.next_coming, coming);
        self.queue.push(Reverse((self.now + wait, self.next_coming)));
    }

    /// Virtual time as the machines see it.
    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Timer { node, process, peer } => self.timer(node, process, peer),
            Coming::Execute { store } => self.execute(store),
            Coming::Reply { request, outcome } => self.reply(*request, outcome),
            Coming::Submit { request } => self.submit(*request),
            Coming::Mesh { node, process, step } => {
                if self.is_running(node, process) {
                    self.step(node, step);
                }
            }
            Coming::Deliver { conn, end } => self.deliver(conn, end),
            Coming::Dialled { node, process, peer, attempt } => self.dialled(node, process, peer, attempt),
            Coming::DialTimeout { node, process, peer, attempt } => self.dial_timeout(node, process, peer, attempt),
            Coming::Dial { node, process, peer } => self.dial(node, process, peer),
            Coming::Disposition { node, process, peer, slot, token, stamp, answer } => {
                if self.is_running(node, process) {
                    self.answered(node, peer, slot, token, stamp, answer);
                } else {
                    self.hits.hit(Hit::AnswerLostInCrash);
                }
            }
            Coming::Drive { node, process, peer } => {
                if self.is_running(node, process) {
                    self.drive(node, peer);
                }
            }
            Coming::Work { node } => self.work(node),
            Coming::Fault => self.fault(),
            Coming::Start { node } => self.start(node),
            Coming::StopDeadline { node, process } => self.stop_deadline(node, process),
            Coming::Heal => self.heal(),
            Coming::LookAround => self.look_around(),
        }
    }

    // ---- the media ----

    /// Puts an operation in front of its node's medium.
    pub(crate) fn submit(&mut self, request: Request) {
        if !self.is_running(request.node, request.process) {
            return;
        }
        let store = self.plan.store_of[request.node];
        self.stores[store].queue.push_back(request);
        self.wake_store(store);
    }

    fn wake_store(&mut self, store: usize) {
        if self.stores[store].busy || self.stores[store].queue.is_empty() {
            return;
        }
        self.stores[store].busy = true;
        let mut wait = self.rng.micros(20, 300);
        if self.rng.chance(self.plan.store_hang) {
            self.hits.hit(Hit::StoreHang);
            wait += self.rng.millis(50, 400);
            self.trouble[store] = self.now + wait;
        }
        self.after(wait, Coming::Execute { store });
    }

    fn execute(&mut self, store: usize) {
        self.stores[store].busy = false;
        let Some(request) = self.stores[store].queue.pop_front() else { return };
        let outcome = if self.stores[store].down_until > self.now {
            self.trouble[store] = self.now;
            Outcome::Failed
        } else if self.rng.chance(self.plan.store_fail) {
            self.hits.hit(Hit::StoreFailed);
            self.trouble[store] = self.now;
            Outcome::Failed
        } else if self.rng.chance(self.plan.store_unknown) {
            self.trouble[store] = self.now;
            if self.rng.chance(500) {
                self.hits.hit(Hit::StoreUnknownDone);
                self.apply(store, &request);
            } else {
                self.hits.hit(Hit::StoreUnknownNotDone);
            }
            Outcome::Unknown
        } else {
            Outcome::Done(self.apply(store, &request))
        };
        trace!(self, "store {store}: {request:?} -> {outcome:?}");
        let wait = self.rng.micros(0, 500);
        let at = (self.now + wait).max(self.stores[store].last_reply);
        self.stores[store].last_reply = at;
        self.after(at - self.now, Coming::Reply { request: Box::new(request), outcome });
        self.wake_store(store);
    }

    /// An operation takes effect, and the checker sees what it changed.
    pub(crate) fn apply(&mut self, store: usize, request: &Request) -> Done {
        let (done, effects) = self.stores[store].apply(&request.op);
        for effect in effects {
            match effect {
                Effect::RowsTrimmed(lane, rows) => {
                    for (incarnation, seq) in rows {
                        self.checker.row_trimmed(lane, incarnation, seq);
                    }
                }
                Effect::RowRefused(lane, incarnation, seq) => {
                    let max = self.plan.max_message[self.plan.lanes[lane].receiver];
                    self.checker.row_refused(lane, incarnation, seq, max);
                }
                Effect::CursorMoved(lane, cursor) => self.checker.cursor_moved(lane, cursor),
                Effect::LetterKept(lane, place) => self.checker.letter_kept(lane, place),
                Effect::Cleared(lane) | Effect::Forgot(lane) => self.checker.forget(lane),
            }
        }
        done
    }

    // ---- faults ----

    fn fault(&mut self) {
        if self.healed {
            return;
        }
        let wait = self.rng.millis(2, 30);
        self.after(wait, Coming::Fault);
        let node = self.rng.index(self.plan.nodes);
        if self.rng.chance(self.plan.crash) {
            self.crash(node);
        }
        if self.rng.chance(self.plan.crash_inside) && self.crash_inside.is_none() {
            let steps = u32::try_from(self.rng.between(1, 60)).expect("small");
            self.crash_inside = Some((node, steps));
        }
        if self.rng.chance(self.plan.clean_stop) {
            self.stop(node);
        }
        if self.rng.chance(self.plan.cut) {
            self.cut_some();
        }
        if self.rng.chance(self.plan.half_open) {
            self.mute_some();
        }
        if self.rng.chance(self.plan.partition) && self.plan.nodes > 1 {
            let other = (node + 1 + self.rng.index(self.plan.nodes - 1)) % self.plan.nodes;
            let until = self.now + self.rng.millis(20, 600);
            self.partitions.insert((node, other), until);
            self.hits.hit(Hit::Partition);
        }
        if self.rng.chance(self.plan.store_outage) {
            let store = self.rng.index(self.stores.len());
            self.stores[store].down_until = self.now + self.rng.millis(5, 200);
            self.hits.hit(Hit::StoreOutage);
        }
    }

    /// The processes of a node's name are gone. The operations they gave to the medium happen in part.
    pub(crate) fn crash(&mut self, node: usize) {
        let Some(process) = self.nodes[node].process.take() else { return };
        self.count_duplicates(&process);
        self.hits.hit(Hit::Crash);
        trace!(self, "node {node}: crash of process {}", process.number);
        let store = self.plan.store_of[node];
        let queued = self.stores[store].queue.iter().filter(|r| r.process == process.number).count();
        if queued > 0 {
            self.hits.hit(Hit::CrashWhileStoreWorks);
        }
        let mut keep = self.rng.index(queued + 1);
        self.stores[store].queue.retain(|r| {
            let mine = r.process == process.number;
            let kept = mine && keep > 0;
            keep -= usize::from(kept);
            !mine || kept
        });
        self.groups.retain(|_, g| g.process != process.number);
        self.nodes[node].died = Some((process.number, self.now, false));
        self.break_connections(process.number);
        let wait = if self.rng.chance(300) { self.rng.micros(0, 1000) } else { self.rng.millis(1, 150) };
        self.after(wait, Coming::Start { node });
    }

    /// A process is gone: what its death does to its queue of operations and what it had only in memory.
    pub(crate) fn bury(&mut self, node: usize) {
        let Some((process, at, clean)) = self.nodes[node].died.take() else { return };
        let store = self.plan.store_of[node];
        self.stores[store].queue.retain(|r| r.process != process);
        let trouble = self.trouble[store];
        for (no, def) in self.plan.lanes.iter().enumerate().filter(|(_, def)| def.sender == node) {
            let lane = self.stores[store].send.get(&no);
            let is_stored = |incarnation, seq| {
                lane.is_some_and(|l| l.rows.get(&seq).is_some_and(|row| row.incarnation == incarnation))
            };
            let slack = MAX_DELAY + STORE_RETRY * 2;
            let too_old = |accepted: Duration| clean || (accepted + slack < at && trouble + slack < accepted);
            let _ = def;
            let lost = self.checker.died(no, process, is_stored, too_old);
            for _ in 0..lost {
                self.hits.hit(Hit::LostWriteBehind);
            }
        }
    }

    fn heal(&mut self) {
        trace!(self, "healed");
        self.healed = true;
        self.plan.heal();
        self.partitions.clear();
        self.crash_inside = None;
        for store in &mut self.stores {
            store.down_until = Duration::ZERO;
        }
        for node in 0..self.plan.nodes {
            self.subscribe_all(node);
        }
        self.after(Duration::from_millis(100), Coming::LookAround);
    }

    /// Whether everything has come to rest as it must.
    fn look_around(&mut self) {
        match self.unrest() {
            None => {
                for node in 0..self.plan.nodes {
                    if let Some(process) = self.nodes[node].process.take() {
                        self.count_duplicates(&process);
                    }
                }
                self.checker.at_end();
                self.finished = true;
            }
            Some(why) if self.now > self.plan.active + PATIENCE => {
                self.checker.fail(1, format!("no rest {PATIENCE:?} after the faults: {why}"));
            }
            Some(_) => self.after(Duration::from_millis(100), Coming::LookAround),
        }
    }

    fn count_duplicates(&mut self, process: &Process) {
        for peer in process.peers.iter().flatten() {
            if peer.inn.counts().duplicates > 0 {
                self.hits.hit(Hit::DuplicateDropped);
            }
        }
    }

    fn unrest(&self) -> Option<String> {
        if let Some(why) = self.checker.unfinished() {
            return Some(why);
        }
        if let Some(group) = self.groups.keys().next() {
            return Some(format!("group {group} has no outcome"));
        }
        for (at, store) in self.stores.iter().enumerate() {
            for (lane, l) in &store.send {
                if let Some((seq, _)) = l.rows.iter().find(|(s, r)| !self.checker.may_stay(*lane, r.incarnation, **s)) {
                    return Some(format!("lane {lane}: the row of {seq} is left in store {at}"));
                }
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(process) = &node.process else { return Some(format!("node {at} is not up")) };
            if let Some(topic) = process.mesh.topics.iter().position(|sends| !sends.is_idle()) {
                return Some(format!("node {at}: sends to topic {topic} wait"));
            }
            for (no, peer) in process.peers.iter().enumerate() {
                let Some(peer) = peer else { continue };
                let why = if peer.out.has_work() {
                    "has work"
                } else if peer.out.memory().messages > 0 || peer.out.memory().bytes > 0 {
                    "holds memory"
                } else if !peer.inn.is_settled() {
                    "has cursors to commit"
                } else if peer.starved {
                    "answered Full and never Room"
                } else {
                    continue;
                };
                return Some(format!("node {at} to {no}: {why}"));
            }
        }
        None
    }

    /// Tells the history about one message.
    pub(crate) fn tell(&mut self, lane: LaneNo, incarnation: liner::Incarnation, seq: liner::Seq, told: Told) {
        self.checker.told(lane, incarnation, seq, told, self.now);
    }
}
