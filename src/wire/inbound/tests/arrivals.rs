//! What arrives, and what is wrong with it.

use super::*;

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
    let view = link.inn.lanes[SLOT].view.as_ref().expect("open");
    assert_eq!(view.window.consumed(), Amount { messages: 2, bytes: 351 });
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
fn skips_in_a_row_are_held_as_one() {
    let mut link = Link::new(1);
    link.plain(1);
    link.handed();
    for n in 2..100 {
        link.skip(n, n).expect("in order");
    }
    assert!(link.inn.lanes[SLOT].queue.iter().count() <= 2);
    link.answer(0, done());
    assert_eq!(link.said(), ["ack 99", "credit 5"]);
}
