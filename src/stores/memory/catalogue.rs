//! The catalogue half of the medium in memory: nodes and their leases, routes, tombstones, remembered peers.

use crate::stores::MAX_LEASE;
use crate::stores::shared::routes::{RouteRow, gather};
use crate::stores::{CatalogueChange, Fence, Registration, StoreError, TopicEntry};
use crate::types::{Epoch, NodeId, Topic};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Catalogue {
    nodes: BTreeMap<NodeId, NodeRecord>,
    /// Keyed (topic, address), as the table is: an address serves a topic for one node.
    routes: BTreeMap<(Topic, String), Row>,
    tombstones: BTreeMap<(Topic, NodeId), Tombstone>,
    /// Keyed (who remembers, whom).
    peers: BTreeMap<(NodeId, NodeId), String>,
    /// Counts the changes of what `topic` returns.
    version: u64,
    wakers: Vec<Waker>,
}

#[derive(Debug)]
struct NodeRecord {
    epoch: Epoch,
    lease_until: Option<Instant>,
    released: bool,
}

#[derive(Debug)]
struct Row {
    node: NodeId,
    /// The epoch of the process that published the row under its lease; `None` for operators' rows and seeds.
    lease: Option<Epoch>,
    subscription: bool,
}

/// How a tombstone came here.
#[derive(Debug, PartialEq, Eq)]
enum Tombstone {
    /// The node deleted its rows here, so a row that is here now is newer and counts more.
    Unpublished,
    /// A link brought the news; rows here are seeds and know nothing of it.
    Told,
}

