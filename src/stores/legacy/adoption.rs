//! What becomes of what liner_broker left: which of its waiting messages go to which lane, under which
//! numbers, and which cannot be attributed.
//!
//! The reference counts and queues by sender and receiver, liner by the topic addressed, too. So the queue of a
//! *connection key* is split. Pure: a backend loads [`LegacyCatalogue`], shows a [`QueueSplit`] every row, and does what it says.
//!
//! Its numbers are kept as far as they rise, under one incarnation of their own. So a receiver that has a store of its own
//! finds its place by the number that liner_broker noted there, and so does one that shares the store.

use super::catalogue::{Addressed, LegacyCatalogue, LegacyConnection};
use super::rows;
use crate::stores::{Adopted, DeadLetter, DeadLetterOrigin, LaneKey, OutboxLane, StoreError, Stored};
use crate::types::{Headers, Incarnation, LaneId, LaneName, Message, MessageId, NodeId, Payload, Seq, Topic};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// The incarnation of everything that was numbered by liner_broker, on both sides of a lane.
pub(crate) const ADOPTED: Incarnation = Incarnation::new(u64::from_be_bytes(*b"liner1.4"));

/// The connection key with which two nodes with a file each address each other.
const ISOLATED_KEY: i64 = 1;

/// Numbers above this are not kept, so that there are numbers left.
const LARGEST: u64 = 1 << 52;

/// What stands for a name that is none of liner's.
const NO_NAME: &str = "?";

/// What becomes of a row.
#[derive(Debug)]
pub(crate) enum RowOutcome {
    /// It goes: it was handled, or was no message of a user's.
    Delete,
    /// It goes to the lane for this topic; see [`AdoptedLane::take`].
    Move { topic: Topic, number: u64, payload: Payload },
    /// It is kept as a dead letter.
    DeadLetter(Box<DeadLetter>),
}

/// A lane that rows go to.
#[derive(Debug, Clone)]
pub(crate) struct AdoptedLane {
    pub(crate) key: LaneKey,
    incarnation: Incarnation,
    next: Seq,
}

impl AdoptedLane {
    /// A lane that was opened under [`ADOPTED`].
    pub(crate) fn new(lane: &OutboxLane) -> AdoptedLane {
        let incarnation = lane.spans.last().map_or(ADOPTED, |span| span.incarnation);
        AdoptedLane { key: lane.key, incarnation, next: lane.next }
    }

    /// A lane that is going to be made, with nothing queued up to `acked`.
    #[cfg(feature = "redis")]
    pub(crate) fn coming(key: LaneKey, acked: Seq) -> AdoptedLane {
        AdoptedLane { key, incarnation: ADOPTED, next: acked.next() }
    }

    /// Gives a message its number: liner_broker's if it is free. A number that is raised stays at or above the
    /// reference's, so nobody who has handled fewer takes it for handled.
    pub(crate) fn take(&mut self, number: u64, payload: Payload, now_ms: u64) -> Stored {
        let seq = if number > LARGEST { self.next } else { self.next.max(Seq::new(number)) };
        self.next = seq.next();
        let message = Message { headers: Headers::EMPTY, payload };
        Stored { seq, incarnation: self.incarnation, accepted_ms: now_ms, message }
    }
}

/// What a backend knows beside the catalogue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdoptionContext {
    /// The largest message of the store.
    pub(crate) max_message: usize,
    /// The incarnation of the letters: random, so that no two adoptions write letters of one name.
    pub(crate) letters: Incarnation,
    /// Milliseconds since 1970, for people to read.
    pub(crate) now_ms: u64,
}

impl AdoptionContext {
    /// The only thing here that is not decided by what it is given.
    pub(crate) fn new(max_message: usize) -> Result<AdoptionContext, StoreError> {
        let letters = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        Ok(AdoptionContext { max_message, letters: Incarnation::new(letters), now_ms })
    }
}

