//! Routing at a node: what the catalogue of its store, peers and lanes say goes into the routing machine, which says where
//! the messages of a topic go. What it says is held against what it was told last.

use crate::counters::Hit;
use crate::sends::TopicSends;
use crate::trace;
use crate::world::{Coming, LaneNo, World};
use liner::wire::ack_tracking::{AckTracking, WaiterId};
use liner::wire::routing::selection::Target;
use liner::wire::routing::{CatalogueEntry, CatalogueRoute, LookUpId, RouteState, Routing, RoutingEvent, TopicTarget};
use liner::{NodeId, Seq, Topic};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a route counts after it was renewed.
const LEASE: Duration = Duration::from_millis(120);

/// How long the floor of a lane without rows may wait.
const FLOOR_DELAY: Duration = Duration::from_millis(300);

/// A lane of one opening in the store.
pub(crate) type AckKey = (LaneNo, crate::store::Key);

/// A topic's index in the plan.
pub(crate) type TopicNo = usize;

/// Something that will happen at a node, apart from its links.
#[derive(Debug)]
pub(crate) enum Step {
    /// A look-up reaches the store.
    Read { id: LookUpId, topics: Vec<Topic> },
    /// Its answer reaches the node.
    LookedUp { id: LookUpId, topics: Vec<Topic>, entries: Option<Vec<CatalogueEntry>> },
    /// The catalogue has changed.
    Refresh,
    /// The lease is renewed.
    Renew,
    /// A send arrives in the queue of its topic.
    Arrive { topic: TopicNo },
    /// The queue of a topic has something to do.
    Drive { topic: TopicNo },
    /// A deadline of a queue has come.
    Expire { topic: TopicNo },
    /// A lane could not be opened.
    NotOpened { topic: TopicNo, peer: usize },
    /// Floors without rows are due.
    Acks,
}

/// A route in a catalogue.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// Since when it has been there without a break.
    since: Duration,
    /// When its lease ends, if it has one.
    expires: Option<Duration>,
}

/// The catalogue of one store.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    rows: BTreeMap<(TopicNo, usize), Row>,
    tombstones: BTreeSet<(TopicNo, usize)>,
}

/// A target as the node keeps it.
#[derive(Debug, Clone)]
pub(crate) struct SimTarget {
    pub(crate) node: NodeId,
    pub(crate) peer: usize,
    pub(crate) lane: LaneNo,
    pub(crate) state: RouteState,
    pub(crate) is_up: bool,
}

impl Target for SimTarget {
    fn node(&self) -> &NodeId {
        &self.node
    }

    fn state(&self) -> RouteState {
        self.state
    }

    fn is_up(&self) -> bool {
        self.is_up
    }
}

/// The last word of a peer on a link about a topic.
#[derive(Debug, Clone, Copy)]
struct Heard {
    serves: bool,
    /// The last look-up that began before.
    after: Option<LookUpId>,
}

/// What a process knows of topics.
pub(crate) struct Mesh {
    pub(crate) routing: Routing,
    pub(crate) topics: Vec<TopicSends>,
    pub(crate) acks: AckTracking<AckKey>,
    /// The highest floor of each lane that was acked.
    pub(crate) floors: BTreeMap<AckKey, Seq>,
    /// Who waits for the store to have these floors.
    pub(crate) settling: Option<(WaiterId, BTreeMap<AckKey, Seq>)>,
    pub(crate) is_settled: bool,
    pub(crate) acks_armed: Option<Duration>,
    /// The last word of a peer on a link about a topic.
    heard: BTreeMap<(TopicNo, usize), Heard>,
    /// What the last look-up said of each topic.
    read: BTreeMap<TopicNo, CatalogueEntry>,
    last_read: Option<LookUpId>,
    last_begun: Option<LookUpId>,
    /// The look-up that said what is known of each topic.
    found: BTreeMap<TopicNo, LookUpId>,
    pub(crate) next_order: u64,
}

