//! Decides what each queued message of liner_broker becomes: a message of a lane, a dead letter, or nothing.
//!
//! liner_broker numbers and queues messages by sender and receiver; a lane has a topic as well. So the queue of a *connection
//! key* is split by topic. Pure: a backend loads a [`LegacyCatalogue`], passes every row to a [`QueueSplit`], and does what
//! the [`RowOutcome`] says.
//!
//! Legacy numbers are kept as long as they rise, under one incarnation of their own. The number that liner_broker recorded for
//! a receiver then still says what the receiver has handled, in a shared store and in a store of its own.

use super::catalogue::{Addressed, LegacyCatalogue, LegacyConnection};
use super::rows;
use crate::stores::{Adopted, DeadLetter, DeadLetterOrigin, LaneKey, OutboxLane, StoreError, Stored};
use crate::types::{Headers, Incarnation, LaneId, LaneName, Message, MessageId, NodeId, Payload, Seq, Topic};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// The incarnation of all legacy numbers, at the sender and at the receiver of a lane.
pub(crate) const ADOPTED: Incarnation = Incarnation::new(u64::from_be_bytes(*b"liner1.4"));

/// The connection key that two nodes with a file each use for each other.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const ISOLATED_KEY: i64 = 1;

/// Numbers above this are replaced, so that a lane does not run out of numbers.
const LARGEST: u64 = 1 << 52;

/// Replaces a name that is not valid in this library.
const NO_NAME: &str = "?";

/// What a row becomes.
#[derive(Debug)]
pub(crate) enum RowOutcome {
    /// The row is deleted: it was handled, or is internal to liner_broker.
    Delete,
    /// The row moves to the lane of this topic, under the number that [`AdoptedLane::take`] gives it.
    Move { topic: Topic, number: u64, payload: Payload },
    /// The row becomes a dead letter.
    DeadLetter(Box<DeadLetter>),
}

/// A lane that rows move to.
#[derive(Debug, Clone)]
pub(crate) struct AdoptedLane {
    pub(crate) key: LaneKey,
    incarnation: Incarnation,
    next: Seq,
}

impl AdoptedLane {
    /// Creates the target for a lane that was opened under [`ADOPTED`].
    pub(crate) fn new(lane: &OutboxLane) -> AdoptedLane {
        let incarnation = lane.spans.last().map_or(ADOPTED, |span| span.incarnation);
        AdoptedLane { key: lane.key, incarnation, next: lane.next }
    }

    /// Creates the target for a lane that does not exist yet and starts acked up to `acked`.
    #[cfg(feature = "redis")]
    pub(crate) fn coming(key: LaneKey, acked: Seq) -> AdoptedLane {
        AdoptedLane { key, incarnation: ADOPTED, next: acked.next() }
    }

    /// Numbers a message. Keeps its legacy number if that number is still free, or raises it. A number is never lowered, so no
    /// receiver takes a message that it has not handled for one that it has.
    pub(crate) fn take(&mut self, number: u64, payload: Payload, now_ms: u64) -> Stored {
        let seq = if number > LARGEST { self.next } else { self.next.max(Seq::new(number)) };
        self.next = seq.next();
        let message = Message { headers: Headers::EMPTY, payload };
        Stored { seq, incarnation: self.incarnation, accepted_ms: now_ms, message }
    }
}

/// What an adoption needs apart from the catalogue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdoptionContext {
    /// The largest message that the store takes, in bytes.
    pub(crate) max_message: usize,
    /// The incarnation of the dead letters. Random, so that no two adoptions write dead letters with the same id.
    pub(crate) letters: Incarnation,
    /// The current time in milliseconds since 1970, shown to operators.
    pub(crate) now_ms: u64,
}

impl AdoptionContext {
    /// Reads the clock and draws a random incarnation. Everything else in this module is deterministic.
    pub(crate) fn new(max_message: usize) -> Result<AdoptionContext, StoreError> {
        let letters = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Ok(AdoptionContext { max_message, letters: Incarnation::new(letters), now_ms })
    }
}

