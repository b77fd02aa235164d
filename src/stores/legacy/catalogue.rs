//! What a legacy store records apart from its queues: topics, routes and connection keys.
//!
//! Pure: a backend loads the rows, this file says what they mean.

use crate::types::{NodeId, Topic};
use std::collections::{BTreeMap, BTreeSet};

/// The topic of messages of the reference to itself.
pub(super) const INTERNAL: &str = "__#internal_channel";

/// What the database says beside the queues.
#[derive(Debug, Clone, Default)]
pub(crate) struct LegacyCatalogue {
    /// The topics by the reference's numbers. Files that were told of their peers have one number for several.
    pub(crate) topics: BTreeMap<i64, Vec<String>>,
    /// Where this node remembers to have sent.
    pub(crate) remembered: Vec<RememberedRoute>,
    /// The catalogue: topics and who serves them.
    pub(crate) served: Vec<(String, String)>,
    /// Another node has sent from this store: it is shared.
    pub(crate) others_send: bool,
}

/// A row of `sender_listener`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RememberedRoute {
    pub(crate) source: String,
    pub(crate) topic: String,
    pub(crate) receiver: String,
}

/// A connection key and what is noted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyConnection {
    pub(crate) key: i64,
    pub(crate) source: String,
    pub(crate) receiver: String,
    /// The highest number that was handled.
    pub(crate) handled: u64,
}

/// A row of `conn_key_map` and what stands beside it.
#[derive(Debug, Clone)]
pub(crate) struct LegacyKey {
    pub(crate) key: i64,
    pub(crate) composite: String,
    /// The sender, its topic and the receiver, where the key is a lane's.
    pub(crate) lane: Option<[String; 3]>,
    /// The sender's topic, from `conn_sender`.
    pub(crate) source: Option<String>,
    /// From `conn_mess_number`, where no incarnation stands beside it.
    pub(crate) handled: i64,
}

impl LegacyKey {
    /// `None` if it is another node's.
    pub(crate) fn connection(self, node: &NodeId, catalogue: &LegacyCatalogue) -> Option<LegacyConnection> {
        let (source, receiver) = match &self.lane {
            Some([sender, source, receiver]) => {
                (sender == node.as_str()).then_some((source.as_str(), receiver.as_str()))?
            }
            None => parties(node, &self.composite, self.source.as_deref(), &catalogue.sources(node))?,
        };
        Some(LegacyConnection {
            key: self.key,
            source: source.to_owned(),
            receiver: receiver.to_owned(),
            handled: u64::try_from(self.handled).unwrap_or(0),
        })
    }
}

/// The source topic and the receiver in a composite, `{node}:{source}:{receiver}` with nothing escaped: `None` if it is
/// another node's, or cannot be told apart. `noted` is the sender's topic as stored for the key.
fn parties<'a>(
    node: &NodeId,
    composite: &'a str,
    noted: Option<&str>,
    sources: &BTreeSet<String>,
) -> Option<(&'a str, &'a str)> {
    let rest = composite.strip_prefix(node.as_str())?.strip_prefix(':')?;
    let by_source = |source: &str| {
        let receiver = rest.strip_prefix(source)?.strip_prefix(':').filter(|receiver| !receiver.is_empty())?;
        (!source.is_empty()).then(|| (&rest[..source.len()], receiver))
    };
    if let Some(noted) = noted {
        if let Some(found) = by_source(noted) {
            return Some(found);
        }
        let elsewhere = format!(":{noted}:");
        if composite.find(&elsewhere).is_some_and(|at| at > 0 && at + elsewhere.len() < composite.len()) {
            return None;
        }
    }
    let mut known = sources.iter().filter_map(|source| by_source(source));
    match (known.next(), known.next()) {
        (Some(only), None) => Some(only),
        (None, _) if rest.matches(':').count() == 1 => by_source(rest.split(':').next()?),
        _ => None,
    }
}

/// What a row's topic is.
pub(super) enum Addressed {
    Topic(Topic),
    /// Nothing of a user's.
    Internal,
    Unknown(String),
}

impl LegacyCatalogue {
    /// A row of `topic_key`.
    pub(crate) fn number(&mut self, topic: String, key: i64) {
        self.topics.entry(key).or_default().push(topic);
    }

