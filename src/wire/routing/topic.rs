//! What is known of one topic, and the targets that follow from it.

use super::{CatalogueEntry, LookUpId, RouteState};
use crate::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a look-up of a topic came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    /// It says something new.
    New,
    /// It says what was known.
    Same,
    /// A later look-up was faster.
    Late,
    /// Something was forgotten meanwhile: look up again.
    Outdated,
}

/// Look-ups of the topic that somebody asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LookUps {
    #[default]
    Idle,
    Running,
    /// Somebody asked after it began: another one follows.
    Wanted,
}

/// What is known of one topic.
#[derive(Debug, Default)]
pub(super) struct TopicRoutes {
    /// This node sends to it.
    used: bool,
    /// Changes of it are reported.
    watched: bool,
    /// As the catalogue has it, without nodes that were forgotten since.
    entry: CatalogueEntry,
    /// Whether `entry` was read, and nothing was forgotten since.
    was_read: bool,
    /// The look-up that read `entry`, or the last one that began before something was forgotten.
    found: LookUpId,
    /// Nodes with stores of their own that said in a handshake, or on a link, that they serve it.
    learnt: BTreeSet<NodeId>,
    /// Nodes that said that they do not any more, with the last look-up that began before they did.
    withdrawn: BTreeMap<NodeId, LookUpId>,
    /// Nodes with a lane for it.
    lanes: BTreeSet<NodeId>,
    look_ups: LookUps,
}

impl TopicRoutes {
    pub(super) fn entry(&self) -> Option<&CatalogueEntry> {
        self.was_read.then_some(&self.entry)
    }

    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Whether the catalogue's entry is kept up to date.
    pub(super) fn is_current(&self) -> bool {
        self.used || self.watched
    }

    pub(super) fn use_it(&mut self) -> bool {
        !std::mem::replace(&mut self.used, true)
    }

    pub(super) fn watch(&mut self) {
        self.watched = true;
    }

    // ---- look-ups ----

    /// Notes that a look-up is wanted. Returns whether one has to begin now.
    pub(super) fn want_look_up(&mut self) -> bool {
        let begins = self.look_ups == LookUps::Idle;
        self.look_ups = if begins { LookUps::Running } else { LookUps::Wanted };
        begins
    }

    /// A look-up ended. Returns whether another one has to begin: this one was outdated, or somebody asked meanwhile.
    pub(super) fn end_look_up(&mut self, is_outdated: bool) -> bool {
        let again = is_outdated || self.look_ups == LookUps::Wanted;
        self.look_ups = if again { LookUps::Running } else { LookUps::Idle };
        again
    }

    /// Takes what a look-up read. Returns what came of it, and the nodes that were listed before.
    pub(super) fn read(
        &mut self,
        entry: CatalogueEntry,
        id: LookUpId,
        shares_store: impl Fn(&NodeId) -> bool,
    ) -> (Update, Vec<NodeId>) {
        if self.found >= id {
            return (if self.was_read { Update::Late } else { Update::Outdated }, Vec::new());
        }
        self.found = id;
        let is_new = !self.was_read || self.entry != entry;
        // A row of a node on the same store that was read after it withdrew was written again. Other nodes are
        // listed as seeds only, which say nothing new.
        for route in entry.routes.iter().filter(|route| shares_store(&route.node)) {
            let is_newer = self.withdrawn.get(&route.node).is_some_and(|before| *before < id);
            if is_newer && !entry.tombstones.contains(&route.node) {
                self.withdrawn.remove(&route.node);
            }
        }
        let before = std::mem::replace(&mut self.entry, entry).routes;
        self.was_read = true;
        (if is_new { Update::New } else { Update::Same }, before.into_iter().map(|route| route.node).collect())
    }

    // ---- nodes ----

    /// A node said that it serves the topic.
    pub(super) fn served_by(&mut self, node: &NodeId, shares_store: bool) {
        self.withdrawn.remove(node);
        if shares_store {
            self.learnt.remove(node);
        } else {
            self.learnt.insert(node.clone());
        }
    }

    /// A node said that it does not serve the topic any more.
    pub(super) fn withdrawn_by(&mut self, node: &NodeId, last: LookUpId) {
        self.learnt.remove(node);
        self.withdrawn.insert(node.clone(), last);
    }

    /// Notes the lane to a node. Returns whether it was not known.
    pub(super) fn has_lane(&mut self, node: &NodeId) -> bool {
        self.lanes.insert(node.clone())
    }

    /// Removes a node as a target, until the topic is looked up again or the node says that it serves it.
    pub(super) fn remove(&mut self, node: &NodeId, last: LookUpId) {
        self.learnt.remove(node);
        self.lanes.remove(node);
        self.entry.routes.retain(|route| route.node != *node);
        self.was_read = false;
        // What look-ups under way will say is no longer true.
        self.found = last;
    }

    /// Forgets everything that is known of a node.
    pub(super) fn forget(&mut self, node: &NodeId, last: LookUpId) {
        self.withdrawn.remove(node);
        self.remove(node, last);
    }

    /// The targets, the best first, then by name.
    pub(super) fn targets(&self, own: &NodeId) -> Vec<(NodeId, RouteState)> {
        // What a link said is newer than the tombstone that an earlier word of the link left in the store.
        let buried = |n: &NodeId| self.entry.tombstones.contains(n) && !self.learnt.contains(n);
        let gone = |n: &NodeId| n == own || self.withdrawn.contains_key(n) || buried(n);
        let mut states: BTreeMap<&NodeId, RouteState> = BTreeMap::new();
        for route in &self.entry.routes {
            states.insert(&route.node, if route.live { RouteState::Live } else { RouteState::Expired });
        }
        for node in &self.learnt {
            states.entry(node).or_insert(RouteState::Live);
        }
        for node in &self.lanes {
            states.entry(node).or_insert(RouteState::Released);
        }
        let mut targets: Vec<_> =
            states.into_iter().filter(|(n, _)| !gone(n)).map(|(n, state)| (n.clone(), state)).collect();
        targets.sort_by_key(|(_, state)| *state);
        targets
    }
}
