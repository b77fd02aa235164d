//! `Journal`: batches, appends, trims, removals.

use super::*;
use futures::future::join_all;

pub(crate) async fn a_committed_batch_survives_a_crash(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=3)]).await;
    drop(process);
    let after = Process::start(medium.open(), "a").await;
    assert_eq!(after.queued(key).await, [1, 2, 3]);
}

pub(crate) async fn a_batch_happens_entirely_or_not_at_all(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let gone = process.open(&lane_on("gone"), 1).await.key;
    process.store.forget_lane(&process.fence, &lane_on("gone")).await.expect("forgets");
    let writes = vec![append(key, 1, 1..=40), append(gone, 1, 1..=1)];
    let refused = process.store.commit(&process.fence, batch(writes)).await;
    assert!(matches!(refused, Err(StoreError::NoLane(_))), "{refused:?}");
    assert_eq!(process.queued(key).await, []);
}

pub(crate) async fn a_repeated_batch_changes_nothing(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2)]).await;
    let writes = [trim(key, 1), append(key, 1, 3..=70)];
    process.commit(writes.clone()).await;
    let once = process.queued(key).await;
    assert_eq!(process.commit(writes).await, Committed::default());
    assert_eq!(process.queued(key).await, once);
}

pub(crate) async fn appends_of_any_size_come_back_in_order(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let mut next = 1;
    for size in [0, 1, 31, 32, 33, 63, 64, 100] {
        process.commit([append(key, 1, next..next + size)]).await;
        next += size;
    }
    assert_eq!(process.queued(key).await, (1..next).collect::<Vec<_>>());
}

pub(crate) async fn a_number_already_there_is_left_as_it_is(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2)]).await;
    let other = Stored { message: message("other"), ..stored(1, 2) };
    process.commit([Write::Append { lane: key, messages: vec![other, stored(1, 3)] }]).await;
    let page = process.store.load(key, Seq::ZERO, ALL).await.expect("loads");
    assert_eq!(page.messages, [stored(1, 1), stored(1, 2), stored(1, 3)]);
}

pub(crate) async fn acked_numbers_never_come_back(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5)]).await;
    process.commit([trim(key, 4)]).await;
    process.commit([append(key, 1, 1..=6)]).await;
    assert_eq!(process.queued(key).await, [5, 6]);
}

pub(crate) async fn trim_moves_only_forward(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5), trim(key, 3)]).await;
    process.commit([trim(key, 2)]).await;
    assert_eq!(process.queued(key).await, [4, 5]);
    let lane = process.open(&lane(), 2).await;
    assert_eq!((lane.acked, lane.next), (Seq::new(3), Seq::new(6)));
}

pub(crate) async fn trim_reaches_beyond_what_is_stored(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2), trim(key, 9)]).await;
    let lane = process.open(&lane(), 2).await;
    assert_eq!((lane.acked, lane.next), (Seq::new(9), Seq::new(10)));
    assert_eq!(process.queued(key).await, []);
}

pub(crate) async fn a_removed_message_is_gone_and_its_number_is_not_given_again(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=3)]).await;
    process.commit([Write::Remove { lane: key, seq: Seq::new(3) }]).await;
    assert_eq!(process.queued(key).await, [1, 2]);
    process.commit([trim(key, 2)]).await;
    assert_eq!(process.open(&lane(), 2).await.next, Seq::new(4));
}

pub(crate) async fn appending_to_a_forgotten_lane_is_refused(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.store.forget_lane(&process.fence, &lane()).await.expect("forgets");
    let refused = process.store.commit(&process.fence, batch([append(key, 1, 1..=1)])).await;
    assert!(matches!(refused, Err(StoreError::NoLane(k)) if k == key.get()), "{refused:?}");
    process.commit([trim(key, 1), Write::Remove { lane: key, seq: Seq::new(1) }]).await;
}

pub(crate) async fn a_lane_of_another_sender_takes_no_messages(medium: &dyn Medium) {
    let (_process, key) = sender(medium).await;
    let other = Process::start(medium.open(), "b").await;
    let refused = other.store.commit(&other.fence, batch([append(key, 1, 1..=1)])).await;
    assert!(matches!(refused, Err(StoreError::NoLane(_))), "{refused:?}");
    let back = LaneName { sender: node("b"), receiver: node("a"), ..lane() };
    let unopened = other.receive(&back).await.key;
    let refused = other.store.commit(&other.fence, batch([append(unopened, 1, 1..=1)])).await;
    assert!(matches!(refused, Err(StoreError::NoLane(_))), "not opened yet: {refused:?}");
}

pub(crate) async fn a_synced_batch_is_committed(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    for (n, synced) in [(1, true), (2, false), (3, true)] {
        let batch = Batch { writes: vec![append(key, 1, [n])], synced };
        process.store.commit(&process.fence, batch).await.expect("commits");
    }
    assert_eq!(process.queued(key).await, [1, 2, 3]);
}

pub(crate) async fn batches_committed_at_once_do_not_fail_each_other(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let gone = process.open(&lane_on("gone"), 1).await.key;
    process.store.forget_lane(&process.fence, &lane_on("gone")).await.expect("forgets");
    let lane_of = |n: u64| if n.is_multiple_of(5) { gone } else { key };
    let commits = (1..=40).map(|n| process.store.commit(&process.fence, batch([append(lane_of(n), 1, [n])])));
    for (n, result) in (1..).zip(join_all(commits).await) {
        assert_eq!(result.is_err(), n % 5 == 0, "{n}: {result:?}");
    }
    assert_eq!(process.queued(key).await, (1..=40).filter(|n| n % 5 != 0).collect::<Vec<_>>());
}

/// More batches than a store queues at a time.
const MANY: u64 = 600;

pub(crate) async fn batches_committed_at_once_take_effect_in_their_order(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    // Each is stale unless exactly those before it have taken effect.
    let to_next = |n| batch([advance(key, (n > 0).then_some(n), cursor(n + 1, 1))]);
    let commits = (0..MANY).map(|n| process.store.commit(&process.fence, to_next(n)));
    for (n, committed) in (0..).zip(join_all(commits).await) {
        assert_eq!(committed.expect("commits").stale, [], "{n}");
    }
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(MANY, 1)));
}
