//! The durable queue: appends, loads, groups and deadlines.

use super::*;

#[test]
fn a_write_behind_message_goes_at_once_and_is_stored_only_when_its_ack_is_late() {
    let mut link = Link::new();
    link.write_behind();
    link.write_behind();
    assert_eq!(link.said(), ["1", "2"]);
    assert!(matches!(link.ack(1)[..], [OutboundEvent::Acked { has_rows: false, .. }]));
    assert!(link.append().is_empty());
    link.wait(MAX_DELAY);
    assert_eq!(link.append(), [2]);
    assert_eq!(link.appended(AppendOutcome::Done), []);
    assert_eq!(link.out.memory(), Amount::default());
    let through = seq(2);
    let amount = Amount { messages: 1, bytes: 3 };
    assert_eq!(link.ack(2), [OutboundEvent::Acked { lane: link.lane, through, amount, has_rows: true }]);
    assert!(!link.out.has_work());
}

#[test]
fn a_committed_message_is_accepted_and_sent_only_after_its_commit() {
    let mut link = Link::new();
    link.committed();
    assert_eq!(link.append(), [1]);
    assert!(link.said().is_empty());
    assert_eq!(link.appended(AppendOutcome::Done), [OutboundEvent::Accepted { lane: link.lane, through: seq(1) }]);
    assert_eq!(link.said(), ["1s"]);
}

#[test]
fn what_waits_during_a_commit_goes_into_the_next_one_together() {
    let mut link = Link::new();
    link.committed();
    assert_eq!(link.append(), [1]);
    link.committed();
    link.committed();
    assert!(link.append().is_empty());
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
fn a_restarted_sender_loads_its_queue_page_by_page() {
    let mut link = Link::open(record(4, 0, 3), 0, MANY);
    assert!(link.said().is_empty());
    let Some(OutboundEvent::Load { id, after, .. }) = link.out.poll_event() else { panic!("loads") };
    assert_eq!(after, Seq::ZERO);
    link.out.handle_loaded(
        link.now,
        link.lane,
        id,
        Some(LoadedPage { messages: vec![stored(1), stored(2)], is_last: false }),
    );
    assert_eq!(link.said(), ["1sr", "2sr"]);
    let Some(OutboundEvent::Load { id, after, .. }) = link.out.poll_event() else { panic!("loads on") };
    assert_eq!(after, seq(2));
    link.out.handle_loaded(link.now, link.lane, id, Some(LoadedPage { messages: vec![stored(3)], is_last: true }));
    assert_eq!(link.said(), ["3sr"]);
    assert_eq!(link.events(), []);
}

#[test]
fn a_page_of_nothing_but_newer_rows_ends_the_load() {
    let mut link = Link::open(record(4, 0, 3), 0, MANY);
    link.said();
    let Some(OutboundEvent::Load { id, .. }) = link.out.poll_event() else { panic!("loads") };
    link.out.handle_loaded(link.now, link.lane, id, Some(LoadedPage { messages: vec![stored(9)], is_last: false }));
    assert!(link.said().is_empty());
    assert_eq!(link.events(), []);
}

#[test]
fn a_failed_load_is_repeated_after_a_while() {
    let mut link = Link::open(record(2, 0, 1), 0, MANY);
    link.said();
    let Some(OutboundEvent::Load { id, .. }) = link.out.poll_event() else { panic!("loads") };
    link.out.handle_loaded(link.now, link.lane, id, None);
    assert!(link.said().is_empty());
    assert_eq!(link.events(), []);
    link.wait(RETRY);
    link.said();
    assert!(matches!(link.events()[..], [OutboundEvent::Load { .. }]));
}

#[test]
fn past_its_deadline_a_message_the_store_never_had_is_rejected_and_others_go_on() {
    let mut link = Link::new();
    link.committed();
    link.append();
    link.appended(AppendOutcome::Failed);
    link.now += Duration::from_secs(2);
    let rejected = OutboundEvent::Rejected { lane: link.lane, seq: seq(1), why: Rejection::Store };
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
    assert_eq!(link.out.poll_event(), Some(OutboundEvent::Indeterminate { lane: link.lane, seq: seq(1) }));
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
    assert_eq!(
        link.events(),
        [OutboundEvent::Indeterminate { lane, seq: seq(1) }, OutboundEvent::Rejected { lane, seq: seq(2), why }]
    );
    assert_eq!(link.out.memory(), Amount::default());
}

#[test]
fn a_rejected_group_lets_go_what_was_committed_behind_it() {
    let mut link = Link::new();
    let first = link.group();
    let second = link.group();
    link.out.finish_group(link.lane, second, GroupOutcome::Committed);
    assert!(link.said().is_empty(), "order: the first is not decided");
    link.out.finish_group(link.lane, first, GroupOutcome::Rejected);
    assert_eq!(link.said(), ["skip 1-1", "2s"]);
}

#[test]
fn an_append_does_not_pass_a_group_that_is_under_way_and_the_timer_rests() {
    let mut link = Link::new();
    let group = link.group();
    link.committed();
    link.now += MAX_DELAY;
    assert!(link.rests());
    link.out.finish_group(link.lane, group, GroupOutcome::WriteBehind);
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
    link.out.finish_group(link.lane, group, GroupOutcome::Committed);
    assert_eq!(link.out.memory(), Amount::default());
    assert_eq!(link.said(), ["2s"]);
}
