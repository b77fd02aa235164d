//! The receiving half, input by input.

use super::*;
use std::time::Duration;

const A: Incarnation = Incarnation::new(0xa);
const B: Incarnation = Incarnation::new(0xb);
const IX: LaneIx = LaneIx(7);
const SLOT: Slot = Slot(0);
const MAX_DELAY: Duration = Duration::from_millis(50);

/// An [`Inbound`] with one lane, and the time.
struct Link {
    inn: Inbound,
    now: Instant,
}

fn config() -> InboundConfig {
    InboundConfig {
        window_messages: 4,
        window_bytes: 1000,
        max_message: 200,
        max_part: 100,
        max_lanes: 2,
        max_attempts: 2,
        nack_first: Duration::from_millis(100),
        nack_cap: Duration::from_secs(5),
        max_delay: MAX_DELAY,
        heartbeat: Duration::from_secs(3600),
        record_attempts: false,
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

fn seq(n: u64) -> Seq {
    Seq::new(n)
}

fn at(incarnation: Incarnation, n: u64) -> Cursor {
    Cursor { incarnation, seq: seq(n) }
}

fn resume(ix: LaneIx, acked: u64, spans: &[(Incarnation, u64)]) -> Frame<'static> {
    Frame::Resume(Resume {
        lane: ix,
        source: topic("from"),
        topic: topic("to"),
        predecessor: None,
        acked: seq(acked),
        spans: spans.iter().map(|(i, n)| (*i, seq(*n))).collect(),
    })
}

fn done() -> Answer {
    Answer::Done
}

fn nack() -> Answer {
    Answer::Failed { delay: None, reason: "no".to_owned() }
}

/// What a frame says, in short.
fn short(frame: &Frame<'_>) -> String {
    match frame {
        Frame::ResumeAt(at) => {
            let received = at.received.map_or("nothing".to_owned(), |(_, n)| n.to_string());
            format!("at {received}, {} credit", at.messages)
        }
        Frame::Ack { seq, .. } => format!("ack {seq}"),
        Frame::Credit { messages, .. } => format!("credit {messages}"),
        Frame::Refuse { seq, .. } => format!("refuse {seq}"),
        other => format!("{other:?}"),
    }
}

impl Link {
    fn with(config: InboundConfig) -> Link {
        let name = |name| NodeId::new(name).expect("valid");
        let mut inn = Inbound::new(config, name("me"), name("peer"));
        let now = Instant::now();
        inn.handle_connected(now);
        Link { inn, now }
    }

    /// A lane that was never used, with a subscriber that takes up to `in_flight` messages.
    fn new(in_flight: u32) -> Link {
        Link::of(config(), in_flight)
    }

    fn of(config: InboundConfig, in_flight: u32) -> Link {
        let mut link = Link::with(config);
        link.subscribe(in_flight);
        link.resume(0, &[(A, 1)], None);
        link.said();
        link
    }

    fn subscribe(&mut self, in_flight: u32) {
        self.inn.subscribe(topic("to"), Handler { in_flight, timeout: None, borrows: false });
    }

    fn resume(&mut self, acked: u64, spans: &[(Incarnation, u64)], stored: Option<Cursor>) {
        self.take(resume(IX, acked, spans)).expect("well formed");
        if matches!(self.inn.events.front(), Some(Event::OpenLane { .. })) {
            self.inn.events.pop_front();
            self.inn.handle_opened(SLOT, stored, vec![]);
        }
    }

    fn take(&mut self, frame: Frame<'_>) -> Result<(), LinkError> {
        let mut bytes = BytesMut::new();
        codec::encode(&frame, &mut bytes);
        let bytes = bytes.freeze();
        let frame = codec::frames(&bytes).next().expect("one").expect("well formed");
        self.inn.handle_frame(self.now, frame, &bytes)
    }

    fn data(&mut self, n: u64, flags: DataFlags, len: usize) -> Result<(), LinkError> {
        let payload = vec![u8::try_from(n).expect("small"); len];
        self.take(Frame::Data(Data { lane: IX, flags, seq: seq(n), raw_len: 0, headers: &[], payload: &payload }))
    }

    fn plain(&mut self, n: u64) {
        self.data(n, DataFlags::empty(), 3).expect("in order");
    }

    fn strict(&mut self, n: u64) {
        self.data(n, DataFlags::STRICT, 3).expect("in order");
    }

    fn skip(&mut self, from: u64, to: u64) -> Result<(), LinkError> {
        self.take(Frame::Skip { lane: IX, from: seq(from), to: seq(to) })
    }

    fn hand_over(&mut self) -> Vec<HandOver> {
        std::iter::from_fn(|| self.inn.poll_delivery(self.now)).collect()
    }

    /// The numbers handed over.
    fn handed(&mut self) -> Vec<u64> {
        self.hand_over().iter().map(|d| d.place.map_or(0, |c| c.seq.get())).collect()
    }

    fn answer(&mut self, token: u64, answer: Answer) {
        self.inn.handle_answer(self.now, SLOT, token, answer, || u64::MAX);
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(bytes) = self.inn.poll_transmit() {
            said.extend(codec::frames(&bytes).map(|frame| short(&frame.expect("well formed"))));
        }
        said
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.inn.poll_event()).collect()
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
        self.inn.handle_timeout(self.now, u64::MAX);
    }
}

