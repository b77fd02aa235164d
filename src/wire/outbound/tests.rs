//! The sending half, input by input.

use super::*;
use crate::types::Payload;
use crate::wire::frame::DataFlags;
use std::time::Duration;

const A: Incarnation = Incarnation::new(0xa);
const MANY: u64 = 1000;
const MAX_DELAY: Duration = Duration::from_millis(50);
const RETRY: Duration = Duration::from_millis(20);

/// An [`Outbound`] with one open lane, and the time.
struct Link {
    out: Outbound,
    now: Instant,
    lane: LaneIx,
}

fn config() -> OutboundConfig {
    OutboundConfig {
        max_delay: MAX_DELAY,
        memory: Amount { messages: 8, bytes: 10_000 },
        direct: Amount { messages: 2, bytes: 1000 },
        lane: Amount { messages: 100, bytes: 100_000 },
        transmit_bytes: 10_000,
        page: Amount { messages: 4, bytes: 1000 },
        append_messages: 100,
        compress_threshold: 200,
        part_bytes: 64,
        heartbeat: Duration::from_secs(3600),
        store_retry: RETRY,
    }
}

fn seq(n: u64) -> Seq {
    Seq::new(n)
}

fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid")
}

fn record(next: u64, acked: u64, pending: u64) -> LaneRecord {
    let pending = Amount { messages: pending, bytes: pending };
    LaneRecord { spans: vec![(A, seq(acked + 1))], predecessor: None, next: seq(next), acked: seq(acked), pending }
}

fn stored(n: u64) -> Numbered {
    let payload = Payload::new(vec![b'x'; 3]).expect("not empty");
    Numbered { seq: seq(n), incarnation: A, message: Message { headers: Headers::EMPTY, payload } }
}

/// What a frame says, in short: number, then `s`trict, `r`edelivered, `c`ompressed, `+` for more to come.
fn short(frame: &Frame<'_>) -> String {
    match frame {
        Frame::Data(data) => {
            let flag = |flag, text| if data.flags.has(flag) { text } else { "" };
            let flags = [
                flag(DataFlags::STRICT, "s"),
                flag(DataFlags::REDELIVERED, "r"),
                flag(DataFlags::COMPRESSED, "c"),
                flag(DataFlags::MORE, "+"),
            ];
            let number = if data.is_direct() { "direct".to_owned() } else { data.seq.to_string() };
            number + &flags.concat()
        }
        Frame::Skip { from, to, .. } => format!("skip {from}-{to}"),
        Frame::Resume(resume) => format!("resume {}", resume.acked),
        other => format!("{other:?}"),
    }
}

impl Link {
    /// A lane as its durable queue knows it, on a connection whose receiver has everything up to `received`.
    fn open(record: LaneRecord, received: u64, credit: u64) -> Link {
        let mut link = Link::closed(record);
        link.connect(received, credit);
        link
    }

    fn closed(record: LaneRecord) -> Link {
        let mut out = Outbound::new(config());
        let lane = out.add_lane(&topic("from"), &topic("to"));
        out.open_lane(lane, record);
        Link { out, now: Instant::now(), lane }
    }

    fn new() -> Link {
        Link::open(record(1, 0, 0), 0, MANY)
    }

    fn connect(&mut self, received: u64, credit: u64) {
        let now = self.now;
        self.out.handle_connected(now, PeerLimits { max_frame: 1 << 20, max_message: 5000 });
        if self.said().is_empty() {
            self.out.resume_lane(self.lane);
            self.said();
        }
        let at = ResumeAt { lane: self.lane, received: Some((A, seq(received))), messages: credit, bytes: 100_000 };
        self.out.handle_frame(Frame::ResumeAt(at)).expect("was asked for");
    }

    fn offer(&mut self, len: usize, promise: Promise) -> Result<Seq, OfferError> {
        let now = self.now;
        self.out.offer(|| now, self.lane, &Headers::EMPTY, Body::Borrowed(&vec![b'x'; len]), promise)
    }

    fn write_behind(&mut self) -> Seq {
        self.offer(3, Promise::WriteBehind).expect("room")
    }

    fn committed(&mut self) -> Seq {
        let deadline = self.now + Duration::from_secs(1);
        self.offer(3, Promise::Stored { deadline, synced: false }).expect("room")
    }

