//! `Outbox`: lanes, incarnations, numbers, pages.

use super::*;

fn spans(lane: &OutboxLane) -> Vec<(Incarnation, u64)> {
    lane.spans.iter().map(|span| (span.incarnation, span.first.get())).collect()
}

pub(crate) async fn a_new_lane_starts_at_one(medium: &dyn Medium) {
    let process = Process::start(medium.open(), "a").await;
    let opened = process.open(&lane(), 1).await;
    assert_eq!(spans(&opened), [(inc(1), 1)]);
    assert_eq!((opened.next, opened.acked), (Seq::new(1), Seq::ZERO));
    assert_eq!((opened.predecessor, opened.pending), (None, Amount::default()));
    assert_eq!(*opened.id.name(), lane());
}

pub(crate) async fn opening_again_with_the_same_incarnation_changes_nothing(medium: &dyn Medium) {
    let process = Process::start(medium.open(), "a").await;
    let opened = process.open(&lane(), 1).await;
    assert_eq!(process.open(&lane(), 1).await, opened);
    process.commit([append(opened.key, 1, 1..=3)]).await;
    let again = process.open(&lane(), 1).await;
    assert_eq!(again.spans, opened.spans);
    assert_eq!((again.next, again.pending.messages), (Seq::new(4), 3));
}

pub(crate) async fn numbers_continue_over_incarnations_and_crashes(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5), trim(key, 3)]).await;
    drop(process);
    let process = Process::start(medium.open(), "a").await;
    assert_eq!(process.open(&lane(), 2).await.next, Seq::new(6));
    process.commit([trim(key, 5)]).await;
    drop(process);
    let process = Process::start(medium.open(), "a").await;
    assert_eq!(process.open(&lane(), 3).await.next, Seq::new(6), "an empty queue does not start again");
}

pub(crate) async fn incarnations_with_queued_messages_are_listed_oldest_first(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2)]).await;
    process.open(&lane(), 2).await;
    process.commit([append(key, 2, 3..=4), trim(key, 1)]).await;
    let opened = process.open(&lane(), 3).await;
    assert_eq!(spans(&opened), [(inc(1), 1), (inc(2), 3), (inc(3), 5)]);
    assert_eq!(opened.predecessor, None);
    let page = process.store.load(key, Seq::ZERO, ALL).await.expect("loads");
    let rows: Vec<_> = page.messages.iter().map(|stored| (stored.incarnation, stored.seq.get())).collect();
    assert_eq!(rows, [(inc(1), 2), (inc(2), 3), (inc(2), 4)], "rows keep their incarnation");
}

pub(crate) async fn incarnations_trimmed_away_become_the_predecessor(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2)]).await;
    process.open(&lane(), 2).await;
    process.commit([append(key, 2, 3..=4), trim(key, 3)]).await;
    let opened = process.open(&lane(), 3).await;
    assert_eq!((spans(&opened), opened.predecessor), (vec![(inc(2), 3), (inc(3), 5)], Some(inc(1))));
    process.commit([append(key, 3, 5..=5), trim(key, 5)]).await;
    let opened = process.open(&lane(), 4).await;
    assert_eq!((spans(&opened), opened.predecessor), (vec![(inc(4), 6)], Some(inc(3))));
}

pub(crate) async fn restarts_without_traffic_do_not_break_the_chain(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2), trim(key, 2)]).await;
    process.open(&lane(), 2).await;
    let opened = process.open(&lane(), 3).await;
    assert_eq!((spans(&opened), opened.predecessor), (vec![(inc(2), 3), (inc(3), 3)], Some(inc(1))));
}