impl Catalogue {
    pub(super) fn check(&self, fence: &Fence) -> Result<(), StoreError> {
        match self.nodes.get(&fence.node) {
            Some(node) if node.epoch > fence.epoch => Err(StoreError::Fenced),
            _ => Ok(()),
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn wake_on_change(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|known| known.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    fn bump(&mut self) {
        self.version += 1;
        self.wakers.drain(..).for_each(Waker::wake);
    }

    pub(super) fn register(&mut self, node: &NodeId) -> Registration {
        let unknown = NodeRecord { epoch: Epoch::new(0), lease_until: None, released: true };
        let entry = self.nodes.entry(node.clone()).or_insert(unknown);
        let clean = entry.released;
        entry.epoch = Epoch::new(entry.epoch.get() + 1);
        entry.released = false;
        let epoch = entry.epoch;
        self.bump();
        Registration { epoch, clean }
    }

    /// Returns how many rows a change that deletes them has deleted.
    pub(super) fn apply(&mut self, fence: &Fence, change: CatalogueChange) -> u64 {
        match change {
            CatalogueChange::Publish { topic, addr, subscription, lease } => {
                self.publish(fence, &topic, &addr, subscription, lease);
            }
            CatalogueChange::Unpublish { topic } => self.unpublish(&fence.node, &topic),
            CatalogueChange::Seed { topic, node, addr } => self.seed(&topic, &node, &addr),
            CatalogueChange::SetTombstone { topic, node, unsubscribed } => {
                self.set_tombstone(&topic, &node, unsubscribed);
            }
            CatalogueChange::Renew { lease } => self.renew(fence, lease),
            CatalogueChange::Release => self.release(&fence.node),
            CatalogueChange::ClearAddresses { topic } => return self.clear_addresses(&topic),
            CatalogueChange::ForgetNode { node } => return self.forget_node(&node),
            CatalogueChange::RememberPeer { peer, addr } => self.remember_peer(&fence.node, &peer, &addr),
        }
        0
    }

    fn publish(&mut self, fence: &Fence, topic: &Topic, addr: &str, subscription: bool, lease: Duration) {
        self.routes.retain(|(of, at), row| of != topic || at == addr || row.node != fence.node || row.lease.is_none());
        let row = self.routes.entry((topic.clone(), addr.to_owned()));
        let published = || Row { node: fence.node.clone(), lease: Some(fence.epoch), subscription };
        let row = row.or_insert_with(published);
        if row.node != fence.node || row.lease.is_some() {
            *row = published();
        }
        row.subscription = subscription;
        self.tombstones.remove(&(topic.clone(), fence.node.clone()));
        self.renew(fence, lease);
        self.bump();
    }

    fn unpublish(&mut self, node: &NodeId, topic: &Topic) {
        self.routes.retain(|(of, _), row| of != topic || row.node != *node);
        self.tombstones.insert((topic.clone(), node.clone()), Tombstone::Unpublished);
        self.bump();
    }

    fn seed(&mut self, topic: &Topic, node: &NodeId, addr: &str) {
        let row = self.routes.entry((topic.clone(), addr.to_owned()));
        row.or_insert_with(|| Row { node: node.clone(), lease: None, subscription: false });
        self.bump();
    }

    fn set_tombstone(&mut self, topic: &Topic, node: &NodeId, unsubscribed: bool) {
        let key = (topic.clone(), node.clone());
        if unsubscribed {
            self.tombstones.insert(key, Tombstone::Told);
        } else {
            self.tombstones.remove(&key);
        }
        self.bump();
    }

    fn renew(&mut self, fence: &Fence, lease: Duration) {
        let unknown = NodeRecord { epoch: fence.epoch, lease_until: None, released: false };
        let node = self.nodes.entry(fence.node.clone()).or_insert(unknown);
        let expired = node.lease_until.is_none_or(|until| until <= Instant::now());
        node.lease_until = Some(Instant::now() + lease.min(MAX_LEASE));
        if expired {
            self.bump();
        }
    }

    fn release(&mut self, node: &NodeId) {
        self.routes.retain(|_, row| row.node != *node || row.lease.is_none());
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.lease_until = None;
            entry.released = true;
        }
        self.bump();
    }

    pub(super) fn topic(&self, topic: &Topic) -> TopicEntry {
        let rows = self.routes.iter().filter(|((of, _), _)| of == topic);
        let rows: Vec<_> = rows
            .map(|((_, addr), row)| RouteRow {
                node: row.node.clone(),
                unleased: row.lease.is_none(),
                addr: addr.clone(),
                live: self.is_live(row),
                subscription: row.subscription,
            })
            .collect();
        let counts =
            |node: &NodeId, origin: &Tombstone| *origin == Tombstone::Told || rows.iter().all(|row| row.node != *node);
        let tombstones = self.tombstones.iter().filter(|((of, node), origin)| of == topic && counts(node, origin));
        let tombstones = tombstones.map(|((_, node), _)| node.clone()).collect();
        gather(rows, tombstones)
    }

    fn is_live(&self, row: &Row) -> bool {
        let Some(epoch) = row.lease else { return true };
        let Some(node) = self.nodes.get(&row.node) else { return false };
        node.epoch == epoch && node.lease_until.is_some_and(|until| until > Instant::now())
    }

    fn clear_addresses(&mut self, topic: &Topic) -> u64 {
        let before = self.routes.len();
        self.routes.retain(|(of, _), _| of != topic);
        self.bump();
        (before - self.routes.len()) as u64
    }

    fn forget_node(&mut self, node: &NodeId) -> u64 {
        let count = |catalogue: &Self| catalogue.routes.len() + catalogue.tombstones.len() + catalogue.peers.len();
        let before = count(self);
        self.routes.retain(|_, row| row.node != *node);
        self.tombstones.retain(|(_, of), _| of != node);
        self.peers.retain(|(_, peer), _| peer != node);
        self.bump();
        (before - count(self)) as u64
    }

    fn remember_peer(&mut self, node: &NodeId, peer: &NodeId, addr: &str) {
        self.peers.insert((node.clone(), peer.clone()), addr.to_owned());
    }

    pub(super) fn peers(&self, node: &NodeId) -> Vec<(NodeId, String)> {
        let mine = self.peers.iter().filter(|((of, _), _)| of == node);
        mine.map(|((_, peer), addr)| (peer.clone(), addr.clone())).collect()
    }
}