impl Mesh {
    pub(crate) fn new(name: &NodeId, topics: usize) -> Self {
        Mesh {
            routing: Routing::new(name.clone()),
            topics: (0..topics).map(|_| TopicSends::default()).collect(),
            acks: AckTracking::new(FLOOR_DELAY),
            floors: BTreeMap::new(),
            settling: None,
            is_settled: false,
            acks_armed: None,
            heard: BTreeMap::new(),
            read: BTreeMap::new(),
            last_read: None,
            last_begun: None,
            found: BTreeMap::new(),
            next_order: 0,
        }
    }
}

impl World {
    pub(crate) fn mesh(&mut self, node: usize) -> Option<&mut Mesh> {
        self.nodes[node].process.as_mut().map(|process| &mut process.mesh)
    }

    pub(crate) fn step_later(&mut self, node: usize, wait: Duration, step: Step) {
        let process = self.process_no(node);
        self.after(wait, Coming::Mesh { node, process, step });
    }

    pub(crate) fn step(&mut self, node: usize, step: Step) {
        match step {
            Step::Read { id, topics } => self.read_catalogue(node, id, &topics),
            Step::LookedUp { id, topics, entries } => self.looked_up(node, id, &topics, entries),
            Step::Refresh => {
                if let Some(mesh) = self.mesh(node) {
                    mesh.routing.refresh();
                }
                self.drive_routing(node);
            }
            Step::Renew => self.renew(node),
            Step::Arrive { topic } => self.send_arrives(node, topic),
            Step::Drive { topic } => self.drive_queue(node, topic),
            Step::Expire { topic } => self.queue_expires(node, topic),
            Step::NotOpened { topic, peer } => self.lane_not_opened(node, topic, peer),
            Step::Acks => self.acks_due(node),
        }
    }

    pub(crate) fn topic_no(&self, topic: &Topic) -> Option<TopicNo> {
        self.plan.topics.iter().position(|t| t == topic)
    }

    pub(crate) fn node_no(&self, name: &NodeId) -> usize {
        self.plan.names.iter().position(|n| n == name).unwrap_or_default()
    }

    fn lane_to(&self, node: usize, peer: usize, topic: TopicNo) -> Option<LaneNo> {
        let topic = &self.plan.topics[topic];
        self.plan.lanes.iter().position(|l| (l.sender, l.receiver) == (node, peer) && l.topic == *topic)
    }

    // ---- the catalogue ----

    /// Peers with stores of their own are known from the beginning, as seeds.
    pub(crate) fn plant_seeds(&mut self) {
        for lane in 0..self.plan.lanes.len() {
            let def = &self.plan.lanes[lane];
            let (store, other) = (self.plan.store_of[def.sender], self.plan.store_of[def.receiver]);
            if let Some(topic) = self.topic_no(&def.topic).filter(|_| store != other) {
                let key = (topic, self.plan.lanes[lane].receiver);
                self.catalogues[store].rows.insert(key, Row { since: Duration::ZERO, expires: None });
            }
        }
    }

    /// A node publishes its route to a topic.
    pub(crate) fn publish_route(&mut self, node: usize, topic: &Topic) {
        let Some(topic) = self.topic_no(topic) else { return };
        let (now, store) = (self.now, self.plan.store_of[node]);
        let catalogue = &mut self.catalogues[store];
        catalogue.tombstones.remove(&(topic, node));
        catalogue.rows.insert((topic, node), Row { since: now, expires: Some(now + LEASE) });
        self.catalogue_changed(store);
    }

    /// A node withdraws its route.
    pub(crate) fn unpublish_route(&mut self, node: usize, topic: &Topic, tombstone: bool) {
        let Some(topic) = self.topic_no(topic) else { return };
        let store = self.plan.store_of[node];
        self.catalogues[store].rows.remove(&(topic, node));
        if tombstone {
            self.bury_route(store, topic, node);
        }
        self.catalogue_changed(store);
    }

    fn bury_route(&mut self, store: usize, topic: TopicNo, node: usize) {
        self.hits.hit(Hit::Tombstone);
        self.catalogues[store].tombstones.insert((topic, node));
    }

