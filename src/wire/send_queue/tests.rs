//! The rules of the queue, one test each.

use super::*;
use crate::wire::routing::RouteState;
use std::time::Duration;

#[derive(Debug, Clone)]
struct Candidate(NodeId, RouteState);

impl Target for Candidate {
    fn node(&self) -> &NodeId {
        &self.0
    }

    fn state(&self) -> RouteState {
        self.1
    }

    fn is_up(&self) -> bool {
        true
    }
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("valid")
}

/// A queue, the targets of its topic, and a clock.
struct Bench {
    queue: SendQueue,
    targets: Vec<Candidate>,
    start: Instant,
}

impl Bench {
    fn new(targets: &[&str]) -> Self {
        let targets = targets.iter().map(|name| Candidate(node(name), RouteState::Live)).collect();
        Bench { queue: SendQueue::new(), targets, start: Instant::now() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// Adds a send that is given up after so many milliseconds.
    fn send(&mut self, shape: Shape, ms: u64) -> SendId {
        self.send_as(shape, Guarantee::AtLeastOnce, OnFull::Wait, ms)
    }

    fn send_as(&mut self, shape: Shape, guarantee: Guarantee, on_full: OnFull, ms: u64) -> SendId {
        let deadline = self.at(ms);
        self.queue.enqueue(QueuedSend { shape, guarantee, deadline, on_full })
    }

    fn index(&self, name: &str) -> usize {
        position(&self.targets, &node(name)).expect("a target")
    }

    fn poll(&mut self) -> Option<SendQueueEvent> {
        self.queue.poll_event(&self.targets, || 0)
    }

    /// The next event is an offer of this message: that comes of it.
    fn offered(&mut self, send: SendId, message: usize, to: Destination, offered: Offered) {
        assert_eq!(self.poll(), Some(SendQueueEvent::Offer { send, message, to }));
        self.queue.handle_offered(send, offered);
    }

    fn finished(&mut self, send: SendId, outcome: SendOutcome) {
        assert_eq!(self.poll(), Some(SendQueueEvent::Finished { send, outcome }));
    }
}

fn full(name: &str) -> Offered {
    Offered::Blocked(Blocked::Full(node(name)))
}

fn not_open(name: &str) -> Offered {
    Offered::Blocked(Blocked::NotOpen(node(name)))
}

#[test]
fn sends_are_done_in_order_and_none_overtakes_one_that_waits() {
    let mut bench = Bench::new(&["a"]);
    let (first, second) = (bench.send(Shape::One, 100), bench.send(Shape::One, 100));
    bench.offered(first, 0, Destination::Next, full("a"));
    assert_eq!(bench.poll(), Some(SendQueueEvent::AwaitRoom(node("a"))));
    assert_eq!(bench.poll(), None, "the second waits for the first");
    bench.queue.handle_room(&node("a"));
    bench.offered(first, 0, Destination::Next, Offered::Taken);
    bench.finished(first, SendOutcome::Accepted);
    bench.offered(second, 0, Destination::Next, Offered::Taken);
    bench.finished(second, SendOutcome::Accepted);
    assert!(bench.poll().is_none() && bench.queue.is_idle());
}

#[test]
fn a_topic_without_targets_is_looked_up_once_and_then_nobody_serves_it() {
    let mut bench = Bench::new(&[]);
    let (first, second) = (bench.send(Shape::One, 100), bench.send(Shape::Batch(1), 100));
    let Some(SendQueueEvent::LookUp(look_up)) = bench.poll() else { panic!("no look-up") };
    assert_eq!(bench.poll(), None);
    bench.queue.handle_looked_up(look_up, true);
    bench.finished(first, SendOutcome::NoRoute);
    let Some(SendQueueEvent::LookUp(later)) = bench.poll() else { panic!("no look-up of its own") };
    bench.queue.handle_looked_up(look_up, true);
    assert_eq!(bench.poll(), None, "an old look-up says nothing of a later send");
    bench.targets = Bench::new(&["a"]).targets;
    bench.queue.handle_looked_up(later, true);
    bench.offered(second, 0, Destination::Target(bench.index("a")), Offered::Taken);
    bench.finished(second, SendOutcome::Accepted);
}

#[test]
fn a_look_up_or_an_opening_that_fails_fails_the_send() {
    let mut bench = Bench::new(&[]);
    let (first, second) = (bench.send(Shape::One, 100), bench.send(Shape::One, 100));
    let Some(SendQueueEvent::LookUp(look_up)) = bench.poll() else { panic!("no look-up") };
    bench.queue.handle_looked_up(look_up, false);
    bench.finished(first, SendOutcome::Failed);
    bench.targets = Bench::new(&["a"]).targets;
    bench.offered(second, 0, Destination::Next, not_open("a"));
    assert_eq!(bench.poll(), Some(SendQueueEvent::OpenLane(node("a"))));
    bench.queue.handle_opened(&node("a"), false);
    bench.finished(second, SendOutcome::Failed);
}

#[test]
fn a_lane_is_opened_once_however_many_wait_for_it() {
    let mut bench = Bench::new(&["a"]);
    let (first, second) = (bench.send(Shape::One, 10), bench.send(Shape::One, 100));
    bench.offered(first, 0, Destination::Next, not_open("a"));
    assert_eq!(bench.poll(), Some(SendQueueEvent::OpenLane(node("a"))));
    bench.queue.handle_timeout(bench.at(10));
    bench.finished(first, SendOutcome::Deadline);
    bench.offered(second, 0, Destination::Next, not_open("a"));
    assert_eq!(bench.poll(), None, "it is being opened");
    bench.queue.handle_opened(&node("a"), true);
    bench.offered(second, 0, Destination::Next, Offered::Taken);
    bench.finished(second, SendOutcome::Accepted);
}

#[test]
fn every_send_keeps_its_deadline_wherever_it_stands() {
    let mut bench = Bench::new(&["a"]);
    let (first, second) = (bench.send(Shape::One, 50), bench.send(Shape::One, 20));
    bench.offered(first, 0, Destination::Next, full("a"));
    assert_eq!(bench.poll(), Some(SendQueueEvent::AwaitRoom(node("a"))));
    assert_eq!(bench.queue.poll_timeout(), Some(bench.at(20)));
    bench.queue.handle_timeout(bench.at(19));
    assert_eq!(bench.poll(), None);
    bench.queue.handle_timeout(bench.at(20));
    bench.finished(second, SendOutcome::Deadline);
    bench.queue.handle_timeout(bench.at(50));
    bench.finished(first, SendOutcome::Deadline);
    assert_eq!((bench.poll(), bench.queue.poll_timeout()), (None, None));
}

#[test]
fn a_send_that_does_not_wait_is_rejected_where_there_is_no_room() {
    let mut bench = Bench::new(&["a"]);
    let first = bench.send_as(Shape::One, Guarantee::AtLeastOnce, OnFull::Reject, 100);
    bench.offered(first, 0, Destination::Next, full("a"));
    bench.finished(first, SendOutcome::QueueFull);
    let second = bench.send(Shape::One, 100);
    bench.offered(second, 0, Destination::Next, Offered::Blocked(Blocked::LaneFull));
    bench.finished(second, SendOutcome::QueueFull);
}

#[test]
fn a_batch_stays_on_one_lane_and_ends_where_it_cannot_go_on() {
    let mut bench = Bench::new(&["a", "b"]);
    let batch = bench.send(Shape::Batch(3), 100);
    bench.offered(batch, 0, Destination::Target(bench.index("a")), Offered::Taken);
    bench.targets.rotate_left(1);
    bench.offered(batch, 1, Destination::Target(bench.index("a")), Offered::Taken);
    bench.targets.retain(|target| target.0 == node("b"));
    bench.finished(batch, SendOutcome::NoRoute);
    let batch = bench.send(Shape::Batch(2), 100);
    bench.offered(batch, 0, Destination::Target(bench.index("b")), Offered::Taken);
    bench.offered(batch, 1, Destination::Target(bench.index("b")), Offered::Refused);
    bench.finished(batch, SendOutcome::Refused);
    let empty = bench.send(Shape::Batch(0), 100);
    bench.finished(empty, SendOutcome::Accepted);
}

#[test]
fn a_message_to_all_has_a_place_on_every_lane_or_on_none() {
    let mut bench = Bench::new(&["a", "b"]);
    let all = bench.send(Shape::All { commits: true }, 100);
    bench.offered(all, 0, Destination::Reserve(bench.index("a")), Offered::Taken);
    bench.offered(all, 0, Destination::Reserve(bench.index("b")), full("b"));
    assert_eq!(bench.poll(), Some(SendQueueEvent::Settle { send: all, outcome: GroupOutcome::Rejected }));
    assert_eq!(bench.poll(), Some(SendQueueEvent::AwaitRoom(node("b"))));
    bench.queue.handle_room(&node("b"));
    bench.offered(all, 0, Destination::Reserve(bench.index("a")), Offered::Taken);
    bench.offered(all, 0, Destination::Reserve(bench.index("b")), Offered::Taken);
    assert_eq!(bench.poll(), Some(SendQueueEvent::Commit(all)));
    assert_eq!(bench.poll(), None);
    bench.queue.handle_committed(all, true);
    assert_eq!(bench.poll(), Some(SendQueueEvent::Settle { send: all, outcome: GroupOutcome::Committed }));
    bench.finished(all, SendOutcome::Accepted);
    assert!(bench.poll().is_none() && bench.queue.is_idle());
}

#[test]
fn a_message_to_all_without_a_commit_is_accepted_when_all_have_it() {
    let mut bench = Bench::new(&["a"]);
    let all = bench.send(Shape::All { commits: false }, 100);
    bench.offered(all, 0, Destination::Reserve(bench.index("a")), Offered::Taken);
    assert_eq!(bench.poll(), Some(SendQueueEvent::Settle { send: all, outcome: GroupOutcome::WriteBehind }));
    bench.finished(all, SendOutcome::Accepted);
}

#[test]
fn a_deadline_during_a_commit_leaves_the_outcome_open_and_the_commit_goes_on() {
    let mut bench = Bench::new(&["a"]);
    let (all, next) = (bench.send(Shape::All { commits: true }, 10), bench.send(Shape::One, 100));
    bench.offered(all, 0, Destination::Reserve(bench.index("a")), Offered::Taken);
    assert_eq!(bench.poll(), Some(SendQueueEvent::Commit(all)));
    assert_eq!(bench.poll(), None, "the next one waits for the commit");
    bench.queue.handle_timeout(bench.at(10));
    bench.finished(all, SendOutcome::Indeterminate);
    bench.offered(next, 0, Destination::Next, Offered::Taken);
    bench.finished(next, SendOutcome::Accepted);
    assert!(!bench.queue.is_idle(), "the places are still to be settled");
    bench.queue.handle_committed(all, false);
    assert_eq!(bench.poll(), Some(SendQueueEvent::Settle { send: all, outcome: GroupOutcome::Rejected }));
    assert!(bench.poll().is_none() && bench.queue.is_idle());
}

#[test]
fn at_most_once_to_all_serves_each_node_for_itself() {
    let mut bench = Bench::new(&["a", "b", "c"]);
    let all = bench.send_as(Shape::All { commits: false }, Guarantee::AtMostOnce, OnFull::Reject, 100);
    bench.offered(all, 0, Destination::Target(bench.index("a")), Offered::Taken);
    bench.offered(all, 0, Destination::Target(bench.index("b")), full("b"));
    bench.offered(all, 0, Destination::Target(bench.index("c")), Offered::Taken);
    bench.finished(all, SendOutcome::QueueFull);
}

#[test]
fn at_most_once_has_no_route_to_a_released_node() {
    let mut bench = Bench::new(&[]);
    bench.targets.push(Candidate(node("old"), RouteState::Released));
    let send = bench.send_as(Shape::One, Guarantee::AtMostOnce, OnFull::Wait, 100);
    let Some(SendQueueEvent::LookUp(look_up)) = bench.poll() else { panic!("no look-up") };
    bench.queue.handle_looked_up(look_up, true);
    bench.finished(send, SendOutcome::NoRoute);
    let send = bench.send(Shape::One, 100);
    bench.offered(send, 0, Destination::Next, Offered::Taken);
    bench.finished(send, SendOutcome::Accepted);
}

#[test]
fn nothing_passes_while_there_is_a_ticket_and_tickets_have_a_limit() {
    let tickets = std::sync::Arc::new(Tickets::default());
    assert!(tickets.may_pass());
    let (first, second) = (tickets.take(2), tickets.take(2));
    assert!(first.is_some() && second.is_some() && tickets.take(2).is_none());
    drop(first);
    assert!(!tickets.may_pass() && tickets.waiting() == 1);
    drop(second);
    assert!(tickets.may_pass());
}
