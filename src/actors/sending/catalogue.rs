//! The topics in use: what the store's catalogue, handshakes and lanes say of each, made into one table per topic.

use crate::actors::node::Node;
use crate::actors::sending::link::Link;
use crate::actors::sending::route_table::{RouteState, RouteTable, Target};
use crate::stores::TopicEntry;
use crate::types::{NodeId, Topic};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// What is known of one topic.
pub(crate) struct TopicState {
    pub(crate) table: Arc<RouteTable>,
    /// Somebody here sends to it: its nodes are linked.
    used: bool,
    /// Somebody here wants to hear of changes.
    watched: bool,
    /// As the catalogue has it; `None` until it was read.
    entry: Option<TopicEntry>,
    /// Which look found that, or the last before something was forgotten.
    found: Look,
    /// Nodes with stores of their own that said in a handshake, or on a link, that they serve it.
    learnt: BTreeSet<NodeId>,
    /// Nodes that said they do not any more.
    withdrawn: BTreeSet<NodeId>,
    /// Nodes with a lane for it.
    lanes: BTreeSet<NodeId>,
}

/// A look at the store's catalogue; later ones are greater. Answers overtake each other, and an old one says nothing new.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Look(u64);

/// What a look at the catalogue came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    /// It says something new of the topic.
    New,
    /// It says what was known, or a later look was faster.
    Same,
    /// Something was forgotten meanwhile: look again.
    Outdated,
}

/// The topics in use, and where peers were met.
#[derive(Default)]
pub(crate) struct Catalogue {
    looks: u64,
    topics: HashMap<Topic, TopicState>,
    met: HashMap<NodeId, String>,
    /// Where the catalogue says that nodes listen, by topic. Rows without a lease may be older under one topic than under
    /// another, so a node is dialled at all of them.
    listed: HashMap<NodeId, BTreeMap<Topic, Vec<String>>>,
    /// Peers on the same store. They write there before they say anything, so that what a link says of them is no news,
    /// and must not outlive their rows.
    shared: HashSet<NodeId>,
}

impl Catalogue {
    pub(crate) fn topic(&mut self, topic: &Topic) -> &mut TopicState {
        self.topics.entry(topic.clone()).or_insert_with(|| TopicState {
            table: Arc::new(RouteTable::new(topic.clone())),
            used: false,
            watched: false,
            entry: None,
            found: Look::default(),
            learnt: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            lanes: BTreeSet::new(),
        })
    }

    /// Marks a topic as used. Answers whether it is for the first time.
    pub(crate) fn use_topic(&mut self, topic: &Topic) -> bool {
        !std::mem::replace(&mut self.topic(topic).used, true)
    }

    /// What the store's catalogue said of a topic last.
    pub(crate) fn entry(&self, topic: &Topic) -> Option<&TopicEntry> {
        self.topics.get(topic)?.entry.as_ref()
    }

    pub(crate) fn get(&self, topic: &Topic) -> Option<&TopicState> {
        self.topics.get(topic)
    }

    pub(crate) fn topics(&self) -> Vec<Topic> {
        self.topics.keys().cloned().collect()
    }

    /// Marks a topic as watched.
    pub(crate) fn watch_topic(&mut self, topic: &Topic) {
        self.topic(topic).watched = true;
    }