pub(crate) async fn lanes_are_remembered_and_differ_by_each_of_their_names(medium: &dyn Medium) {
    let process = Process::start(medium.open(), "a").await;
    let base = lane();
    let mut names = vec![
        base.clone(),
        LaneName { source: topic("a-other"), ..base.clone() },
        LaneName { receiver: node("c"), ..base.clone() },
        LaneName { topic: topic("c-topic"), ..base.clone() },
    ];
    let mut keys = Vec::new();
    for name in &names {
        keys.push(process.open(name, 1).await.key);
    }
    let foreign = LaneName { sender: node("z"), ..base };
    process.receive(&foreign).await;
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), names.len());
    drop(process);
    let store = medium.open();
    let remembered = store.lanes(&node("a")).await.expect("lists");
    names.sort();
    assert_eq!(remembered.iter().map(|id| id.name().clone()).collect::<Vec<_>>(), names);
    assert_eq!(store.lanes(&node("z")).await.expect("lists"), [], "its sender has not opened it");
}

pub(crate) async fn names_with_separators_do_not_collide(medium: &dyn Medium) {
    let process = Process::start(medium.open(), "a").await;
    let name = |receiver: &str, to: &str| LaneName { receiver: node(receiver), topic: topic(to), ..lane() };
    let names = [name("b", "c:d"), name("b:c", "d"), name("b%3Ac", "d"), name("b", "d"), name("b:c", "e")];
    for (n, name) in (1..).zip(&names) {
        let key = process.open(name, 1).await.key;
        process.commit([append(key, 1, 1..=n)]).await;
    }
    for (n, name) in (1..).zip(&names) {
        assert_eq!(process.open(name, 1).await.pending.messages, n, "{name}");
    }
}

pub(crate) async fn load_pages_by_count(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5)]).await;
    let limit = PageLimit { messages: 2, bytes: usize::MAX };
    let mut after = Seq::ZERO;
    for (numbers, end) in [(vec![1, 2], false), (vec![3, 4], false), (vec![5], true)] {
        let page = process.store.load(key, after, limit).await.expect("loads");
        assert_eq!(page.messages.iter().map(|stored| stored.seq.get()).collect::<Vec<_>>(), numbers);
        assert_eq!(page.end, end);
        after = page.messages.last().expect("not empty").seq;
    }
}

pub(crate) async fn load_pages_by_bytes_and_always_moves(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let sized = |n, size| Stored { message: message(&"x".repeat(size)), ..stored(1, n) };
    let messages = vec![sized(1, 1000), sized(2, 10), sized(3, 10), sized(4, 11)];
    process.commit([Write::Append { lane: key, messages }]).await;
    let load = async |after, bytes| {
        let limit = PageLimit { messages: 100, bytes };
        let page = process.store.load(key, Seq::new(after), limit).await.expect("loads");
        (page.messages.iter().map(|stored| stored.seq.get()).collect::<Vec<_>>(), page.end)
    };
    assert_eq!(load(0, 20).await, (vec![1], false), "the first comes whatever its size");
    assert_eq!(load(1, 20).await, (vec![2, 3], false));
    assert_eq!(load(1, 30).await, (vec![2, 3], false));
    assert_eq!(load(1, 31).await, (vec![2, 3, 4], true));
}

pub(crate) async fn load_says_where_the_queue_ends(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let limit = PageLimit { messages: 2, bytes: usize::MAX };
    let empty = process.store.load(key, Seq::ZERO, limit).await.expect("loads");
    assert_eq!(empty, Page { messages: vec![], end: true });
    process.commit([append(key, 1, 1..=2)]).await;
    assert!(process.store.load(key, Seq::ZERO, limit).await.expect("loads").end, "a full page may be the last");
    let beyond = process.store.load(key, Seq::new(u64::MAX), limit).await.expect("loads");
    assert_eq!(beyond, Page { messages: vec![], end: true });
}

