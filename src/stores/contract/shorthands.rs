//! Shorthands for those who call a store: one function for each change of the catalogue. A store does not implement them.

use super::{CatalogueChange, Fence, Store, StoreFuture, TopicEntry};
use crate::types::{Epoch, NodeId, Topic};
use std::time::Duration;

impl dyn Store + '_ {
    /// Returns what the catalogue says about a topic now. See [`Directory::topics`](super::Directory::topics).
    pub fn topic<'a>(&'a self, topic: &'a Topic) -> StoreFuture<'a, TopicEntry> {
        Box::pin(async move { Ok(self.topics(std::slice::from_ref(topic)).await?.pop().unwrap_or_default()) })
    }

    fn change<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.apply(fence, change).await.map(drop) })
    }

    /// Applies [`CatalogueChange::Publish`].
    pub fn publish<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &Topic,
        addr: &str,
        subscription: bool,
        lease: Duration,
    ) -> StoreFuture<'a, ()> {
        let (topic, addr) = (topic.clone(), addr.to_owned());
        self.change(fence, CatalogueChange::Publish { topic, addr, subscription, lease })
    }

    /// Applies [`CatalogueChange::Unpublish`].
    pub fn unpublish<'a>(&'a self, fence: &'a Fence, topic: &Topic) -> StoreFuture<'a, ()> {
        self.change(fence, CatalogueChange::Unpublish { topic: topic.clone() })
    }

    /// Applies [`CatalogueChange::Seed`].
    pub fn seed<'a>(&'a self, topic: &Topic, node: &NodeId, addr: &str) -> StoreFuture<'a, ()> {
        let unchecked = Fence { node: node.clone(), epoch: Epoch::new(0) };
        let change = CatalogueChange::Seed { topic: topic.clone(), node: node.clone(), addr: addr.to_owned() };
        Box::pin(async move { self.apply(&unchecked, change).await.map(drop) })
    }

    /// Applies [`CatalogueChange::SetTombstone`].
    pub fn set_tombstone<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &Topic,
        node: &NodeId,
        unsubscribed: bool,
    ) -> StoreFuture<'a, ()> {
        let (topic, node) = (topic.clone(), node.clone());
        self.change(fence, CatalogueChange::SetTombstone { topic, node, unsubscribed })
    }

    /// Applies [`CatalogueChange::Renew`].
    pub fn renew<'a>(&'a self, fence: &'a Fence, lease: Duration) -> StoreFuture<'a, ()> {
        self.change(fence, CatalogueChange::Renew { lease })
    }

    /// Applies [`CatalogueChange::Release`].
    pub fn release<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, ()> {
        self.change(fence, CatalogueChange::Release)
    }

    /// Applies [`CatalogueChange::ClearAddresses`].
    pub fn clear_addresses<'a>(&'a self, fence: &'a Fence, topic: &Topic) -> StoreFuture<'a, u64> {
        self.apply(fence, CatalogueChange::ClearAddresses { topic: topic.clone() })
    }

    /// Applies [`CatalogueChange::ForgetNode`].
    pub fn forget_node<'a>(&'a self, fence: &'a Fence, node: &NodeId) -> StoreFuture<'a, u64> {
        self.apply(fence, CatalogueChange::ForgetNode { node: node.clone() })
    }

    /// Applies [`CatalogueChange::RememberPeer`].
    pub fn remember_peer<'a>(&'a self, fence: &'a Fence, peer: &NodeId, addr: &str) -> StoreFuture<'a, ()> {
        self.change(fence, CatalogueChange::RememberPeer { peer: peer.clone(), addr: addr.to_owned() })
    }
}