    /// The topics of which what the catalogue says is kept current: somebody here sends to them, or watches them.
    pub(crate) fn current_topics(&self) -> Vec<Topic> {
        self.topics.iter().filter(|(_, state)| state.used || state.watched).map(|(topic, _)| topic.clone()).collect()
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<RouteTable>> {
        self.topics.values().map(|t| &t.table)
    }

    /// A peer said where it listens, and which topic is its own.
    pub(crate) fn met(&mut self, node: &NodeId, topic: &Topic, addr: String, shared: bool) {
        if shared {
            self.shared.insert(node.clone());
        } else {
            self.shared.remove(node);
        }
        if !addr.is_empty() {
            self.met.insert(node.clone(), addr);
        }
        self.serves(node, topic, true);
    }

    /// Where a peer said it listens.
    pub(crate) fn met_at(&self, node: &NodeId) -> Option<&String> {
        self.met.get(node)
    }

    pub(crate) fn remember(&mut self, node: NodeId, addr: String) {
        self.met.entry(node).or_insert(addr);
    }

    /// A peer serves a topic, or does not any more.
    pub(crate) fn serves(&mut self, node: &NodeId, topic: &Topic, serves: bool) {
        let shared = self.shared.contains(node);
        let state = self.topic(topic);
        if serves {
            state.withdrawn.remove(node);
            if shared {
                state.learnt.remove(node);
            } else {
                state.learnt.insert(node.clone());
            }
        } else {
            state.learnt.remove(node);
            state.withdrawn.insert(node.clone());
        }
    }

    /// The store's catalogue is going to be read.
    pub(crate) fn look(&mut self) -> Look {
        self.looks += 1;
        Look(self.looks)
    }

    /// The catalogue was read.
    pub(crate) fn update(&mut self, topic: &Topic, entry: TopicEntry, look: Look) -> Update {
        self.topic(topic);
        let Some(state) = self.topics.get_mut(topic) else { return Update::Outdated };
        if state.found >= look {
            return if state.was_read() { Update::Same } else { Update::Outdated };
        }
        state.found = look;
        let is_new = state.entry.as_ref() != Some(&entry);
        // The row of a node on the same store is newer than what a link said before it was written again. Of other nodes
        // there are only seeds, which say nothing new.
        for route in entry.routes.iter().filter(|r| self.shared.contains(&r.node)) {
            if !entry.tombstones.contains(&route.node) {
                state.withdrawn.remove(&route.node);
            }
        }
        let before = state.entry.replace(entry.clone());
        for route in before.into_iter().flat_map(|entry| entry.routes) {
            self.unlist(topic, &route.node);
        }
        for route in entry.routes {
            self.listed.entry(route.node).or_default().insert(topic.clone(), route.addrs);
        }
        if is_new { Update::New } else { Update::Same }
    }

    fn unlist(&mut self, topic: &Topic, node: &NodeId) {
        if let Some(topics) = self.listed.get_mut(node) {
            topics.remove(topic);
            if topics.is_empty() {
                self.listed.remove(node);
            }
        }
    }

    pub(crate) fn has_lane(&mut self, node: &NodeId, topic: &Topic) {
        self.topic(topic).lanes.insert(node.clone());
    }

    /// Everything known of a node goes.
    pub(crate) fn forget(&mut self, node: &NodeId) {
        self.met.remove(node);
        self.listed.remove(node);
        self.shared.remove(node);
        for state in self.topics.values_mut() {
            state.learnt.remove(node);
            state.withdrawn.remove(node);
            state.lanes.remove(node);
        }
    }

    /// A topic's messages go to this node no more, until the topic is looked up again.
    pub(crate) fn drop_target(&mut self, topic: &Topic, node: &NodeId) {
        if let Some(state) = self.topics.get_mut(topic) {
            // What looks that are under way will say is no longer true.
            state.found = Look(self.looks);
            state.table.remove(node);
            for route in state.entry.take().into_iter().flat_map(|entry| entry.routes) {
                self.unlist(topic, &route.node);
            }
        }
    }

    pub(crate) fn forget_lane(&mut self, node: &NodeId, topic: &Topic) {
        let state = self.topic(topic);
        state.learnt.remove(node);
        state.lanes.remove(node);
    }
}

impl TopicState {
    pub(crate) fn was_read(&self) -> bool {
        self.entry.is_some()
    }

