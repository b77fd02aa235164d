//! `DeadLetters` and the dead-letter writes of `Journal`.

use super::*;
use liner::{LaneId, MessageId};

fn letter(to: &str, n: u64, origin: DeadLetterOrigin) -> DeadLetter {
    let id = MessageId { lane: LaneId::new(lane_on(to)), incarnation: inc(1), seq: Seq::new(n) };
    let headers = Headers::builder().with("k", "v").build().expect("valid");
    let message = Message { headers, ..message("body") };
    let mut letter = DeadLetter::new(id, origin, message);
    (letter.reason, letter.attempts, letter.died_ms) = (format!("reason {n}"), 10, 5);
    letter
}

fn failed(to: &str, n: u64) -> DeadLetter {
    letter(to, n, DeadLetterOrigin::Handler)
}

fn keep(letter: &DeadLetter) -> Write {
    Write::DeadLetter(Box::new(letter.clone()))
}

async fn list(process: &Process, filter: &DeadLetterFilter) -> Vec<(DeadLetterId, DeadLetter)> {
    process.store.dead_letters(&process.fence.node, filter, None, usize::MAX).await.expect("lists")
}

async fn letters(process: &Process) -> Vec<DeadLetter> {
    list(process, &DeadLetterFilter::default()).await.into_iter().map(|(_, letter)| letter).collect()
}

pub(crate) async fn a_letter_moves_with_the_cursor_in_one_batch(medium: &dyn Medium) {
    let (process, key) = receiver(medium).await;
    process.commit([advance(key, None, cursor(1, 4)), keep(&failed("b-topic", 4))]).await;
    drop(process);
    let (process, _) = receiver(medium).await;
    assert_eq!(process.receive(&lane()).await.cursor, Some(cursor(1, 4)));
    assert_eq!(letters(&process).await, [failed("b-topic", 4)]);
}

pub(crate) async fn the_same_letter_is_kept_once(medium: &dyn Medium) {
    let (process, _) = receiver(medium).await;
    let first = failed("b-topic", 4);
    let mut again = first.clone();
    again.reason = "another".to_owned();
    process.commit([keep(&first), keep(&again)]).await;
    process.commit([keep(&again), keep(&failed("b-topic", 5))]).await;
    assert_eq!(letters(&process).await, [first, failed("b-topic", 5)]);
}

pub(crate) async fn letters_belong_to_the_side_where_they_died(medium: &dyn Medium) {
    let (sending, _) = sender(medium).await;
    let (receiving, _) = receiver(medium).await;
    let refused = letter("b-topic", 1, DeadLetterOrigin::Refused);
    let failed = letter("b-topic", 1, DeadLetterOrigin::Handler);
    sending.commit([keep(&refused)]).await;
    receiving.commit([keep(&failed)]).await;
    assert_eq!(letters(&sending).await, [refused]);
    assert_eq!(letters(&receiving).await, [failed]);
    let id = list(&sending, &DeadLetterFilter::default()).await[0].0;
    receiving.commit([Write::RemoveDeadLetter(id)]).await;
    assert_eq!(letters(&sending).await.len(), 1, "nobody removes another's letters");
}

pub(crate) async fn letters_are_listed_in_pages_and_filtered(medium: &dyn Medium) {
    let (process, _) = receiver(medium).await;
    let kept = [failed("x", 1), failed("y", 1), failed("x", 2), failed("x", 3)];
    process.commit(kept.each_ref().map(keep)).await;
    let all = list(&process, &DeadLetterFilter::default()).await;
    let ids: Vec<_> = all.iter().map(|(id, _)| *id).collect();
    assert!(ids.is_sorted());
    let page = async |filter: DeadLetterFilter, after, limit| {
        let page = process.store.dead_letters(&node("b"), &filter, after, limit).await.expect("lists");
        page.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(page(DeadLetterFilter::default(), None, 2).await, ids[..2]);
    assert_eq!(page(DeadLetterFilter::default(), Some(ids[1]), 2).await, ids[2..]);
    let on_x = DeadLetterFilter::default().topic(topic("x"));
    assert_eq!(page(on_x.clone(), Some(ids[0]), 9).await, ids[2..]);
    let named = DeadLetterFilter::default().id(ids[3]).id(ids[1]).id(ids[1]);
    assert_eq!(page(named.clone(), None, 9).await, [ids[1], ids[3]]);
    assert_eq!(page(named.clone(), None, 1).await, [ids[1]]);
    assert_eq!(page(named.topic(topic("x")), None, 9).await, [ids[3]]);
}

pub(crate) async fn purge_deletes_what_matches(medium: &dyn Medium) {
    let (process, _) = receiver(medium).await;
    process.commit([keep(&failed("x", 1)), keep(&failed("y", 1)), keep(&failed("x", 2))]).await;
    let purge = async |filter: DeadLetterFilter| process.store.purge_dead_letters(&process.fence, &filter).await;
    let first = list(&process, &DeadLetterFilter::default()).await[0].0;
    assert_eq!(purge(DeadLetterFilter::default().id(first).topic(topic("y"))).await.expect("purges"), 0);
    assert_eq!(purge(DeadLetterFilter::default().id(first)).await.expect("purges"), 1);
    assert_eq!(purge(DeadLetterFilter::default().topic(topic("x"))).await.expect("purges"), 1);
    assert_eq!(letters(&process).await, [failed("y", 1)]);
    assert_eq!(purge(DeadLetterFilter::default()).await.expect("purges"), 1);
}

pub(crate) async fn a_handled_replay_removes_its_letter_and_ids_are_not_reused(medium: &dyn Medium) {
    let (process, _) = receiver(medium).await;
    process.commit([keep(&failed("x", 1))]).await;
    let first = list(&process, &DeadLetterFilter::default()).await[0].0;
    for _ in 0..2 {
        process.commit([Write::RemoveDeadLetter(first)]).await;
        assert_eq!(letters(&process).await, []);
    }
    process.commit([keep(&failed("x", 1))]).await;
    assert_ne!(list(&process, &DeadLetterFilter::default()).await[0].0, first);
}
