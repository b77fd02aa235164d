//! The records of a legacy store apart from its queues: topics, routes and connection keys.
//!
//! Pure: a backend loads the rows, and this file interprets them.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::types::NodeId;
use crate::types::Topic;
use std::collections::{BTreeMap, BTreeSet};

/// The topic of liner_broker's internal messages.
pub(super) const INTERNAL: &str = "__#internal_channel";

/// The topics and routes of a legacy store.
#[derive(Debug, Clone, Default)]
pub(crate) struct LegacyCatalogue {
    /// The topics by number. Where the peers were seeded, several topics have the same number.
    pub(crate) topics: BTreeMap<i64, Vec<String>>,
    /// The routes that this node has sent on.
    pub(crate) remembered: Vec<RememberedRoute>,
    /// Pairs of a topic and a node that serves it.
    pub(crate) served: Vec<(String, String)>,
    /// Whether another node has sent from this store, which is then shared.
    pub(crate) others_send: bool,
}

/// A row of `sender_listener`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RememberedRoute {
    pub(crate) source: String,
    pub(crate) topic: String,
    pub(crate) receiver: String,
}

/// A connection key of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyConnection {
    pub(crate) key: i64,
    pub(crate) source: String,
    pub(crate) receiver: String,
    /// The highest number recorded as handled.
    pub(crate) handled: u64,
}

/// A connection key as the store has it: a row of `conn_key_map` with the records of its key.
#[derive(Debug, Clone)]
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) struct LegacyKey {
    pub(crate) key: i64,
    pub(crate) composite: String,
    /// The sender, its topic and the receiver, if the key belongs to a lane.
    pub(crate) lane: Option<[String; 3]>,
    /// The sender's topic, from `conn_sender`.
    pub(crate) source: Option<String>,
    /// The number from `conn_mess_number`, if it has no incarnation.
    pub(crate) handled: i64,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl LegacyKey {
    /// Interprets the key. Returns `None` if it belongs to another node.
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

/// Returns the source topic and the receiver of a composite, `{node}:{source}:{receiver}` without escapes.
///
/// Returns `None` if the composite belongs to another node or is ambiguous. `noted` is the sender's topic as stored for the
/// key.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
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

/// The topic that a row was addressed to.
pub(super) enum Addressed {
    Topic(Topic),
    /// The topic of internal messages.
    Internal,
    Unknown(String),
}

impl LegacyCatalogue {
    /// Adds a row of `topic_key`.
    pub(crate) fn number(&mut self, topic: String, key: i64) {
        self.topics.entry(key).or_default().push(topic);
    }

    /// Adds a row of `sender_listener`, if it belongs to `node`. Its `sender_key` is `{node}:{source}` without escapes.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn remember(&mut self, node: &NodeId, sender_key: &str, topic: String, receiver: Option<String>) {
        let source = sender_key.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(':'));
        if let (Some(source), Some(receiver)) = (source, receiver) {
            self.remembered.push(RememberedRoute { source: source.to_owned(), topic, receiver });
        }
    }

    /// Returns the topics that this node has sent from or served.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    fn sources(&self, node: &NodeId) -> BTreeSet<String> {
        let served = self.served.iter().filter(|(_, name)| name == node.as_str()).map(|(topic, _)| topic.clone());
        self.remembered.iter().map(|r| r.source.clone()).chain(served).collect()
    }

    /// Returns whether senders and receivers share this store.
    ///
    /// In a store that is not shared the peers were seeded, and no peer sends from it. The number recorded for a key then
    /// counts the messages received from the peer, not those sent to it.
    pub(super) fn is_shared(&self) -> bool {
        self.others_send || self.topics.values().all(|topics| topics.len() < 2)
    }

    pub(super) fn addressed(&self, topic_key: i64, connection: &LegacyConnection) -> Addressed {
        let named: Vec<&str> = self.topics.get(&topic_key).into_iter().flatten().map(String::as_str).collect();
        // A node does not send to its own topic.
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
            _ => format!("the number {topic_key} belongs to each of {possible:?}"),
        })
    }

    pub(super) fn remembered_to(&self, connection: &LegacyConnection) -> impl Iterator<Item = &str> {
        let there = |r: &&RememberedRoute| r.source == connection.source && r.receiver == connection.receiver;
        self.remembered.iter().filter(there).map(|r| r.topic.as_str())
    }

    /// Returns the peer of this store, if there is exactly one.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
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
    fn a_composite_is_read_with_the_names_that_are_known() {
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
        // Where the peers were seeded, the peer's topic is recorded until a message is sent.
        assert_eq!(parties(&node("a"), "a:own:peer", Some("topic_peer"), &none), Some(("own", "peer")));
        assert_eq!(parties(&node("ab"), "a:b:c", Some("b"), &none), None);
        assert_eq!(parties(&node("a"), "a:b:", Some("b"), &none), None);
    }
}
