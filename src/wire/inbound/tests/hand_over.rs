//! Handing over, dispositions and dead letters.

use super::*;

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
fn a_batch_is_answered_before_the_next_and_its_order_holds_over_a_nack() {
    let mut link = Link::new(10);
    (1..=3).for_each(|n| link.plain(n));
    assert_eq!(link.handed(), [1, 2, 3]);
    link.inn.close_batch(SLOT);
    link.plain(4);
    assert!(link.handed().is_empty(), "the batch is not answered");
    link.answer(0, done());
    link.answer(1, nack());
    link.answer(2, Disposition::Untried);
    assert!(link.handed().is_empty(), "the nack is waited out");
    link.wait(Duration::from_millis(100));
    let again: Vec<_> = link.hand_over().iter().map(|d| (d.token, d.attempt, d.redelivered)).collect();
    assert_eq!(again, [(1, 2, true), (2, 1, false), (3, 1, false)]);
}

#[test]
fn an_at_most_once_message_that_was_not_tried_is_not_lost() {
    let mut link = Link::new(10);
    link.data(0, DataFlags::DIRECT, 3).expect("in order");
    assert_eq!(link.handed(), [0]);
    link.answer(0, Disposition::Untried);
    assert_eq!(link.handed(), [0]);
    assert_eq!(link.inn.counts().dropped, 0);
}

#[test]
fn an_attempt_that_was_not_made_is_not_recorded_again() {
    let mut link = Link::of(InboundConfig { record_attempts: true, ..config() }, 10);
    link.data(1, DataFlags::REDELIVERED, 3).expect("in order");
    assert!(link.handed().is_empty());
    assert_eq!(link.events().len(), 1);
    link.inn.handle_recorded(SLOT, 0);
    assert_eq!(link.handed(), [1]);
    link.answer(0, Disposition::Untried);
    assert_eq!((link.handed(), link.events()), (vec![1], vec![]));
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
    assert!(matches!(
        &events[..],
        [InboundEvent::DeadLetter { attempts: 2, advance: CursorStep::Advance { expected: None }, .. }]
    ));
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
    assert!(matches!(
        link.events()[..],
        [InboundEvent::DeadLetter { advance: CursorStep::Advance { expected: Some(A) }, .. }]
    ));
    // The letter took its cursor along; the confirmation was lost, and the repeated advance finds another incarnation.
    link.inn.handle_advanced(SLOT, Err(Some(at(A, 2))));
    assert_eq!(link.events(), []);
    link.inn.handle_dead_lettered(link.now, SLOT, 1);
    assert!(link.inn.is_settled());
}

#[test]
fn what_a_leaving_subscriber_has_not_tried_goes_to_the_next_one() {
    let mut link = Link::new(2);
    link.plain(1);
    link.data(0, DataFlags::DIRECT, 3).expect("any time");
    assert_eq!(link.handed(), [1, 0]);
    link.inn.unsubscribe(&topic("to"));
    link.answer(0, Disposition::Untried);
    link.answer(1, Disposition::Untried);
    link.subscribe(2);
    let again = link.hand_over();
    assert_eq!(again.len(), 2);
    assert_eq!((again[0].place, again[0].attempt, again[0].redelivered), (Some(at(A, 1)), 1, false));
}

#[test]
fn messages_may_be_held_ready_for_a_subscriber_until_one_fails() {
    let mut link = Link::new(1);
    link.inn.set_prefetch(SLOT, 2);
    for n in 1..=5 {
        link.plain(n);
    }
    assert_eq!(link.handed(), [1, 2, 3]);
    link.answer(0, nack());
    link.answer(1, Disposition::Untried);
    assert!(link.handed().is_empty(), "before all are back");
    link.answer(2, Disposition::Untried);
    assert!(link.handed().is_empty(), "before the backoff is over");
    link.wait(Duration::from_millis(100));
    assert_eq!(link.handed(), [1, 2, 3]);
    link.inn.set_prefetch(SLOT, 0);
    link.answer(0, done());
    assert!(link.handed().is_empty());
    link.inn.handle_handled(link.now, SLOT, 1..3, 1);
    assert_eq!(link.handed(), [4]);
}