    fn group(&mut self) -> Seq {
        self.offer(3, Promise::Group).expect("room")
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(bytes) = self.out.poll_transmit() {
            said.extend(codec::frames(&bytes).map(|frame| short(&frame.expect("well formed"))));
        }
        said
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.out.poll_event()).collect()
    }

    /// The numbers of the one append that is due.
    fn append(&mut self) -> Vec<u64> {
        let events = self.events();
        let appends: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Append { messages, .. } => Some(messages.iter().map(|m| m.seq.get()).collect()),
                _ => None,
            })
            .collect();
        assert!(appends.len() <= 1, "one append of a lane at a time");
        appends.into_iter().next().unwrap_or_default()
    }

    fn appended(&mut self, outcome: AppendOutcome) -> Vec<Event> {
        self.out.handle_append(self.now, self.lane, outcome);
        self.events()
    }

    fn wait(&mut self, wait: Duration) {
        self.now += wait;
        self.out.handle_timeout(self.now);
    }

    fn ack(&mut self, n: u64) -> Vec<Event> {
        let ack = Frame::Ack { lane: self.lane, incarnation: A, seq: seq(n) };
        self.out.handle_frame(ack).expect("plain");
        self.events()
    }

    fn refuse(&mut self, n: u64) -> Vec<Event> {
        let (code, text) = (RefuseCode::Undecodable, String::new());
        let refuse = Frame::Refuse { lane: self.lane, incarnation: A, seq: seq(n), code, text };
        self.out.handle_frame(refuse).expect("was sent");
        self.events()
    }

    /// Whether the timer rests once it was served.
    fn rests(&mut self) -> bool {
        let now = self.now;
        self.out.handle_timeout(now);
        self.events();
        self.out.poll_timeout().is_none_or(|at| at > now)
    }
}

#[test]
fn a_write_behind_message_goes_at_once_and_is_stored_only_when_its_ack_is_late() {
    let mut link = Link::new();
    link.write_behind();
    link.write_behind();
    assert_eq!(link.said(), ["1", "2"]);
    link.ack(1);
    assert_eq!(link.append(), []);
    link.wait(MAX_DELAY);
    assert_eq!(link.append(), [2]);
    assert_eq!(link.appended(AppendOutcome::Done), []);
    assert_eq!(link.out.memory(), Amount::default());
    let through = seq(2);
    let amount = Amount { messages: 1, bytes: 3 };
    assert_eq!(link.ack(2), [Event::Acked { lane: link.lane, through, amount }]);
    assert!(!link.out.has_work());
}

#[test]
fn a_committed_message_is_accepted_and_sent_only_after_its_commit() {
    let mut link = Link::new();
    link.committed();
    assert_eq!(link.append(), [1]);
    assert!(link.said().is_empty());
    assert_eq!(link.appended(AppendOutcome::Done), [Event::Accepted { lane: link.lane, through: seq(1) }]);
    assert_eq!(link.said(), ["1s"]);
}

#[test]
fn what_waits_during_a_commit_goes_into_the_next_one_together() {
    let mut link = Link::new();
    link.committed();
    assert_eq!(link.append(), [1]);
    link.committed();
    link.committed();
    assert_eq!(link.append(), []);
    link.out.handle_append(link.now, link.lane, AppendOutcome::Done);
    assert_eq!(link.append(), [2, 3]);
}

#[test]
fn a_committed_append_takes_the_write_behind_messages_before_it_along() {
    let mut link = Link::new();
    link.write_behind();
    assert_eq!(link.said(), ["1"]);
    link.committed();
    assert_eq!(link.append(), [1, 2]);
}

#[test]
fn nothing_goes_beyond_the_credit() {
    let mut link = Link::open(record(1, 0, 0), 0, 2);
    for _ in 0..4 {
        link.write_behind();
    }
    assert_eq!(link.said(), ["1", "2"]);
    link.out.handle_frame(Frame::Credit { lane: link.lane, messages: 3, bytes: 100_000 }).expect("plain");
    assert_eq!(link.said(), ["3"]);
}

#[test]
fn a_new_connection_gets_what_the_receiver_does_not_have_and_it_is_marked() {
    let mut link = Link::new();
    for _ in 0..3 {
        link.write_behind();
    }
    assert_eq!(link.said(), ["1", "2", "3"]);
    link.out.handle_disconnected(link.now);
    assert_eq!(link.append(), [1, 2, 3], "a lost link makes what memory holds durable");
    link.connect(1, MANY);
    assert_eq!(link.said(), ["2r", "3r"]);
}

