//! Routing: which nodes the messages of a topic can go to.
//!
//! Three sources say who serves a topic: the catalogue of the store, the peers themselves (in handshakes and on links),
//! and the lanes that exist. [`Routing`] keeps what each of them said last, and derives the targets of every topic that
//! this node sends to.
//!
//! ```text
//!   handle_met, handle_serves ──┐                       ┌──▶ LookUp    read these topics in the catalogue
//!   handle_look_up ─────────────┼──▶  topics · peers  ──┼──▶ Targets   the new targets of a topic
//!   handle_lane_opened ─────────┤                       ├──▶ Changed   the catalogue says something new of a topic
//!   look_up, refresh, forget ───┘                       └──▶ LookedUp  look-ups that were asked for are done
//! ```
//!
//! After any input call `poll_event` until it returns `None`. [`selection`] holds the rules by which one of the targets is
//! chosen for a message.

mod entry;
pub mod selection;
#[cfg(test)]
mod tests;
mod topic;

pub use entry::{CatalogueEntry, CatalogueRoute, LookUpId, RouteState, TopicTarget};

use crate::types::{NodeId, Topic};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use topic::{TopicRoutes, Update};

/// What the owner has to do or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoutingEvent {
    /// Read these topics in the catalogue, then call [`Routing::handle_look_up`] with the same id.
    LookUp {
        /// Identifies the look-up.
        id: LookUpId,
        /// The topics to read.
        topics: Vec<Topic>,
    },
    /// The targets of a topic that this node sends to, the best first. They replace those known before.
    Targets {
        /// The topic.
        topic: Topic,
        /// Its targets.
        targets: Vec<TopicTarget>,
    },
    /// The catalogue says something new of a topic: see [`Routing::entry`].
    Changed(Topic),
    /// A look-up of a topic ended. It serves every caller of [`Routing::look_up`] that got an earlier id.
    LookedUp {
        /// The topic.
        topic: Topic,
        /// The look-up that ended.
        id: LookUpId,
        /// Whether the catalogue was read.
        read: bool,
    },
}

/// The state of [`Routing::refresh`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Refresh {
    #[default]
    Idle,
    Running(LookUpId),
    /// Something may have changed since it began: refresh again when it ends.
    Outdated(LookUpId),
}

/// The routes of one node. See the [module](self).
#[derive(Debug)]
pub struct Routing {
    /// This node: never a target of its own.
    id: NodeId,
    last_look_up: LookUpId,
    topics: BTreeMap<Topic, TopicRoutes>,
    peers: HashMap<NodeId, PeerFacts>,
    /// Look-ups under way, with the topics they read.
    running: BTreeMap<LookUpId, Vec<Topic>>,
    refresh: Refresh,
    /// Topics whose targets may have changed.
    changed: BTreeSet<Topic>,
    events: VecDeque<RoutingEvent>,
}

/// What is known of one peer, whatever the topic.
#[derive(Debug, Default)]
struct PeerFacts {
    /// The address it gave in a handshake.
    met: Option<String>,
    /// Its addresses in the catalogue, by topic. Rows without a lease may be older under one topic than under another, so
    /// a node is dialled at all of them.
    listed: BTreeMap<Topic, Vec<String>>,
    /// It uses the same store. It writes there before it says anything, so that what a link says of it is no news, and
    /// must not outlive its rows.
    shares_store: bool,
}

impl PeerFacts {
    /// Every address once, in the same order whichever topic is asked about: an address that comes first under some topic
    /// precedes one that comes second.
    fn addrs(&self) -> Vec<String> {
        let longest = self.listed.values().map(Vec::len).max().unwrap_or(0);
        let ranked = (0..longest).flat_map(|rank| self.listed.values().filter_map(move |list| list.get(rank)));
        let mut addrs: Vec<String> = Vec::new();
        for addr in ranked.chain(&self.met) {
            if !addrs.contains(addr) {
                addrs.push(addr.clone());
            }
        }
        addrs
    }
}

