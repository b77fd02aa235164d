//! Events for the status callback, derived from the events of the system and the catalogue.
//!
//! Peers are reported for related topics: those that the client has sent to, subscribed to or refreshed. The arrival or
//! departure of a peer shows in the catalogue and on a link, in either order and sometimes only in one of them. It is reported
//! once.

use crate::callbacks::StatusEvent;
use liner::stores::TopicEntry;
use liner::{MeshEvent, NodeId, Topic};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A peer that serves a related topic is up, or is connected again.
pub const LNR_PEER_CONNECTED: i32 = 1;
/// A peer that serves a related topic is gone.
pub const LNR_PEER_DISCONNECTED: i32 = 2;
/// A peer has subscribed to a related topic.
pub const LNR_PEER_SUBSCRIBED: i32 = 3;
/// A peer has unsubscribed from a related topic.
pub const LNR_PEER_UNSUBSCRIBED: i32 = 4;
/// The connection to a receiver is lost, or could not be made.
pub const LNR_SENDER_ROUTE_LOST: i32 = 5;
/// The store failed.
pub const LNR_SENDER_STORE_ERROR: i32 = 6;
/// An accepted message became a dead letter.
pub const LNR_SENDER_SEND_ERROR: i32 = 7;
/// The store failed while a message was received.
pub const LNR_LISTENER_STORE_ERROR: i32 = 8;
/// A send found a queue full.
pub const LNR_SENDER_BUSY: i32 = 9;

/// The last reported state of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PeerState {
    /// Not reported: the catalogue had the peer when the topic was first read.
    Listed,
    /// Reported as connected.
    Up,
    /// Reported as subscribed.
    Subscribed,
    /// Reported as disconnected, but still in the catalogue.
    Down,
}

/// The peers of each topic, with what was reported of them.
#[derive(Debug)]
pub(crate) struct Peers {
    me: NodeId,
    topics: HashMap<Topic, BTreeMap<NodeId, PeerState>>,
    /// The peers with a connected link.
    linked: HashSet<NodeId>,
}

pub(crate) fn event(kind: i32, topic: &str, peer: &str, message: &str) -> StatusEvent {
    StatusEvent { kind, topic: topic.to_owned(), peer: peer.to_owned(), message: message.to_owned() }
}

impl Peers {
    pub(crate) fn new(me: NodeId) -> Self {
        Peers { me, topics: HashMap::new(), linked: HashSet::new() }
    }

    /// Returns the events for the status callback. `is_related` says whether a topic is related to the client. Peers of other
    /// topics are tracked too, since their topic may become related later.
    pub(crate) fn take(&mut self, event: &MeshEvent, is_related: impl Fn(&Topic) -> bool) -> Vec<StatusEvent> {
        let reported = match event {
            MeshEvent::TopicChanged { topic, entry, .. } => self.changed(topic, entry),
            MeshEvent::PeerSubscribed { peer, topic, .. } => self.subscribed(peer, topic),
            MeshEvent::PeerUnsubscribed { peer, topic, .. } => {
                let known = self.topics.get_mut(topic).and_then(|peers| peers.remove(peer));
                known.map(|_| PeerEvent::new(LNR_PEER_UNSUBSCRIBED, topic, peer)).into_iter().collect()
            }
            MeshEvent::PeerUp { peer, .. } => self.up(peer),
            MeshEvent::PeerDown { peer, .. } => self.down(peer),
            _ => Vec::new(),
        };
        let own = reported.into_iter().filter(|event| is_related(&event.topic)).map(PeerEvent::event);
        self.errors(event).into_iter().chain(own).collect()
    }

    /// Returns the events that do not depend on a topic.
    fn errors(&self, event: &MeshEvent) -> Vec<StatusEvent> {
        match event {
            MeshEvent::PeerDown { peer, reason, .. } | MeshEvent::DialFailed { peer, reason, .. } => {
                self.lost(peer, reason)
            }
            MeshEvent::StoreError { error, .. } => {
                vec![self::event(LNR_SENDER_STORE_ERROR, "", "", &error.to_string())]
            }
            MeshEvent::InboxError { error, .. } => {
                vec![self::event(LNR_LISTENER_STORE_ERROR, "", "", &error.to_string())]
            }
            MeshEvent::DeadLettered { id, reason, .. } if *id.sender() == self.me => {
                let (topic, receiver) = (id.lane.topic().as_str(), id.lane.receiver().as_str());
                vec![self::event(LNR_SENDER_SEND_ERROR, topic, receiver, reason)]
            }
            _ => Vec::new(),
        }
    }

