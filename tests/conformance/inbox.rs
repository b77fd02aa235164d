//! `Inbox` and the cursor writes of `Journal`.

use super::*;

fn attempt(lane: LaneKey, incarnation: u64, n: u64, attempts: u32) -> Write {
    Write::Attempt { lane, incarnation: inc(incarnation), seq: Seq::new(n), attempts }
}

pub(crate) async fn a_new_lane_has_no_cursor(medium: &dyn Medium) {
    let process = Process::start(medium.open(), "b").await;
    let found = process.receive(&lane()).await;
    assert_eq!((found.cursor, found.attempts.len()), (None, 0));
    assert_eq!(process.receive(&lane()).await, found, "finding it again changes nothing");
}

pub(crate) async fn the_cursor_survives_a_crash(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    assert_eq!(process.commit([advance(key, None, cursor(1, 7))]).await.stale, []);
    drop(process);
    let (process, key_after) = receiver(medium).await;
    assert_eq!(key_after, key);
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(1, 7)));
}

pub(crate) async fn the_cursor_moves_only_forward(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    process.commit([advance(key, None, cursor(1, 7))]).await;
    let committed = process.commit([advance(key, Some(1), cursor(1, 5))]).await;
    assert_eq!(committed.stale, []);
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(1, 7)));
}

pub(crate) async fn a_writer_wrong_about_the_incarnation_changes_nothing_and_is_told(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    let other = process.receive(&lane_on("other")).await.key;
    assert_eq!(process.commit([advance(key, Some(9), cursor(2, 1))]).await.stale, [key]);
    process.commit([advance(key, None, cursor(1, 7))]).await;
    for expected in [None, Some(9)] {
        let writes = [advance(key, expected, cursor(2, 8)), advance(other, None, cursor(3, 1))];
        assert_eq!(process.commit(writes).await.stale, [key], "expected {expected:?}");
    }
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(1, 7)));
    assert_eq!(process.receive(&lane_on("other")).await.cursor, Some(cursor(3, 1)), "the rest of the batch counts");
}

pub(crate) async fn a_repeated_advance_is_not_stale(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    for write in [advance(key, None, cursor(1, 7)), advance(key, Some(1), cursor(2, 8))] {
        for _ in 0..2 {
            assert_eq!(process.commit([write.clone()]).await.stale, []);
        }
    }
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(2, 8)));
}

pub(crate) async fn a_new_incarnation_may_start_lower(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    process.commit([advance(key, None, cursor(1, 57))]).await;
    assert_eq!(process.commit([advance(key, Some(1), cursor(2, 1))]).await.stale, []);
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(2, 1)));
}

pub(crate) async fn attempts_are_kept_until_the_cursor_passes_them(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    process.commit([attempt(key, 1, 3, 1), attempt(key, 1, 4, 1), attempt(key, 1, 4, 2), attempt(key, 2, 9, 1)]).await;
    drop(process);
    let (process, key) = receiver(medium).await;
    let all = vec![(inc(1), Seq::new(3), 1), (inc(1), Seq::new(4), 2), (inc(2), Seq::new(9), 1)];
    assert_eq!(process.receive(&lane()).await.attempts, all);
    process.commit([advance(key, None, cursor(1, 3))]).await;
    assert_eq!(process.receive(&lane()).await.attempts, all[1..]);
    process.commit([advance(key, Some(1), cursor(1, 4))]).await;
    assert_eq!(process.receive(&lane()).await.attempts, all[2..]);
}

pub(crate) async fn attempts_of_an_incarnation_that_ended_go(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    process.commit([advance(key, None, cursor(1, 57)), attempt(key, 1, 58, 1), attempt(key, 2, 2, 1)]).await;
    process.commit([advance(key, Some(1), cursor(2, 1))]).await;
    assert_eq!(process.receive(&lane()).await.attempts, [(inc(2), Seq::new(2), 1)]);
}

pub(crate) async fn sender_and_receiver_meet_in_one_lane(medium: &dyn Medium) {
    let (receiving, key) = receiver(medium).await;
    let (sending, sender_key) = sender(medium).await;
    assert_eq!(sender_key, key);
    receiving.commit([advance(key, None, cursor(1, 7))]).await;
    assert_eq!(sending.receive(&lane()).await.cursor, Some(cursor(1, 7)), "the sender sees how far the receiver is");
}

pub(crate) async fn a_receiver_trims_what_it_has_handled(medium: &dyn Medium) {
    let (sending, key) = sender(medium).await;
    sending.commit([append(key, 1, 1..=3)]).await;
    let (receiving, _) = receiver(medium).await;
    receiving.commit([advance(key, None, cursor(1, 2)), trim(key, 2)]).await;
    assert_eq!(sending.queued(key).await, [3]);
}

pub(crate) async fn a_forgotten_lane_makes_the_cursor_stale(medium: &dyn Medium) {
    let (sending, key) = sender(medium).await;
    let (receiving, _) = receiver(medium).await;
    receiving.commit([advance(key, None, cursor(1, 2))]).await;
    sending.store.forget_lane(&sending.fence, &lane()).await.expect("forgets");
    assert_eq!(receiving.commit([advance(key, Some(1), cursor(1, 3))]).await.stale, [key]);
    let again = receiving.receive(&lane()).await;
    assert_ne!(again.key, key, "keys are never reused");
    assert_eq!(again.cursor, None);
}