/// Splits the queue of one connection key into lanes.
#[derive(Debug)]
pub(crate) struct QueueSplit<'a> {
    catalogue: &'a LegacyCatalogue,
    connection: &'a LegacyConnection,
    sender: NodeId,
    source: Topic,
    receiver: NodeId,
    /// Why no row can move to a lane, if none can.
    flaw: Option<String>,
    context: AdoptionContext,
    rows: u64,
    pub(crate) adopted: Adopted,
}

impl<'a> QueueSplit<'a> {
    pub(crate) fn new(
        node: &NodeId,
        catalogue: &'a LegacyCatalogue,
        connection: &'a LegacyConnection,
        context: AdoptionContext,
    ) -> Self {
        let (source, receiver) = (Topic::new(&connection.source), NodeId::new(&connection.receiver));
        let flaw = source.as_ref().err().or(receiver.as_ref().err()).map(|error| {
            format!("it was sent from topic {:?} to node {:?}: {error}", connection.source, connection.receiver)
        });
        let no_name = "a question mark is a valid name";
        QueueSplit {
            catalogue,
            connection,
            sender: node.clone(),
            source: source.unwrap_or_else(|_| Topic::new(NO_NAME).expect(no_name)),
            receiver: receiver.unwrap_or_else(|_| NodeId::new(NO_NAME).expect(no_name)),
            flaw,
            context,
            rows: 0,
            adopted: Adopted::default(),
        }
    }

    pub(crate) fn lane(&self, topic: Topic) -> LaneName {
        LaneName { sender: self.sender.clone(), source: self.source.clone(), receiver: self.receiver.clone(), topic }
    }

    /// Returns the time of acceptance to record. The real one is not known.
    pub(crate) fn now_ms(&self) -> u64 {
        self.context.now_ms
    }

    /// Returns the topics of remembered routes. Each becomes a lane, whether or not a message waits for it.
    pub(crate) fn remembered(&self) -> BTreeSet<Topic> {
        let topics = self.catalogue.remembered_to(self.connection).filter(|topic| *topic != self.connection.source);
        let topics = topics.filter_map(|topic| Topic::new(topic).ok());
        if self.flaw.is_none() { topics.collect() } else { BTreeSet::new() }
    }

    /// Returns the number up to which a lane made from this key is acked.
    pub(crate) fn acked(&self) -> Seq {
        if self.catalogue.is_shared() { self.handled() } else { Seq::ZERO }
    }

    /// Returns the cursor of the receiver of such a lane, if the receiver shares the store.
    pub(crate) fn handled(&self) -> Seq {
        Seq::new(self.connection.handled.min(LARGEST))
    }