    fn catalogue_changed(&mut self, store: usize) {
        for node in 0..self.plan.nodes {
            if self.plan.store_of[node] == store && self.nodes[node].process.is_some() {
                let wait = self.rng.millis(0, 30);
                self.step_later(node, wait, Step::Refresh);
            }
        }
    }

    /// A process renews its lease now and then, sometimes too late.
    fn renew(&mut self, node: usize) {
        let now = self.now;
        let late = !self.healed && self.rng.chance(80);
        let store = self.plan.store_of[node];
        for ((_, of), row) in &mut self.catalogues[store].rows {
            let Some(expires) = row.expires.as_mut().filter(|_| *of == node) else { continue };
            if *expires <= now {
                row.since = now;
            }
            *expires = now + LEASE;
        }
        let wait = if late { LEASE + self.rng.millis(20, 120) } else { LEASE / 3 };
        self.step_later(node, wait, Step::Renew);
        if let Some(mesh) = self.mesh(node) {
            mesh.routing.refresh();
        }
        self.drive_routing(node);
    }

    fn entry(&self, node: usize, topic: TopicNo) -> CatalogueEntry {
        let catalogue = &self.catalogues[self.plan.store_of[node]];
        let listed = catalogue.rows.iter().filter(|((t, peer), _)| *t == topic && *peer != node);
        let known = listed.filter(|((t, peer), _)| self.lane_to(node, *peer, *t).is_some());
        let route = |(_, peer): &(TopicNo, usize), row: &Row| CatalogueRoute {
            node: self.plan.names[*peer].clone(),
            addrs: Vec::new(),
            subscription: true,
            live: row.expires.is_none_or(|at| at > self.now),
        };
        let buried = catalogue.tombstones.iter().filter(|(t, _)| *t == topic);
        CatalogueEntry {
            routes: known.map(|(key, row)| route(key, row)).collect(),
            tombstones: buried.map(|(_, peer)| self.plan.names[*peer].clone()).collect(),
        }
    }

    // ---- look-ups ----

    fn read_catalogue(&mut self, node: usize, id: LookUpId, topics: &[Topic]) {
        let store = self.plan.store_of[node];
        let failed = self.stores[store].down_until > self.now || self.rng.chance(self.plan.store_fail);
        let entries = if failed {
            self.hits.hit(Hit::LookUpFailed);
            None
        } else {
            let read: Vec<_> = topics.iter().filter_map(|topic| self.topic_no(topic)).collect();
            Some(read.into_iter().map(|topic| self.entry(node, topic)).collect())
        };
        let wait = if self.rng.chance(100) { self.rng.millis(5, 100) } else { self.rng.micros(10, 1000) };
        self.step_later(node, wait, Step::LookedUp { id, topics: topics.to_vec(), entries });
    }

    fn looked_up(&mut self, node: usize, id: LookUpId, topics: &[Topic], entries: Option<Vec<CatalogueEntry>>) {
        trace!(self, "node {node}: look-up {id:?} says {entries:?}");
        let Some(mesh) = self.mesh(node) else { return };
        let is_late = mesh.last_read.is_some_and(|last| last > id);
        mesh.last_read = mesh.last_read.max(Some(id));
        mesh.routing.handle_look_up(id, entries.clone());
        let topics = topics.iter().filter_map(|topic| self.topic_no(topic));
        let read: Vec<_> = if entries.is_some() { topics.collect() } else { Vec::new() };
        if is_late {
            self.hits.hit(Hit::LookUpLate);
        }
        self.note_entries(node, id, &read);
        self.drive_routing(node);
    }