fn advance(expected: Option<Incarnation>, cursor: Cursor) -> Event {
    Event::Advance { slot: SLOT, expected, cursor }
}

#[test]
fn a_write_behind_message_is_acked_when_handled_and_its_cursor_follows() {
    let mut link = Link::new(10);
    link.plain(1);
    link.plain(2);
    assert_eq!(link.handed(), [1, 2]);
    link.answer(1, done());
    assert!(link.said().is_empty(), "the first is not answered");
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 2", "credit 6"]);
    assert_eq!(link.events(), []);
    link.wait(MAX_DELAY);
    assert_eq!(link.events(), [advance(None, at(A, 2))]);
}

#[test]
fn a_strict_message_is_acked_only_when_its_cursor_is_committed() {
    let mut link = Link::new(10);
    link.strict(1);
    link.handed();
    link.answer(0, done());
    assert_eq!(link.events(), [advance(None, at(A, 1))]);
    assert_eq!(link.said(), ["credit 5"]);
    link.inn.handle_advanced(SLOT, Ok(()));
    assert_eq!(link.said(), ["ack 1"]);
    assert!(link.inn.is_settled());
}

#[test]
fn an_ack_is_never_taken_back() {
    let mut link = Link::new(10);
    link.plain(1);
    link.strict(2);
    link.handed();
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 1", "credit 5"]);
    link.wait(MAX_DELAY);
    link.answer(1, done());
    assert_eq!(link.said(), ["credit 6"]);
}

#[test]
fn a_duplicate_is_dropped_and_acked_again() {
    let mut link = Link::new(10);
    link.plain(1);
    link.handed();
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 1", "credit 5"]);
    link.plain(1);
    assert!(link.handed().is_empty());
    assert_eq!(link.said(), ["ack 1", "credit 6"]);
    assert_eq!(link.inn.counts().duplicates, 1);
}

#[test]
fn a_hole_that_was_not_announced_closes_the_link() {
    let mut link = Link::new(10);
    let hole = LinkError::Hole { expected: seq(1), found: seq(2) };
    assert_eq!(link.data(2, DataFlags::empty(), 3), Err(hole));
    assert_eq!(link.skip(2, 3), Err(hole));
    assert_eq!(link.skip(1, 1), Ok(()));
    link.plain(2);
    assert_eq!(link.handed(), [2]);
}