#[test]
fn a_restarted_sender_loads_its_queue_page_by_page() {
    let mut link = Link::open(record(4, 0, 3), 0, MANY);
    assert!(link.said().is_empty());
    let Some(Event::Load { id, after, .. }) = link.out.poll_event() else { panic!("loads") };
    assert_eq!(after, Seq::ZERO);
    link.out.handle_loaded(link.now, link.lane, id, Some((vec![stored(1), stored(2)], false)));
    assert_eq!(link.said(), ["1sr", "2sr"]);
    let Some(Event::Load { id, after, .. }) = link.out.poll_event() else { panic!("loads on") };
    assert_eq!(after, seq(2));
    link.out.handle_loaded(link.now, link.lane, id, Some((vec![stored(3)], true)));
    assert_eq!(link.said(), ["3sr"]);
    assert_eq!(link.events(), []);
}

#[test]
fn a_page_of_nothing_but_newer_rows_ends_the_load() {
    let mut link = Link::open(record(4, 0, 3), 0, MANY);
    link.said();
    let Some(Event::Load { id, .. }) = link.out.poll_event() else { panic!("loads") };
    link.out.handle_loaded(link.now, link.lane, id, Some((vec![stored(9)], false)));
    assert!(link.said().is_empty());
    assert_eq!(link.events(), []);
}

#[test]
fn a_failed_load_is_repeated_after_a_while() {
    let mut link = Link::open(record(2, 0, 1), 0, MANY);
    link.said();
    let Some(Event::Load { id, .. }) = link.out.poll_event() else { panic!("loads") };
    link.out.handle_loaded(link.now, link.lane, id, None);
    assert!(link.said().is_empty());
    assert_eq!(link.events(), []);
    link.wait(RETRY);
    link.said();
    assert!(matches!(link.events()[..], [Event::Load { .. }]));
}

#[test]
fn past_its_deadline_a_message_the_store_never_had_is_rejected_and_others_go_on() {
    let mut link = Link::new();
    link.committed();
    link.append();
    link.appended(AppendOutcome::Failed);
    link.now += Duration::from_secs(2);
    let rejected = Event::Rejected { lane: link.lane, seq: seq(1), why: Rejection::Store };
    link.out.handle_timeout(link.now);
    assert_eq!(link.events(), [rejected]);
    link.write_behind();
    assert_eq!(link.said(), ["skip 1-1", "2"], "the hole is announced");
}

#[test]
fn past_its_deadline_a_message_the_store_may_have_is_indeterminate_and_stays() {
    let mut link = Link::new();
    link.committed();
    link.append();
    link.appended(AppendOutcome::Unknown);
    link.wait(Duration::from_secs(2));
    assert_eq!(link.out.poll_event(), Some(Event::Indeterminate { lane: link.lane, seq: seq(1) }));
    assert_eq!(link.append(), [1]);
}

#[test]
fn a_forgotten_lane_does_not_reject_what_the_store_may_have() {
    let mut link = Link::new();
    link.committed();
    assert_eq!(link.append(), [1]);
    link.committed();
    link.out.remove_lane(link.lane);
    let lane = link.lane;
    let why = Rejection::Store;
    assert_eq!(link.events(), [Event::Indeterminate { lane, seq: seq(1) }, Event::Rejected { lane, seq: seq(2), why }]);
    assert_eq!(link.out.memory(), Amount::default());
}

#[test]
fn a_rejected_group_lets_go_what_was_committed_behind_it() {
    let mut link = Link::new();
    let first = link.group();
    let second = link.group();
    link.out.finish_group(link.lane, second, Some(true));
    assert!(link.said().is_empty(), "order: the first is not decided");
    link.out.finish_group(link.lane, first, None);
    assert_eq!(link.said(), ["skip 1-1", "2s"]);
}

#[test]
fn an_append_does_not_pass_a_group_that_is_under_way_and_the_timer_rests() {
    let mut link = Link::new();
    let group = link.group();
    link.committed();
    link.now += MAX_DELAY;
    assert!(link.rests());
    link.out.finish_group(link.lane, group, Some(false));
    assert_eq!(link.append(), [1, 2]);
}

#[test]
fn a_group_writes_what_was_accepted_before_it() {
    let mut link = Link::new();
    link.write_behind();
    link.said();
    let group = link.group();
    let rows: Vec<_> = link.out.group_rows(link.lane, group).iter().map(|row| row.seq.get()).collect();
    assert_eq!(rows, [1, 2]);
    link.out.finish_group(link.lane, group, Some(true));
    assert_eq!(link.out.memory(), Amount::default());
    assert_eq!(link.said(), ["2s"]);
}