    fn changed(&mut self, topic: &Topic, entry: &TopicEntry) -> Vec<PeerEvent> {
        let buried = |peer: &NodeId| entry.tombstones.contains(peer);
        let routes = || entry.routes.iter().filter(|r| r.live && r.node != self.me && !buried(&r.node));
        let Some(peers) = self.topics.get_mut(topic) else {
            let seen = |peer| if self.linked.contains(peer) { PeerState::Up } else { PeerState::Listed };
            let listed: BTreeMap<_, _> = routes().map(|r| (r.node.clone(), seen(&r.node))).collect();
            let linked = listed.iter().filter(|(_, seen)| **seen == PeerState::Up);
            let reported = linked.map(|(peer, _)| PeerEvent::new(LNR_PEER_CONNECTED, topic, peer)).collect();
            self.topics.insert(topic.clone(), listed);
            return reported;
        };
        let mut events = Vec::new();
        for route in routes().filter(|route| !peers.contains_key(&route.node)) {
            let kind = if route.subscription { LNR_PEER_SUBSCRIBED } else { LNR_PEER_CONNECTED };
            events.push(PeerEvent::new(kind, topic, &route.node));
        }
        let new = |subscription| if subscription { PeerState::Subscribed } else { PeerState::Up };
        let mut now: BTreeMap<_, _> = routes().map(|r| (r.node.clone(), new(r.subscription))).collect();
        for (peer, seen) in peers.iter() {
            match now.get_mut(peer) {
                Some(still) => *still = *seen,
                None if buried(peer) => events.push(PeerEvent::new(LNR_PEER_UNSUBSCRIBED, topic, peer)),
                None if *seen != PeerState::Down => events.push(PeerEvent::new(LNR_PEER_DISCONNECTED, topic, peer)),
                None => {}
            }
        }
        *peers = now;
        events
    }

    fn subscribed(&mut self, peer: &NodeId, topic: &Topic) -> Vec<PeerEvent> {
        let peers = self.topics.entry(topic.clone()).or_default();
        match peers.insert(peer.clone(), PeerState::Subscribed) {
            Some(PeerState::Subscribed) => Vec::new(),
            _ => vec![PeerEvent::new(LNR_PEER_SUBSCRIBED, topic, peer)],
        }
    }

    fn up(&mut self, peer: &NodeId) -> Vec<PeerEvent> {
        self.linked.insert(peer.clone());
        let came = |(topic, peers): (&Topic, &mut BTreeMap<NodeId, PeerState>)| {
            let seen = peers.get_mut(peer).filter(|seen| matches!(seen, PeerState::Listed | PeerState::Down))?;
            *seen = PeerState::Up;
            Some(PeerEvent::new(LNR_PEER_CONNECTED, topic, peer))
        };
        self.topics.iter_mut().filter_map(came).collect()
    }

    fn down(&mut self, peer: &NodeId) -> Vec<PeerEvent> {
        self.linked.remove(peer);
        let went = |(topic, peers): (&Topic, &mut BTreeMap<NodeId, PeerState>)| {
            let seen = peers.get_mut(peer)?;
            (std::mem::replace(seen, PeerState::Down) != PeerState::Down)
                .then(|| PeerEvent::new(LNR_PEER_DISCONNECTED, topic, peer))
        };
        self.topics.iter_mut().filter_map(went).collect()
    }

    fn lost(&self, peer: &NodeId, why: &str) -> Vec<StatusEvent> {
        let topics = self.topics.iter().filter(|(_, peers)| peers.contains_key(peer));
        let mut events: Vec<_> =
            topics.map(|(topic, _)| event(LNR_SENDER_ROUTE_LOST, topic.as_str(), peer.as_str(), why)).collect();
        if events.is_empty() {
            events.push(event(LNR_SENDER_ROUTE_LOST, "", peer.as_str(), why));
        }
        events
    }
}

/// An event about a peer of a topic.
struct PeerEvent {
    kind: i32,
    topic: Topic,
    peer: NodeId,
}

impl PeerEvent {
    fn new(kind: i32, topic: &Topic, peer: &NodeId) -> Self {
        PeerEvent { kind, topic: topic.clone(), peer: peer.clone() }
    }