#[test]
fn a_refused_message_holds_its_lane_until_it_is_skipped() {
    let mut link = Link::new(10);
    link.data(1, DataFlags::empty(), 201).expect("in order");
    assert_eq!(link.said(), ["refuse 1", "credit 5"]);
    link.plain(2);
    assert_eq!(link.skip(3, 3), Ok(()), "the sender has not heard of the refusal yet");
    link.plain(4);
    assert!(link.handed().is_empty());
    link.skip(1, 1).expect("over the refused one");
    link.plain(2);
    assert_eq!(link.handed(), [2]);
}

#[test]
fn parts_make_one_message_and_an_aborted_one_leaves_no_trace() {
    let mut link = Link::new(10);
    let more = DataFlags::MORE;
    link.data(1, DataFlags::empty(), 201).expect("in order");
    link.data(2, more, 100).expect("behind a refused one");
    link.skip(1, 1).expect("over the refused one");
    link.data(2, more, 100).expect("in order");
    link.data(2, DataFlags::empty(), 50).expect("in order");
    let messages = link.hand_over();
    assert_eq!(messages.iter().map(|d| d.message.payload.len()).collect::<Vec<_>>(), [150]);
    link.answer(messages[0].token, done());
    let session = link.inn.lanes[0].session.as_ref().expect("open");
    assert_eq!(session.consumed, (2, 351));
}

#[test]
fn the_rest_of_an_at_most_once_message_that_is_too_large_is_no_message() {
    let mut link = Link::new(10);
    let direct = DataFlags::DIRECT;
    link.data(1, DataFlags::empty(), 201).expect("refused");
    for _ in 0..3 {
        link.data(0, direct.with(DataFlags::MORE), 90).expect("fits a frame");
    }
    link.data(0, direct, 10).expect("the last part");
    link.data(0, direct, 5).expect("another message");
    let sizes: Vec<_> = link.hand_over().iter().map(|d| d.message.payload.len()).collect();
    assert_eq!(sizes, [5]);
}

#[test]
fn one_at_a_time_and_in_order_over_a_nack() {
    let mut link = Link::new(1);
    link.plain(1);
    link.plain(2);
    assert_eq!(link.handed(), [1]);
    link.answer(0, nack());
    assert!(link.handed().is_empty());
    link.wait(Duration::from_millis(100));
    let again = link.hand_over();
    assert_eq!((again.len(), again[0].attempt, again[0].redelivered), (1, 2, true));
    assert_eq!(again[0].place, Some(at(A, 1)));
}

#[test]
fn after_its_attempts_a_message_is_a_dead_letter_and_the_lane_goes_on() {
    let mut link = Link::new(1);
    link.plain(1);
    link.plain(2);
    link.handed();
    link.answer(0, nack());
    link.wait(Duration::from_millis(100));
    link.handed();
    link.answer(0, nack());
    let events = link.events();
    assert!(matches!(&events[..], [Event::DeadLetter { attempts: 2, advance: Some(None), .. }]));
    assert_eq!(link.handed(), [2]);
    link.inn.handle_dead_lettered(link.now, SLOT, 0);
    assert_eq!(link.said(), ["ack 1", "credit 5"]);
}

#[test]
fn the_cursor_does_not_fall_behind_one_that_a_dead_letter_moved() {
    let mut link = Link::new(1);
    link.strict(1);
    link.strict(2);
    link.handed();
    link.answer(0, done());
    assert_eq!(link.events(), [advance(None, at(A, 1))]);
    link.handed();
    link.answer(1, nack());
    link.wait(Duration::from_millis(100));
    link.handed();
    link.answer(1, nack());
    assert!(matches!(link.events()[..], [Event::DeadLetter { advance: Some(Some(A)), .. }]));
    // The letter took its cursor along; its answer was lost, and the repeated advance finds another incarnation.
    link.inn.handle_advanced(SLOT, Err(Some(at(A, 2))));
    assert_eq!(link.events(), []);
    link.inn.handle_dead_lettered(link.now, SLOT, 1);
    assert!(link.inn.is_settled());
}