    /// Makes the table anew. `link` finds or starts the link to a node, given the addresses it may have.
    pub(crate) fn rebuild(
        &mut self,
        node: &Node,
        addrs: impl Fn(&NodeId) -> Vec<String>,
        mut link: impl FnMut(&NodeId, Vec<String>) -> Arc<Link>,
    ) {
        self.lanes.extend(self.table.opened());
        let entry = self.entry.clone().unwrap_or_default();
        // What a link said is newer than the tombstone that an earlier word of the link left in the store.
        let buried = |n: &NodeId| entry.tombstones.contains(n) && !self.learnt.contains(n);
        let gone = |n: &NodeId| *n == node.id || self.withdrawn.contains(n) || buried(n);
        let mut ways: BTreeMap<NodeId, RouteState> = BTreeMap::new();
        for route in entry.routes.iter().filter(|r| !gone(&r.node)) {
            let state = if route.live { RouteState::Live } else { RouteState::Expired };
            ways.insert(route.node.clone(), state);
        }
        for peer in self.learnt.iter().filter(|n| !gone(n)) {
            ways.entry(peer.clone()).or_insert(RouteState::Live);
        }
        for peer in self.lanes.iter().filter(|n| !gone(n)) {
            ways.entry(peer.clone()).or_insert(RouteState::Released);
        }
        let topic = self.table.topic.clone();
        let target = |(peer, state): (NodeId, RouteState)| {
            let link = link(&peer, addrs(&peer));
            let (lane, _) = link.add_lane(&node.topic, &topic);
            Target { link, lane, state }
        };
        let targets = ways.into_iter().map(target).collect();
        self.table.set(targets);
    }
}

impl Catalogue {
    /// Makes a used topic's table anew. See [`TopicState::rebuild`].
    pub(crate) fn rebuild(&mut self, node: &Node, topic: &Topic, link: impl FnMut(&NodeId, Vec<String>) -> Arc<Link>) {
        self.topic(topic);
        let Catalogue { topics, met, listed, .. } = self;
        if let Some(state) = topics.get_mut(topic).filter(|state| state.used) {
            state.rebuild(node, |peer| addrs(listed.get(peer), met.get(peer)), link);
        }
    }
}

/// Every address of a node once, the same whichever topic is asked about: what stands first under some topic comes before
/// what stands second.
fn addrs(listed: Option<&BTreeMap<Topic, Vec<String>>>, met: Option<&String>) -> Vec<String> {
    let lists: Vec<&Vec<String>> = listed.into_iter().flat_map(BTreeMap::values).collect();
    let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    let ranked = (0..longest).flat_map(|rank| lists.iter().filter_map(move |list| list.get(rank)));
    let mut addrs: Vec<String> = Vec::new();
    for addr in ranked.chain(met) {
        if !addrs.contains(addr) {
            addrs.push(addr.clone());
        }
    }
    addrs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Route;

    fn entry(addrs: &[&str]) -> TopicEntry {
        let node = NodeId::new("peer").expect("valid");
        let addrs = addrs.iter().map(|addr| (*addr).to_owned()).collect();
        TopicEntry { routes: vec![Route { node, addrs, subscription: false, live: true }], tombstones: Vec::new() }
    }

    fn known(catalogue: &Catalogue) -> Vec<String> {
        let node = NodeId::new("peer").expect("valid");
        addrs(catalogue.listed.get(&node), catalogue.met.get(&node))
    }

    /// A row of an operator may be out of date under one topic while the node publishes another.
    #[test]
    fn a_node_is_dialled_at_its_addresses_under_all_topics_whichever_was_read_last() {
        let topic = |name| Topic::new(name).expect("valid");
        let read = |catalogue: &mut Catalogue, name, entry| {
            let look = catalogue.look();
            catalogue.update(&topic(name), entry, look);
        };
        let (mut first, mut second) = (Catalogue::default(), Catalogue::default());
        read(&mut first, "a", entry(&["new", "old"]));
        read(&mut first, "b", entry(&["old"]));
        read(&mut second, "b", entry(&["old"]));
        read(&mut second, "a", entry(&["new", "old"]));
        assert_eq!(known(&first), ["new", "old"]);
        assert_eq!(known(&second), known(&first));
        first.remember(NodeId::new("peer").expect("valid"), "met".to_owned());
        assert_eq!(known(&first), ["new", "old", "met"]);
        read(&mut first, "a", TopicEntry::default());
        assert_eq!(known(&first), ["old", "met"]);
        first.drop_target(&topic("b"), &NodeId::new("peer").expect("valid"));
        assert_eq!(known(&first), ["met"]);
        assert!(first.listed.is_empty());
    }
}
