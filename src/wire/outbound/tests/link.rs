//! The connection: credit, retries, refusals, parts and memory.

use super::*;

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
fn a_refused_message_becomes_a_dead_letter_and_the_lane_goes_on_behind_it() {
    let mut link = Link::new();
    for _ in 0..3 {
        link.write_behind();
    }
    assert_eq!(link.said(), ["1", "2", "3"]);
    let events = link.refuse(2);
    assert!(matches!(&events[..], [OutboundEvent::Refused { seq: s, message: Some(_), .. }] if *s == seq(2)));
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
    link.offer(6000, AcceptMode::WriteBehind).expect("room");
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
    link.offer(190, AcceptMode::WriteBehind).expect("room");
    let first = link.out.poll_transmit().expect("a part");
    assert!(codec::frames(&first).count() < 4, "not the whole message");
    link.refuse(1);
    link.out.handle_refused(link.lane, seq(1));
    assert!(link.said().contains(&"2r".to_owned()), "there is credit for it");
}

#[test]
fn a_large_message_goes_in_parts_and_a_larger_one_compressed() {
    let mut link = Link::new();
    link.offer(150, AcceptMode::WriteBehind).expect("room");
    assert_eq!(link.said(), ["1+", "1+", "1"]);
    link.offer(250, AcceptMode::WriteBehind).expect("room");
    assert_eq!(link.said(), ["2c+", "2c+", "2c+", "2c"]);
}

#[test]
fn memory_is_bounded_and_room_is_announced() {
    let mut link = Link::closed(record(1, 0, 0));
    for _ in 0..8 {
        link.write_behind();
    }
    assert_eq!(link.offer(3, AcceptMode::WriteBehind), Err(OfferError::Full));
    link.wait(MAX_DELAY);
    assert_eq!(link.append().len(), 8);
    assert_eq!(link.appended(AppendOutcome::Done), [OutboundEvent::Room]);
}

#[test]
fn at_most_once_messages_dropped_with_the_link_make_room() {
    let mut link = Link::open(record(1, 0, 0), 0, 0);
    let offer = |link: &mut Link| link.out.offer_direct(link.lane, &Headers::EMPTY, Body::Borrowed(b"x"));
    assert_eq!(offer(&mut link), Ok(()));
    assert_eq!(offer(&mut link), Ok(()));
    assert_eq!(offer(&mut link), Err(OfferError::Full));
    link.out.handle_disconnected(link.now);
    assert_eq!(link.events(), [OutboundEvent::Dropped(2), OutboundEvent::Room]);
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
    assert!(matches!(link.ack(2)[..], [OutboundEvent::Acked { through, .. }] if through == seq(2)));
    link.write_behind();
    assert_eq!(link.said(), ["3"]);
    link.out.handle_disconnected(link.now);
    link.connect(2, MANY);
    assert_eq!(link.said(), ["3r"]);
}

#[test]
fn a_refused_message_that_a_group_append_brings_back_is_removed_again() {
    let mut link = Link::new();
    link.write_behind();
    assert_eq!(link.said(), ["1"]);
    let group = link.group();
    assert_eq!(link.out.group_rows(link.lane, group).len(), 2, "the append takes the first along");
    assert_eq!(link.refuse(1).len(), 1);
    link.out.handle_refused(link.lane, seq(1));
    link.out.finish_group(link.lane, group, GroupOutcome::Committed);
    let again = link.events();
    assert!(matches!(&again[..], [OutboundEvent::Refused { seq: s, .. }] if *s == seq(1)), "{again:?}");
    assert!(link.said().is_empty(), "its row may be there");
    link.out.handle_refused(link.lane, seq(1));
    assert_eq!(link.said(), ["skip 1-1", "2s"]);
}

#[test]
fn a_refusal_that_a_group_append_meets_halfway_is_repeated() {
    let mut link = Link::new();
    link.write_behind();
    link.said();
    let group = link.group();
    link.refuse(1);
    link.out.finish_group(link.lane, group, GroupOutcome::Committed);
    link.out.handle_refused(link.lane, seq(1));
    assert_eq!(link.events().len(), 1, "its row may have come after the removal");
    link.out.handle_refused(link.lane, seq(1));
    assert_eq!(link.said(), ["skip 1-1", "2s"]);
}