#[test]
fn a_refused_message_becomes_a_dead_letter_and_the_lane_goes_on_behind_it() {
    let mut link = Link::new();
    for _ in 0..3 {
        link.write_behind();
    }
    assert_eq!(link.said(), ["1", "2", "3"]);
    let events = link.refuse(2);
    assert!(matches!(&events[..], [Event::Refused { seq: s, message: Some(_), .. }] if *s == seq(2)));
    assert!(link.said().is_empty(), "nothing before the letter is kept");
    link.out.handle_refused(link.lane, seq(2));
    assert_eq!(link.said(), ["skip 2-2", "3r"]);
    assert_eq!(link.out.pending(link.lane).messages, 2);
}

#[test]
fn a_refusal_may_meet_frames_that_were_not_transmitted_yet() {
    let mut link = Link::new();
    link.write_behind();
    assert_eq!(link.said(), ["1"]);
    link.write_behind();
    link.refuse(1);
    link.out.handle_refused(link.lane, seq(1));
    assert_eq!(link.said(), ["2", "skip 1-1", "2r"]);
}

#[test]
fn two_messages_of_a_lane_may_be_refused_at_once() {
    let mut link = Link::new();
    link.write_behind();
    link.offer(6000, Promise::WriteBehind).expect("room");
    link.write_behind();
    assert_eq!(link.said(), ["1"]);
    assert_eq!(link.events().len(), 1, "too large for the peer");
    assert_eq!(link.refuse(1).len(), 1);
    link.out.handle_refused(link.lane, seq(2));
    assert!(link.said().is_empty());
    link.out.handle_refused(link.lane, seq(1));
    assert_eq!(link.said(), ["skip 1-2", "3"]);
    assert_eq!(link.out.pending(link.lane).messages, 1);
}

#[test]
fn a_message_given_up_halfway_gives_its_credit_back() {
    let mut out = config();
    out.transmit_bytes = 100;
    let mut link = Link::open(record(1, 0, 0), 0, 2);
    link.out.config = out;
    link.write_behind();
    link.said();
    link.offer(190, Promise::WriteBehind).expect("room");
    let first = link.out.poll_transmit().expect("a part");
    assert!(codec::frames(&first).count() < 4, "not the whole message");
    link.refuse(1);
    link.out.handle_refused(link.lane, seq(1));
    assert!(link.said().contains(&"2r".to_owned()), "there is credit for it");
}

#[test]
fn a_large_message_goes_in_parts_and_a_larger_one_compressed() {
    let mut link = Link::new();
    link.offer(150, Promise::WriteBehind).expect("room");
    assert_eq!(link.said(), ["1+", "1+", "1"]);
    link.offer(250, Promise::WriteBehind).expect("room");
    assert_eq!(link.said(), ["2c+", "2c+", "2c+", "2c"]);
}

#[test]
fn memory_is_bounded_and_room_is_announced() {
    let mut link = Link::closed(record(1, 0, 0));
    for _ in 0..8 {
        link.write_behind();
    }
    assert_eq!(link.offer(3, Promise::WriteBehind), Err(OfferError::Full));
    link.wait(MAX_DELAY);
    assert_eq!(link.append().len(), 8);
    assert_eq!(link.appended(AppendOutcome::Done), [Event::Room]);
}

#[test]
fn at_most_once_messages_dropped_with_the_link_make_room() {
    let mut link = Link::open(record(1, 0, 0), 0, 0);
    let offer = |link: &mut Link| link.out.offer_direct(link.lane, &Headers::EMPTY, Body::Borrowed(b"x"));
    assert_eq!(offer(&mut link), Ok(()));
    assert_eq!(offer(&mut link), Ok(()));
    assert_eq!(offer(&mut link), Err(OfferError::Full));
    link.out.handle_disconnected(link.now);
    assert_eq!(link.events(), [Event::Dropped(2), Event::Room]);
    assert_eq!(offer(&mut link), Err(OfferError::Unreachable));
}

#[test]
fn after_a_clear_the_hole_is_announced_and_late_acks_are_heard() {
    let mut link = Link::new();
    link.write_behind();
    link.write_behind();
    assert_eq!(link.said(), ["1", "2"]);
    link.out.clear_lane(link.lane);
    assert_eq!(link.out.memory(), Amount::default());
    assert!(matches!(link.ack(2)[..], [Event::Acked { through, .. }] if through == seq(2)));
    link.write_behind();
    assert_eq!(link.said(), ["3"]);
    link.out.handle_disconnected(link.now);
    link.connect(2, MANY);
    assert_eq!(link.said(), ["3r"]);
}
