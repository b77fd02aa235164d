//! Cursors, and what is acked of them.

use super::*;

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
fn an_ack_waits_a_moment_for_others_unless_it_is_for_much() {
    let mut link = Link::with(InboundConfig { window_messages: 80, window_bytes: 1 << 20, ..config() });
    link.subscribe(100);
    link.resume(0, &[(A, 1)], None);
    link.said();
    link.plain(1);
    link.handed();
    link.answer(0, done());
    assert!(link.said().is_empty());
    assert_eq!(link.inn.poll_timeout(), Some(link.now + ACK_DELAY));
    link.wait(ACK_DELAY);
    assert_eq!(link.said(), ["ack 1"]);
    for n in 2..=11 {
        link.plain(n);
        link.handed();
        link.answer(n - 1, done());
    }
    assert_eq!(link.said(), ["ack 11"], "an eighth of the window is handled");
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
    assert!(matches!(link.events()[..], [InboundEvent::LaneRestarted(_)]));
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
    assert_eq!(link.inn.lanes[SLOT].view.as_ref().map(|view| view.ix()), Some(LaneIx(8)));
}