pub(crate) async fn messages_come_back_byte_for_byte(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let headers = Headers::builder().with("trace", [0, 0xff]).build().expect("valid");
    let payload: Vec<u8> = (0..100_000u32).map(|n| (n % 256) as u8).collect();
    let full = Message { headers, payload: Payload::new(payload).expect("not empty") };
    let sent = vec![Stored { message: full, accepted_ms: u64::MAX, ..stored(1, 1) }, stored(1, 2)];
    process.commit([Write::Append { lane: key, messages: sent.clone() }]).await;
    drop(process);
    let page = medium.open().load(key, Seq::ZERO, ALL).await.expect("loads");
    assert_eq!(page.messages, sent);
}

pub(crate) async fn pending_counts_messages_and_bytes_per_lane(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.open(&lane_on("empty"), 1).await;
    let other = process.open(&lane_on("other"), 1).await;
    let headers = Headers::builder().with("k", "v").build().expect("valid");
    let with_headers = Stored { message: Message { headers, ..message("five!") }, ..stored(1, 1) };
    process.commit([append(key, 1, 8..=11), Write::Append { lane: other.key, messages: vec![with_headers] }]).await;
    process.commit([trim(key, 8)]).await;
    let pending = process.store.pending(&node("a")).await.expect("counts");
    let counted: Vec<_> = pending.iter().map(|p| (p.lane.name().clone(), p.amount, p.oldest_ms)).collect();
    let first = Amount { messages: 3, bytes: 5 };
    let second = Amount { messages: 1, bytes: 10 };
    assert_eq!(counted, [(lane(), first, Some(1009)), (lane_on("other"), second, Some(1001))]);
    assert_eq!(process.open(&lane(), 2).await.pending, first);
    assert_eq!(process.store.pending(&node("b")).await.expect("counts"), []);
}

pub(crate) async fn clear_drops_queues_and_keeps_numbers(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5), trim(key, 1)]).await;
    let (other, _) = receiver(medium).await;
    let back = LaneName { sender: node("b"), receiver: node("a"), ..lane() };
    let back = other.open(&back, 1).await.key;
    other.commit([append(back, 1, 1..=1)]).await;
    let dropped = process.store.clear(&process.fence).await.expect("clears");
    assert_eq!(dropped, Amount { messages: 4, bytes: 4 });
    assert_eq!(process.store.clear(&process.fence).await.expect("clears"), Amount::default());
    assert_eq!(process.queued(key).await, []);
    assert_eq!(other.queued(back).await, [1], "nothing of anyone else's");
    let opened = process.open(&lane(), 2).await;
    assert_eq!((opened.key, opened.next, opened.predecessor), (key, Seq::new(6), Some(inc(1))));
}

pub(crate) async fn forget_drops_the_lane_itself(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=2)]).await;
    let other = Process::start(medium.open(), "b").await;
    let nothing = other.store.forget_lane(&other.fence, &lane()).await.expect("forgets nothing");
    assert_eq!(nothing, Amount::default(), "only its sender forgets a lane");
    let dropped = process.store.forget_lane(&process.fence, &lane()).await.expect("forgets");
    assert_eq!(dropped, Amount { messages: 2, bytes: 2 });
    assert_eq!(process.store.forget_lane(&process.fence, &lane()).await.expect("forgets"), Amount::default());
    assert_eq!(process.store.lanes(&node("a")).await.expect("lists"), []);
    assert_eq!(process.queued(key).await, []);
    let again = process.open(&lane(), 2).await;
    assert_ne!(again.key, key);
    assert_eq!((spans(&again), again.predecessor), (vec![(inc(2), 1)], None));
}

pub(crate) async fn adoption_touches_nothing_of_ours(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    process.commit([append(key, 1, 1..=5), trim(key, 2)]).await;
    let before = process.open(&lane(), 1).await;
    let fence = Fence { node: process.fence.node.clone(), epoch: process.fence.epoch };
    assert_eq!(process.store.adopt(&fence).await.expect("looks"), Adopted::default());
    assert_eq!(process.open(&lane(), 1).await, before);
    assert_eq!(process.store.load(key, Seq::ZERO, ALL).await.expect("loads").messages.len(), 3);
}