#[test]
fn what_a_leaving_subscriber_had_goes_to_the_next_one_marked_and_never_twice_if_at_most_once() {
    let mut link = Link::new(2);
    link.plain(1);
    link.data(0, DataFlags::DIRECT, 3).expect("any time");
    assert_eq!(link.handed(), [1, 0]);
    link.inn.unsubscribe(&topic("to"));
    link.answer(0, Answer::Returned);
    link.answer(1, Answer::Returned);
    link.subscribe(2);
    let again = link.hand_over();
    assert_eq!(again.len(), 1);
    assert_eq!((again[0].place, again[0].attempt, again[0].redelivered), (Some(at(A, 1)), 2, true));
}

#[test]
fn a_message_without_a_subscriber_is_held_by_the_sender() {
    let mut link = Link::with(config());
    link.resume(0, &[(A, 1)], None);
    assert_eq!(link.said(), ["at nothing, 0 credit"]);
    link.subscribe(1);
    assert_eq!(link.said(), ["credit 4"]);
}

#[test]
fn a_full_window_stays_one_window_over_a_new_connection() {
    let mut link = Link::new(1);
    for n in 1..=4 {
        link.plain(n);
    }
    link.handed();
    link.inn.handle_connected(link.now);
    link.resume(0, &[(A, 1)], None);
    assert_eq!(link.said(), ["at 4, 0 credit"]);
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 1", "credit 1"]);
    link.handed();
    link.answer(1, done());
    assert_eq!(link.said(), ["ack 2", "credit 2"]);
}

#[test]
fn a_message_with_a_subscriber_when_the_link_breaks_is_not_handed_over_again() {
    let mut link = Link::new(1);
    link.plain(1);
    assert_eq!(link.handed(), [1]);
    link.inn.handle_disconnected();
    link.inn.handle_connected(link.now);
    link.resume(0, &[(A, 1)], None);
    assert!(link.handed().is_empty());
    link.answer(0, done());
    assert_eq!(link.said(), ["at 1, 3 credit", "ack 1", "credit 4"]);
}

#[test]
fn what_killed_the_process_as_often_as_allowed_is_a_dead_letter() {
    let mut link = Link::with(InboundConfig { record_attempts: true, ..config() });
    link.subscribe(1);
    link.take(resume(IX, 0, &[(A, 1)])).expect("well formed");
    link.events();
    link.inn.handle_opened(SLOT, None, vec![(A, seq(1), 2), (A, seq(2), 1)]);
    let again = DataFlags::REDELIVERED;
    link.data(1, again, 3).expect("in order");
    link.data(2, again, 3).expect("in order");
    assert!(link.handed().is_empty(), "the attempt is recorded first");
    let events = link.events();
    assert!(matches!(
        events[..],
        [Event::DeadLetter { token: 0, attempts: 2, .. }, Event::RecordAttempt { token: 1, attempts: 2, .. }]
    ));
    link.inn.handle_recorded(SLOT, 1);
    assert_eq!(link.handed(), [2]);
}

#[test]
fn a_message_that_may_have_killed_a_process_is_alone_with_its_subscriber() {
    let mut link = Link::with(InboundConfig { record_attempts: true, max_attempts: 9, ..config() });
    link.subscribe(4);
    link.take(resume(IX, 0, &[(A, 1)])).expect("well formed");
    link.events();
    link.inn.handle_opened(SLOT, None, vec![(A, seq(1), 1)]);
    for n in 1..=3 {
        link.data(n, DataFlags::REDELIVERED, 3).expect("in order");
    }
    link.handed();
    assert!(matches!(link.events()[..], [Event::RecordAttempt { token: 0, attempts: 2, .. }]));
    link.inn.handle_recorded(SLOT, 0);
    assert_eq!(link.handed(), [1], "whatever its in_flight");
    assert_eq!(link.events(), [], "no attempt of the next is recorded yet");
    link.answer(0, done());
    link.handed();
    let recorded = |e: &Event| match e {
        Event::RecordAttempt { token, attempts: 1, .. } => Some(*token),
        _ => None,
    };
    let recorded: Vec<_> = link.events().iter().filter_map(recorded).collect();
    assert_eq!(recorded, [1, 2], "the rest together");
    link.inn.handle_recorded(SLOT, 1);
    assert_eq!(link.handed(), [2]);
    link.inn.handle_recorded(SLOT, 2);
    assert_eq!(link.handed(), [3]);
}