    /// Notes what a look-up said of these topics, unless a later one did before.
    fn note_entries(&mut self, node: usize, id: LookUpId, topics: &[TopicNo]) {
        let stores = self.plan.store_of.clone();
        let names = self.plan.names.clone();
        for topic in topics {
            let name = self.plan.topics[*topic].clone();
            let Some(mesh) = self.mesh(node).filter(|mesh| mesh.found.get(topic).is_none_or(|found| *found < id))
            else {
                continue;
            };
            // What was forgotten meanwhile is looked up again.
            let Some(entry) = mesh.routing.entry(&name).cloned() else { continue };
            mesh.found.insert(*topic, id);
            mesh.heard.retain(|(of, peer), heard| {
                let name = &names[*peer];
                let listed = entry.routes.iter().any(|route| route.node == *name) && !entry.tombstones.contains(name);
                let is_newer = stores[*peer] == stores[node] && heard.after < Some(id);
                heard.serves || of != topic || !listed || !is_newer
            });
            mesh.read.insert(*topic, entry);
        }
    }

    // ---- peers ----

    /// A handshake with a peer.
    pub(crate) fn met(&mut self, node: usize, peer: usize) {
        let (name, topic) = (self.plan.names[peer].clone(), own_topic(peer));
        let shares_store = self.plan.store_of[peer] == self.plan.store_of[node];
        if let Some(mesh) = self.mesh(node) {
            mesh.routing.handle_met(&name, &topic, "", shares_store);
        }
        self.drive_routing(node);
    }

    /// A peer said on a link that it serves a topic, or does not any more. The node notes it in its store.
    pub(crate) fn serves(&mut self, node: usize, peer: usize, topic: &Topic, serves: bool) {
        let Some(no) = self.topic_no(topic) else { return };
        let (name, store) = (self.plan.names[peer].clone(), self.plan.store_of[node]);
        self.hits.hit(if serves { Hit::PeerServes } else { Hit::PeerWithdraws });
        let Some(mesh) = self.mesh(node) else { return };
        mesh.heard.insert((no, peer), Heard { serves, after: mesh.last_begun });
        mesh.routing.handle_serves(&name, topic, serves);
        if self.plan.store_of[peer] != store {
            if serves {
                self.catalogues[store].tombstones.remove(&(no, peer));
            } else {
                self.bury_route(store, no, peer);
            }
        }
        self.drive_routing(node);
    }

    /// The lane of a node was forgotten by an operator.
    pub(crate) fn forget_route(&mut self, node: usize, lane: LaneNo) {
        let (peer, topic) = (self.plan.lanes[lane].receiver, self.plan.lanes[lane].topic.clone());
        let (name, store) = (self.plan.names[peer].clone(), self.plan.store_of[node]);
        let Some(no) = self.topic_no(&topic) else { return };
        self.bury_route(store, no, peer);
        if let Some(mesh) = self.mesh(node) {
            mesh.heard.remove(&(no, peer));
            mesh.read.remove(&no);
            mesh.routing.forget_lane(&name, &topic);
        }
        self.drive_routing(node);
    }

    // ---- the machine ----

    pub(crate) fn drive_routing(&mut self, node: usize) {
        while let Some(event) = self.mesh(node).and_then(|mesh| mesh.routing.poll_event()) {
            match event {
                RoutingEvent::LookUp { id, topics } => {
                    self.hits.hit(Hit::LookUp);
                    if let Some(mesh) = self.mesh(node) {
                        mesh.last_begun = Some(id);
                    }
                    let wait = self.rng.micros(10, 1000);
                    self.step_later(node, wait, Step::Read { id, topics });
                }
                RoutingEvent::Targets { topic, targets } => self.set_targets(node, &topic, targets),
                RoutingEvent::Changed(_) => self.hits.hit(Hit::CatalogueChanged),
                RoutingEvent::LookedUp { topic, id, read } => {
                    if let Some(topic) = self.topic_no(&topic) {
                        self.queue_looked_up(node, topic, id, read);
                    }
                }
            }
        }
    }