/// The rows of one connection key on their way.
#[derive(Debug)]
pub(crate) struct QueueSplit<'a> {
    catalogue: &'a LegacyCatalogue,
    connection: &'a LegacyConnection,
    sender: NodeId,
    source: Topic,
    receiver: NodeId,
    /// Why no row of it can go anywhere.
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
        let no_name = "a question mark is a name";
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

    /// When the messages are said to have been accepted: nobody knows.
    pub(crate) fn now_ms(&self) -> u64 {
        self.context.now_ms
    }

    /// The topics of remembered routes: lanes, whether or not anything waits.
    pub(crate) fn remembered(&self) -> BTreeSet<Topic> {
        let topics = self.catalogue.remembered_to(self.connection).filter(|topic| *topic != self.connection.source);
        let topics = topics.filter_map(|topic| Topic::new(topic).ok());
        if self.flaw.is_none() { topics.collect() } else { BTreeSet::new() }
    }

    /// Up to where a lane that is made of this key is acked.
    pub(crate) fn acked(&self) -> Seq {
        if self.catalogue.is_shared() { self.handled() } else { Seq::ZERO }
    }

    /// The number at which receivers of such a lane stand, if they share the store.
    pub(crate) fn handled(&self) -> Seq {
        Seq::new(self.connection.handled.min(LARGEST))
    }

    /// Where the number noted is this node's own place as a receiver: the lanes it may receive on from the only peer.
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

    /// Decides on the next row, in the order in which they were queued.
    pub(crate) fn row(&mut self, row: &[u8]) -> RowOutcome {
        self.rows += 1;
        if row.is_empty() {
            return self.gone();
        }
        let read = match rows::decode(row, self.context.max_message) {
            Ok(read) => read,
            Err(error) => {
                let reason = format!("a row of liner_broker cannot be read: {error}; this is the row");
                return self.letter(None, Bytes::copy_from_slice(row), reason);
            }
        };
        if read.number <= self.acked().get() {
            return self.gone();
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
                let reason = format!("it cannot be told where liner_broker would have sent it: {flaw}");
                self.letter(Some(read.number), read.payload, reason)
            }
            (Addressed::Internal | Addressed::Topic(_), _) => self.gone(),
        }
    }

    fn gone(&mut self) -> RowOutcome {
        self.adopted.gone += 1;
        RowOutcome::Delete
    }

    fn letter(&mut self, number: Option<u64>, payload: Bytes, reason: String) -> RowOutcome {
        let Ok(payload) = Payload::new(payload) else { return self.gone() };
        self.adopted.dead_letters += 1;
        let number =
            number.map_or(String::new(), |number| format!(" (message {number} of connection {})", self.connection.key));
        let lane = self.lane(Topic::new(NO_NAME).expect("a question mark is a name"));
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

    /// Where rows of these topic numbers go: a topic, `gone`, or the reason of the letter.
    fn fates(catalogue: &LegacyCatalogue, connection: &LegacyConnection, rows: &[(u64, i32)]) -> Vec<String> {
        let mut split = QueueSplit::new(&node("orders-1"), catalogue, connection, CONTEXT);
        let fate = |(number, key): &(u64, i32)| match split.row(&row(*number, *key, AT_LEAST_ONCE, b"x")) {
            RowOutcome::Delete => "gone".to_owned(),
            RowOutcome::Move { topic, number, .. } => format!("{topic} {number}"),
            RowOutcome::DeadLetter(letter) => letter.reason,
        };
        rows.iter().map(fate).collect()
    }

    #[test]
    fn rows_go_by_topic_without_those_that_were_handled_and_the_brokers_own() {
        let catalogue = catalogue(&[("billing", 3), ("refunds", 5), (INTERNAL, 2)], &[], &[]);
        let rows = [(4, 3), (5, 3), (6, 5), (7, 2), (8, 3)];
        assert_eq!(fates(&catalogue, &connection(4), &rows), ["gone", "billing 5", "refunds 6", "gone", "billing 8"]);
    }

    #[test]
    fn a_number_of_several_topics_is_the_one_that_the_sender_remembers_or_the_receiver_serves() {
        let seeded = [("orders", 1), ("billing", 1)];
        assert_eq!(fates(&catalogue(&seeded, &[], &[]), &connection(0), &[(1, 1)]), ["billing 1"], "not one's own");
        let seeded = [("orders", 1), ("billing", 1), ("refunds", 1)];
        let remembered = catalogue(&seeded, &[("refunds", "billing-1"), ("billing", "other")], &[]);
        assert_eq!(fates(&remembered, &connection(0), &[(1, 1)]), ["refunds 1"]);
        let served = catalogue(&seeded, &[], &[("billing", "billing-1"), ("refunds", "other")]);
        assert_eq!(fates(&served, &connection(0), &[(1, 1)]), ["billing 1"]);
        let neither = fates(&catalogue(&seeded, &[], &[]), &connection(0), &[(1, 1)]);
        assert!(neither[0].contains("stands for {\"billing\", \"refunds\"}"), "{neither:?}");
    }

    #[test]
    fn names_that_are_none_of_ours_make_letters_and_no_lanes() {
        let catalogue = catalogue(&[("bad\ntopic", 4)], &[("billing", "\u{7f}")], &[]);
        let reasons = fates(&catalogue, &connection(0), &[(1, 4)]);
        assert!(reasons[0].contains("control character"), "{reasons:?}");
        let connection = LegacyConnection { receiver: "\u{7f}".to_owned(), ..connection(0) };
        let split = QueueSplit::new(&node("orders-1"), &catalogue, &connection, CONTEXT);
        assert!(split.remembered().is_empty() && split.received().is_empty());
    }

    #[test]
    fn in_a_file_of_its_own_the_number_noted_is_how_far_the_node_has_received() {
        let seeded = [("orders", 1), ("billing", 1)];
        let mut catalogue = catalogue(&seeded, &[], &[("billing", "billing-1"), ("orders", "orders-1")]);
        assert_eq!(fates(&catalogue, &connection(5), &[(3, 1)]), ["billing 3"], "nobody says that it was handled");
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
        assert_eq!(fates(&catalogue, &connection, &[(3, 1), (6, 1)]), ["gone", "billing 6"]);
    }

    fn target(next: u64) -> AdoptedLane {
        AdoptedLane { key: LaneKey(1), incarnation: ADOPTED, next: Seq::new(next) }
    }

    #[test]
    fn letters_of_one_key_have_names_of_their_own() {
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
        /// Numbers rise from where the lane stands, and none is lowered: who has handled up to some number has handled
        /// every row at or below it.
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