impl Routing {
    /// Returns the routing of the node `id`, which knows nothing yet.
    pub fn new(id: NodeId) -> Self {
        Routing {
            id,
            last_look_up: LookUpId::default(),
            topics: BTreeMap::new(),
            peers: HashMap::new(),
            running: BTreeMap::new(),
            refresh: Refresh::Idle,
            changed: BTreeSet::new(),
            events: VecDeque::new(),
        }
    }

    // ---- getters ----

    /// Returns what the catalogue said of a topic last, once it was read.
    pub fn entry(&self, topic: &Topic) -> Option<&CatalogueEntry> {
        self.topics.get(topic)?.entry()
    }

    /// Returns the address a peer gave in a handshake.
    pub fn met_at(&self, node: &NodeId) -> Option<&str> {
        self.peers.get(node)?.met.as_deref()
    }

    // ---- commands ----

    /// Marks a topic as one that this node sends to. Returns whether it was not before.
    pub fn use_topic(&mut self, topic: &Topic) -> bool {
        let first = self.topic(topic).use_it();
        if first {
            self.changed.insert(topic.clone());
        }
        first
    }

    /// Marks a topic as one whose changes are reported, whether or not this node sends to it.
    pub fn watch_topic(&mut self, topic: &Topic) {
        self.topic(topic).watch();
    }

    /// Asks for the topic to be looked up. The look-up that serves the caller begins now, or after the one that is under
    /// way: it never began before the call. Concurrent callers share it. [`RoutingEvent::LookedUp`] with a greater id than the one
    /// returned says that it ended.
    pub fn look_up(&mut self, topic: &Topic) -> LookUpId {
        let last = self.last_look_up;
        if self.topic(topic).want_look_up() {
            self.begin_look_up(topic.clone());
        }
        last
    }

    /// Reads every topic that is used or watched again. One such look-up is under way at a time: where the catalogue
    /// changes faster than it is read, a mesh that starts would ask the store for every change of every node.
    pub fn refresh(&mut self) {
        match self.refresh {
            Refresh::Running(id) | Refresh::Outdated(id) => self.refresh = Refresh::Outdated(id),
            Refresh::Idle => {
                let current = self.topics.iter().filter(|(_, state)| state.is_current());
                let topics: Vec<_> = current.map(|(topic, _)| topic.clone()).collect();
                if !topics.is_empty() {
                    self.refresh = Refresh::Running(self.begin(topics));
                }
            }
        }
    }

    /// Notes the address of a peer from an earlier process, unless a newer one is known.
    pub fn remember(&mut self, node: &NodeId, addr: String) {
        self.peer(node).met.get_or_insert(addr);
    }

    /// Forgets a node: it is no target of any topic until the catalogue or the node itself names it again.
    pub fn forget(&mut self, node: &NodeId) {
        self.peers.remove(node);
        let last = self.last_look_up;
        for (topic, state) in &mut self.topics {
            state.forget(node, last);
            state.remove(node, last);
            self.changed.insert(topic.clone());
        }
    }

    /// Forgets the lane to a node: it is no target of the topic until the topic is looked up again.
    pub fn forget_lane(&mut self, node: &NodeId, topic: &Topic) {
        let last = self.last_look_up;
        self.topic(topic).remove(node, last);
        self.unlist(topic, node);
        self.changed.insert(topic.clone());
    }

    // ---- inputs ----

    /// A handshake: where the peer listens, the topic of its own, and whether it uses the same store. Returns whether the
    /// address is new.
    pub fn handle_met(&mut self, node: &NodeId, topic: &Topic, addr: &str, shares_store: bool) -> bool {
        let peer = self.peer(node);
        peer.shares_store = shares_store;
        let is_new = !addr.is_empty() && peer.met.as_deref() != Some(addr);
        if is_new {
            peer.met = Some(addr.to_owned());
        }
        self.handle_serves(node, topic, true);
        is_new
    }

    /// A peer said that it serves a topic, or that it does not any more.
    pub fn handle_serves(&mut self, node: &NodeId, topic: &Topic, serves: bool) {
        let (shares_store, last) = (self.shares_store(node), self.last_look_up);
        let state = self.topic(topic);
        if serves {
            state.served_by(node, shares_store);
        } else {
            state.withdrawn_by(node, last);
        }
        self.changed.insert(topic.clone());
    }

