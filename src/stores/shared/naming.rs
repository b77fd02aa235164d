//! The composite names under which lanes stand in tables and keys that operators read.
//!
//! Pure text, the same in every backend; which form a lane takes is decided by the backend that creates it.

use crate::types::LaneName;

/// `{sender}:{source}:{receiver}`, the form a lane takes unless another lane has it or it is a subscription.
pub(crate) fn plain(lane: &LaneName) -> String {
    format!("{}:{}", sender_key(lane), escaped(lane.receiver.as_str()))
}

/// The plain form with `:{topic}` appended: unique for every lane.
pub(crate) fn with_topic(lane: &LaneName) -> String {
    format!("{}:{}", plain(lane), escaped(lane.topic.as_str()))
}

/// `{sender}:{source}`, under which a sender's remembered routes stand.
pub(crate) fn sender_key(lane: &LaneName) -> String {
    format!("{}:{}", escaped(lane.sender.as_str()), escaped(lane.source.as_str()))
}

/// Percent-encodes the two characters that would make a composite ambiguous.
fn escaped(component: &str) -> String {
    component.replace('%', "%25").replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{NodeId, Topic};

    fn lane(sender: &str, source: &str, receiver: &str, topic: &str) -> LaneName {
        let node = |name| NodeId::new(name).expect("valid");
        let name = |name| Topic::new(name).expect("valid");
        LaneName { sender: node(sender), source: name(source), receiver: node(receiver), topic: name(topic) }
    }

    #[test]
    fn ordinary_names_stand_as_they_are() {
        let lane = lane("client1", "topic_a", "client2", "topic_b");
        assert_eq!(plain(&lane), "client1:topic_a:client2");
        assert_eq!(with_topic(&lane), "client1:topic_a:client2:topic_b");
        assert_eq!(sender_key(&lane), "client1:topic_a");
    }

    #[test]
    fn colons_and_percent_signs_cannot_make_two_lanes_one() {
        assert_eq!(plain(&lane("a:b", "c", "d", "t")), "a%3Ab:c:d");
        assert_eq!(plain(&lane("a", "b:c", "d", "t")), "a:b%3Ac:d");
        assert_eq!(plain(&lane("a%3Ab", "c", "d", "t")), "a%253Ab:c:d");
        assert_eq!(with_topic(&lane("a", "b", "c", "d:%")), "a:b:c:d%3A%25");
    }
}