#[test]
fn nothing_overtakes_what_was_held_ready_for_an_earlier_subscriber() {
    let mut link = Link::new(3);
    link.plain(1);
    link.plain(2);
    assert_eq!(link.handed(), [1, 2]);
    link.inn.set_paused(&topic("to"), true);
    link.subscribe(3);
    assert!(link.take_now(3, DataFlags::empty()).is_none());
    assert!(link.handed().is_empty());
    link.answer(1, Disposition::Untried);
    link.inn.set_paused(&topic("to"), false);
    assert_eq!(link.handed(), [2, 3]);
}

#[test]
fn an_answer_to_an_earlier_attempt_means_nothing() {
    let mut link = Link::new(1);
    link.plain(1);
    assert_eq!(link.handed(), [1]);
    link.answer(0, nack());
    link.wait(Duration::from_millis(100));
    assert_eq!(link.hand_over()[0].attempt, 2);
    link.inn.handle_handled(link.now, SLOT, 0..1, 1);
    link.inn.handle_disposition(link.now, SLOT, 0, 1, nack(), || 0);
    assert!(!link.inn.is_settled());
    link.inn.handle_handled(link.now, SLOT, 0..1, 2);
    assert!(link.said().contains(&"ack 1".to_owned()));
}

#[test]
fn a_message_that_nothing_waits_before_may_be_handed_over_as_it_comes() {
    let mut link = Link::new(2);
    let first = link.take_now(1, DataFlags::empty()).expect("nothing waits");
    assert_eq!((first.token, first.attempt, first.redelivered), (0, 1, false));
    let second = link.take_now(2, DataFlags::REDELIVERED).expect("nothing waits");
    assert_eq!((second.token, second.attempt, second.redelivered), (1, 1, true));
    assert!(link.take_now(3, DataFlags::empty()).is_none(), "it waits");
    link.inn.handle_handled(link.now, SLOT, 0..2, 1);
    assert_eq!(link.handed(), [3]);
    assert!(link.take_now(3, DataFlags::empty()).is_none(), "a duplicate");
    assert_eq!(link.take_now(4, DataFlags::empty()).map(|next| next.token), Some(3));
    link.answer(3, nack());
    assert!(link.take_now(5, DataFlags::empty()).is_none(), "behind one that failed");
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
        [
            InboundEvent::DeadLetter { token: 0, attempts: 2, .. },
            InboundEvent::RecordAttempt { token: 1, attempts: 2, .. }
        ]
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
    assert!(matches!(link.events()[..], [InboundEvent::RecordAttempt { token: 0, attempts: 2, .. }]));
    link.inn.handle_recorded(SLOT, 0);
    assert_eq!(link.handed(), [1], "whatever its in_flight");
    assert_eq!(link.events(), [], "no attempt of the next is recorded yet");
    link.answer(0, done());
    link.handed();
    let recorded = |e: &InboundEvent| match e {
        InboundEvent::RecordAttempt { token, attempts: 1, .. } => Some(*token),
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
fn a_callback_takes_a_message_as_it_comes_and_what_it_nacks_is_queued() {
    let mut link = Link::with(config());
    link.inn.subscribe(topic("to"), SubscriberSpec { in_flight: 1, timeout: None, borrows: true });
    link.resume(0, &[(A, 1)], None);
    link.said();
    assert_eq!(link.pass(1, true), Some(1));
    assert_eq!(link.said()[0], "ack 1");
    assert_eq!(link.pass(2, false), Some(2));
    assert_eq!(link.pass(3, true), None, "it waits behind the second");
    assert!(link.handed().is_empty(), "before the backoff is over");
    link.wait(Duration::from_millis(100));
    let again = link.hand_over();
    assert_eq!((again.len(), again[0].attempt, again[0].redelivered), (1, 2, true));
    assert_eq!(again[0].message.payload.len(), 3, "it was brought back");
    link.answer(again[0].token, done());
    assert_eq!(link.handed().len(), 1);
    link.answer(again[0].token + 1, done());
    assert_eq!(link.said()[0], "ack 3");
    assert_eq!(link.pass(4, true), Some(4), "nothing waits any more");
}

#[test]
fn what_a_borrower_brings_back_is_handed_over_again() {
    let mut link = Link::with(config());
    link.resume(0, &[(A, 1)], None);
    link.plain(1);
    link.inn.subscribe(topic("to"), SubscriberSpec { in_flight: 1, timeout: None, borrows: true });
    let first = link.hand_over().remove(0);
    link.inn.handle_return(SLOT, first.token, first.message);
    link.answer(first.token, Disposition::Untried);
    assert_eq!(link.hand_over()[0].message.payload.len(), 3);
}