    fn event(self) -> StatusEvent {
        let message = match self.kind {
            LNR_PEER_CONNECTED => "peer is up",
            LNR_PEER_DISCONNECTED => "peer is gone",
            LNR_PEER_SUBSCRIBED => "peer subscribed",
            _ => "peer unsubscribed",
        };
        event(self.kind, self.topic.as_str(), self.peer.as_str(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use liner::stores::Route;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("a name")
    }

    fn topic(name: &str) -> Topic {
        Topic::new(name).expect("a name")
    }

    fn entry(peers: &[(&str, bool)], tombstones: &[&str]) -> MeshEvent {
        let route = |(name, subscription): &(&str, bool)| {
            let mut route = Route::new(node(name), vec!["127.0.0.1:1".to_owned()]);
            route.subscription = *subscription;
            route
        };
        let routes = peers.iter().map(route).collect();
        let entry = TopicEntry::new(routes, tombstones.iter().map(|n| node(n)).collect());
        MeshEvent::TopicChanged { topic: topic("t"), entry }
    }

    fn kinds(peers: &mut Peers, event: &MeshEvent) -> Vec<(i32, String)> {
        let related = |of: &Topic| of.as_str() == "t";
        peers.take(event, related).into_iter().map(|e| (e.kind, e.peer)).collect()
    }

    fn of(kind: i32, peer: &str) -> Vec<(i32, String)> {
        vec![(kind, peer.to_owned())]
    }

    #[test]
    fn a_peer_is_reported_once_though_it_shows_in_the_catalogue_and_on_a_link() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &entry(&[("me", false)], &[])), []);
        assert_eq!(kinds(&mut peers, &entry(&[("me", false), ("b", false)], &[])), of(LNR_PEER_CONNECTED, "b"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("b") }), []);
        let lost = kinds(&mut peers, &MeshEvent::PeerDown { peer: node("b"), reason: "closed".to_owned() });
        assert_eq!(lost, [of(LNR_SENDER_ROUTE_LOST, "b"), of(LNR_PEER_DISCONNECTED, "b")].concat());
        assert_eq!(kinds(&mut peers, &entry(&[("me", false)], &[])), []);
        assert_eq!(kinds(&mut peers, &entry(&[("b", false)], &[])), of(LNR_PEER_CONNECTED, "b"));
    }

    #[test]
    fn a_peer_that_was_listed_before_is_reported_when_its_link_is_up() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &entry(&[("b", false)], &[])), []);
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("b") }), of(LNR_PEER_CONNECTED, "b"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("stranger") }), []);
    }

    #[test]
    fn a_peer_with_a_link_is_reported_when_its_topic_is_first_read() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("b") }), []);
        assert_eq!(kinds(&mut peers, &entry(&[("b", false), ("c", false)], &[])), of(LNR_PEER_CONNECTED, "b"));
    }

    #[test]
    fn subscribing_and_unsubscribing_are_reported_as_such() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &entry(&[], &[])), []);
        assert_eq!(kinds(&mut peers, &entry(&[("b", true)], &[])), of(LNR_PEER_SUBSCRIBED, "b"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerSubscribed { peer: node("b"), topic: topic("t") }), []);
        assert_eq!(kinds(&mut peers, &entry(&[], &["b"])), of(LNR_PEER_UNSUBSCRIBED, "b"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUnsubscribed { peer: node("b"), topic: topic("t") }), []);
        assert_eq!(kinds(&mut peers, &entry(&[("b", true)], &[])), of(LNR_PEER_SUBSCRIBED, "b"));
        assert_eq!(kinds(&mut peers, &entry(&[], &[])), of(LNR_PEER_DISCONNECTED, "b"));
    }

    #[test]
    fn a_peer_that_was_seeded_and_linked_is_reported_when_it_subscribes() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &entry(&[("b", false)], &[])), []);
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("b") }), of(LNR_PEER_CONNECTED, "b"));
        let subscribed = MeshEvent::PeerSubscribed { peer: node("b"), topic: topic("t") };
        assert_eq!(kinds(&mut peers, &subscribed), of(LNR_PEER_SUBSCRIBED, "b"));
        assert_eq!(kinds(&mut peers, &subscribed), []);
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUp { peer: node("b") }), []);
    }

    #[test]
    fn peers_of_unrelated_topics_are_not_reported() {
        let mut peers = Peers::new(node("me"));
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerSubscribed { peer: node("b"), topic: topic("other") }), []);
        assert_eq!(kinds(&mut peers, &MeshEvent::PeerUnsubscribed { peer: node("b"), topic: topic("other") }), []);
    }
}