    fn set_targets(&mut self, node: usize, topic: &Topic, targets: Vec<TopicTarget>) {
        let Some(no) = self.topic_no(topic) else { return };
        trace!(self, "node {node}: targets of {topic:?} are {targets:?}");
        let mut known = Vec::new();
        for TopicTarget { node: name, state, .. } in targets {
            let peer = self.node_no(&name);
            let Some(lane) = self.lane_to(node, peer, no) else { continue };
            let source = self.plan.lanes[lane].source.clone();
            if let Some(p) = self.peer(node, peer) {
                let ix = p.out.add_lane(&source, topic);
                if let Some(side) = p.side(lane) {
                    side.ix = Some(ix);
                }
            }
            known.push(SimTarget { node: name, peer, lane, state, is_up: false });
        }
        if let Some(mesh) = self.mesh(node) {
            mesh.topics[no].targets = known;
        }
        self.step_later(node, Duration::ZERO, Step::Drive { topic: no });
    }

    // ---- what must hold ----

    /// Whether a peer does not serve a topic, as the node was told last. The word of a peer on the same store does not count
    /// against a tombstone there.
    fn is_gone(mesh: &Mesh, topic: TopicNo, (peer, name): (usize, &NodeId), shares_store: bool) -> bool {
        match mesh.heard.get(&(topic, peer)) {
            Some(heard) if !heard.serves || !shares_store => !heard.serves,
            _ => mesh.read.get(&topic).is_some_and(|entry| entry.tombstones.contains(name)),
        }
    }

    /// A message is offered to a target: it must serve the topic, and have a lease that runs if any has.
    pub(crate) fn check_target(&mut self, node: usize, topic: TopicNo, target: &SimTarget, is_for_all: bool) {
        let (names, stores) = (self.plan.names.clone(), self.plan.store_of.clone());
        let shares_store = self.plan.store_of[target.peer] == self.plan.store_of[node];
        let Some(mesh) = self.mesh(node) else { return };
        let state = |name: &NodeId| {
            mesh.read.get(&topic)?.routes.iter().find(|route| route.node == *name).map(|route| route.live)
        };
        let gone = Self::is_gone(mesh, topic, (target.peer, &target.node), shares_store);
        let is_live = |peer: usize| {
            state(&names[peer]) == Some(true)
                && !Self::is_gone(mesh, topic, (peer, &names[peer]), stores[peer] == stores[node])
        };
        let better = (0..names.len()).find(|peer| *peer != target.peer && is_live(*peer));
        let served = !shares_store && mesh.heard.get(&(topic, target.peer)).is_some_and(|heard| heard.serves);
        let expired = state(&target.node) == Some(false) && !served;
        if target.state == RouteState::Expired {
            self.hits.hit(Hit::ExpiredUsed);
        }
        if target.state == RouteState::Released {
            self.hits.hit(Hit::ReleasedUsed);
        }
        if gone {
            self.checker.fail(21, format!("node {node}: topic {topic} goes to {:?}, which withdrew", target.node));
        } else if let Some(better) = better.filter(|_| expired && !is_for_all) {
            self.checker
                .fail(21, format!("node {node}: topic {topic} goes to {:?}, and {better} is live", target.node));
        }
    }

    /// Nobody is said to serve a topic: then nobody has done so since the send.
    pub(crate) fn check_no_route(&mut self, node: usize, topic: TopicNo, since: Duration) {
        let now = self.now;
        let catalogue = &self.catalogues[self.plan.store_of[node]];
        let served = catalogue.rows.iter().find(|((t, peer), row)| {
            let live = row.since <= since && row.expires.is_none_or(|at| at > now);
            let buried = catalogue.tombstones.contains(&(*t, *peer));
            *t == topic && *peer != node && live && !buried && self.lane_to(node, *peer, *t).is_some()
        });
        let Some(((_, peer), _)) = served.map(|(key, row)| (*key, *row)) else { return };
        let withdrew =
            self.mesh(node).is_some_and(|mesh| mesh.heard.get(&(topic, peer)).is_some_and(|heard| !heard.serves));
        if !withdrew {
            self.checker.fail(3, format!("node {node}: no route for topic {topic}, which {peer} serves"));
        }
    }
}

/// The topic that a node receives on under its own name.
pub(crate) fn own_topic(node: usize) -> Topic {
    Topic::new(&format!("own{node}")).expect("valid")
}