#[test]
fn the_cursor_is_lifted_to_what_the_sender_knows_is_acked() {
    let mut link = Link::with(config());
    link.subscribe(1);
    link.resume(5, &[(A, 1)], Some(at(A, 3)));
    assert_eq!(link.said()[0], "at 5, 4 credit");
    assert_eq!(link.events(), [advance(Some(A), at(A, 5))]);
}

#[test]
fn a_lift_during_a_commit_is_committed_behind_it() {
    let mut link = Link::new(1);
    link.strict(1);
    link.handed();
    link.answer(0, done());
    assert_eq!(link.events(), [advance(None, at(A, 1))]);
    link.resume(5, &[(A, 1)], None);
    assert_eq!(link.events(), []);
    link.inn.handle_advanced(SLOT, Ok(()));
    assert_eq!(link.events(), [advance(Some(A), at(A, 5))]);
}

#[test]
fn an_unknown_incarnation_is_a_restart_and_nothing_of_it_is_swallowed() {
    let mut link = Link::with(config());
    link.subscribe(1);
    link.resume(0, &[(B, 1)], Some(at(A, 9)));
    assert!(matches!(link.events()[..], [Event::LaneRestarted(_)]));
    assert_eq!(link.said(), ["at nothing, 4 credit"]);
    link.plain(1);
    assert_eq!(link.handed(), [1]);
}

#[test]
fn a_stale_advance_is_repeated_from_what_is_stored() {
    let mut link = Link::new(1);
    link.strict(1);
    link.handed();
    link.answer(0, done());
    link.events();
    link.inn.handle_advanced(SLOT, Err(Some(at(B, 4))));
    assert_eq!(link.events(), [advance(Some(B), at(A, 1))]);
}

#[test]
fn a_lane_made_again_while_the_store_was_asked_is_answered_for_itself() {
    let mut link = Link::with(config());
    link.subscribe(1);
    link.take(resume(IX, 0, &[(A, 1)])).expect("well formed");
    link.take(resume(LaneIx(8), 0, &[])).expect("well formed");
    assert_eq!(link.said(), ["at nothing, 4 credit"]);
    link.events();
    link.inn.handle_opened(SLOT, None, vec![]);
    assert!(link.said().is_empty(), "the first lane is forgotten");
    assert_eq!(link.inn.lanes[0].session.as_ref().map(|s| s.ix), Some(LaneIx(8)));
}

#[test]
fn the_timer_rests_while_a_lane_that_waits_has_no_subscriber() {
    let mut link = Link::new(1);
    link.plain(1);
    link.handed();
    link.answer(0, nack());
    link.inn.unsubscribe(&topic("to"));
    link.wait(Duration::from_secs(1));
    assert!(link.handed().is_empty());
    assert!(link.inn.poll_timeout().is_none_or(|at| at > link.now));
    link.subscribe(1);
    assert_eq!(link.handed(), [1]);
}

#[test]
fn skips_in_a_row_are_held_as_one() {
    let mut link = Link::new(1);
    link.plain(1);
    link.handed();
    for n in 2..100 {
        link.skip(n, n).expect("in order");
    }
    assert!(link.inn.lanes[0].queue.len() <= 2);
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 99", "credit 5"]);
}