    /// Returns the lanes whose receiver is this node and whose cursor is the recorded number. Empty unless the store is not
    /// shared and has a single peer.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn received(&self) -> Vec<LaneName> {
        let isolated = !self.catalogue.is_shared() && self.connection.key == ISOLATED_KEY && self.handled() > Seq::ZERO;
        if !isolated || self.flaw.is_some() || self.catalogue.only_peer(&self.sender) != Some(self.receiver.as_str()) {
            return Vec::new();
        }
        let served = self.catalogue.served.iter().filter(|(_, node)| node == self.receiver.as_str());
        let sources: BTreeSet<Topic> = served.filter_map(|(topic, _)| Topic::new(topic).ok()).collect();
        let lane = |source| LaneName {
            sender: self.receiver.clone(),
            source,
            receiver: self.sender.clone(),
            topic: self.source.clone(),
        };
        sources.into_iter().filter(|source| *source != self.source).map(lane).collect()
    }

    /// Decides about the next row. Rows must be passed in the order in which they were queued.
    pub(crate) fn row(&mut self, row: &[u8]) -> RowOutcome {
        self.rows += 1;
        if row.is_empty() {
            return self.delete();
        }
        let read = match rows::decode(row, self.context.max_message) {
            Ok(read) => read,
            Err(error) => {
                let reason = format!("a row of liner_broker cannot be read: {error}; the data is the row itself");
                return self.letter(None, Bytes::copy_from_slice(row), reason);
            }
        };
        if read.number <= self.acked().get() {
            return self.delete();
        }
        let addressed = match &self.flaw {
            Some(flaw) => Addressed::Unknown(flaw.clone()),
            None => self.catalogue.addressed(read.topic_key.into(), self.connection),
        };
        match (addressed, Payload::new(read.payload.clone())) {
            (Addressed::Topic(topic), Ok(payload)) => {
                self.adopted.messages += 1;
                RowOutcome::Move { topic, number: read.number, payload }
            }
            (Addressed::Unknown(flaw), _) => {
                let reason = format!("the topic that liner_broker would have sent it to is not known: {flaw}");
                self.letter(Some(read.number), read.payload, reason)
            }
            (Addressed::Internal | Addressed::Topic(_), _) => self.delete(),
        }
    }

    fn delete(&mut self) -> RowOutcome {
        self.adopted.gone += 1;
        RowOutcome::Delete
    }

    fn letter(&mut self, number: Option<u64>, payload: Bytes, reason: String) -> RowOutcome {
        let Ok(payload) = Payload::new(payload) else { return self.delete() };
        self.adopted.dead_letters += 1;
        let number =
            number.map_or(String::new(), |number| format!(" (message {number} of connection {})", self.connection.key));
        let lane = self.lane(Topic::new(NO_NAME).expect("a question mark is a valid name"));
        RowOutcome::DeadLetter(Box::new(DeadLetter {
            id: MessageId { lane: LaneId::new(lane), incarnation: self.context.letters, seq: Seq::new(self.rows) },
            origin: DeadLetterOrigin::Refused,
            message: Message { headers: Headers::EMPTY, payload },
            reason: format!("{reason}{number}"),
            attempts: 0,
            died_ms: self.context.now_ms,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::legacy::catalogue::INTERNAL;
    use crate::stores::legacy::rows::tests::row;
    use proptest::prelude::*;

    const AT_LEAST_ONCE: u8 = 2;
    const CONTEXT: AdoptionContext = AdoptionContext { max_message: 1 << 20, letters: Incarnation::new(7), now_ms: 1 };

    fn node(name: &str) -> NodeId {
        NodeId::new(name).expect("valid")
    }

    /// Topics by number, routes remembered by `orders-1` from `orders`, and the catalogue.
    fn catalogue(topics: &[(&str, i64)], remembered: &[(&str, &str)], served: &[(&str, &str)]) -> LegacyCatalogue {
        let mut catalogue = LegacyCatalogue::default();
        for (topic, number) in topics {
            catalogue.number((*topic).to_owned(), *number);
        }
        for (topic, receiver) in remembered {
            catalogue.remember(&node("orders-1"), "orders-1:orders", (*topic).to_owned(), Some((*receiver).to_owned()));
        }
        catalogue.served = served.iter().map(|(topic, name)| ((*topic).to_owned(), (*name).to_owned())).collect();
        catalogue
    }

    fn connection(handled: u64) -> LegacyConnection {
        LegacyConnection { key: 1, source: "orders".to_owned(), receiver: "billing-1".to_owned(), handled }
    }

    /// Returns what rows with these topic numbers become: topic and number, `deleted`, or the reason of the dead letter.
    fn outcomes(catalogue: &LegacyCatalogue, connection: &LegacyConnection, rows: &[(u64, i32)]) -> Vec<String> {
        let mut split = QueueSplit::new(&node("orders-1"), catalogue, connection, CONTEXT);
        let outcome = |(number, key): &(u64, i32)| match split.row(&row(*number, *key, AT_LEAST_ONCE, b"x")) {
            RowOutcome::Delete => "deleted".to_owned(),
            RowOutcome::Move { topic, number, .. } => format!("{topic} {number}"),
            RowOutcome::DeadLetter(letter) => letter.reason,
        };
        rows.iter().map(outcome).collect()
    }

    #[test]
    fn rows_move_by_topic_except_handled_and_internal_ones() {
        let catalogue = catalogue(&[("billing", 3), ("refunds", 5), (INTERNAL, 2)], &[], &[]);
        let rows = [(4, 3), (5, 3), (6, 5), (7, 2), (8, 3)];
        assert_eq!(
            outcomes(&catalogue, &connection(4), &rows),
            ["deleted", "billing 5", "refunds 6", "deleted", "billing 8"]
        );
    }

    #[test]
    fn a_number_of_several_topics_is_the_one_that_the_sender_remembers_or_the_receiver_serves() {
        let seeded = [("orders", 1), ("billing", 1)];
        assert_eq!(outcomes(&catalogue(&seeded, &[], &[]), &connection(0), &[(1, 1)]), ["billing 1"], "not one's own");
        let seeded = [("orders", 1), ("billing", 1), ("refunds", 1)];
        let remembered = catalogue(&seeded, &[("refunds", "billing-1"), ("billing", "other")], &[]);
        assert_eq!(outcomes(&remembered, &connection(0), &[(1, 1)]), ["refunds 1"]);
        let served = catalogue(&seeded, &[], &[("billing", "billing-1"), ("refunds", "other")]);
        assert_eq!(outcomes(&served, &connection(0), &[(1, 1)]), ["billing 1"]);
        let neither = outcomes(&catalogue(&seeded, &[], &[]), &connection(0), &[(1, 1)]);
        assert!(neither[0].contains("belongs to each of {\"billing\", \"refunds\"}"), "{neither:?}");
    }

    #[test]
    fn invalid_names_make_dead_letters_and_no_lanes() {
        let catalogue = catalogue(&[("bad\ntopic", 4)], &[("billing", "\u{7f}")], &[]);
        let reasons = outcomes(&catalogue, &connection(0), &[(1, 4)]);
        assert!(reasons[0].contains("control character"), "{reasons:?}");
        let connection = LegacyConnection { receiver: "\u{7f}".to_owned(), ..connection(0) };
        let split = QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT);
        assert!(split.remembered().is_empty() && split.received().is_empty());
    }

    #[test]
    fn in_a_file_that_is_not_shared_the_recorded_number_is_the_nodes_own_cursor() {
        let seeded = [("orders", 1), ("billing", 1)];
        let mut catalogue = catalogue(&seeded, &[], &[("billing", "billing-1"), ("orders", "orders-1")]);
        assert_eq!(outcomes(&catalogue, &connection(5), &[(3, 1)]), ["billing 3"], "nobody says that it was handled");
        let connection = connection(5);
        let split = QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT);
        assert_eq!((split.acked(), split.handled()), (Seq::ZERO, Seq::new(5)));
        let names: Vec<_> = split.received().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["billing-1:billing>orders-1:orders"]);
        // With a second peer, the number may be of either.
        catalogue.served.push(("audit".to_owned(), "audit-1".to_owned()));
        assert!(QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT).received().is_empty());
        // With another sender in the file, it is the receiver's.
        catalogue.others_send = true;
        assert_eq!(outcomes(&catalogue, &connection, &[(3, 1), (6, 1)]), ["deleted", "billing 6"]);
    }

    fn target(next: u64) -> AdoptedLane {
        AdoptedLane { key: LaneKey(1), incarnation: ADOPTED, next: Seq::new(next) }
    }

    #[test]
    fn dead_letters_of_one_key_have_different_ids() {
        let (catalogue, connection) = (LegacyCatalogue::default(), connection(0));
        let mut split = QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT);
        let mut id = |bytes: &[u8]| match split.row(bytes) {
            RowOutcome::DeadLetter(letter) => letter.id,
            other => panic!("{other:?}"),
        };
        assert_ne!(id(b"\0\0"), id(b"\0\0"));
        assert_eq!(split.adopted.dead_letters, 2);
    }

    proptest! {
        /// Numbers rise and are never lowered, so a cursor covers exactly the rows up to its number.
        #[test]
        fn numbers_rise_and_are_never_lowered(numbers: Vec<u64>, next in 1u64..1000) {
            let mut target = target(next);
            let mut last = next - 1;
            for number in numbers {
                let payload = Payload::new(&b"x"[..]).expect("not empty");
                let seq = target.take(number, payload, 0).seq.get();
                prop_assert!(seq > last);
                prop_assert!(seq >= number || number > LARGEST);
                prop_assert!(number > LARGEST || seq == number || seq == last + 1);
                last = seq;
            }
        }

        #[test]
        fn no_bytes_make_a_split_panic_or_lose_a_row(rows: Vec<Vec<u8>>) {
            let (catalogue, connection) = (catalogue(&[("billing", 0)], &[], &[]), connection(0));
            let mut split = QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT);
            for row in &rows {
                split.row(row);
            }
            let Adopted { messages, gone, dead_letters } = split.adopted;
            prop_assert_eq!(messages + gone + dead_letters, rows.len() as u64);
        }
    }
}