    /// A row of `sender_listener`, if it is this node's: its `sender_key` is `{node}:{source}` with nothing escaped.
    pub(crate) fn remember(&mut self, node: &NodeId, sender_key: &str, topic: String, receiver: Option<String>) {
        let source = sender_key.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(':'));
        if let (Some(source), Some(receiver)) = (source, receiver) {
            self.remembered.push(RememberedRoute { source: source.to_owned(), topic, receiver });
        }
    }

    /// Topics that this node has sent from, or served.
    fn sources(&self, node: &NodeId) -> BTreeSet<String> {
        let served = self.served.iter().filter(|(_, name)| name == node.as_str()).map(|(topic, _)| topic.clone());
        self.remembered.iter().map(|r| r.source.clone()).chain(served).collect()
    }

    /// Whether sender and receivers share this store. Files that are not shared were told of the peers, and no peer sends
    /// from them; there, the number noted for a key is what came from the peer, not what went to it.
    pub(super) fn is_shared(&self) -> bool {
        self.others_send || self.topics.values().all(|topics| topics.len() < 2)
    }

    pub(super) fn addressed(&self, topic_key: i64, connection: &LegacyConnection) -> Addressed {
        let named: Vec<&str> = self.topics.get(&topic_key).into_iter().flatten().map(String::as_str).collect();
        // Nobody sends to his own topic.
        let possible: BTreeSet<&str> = named.into_iter().filter(|topic| *topic != connection.source).collect();
        let remembered = self.remembered_to(connection).filter(|topic| possible.contains(topic)).collect();
        let served =
            self.served.iter().filter(|(_, node)| *node == connection.receiver).map(|(topic, _)| topic.as_str());
        let served = served.filter(|topic| possible.contains(topic)).collect();
        for narrowed in [&possible, &remembered, &served] {
            if let [only] = narrowed.iter().collect::<Vec<_>>()[..] {
                return match Topic::new(only) {
                    _ if *only == INTERNAL => Addressed::Internal,
                    Ok(topic) => Addressed::Topic(topic),
                    Err(error) => Addressed::Unknown(format!("topic {only:?}: {error}")),
                };
            }
        }
        Addressed::Unknown(match possible.len() {
            0 => format!("no topic has the number {topic_key}"),
            _ => format!("the number {topic_key} stands for {possible:?}"),
        })
    }

    pub(super) fn remembered_to(&self, connection: &LegacyConnection) -> impl Iterator<Item = &str> {
        let there = |r: &&RememberedRoute| r.source == connection.source && r.receiver == connection.receiver;
        self.remembered.iter().filter(there).map(|r| r.topic.as_str())
    }

    /// The only peer that this file was told of.
    pub(super) fn only_peer(&self, node: &NodeId) -> Option<&str> {
        let peers: BTreeSet<&str> = self.served.iter().map(|(_, peer)| peer.as_str()).collect();
        let mut peers = peers.into_iter().filter(|peer| *peer != node.as_str());
        peers.next().filter(|_| peers.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("valid")
    }

    #[test]
    fn a_composite_is_read_with_what_is_known_of_its_names() {
        let known = |sources: &[&str]| sources.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        let none = known(&[]);
        assert_eq!(parties(&node("a"), "a:b:c", Some("b"), &none), Some(("b", "c")));
        assert_eq!(parties(&node("a"), "a:b:c", None, &none), Some(("b", "c")));
        assert_eq!(parties(&node("a:b"), "a:b:c:d", Some("c"), &none), Some(("c", "d")));
        assert_eq!(parties(&node("a"), "a:b:c:d", Some("c"), &none), None, "it is a:b's");
        assert_eq!(parties(&node("a"), "a:b:c:d", Some("b:c"), &none), Some(("b:c", "d")));
        assert_eq!(parties(&node("a"), "a:b:c:d", None, &known(&["b"])), Some(("b", "c:d")));
        assert_eq!(parties(&node("a"), "a:b:c:d", None, &known(&["b", "b:c"])), None, "it may be either");
        assert_eq!(parties(&node("a"), "a:b:c:d", None, &none), None);
        // A file that was told of its peers notes the peer's topic until something is sent.
        assert_eq!(parties(&node("a"), "a:own:peer", Some("topic_peer"), &none), Some(("own", "peer")));
        assert_eq!(parties(&node("ab"), "a:b:c", Some("b"), &none), None);
        assert_eq!(parties(&node("a"), "a:b:", Some("b"), &none), None);
    }
}