    /// A lane to a node exists: the node stays a target of the topic when its route is released.
    pub fn handle_lane_opened(&mut self, node: &NodeId, topic: &Topic) {
        if self.topic(topic).has_lane(node) {
            self.changed.insert(topic.clone());
        }
    }

    /// A look-up ended: what the catalogue says of its topics, in their order, or `None` if it could not be read. Look-ups
    /// may end in any order; what an earlier one read never replaces what a later one did.
    pub fn handle_look_up(&mut self, id: LookUpId, entries: Option<Vec<CatalogueEntry>>) {
        let Some(topics) = self.running.remove(&id) else { return };
        let read = entries.is_some();
        let mut outdated = Vec::new();
        for (topic, entry) in topics.iter().zip(entries.into_iter().flatten()) {
            if self.read(topic, entry, id) == Update::Outdated {
                outdated.push(topic.clone());
            }
        }
        if let Refresh::Running(refresh) | Refresh::Outdated(refresh) = self.refresh
            && refresh == id
        {
            let again = self.refresh == Refresh::Outdated(id) || !outdated.is_empty();
            self.refresh = Refresh::Idle;
            if again {
                self.refresh();
            }
            return;
        }
        for topic in topics {
            let again = outdated.contains(&topic);
            if !again {
                self.events.push_back(RoutingEvent::LookedUp { topic: topic.clone(), id, read });
            }
            if self.topic(&topic).end_look_up(again) {
                self.begin_look_up(topic);
            }
        }
    }

    // ---- outputs ----

    /// Returns the next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<RoutingEvent> {
        // New targets come before the news that a look-up has ended: who waited for it finds them.
        while let Some(topic) = self.changed.pop_first() {
            let Some(state) = self.topics.get(&topic).filter(|state| state.is_used()) else { continue };
            let targets = state.targets(&self.id);
            let addrs = |node: &NodeId| self.peers.get(node).map(PeerFacts::addrs).unwrap_or_default();
            let target = |(node, state): (NodeId, RouteState)| TopicTarget { addrs: addrs(&node), node, state };
            let targets = targets.into_iter().map(target).collect();
            return Some(RoutingEvent::Targets { topic, targets });
        }
        self.events.pop_front()
    }

    // ---- inside ----

    fn topic(&mut self, topic: &Topic) -> &mut TopicRoutes {
        self.topics.entry(topic.clone()).or_default()
    }

    fn peer(&mut self, node: &NodeId) -> &mut PeerFacts {
        self.peers.entry(node.clone()).or_default()
    }

    fn shares_store(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.shares_store)
    }

    fn begin(&mut self, topics: Vec<Topic>) -> LookUpId {
        let id = self.last_look_up.next();
        self.last_look_up = id;
        self.running.insert(id, topics.clone());
        self.events.push_back(RoutingEvent::LookUp { id, topics });
        id
    }

    fn begin_look_up(&mut self, topic: Topic) {
        self.begin(vec![topic]);
    }

    fn read(&mut self, topic: &Topic, entry: CatalogueEntry, id: LookUpId) -> Update {
        let listed = entry.routes.clone();
        let peers = &self.peers;
        let shares_store = |node: &NodeId| peers.get(node).is_some_and(|peer| peer.shares_store);
        let state = self.topics.entry(topic.clone()).or_default();
        let (update, before) = state.read(entry, id, shares_store);
        if matches!(update, Update::New | Update::Same) {
            for node in before {
                self.unlist(topic, &node);
            }
            for CatalogueRoute { node, addrs, .. } in listed {
                self.peer(&node).listed.insert(topic.clone(), addrs);
            }
        }
        if update == Update::New {
            self.events.push_back(RoutingEvent::Changed(topic.clone()));
        }
        self.changed.insert(topic.clone());
        update
    }

    fn unlist(&mut self, topic: &Topic, node: &NodeId) {
        if let Some(peer) = self.peers.get_mut(node) {
            peer.listed.remove(topic);
        }
    }
}
