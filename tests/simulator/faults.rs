//! What a seed decides before its run starts: who is there, which limits hold, and which faults happen how often.

use crate::rng::Rng;
use liner::wire::inbound::InboundConfig;
use liner::wire::outbound::OutboundConfig;
use liner::{Amount, LaneId, LaneName, NodeId, Topic};
use std::time::{Duration, Instant};

pub(crate) const MAX_DELAY: Duration = Duration::from_millis(50);
pub(crate) const STORE_RETRY: Duration = Duration::from_millis(20);
pub(crate) const PART_BYTES: usize = 64;

/// One lane of the plan.
#[derive(Debug)]
pub(crate) struct LaneDef {
    pub(crate) sender: usize,
    pub(crate) receiver: usize,
    pub(crate) source: Topic,
    pub(crate) topic: Topic,
    pub(crate) id: LaneId,
}

/// Everything a seed decides in advance. Rates are per mille.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    pub(crate) names: Vec<NodeId>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) lanes: Vec<LaneDef>,
    /// Which medium each node uses.
    pub(crate) store_of: Vec<usize>,
    pub(crate) outbound: OutboundConfig,
    pub(crate) inbound: InboundConfig,
    /// What each node takes, and what it tells its peers that it takes.
    pub(crate) max_message: Vec<u64>,
    pub(crate) told_max_message: Vec<u64>,
    pub(crate) pipe_bytes: usize,
    pub(crate) active: Duration,
    pub(crate) work_every: u64,
    pub(crate) crash: u64,
    pub(crate) crash_inside: u64,
    pub(crate) clean_stop: u64,
    pub(crate) cut: u64,
    pub(crate) half_open: u64,
    pub(crate) partition: u64,
    pub(crate) store_fail: u64,
    pub(crate) store_unknown: u64,
    pub(crate) store_hang: u64,
    pub(crate) store_outage: u64,
    pub(crate) nack: u64,
    pub(crate) poison: bool,
    pub(crate) slow_handlers: bool,
    pub(crate) forget: u64,
    pub(crate) clear: u64,
    pub(crate) resubscribe: u64,
}

impl Plan {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let nodes = [2, 2, 2, 3, 3, 4, 5][rng.index(7)];
        let names: Vec<_> = (0..nodes).map(|n| NodeId::new(&format!("node{n}")).expect("valid")).collect();
        let topics: Vec<_> = (0..rng.between(1, 3)).map(|t| Topic::new(&format!("t{t}")).expect("valid")).collect();
        let lanes = lanes(rng, &names, &topics);
        let shared = rng.chance(400);
        let store_of = (0..nodes).map(|n| if shared { 0 } else { n }).collect();
        let max_message: Vec<u64> = (0..nodes).map(|_| rng.between(250, 400)).collect();
        let told_max_message = max_message.iter().map(|max| if rng.chance(300) { *max + 70 } else { *max }).collect();
        let sometimes = |rng: &mut Rng, max: u64| if rng.chance(550) { rng.between(1, max) } else { 0 };
        Plan {
            nodes,
            names,
            topics,
            lanes,
            store_of,
            outbound: outbound(rng),
            inbound: inbound(rng),
            max_message,
            told_max_message,
            pipe_bytes: rng.index(2000) + 150,
            active: rng.millis(300, 1500),
            work_every: [1000, 4000, 8000, 20_000][rng.index(4)],
            crash: sometimes(rng, 60),
            crash_inside: sometimes(rng, 60),
            clean_stop: sometimes(rng, 40),
            cut: sometimes(rng, 120),
            half_open: sometimes(rng, 40),
            partition: sometimes(rng, 40),
            store_fail: sometimes(rng, 60),
            store_unknown: sometimes(rng, 60),
            store_hang: sometimes(rng, 5),
            store_outage: sometimes(rng, 40),
            nack: sometimes(rng, 150),
            poison: rng.chance(500),
            slow_handlers: rng.chance(400),
            forget: sometimes(rng, 4),
            clear: sometimes(rng, 15),
            resubscribe: sometimes(rng, 30),
        }
    }

    /// Ends all faults but the messages that nobody can handle.
    pub(crate) fn heal(&mut self) {
        self.crash = 0;
        self.crash_inside = 0;
        self.clean_stop = 0;
        self.cut = 0;
        self.half_open = 0;
        self.partition = 0;
        self.store_fail = 0;
        self.store_unknown = 0;
        self.store_hang = 0;
        self.store_outage = 0;
        self.nack = 0;
        self.slow_handlers = false;
        self.forget = 0;
        self.clear = 0;
        self.resubscribe = 0;
    }
}

fn lanes(rng: &mut Rng, names: &[NodeId], topics: &[Topic]) -> Vec<LaneDef> {
    let mut lanes = Vec::new();
    for sender in 0..names.len() {
        for receiver in 0..names.len() {
            let first = (sender, receiver) == (0, 1);
            if sender == receiver || (!first && rng.chance(300)) {
                continue;
            }
            let source = Topic::new(&format!("own{sender}")).expect("valid");
            for topic in topics {
                let name = LaneName {
                    sender: names[sender].clone(),
                    source: source.clone(),
                    receiver: names[receiver].clone(),
                    topic: topic.clone(),
                };
                let id = LaneId::new(name);
                lanes.push(LaneDef { sender, receiver, source: source.clone(), topic: topic.clone(), id });
            }
        }
    }
    lanes
}

fn outbound(rng: &mut Rng) -> OutboundConfig {
    let mut amount = |messages: (u64, u64), bytes: (u64, u64)| Amount {
        messages: rng.between(messages.0, messages.1),
        bytes: rng.between(bytes.0, bytes.1),
    };
    let (memory, direct) = (amount((3, 20), (300, 3000)), amount((1, 6), (50, 600)));
    let (lane, page) = (amount((15, 100), (1500, 12_000)), amount((2, 8), (50, 800)));
    OutboundConfig {
        write_behind_delay: MAX_DELAY,
        memory,
        direct,
        lane,
        transmit_bytes: rng.index(1500) + 60,
        page,
        append_messages: rng.index(12) + 1,
        compress_threshold: if rng.chance(150) { 100 } else { 1 << 20 },
        part_bytes: PART_BYTES,
        heartbeat: Duration::from_millis(100),
        rounds: Instant::now(),
        store_retry: STORE_RETRY,
    }
}

fn inbound(rng: &mut Rng) -> InboundConfig {
    InboundConfig {
        window_messages: rng.between(4, 32),
        window_bytes: rng.between(200, 3000),
        max_message: 0,
        max_part: PART_BYTES,
        max_lanes: 8,
        max_attempts: 4,
        nack_backoff_min: Duration::from_millis(4),
        nack_backoff_max: Duration::from_millis(40),
        write_behind_delay: MAX_DELAY,
        ack_delay: rng.micros(0, 4000),
        heartbeat: Duration::from_millis(100),
        record_attempts: false,
    }
}
