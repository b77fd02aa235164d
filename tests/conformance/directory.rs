//! `Directory`: epochs, routes, leases, tombstones, changes.

use super::*;
use futures::FutureExt as _;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// Longer than any machine needs to answer, short enough to fail a test.
const PATIENCE: Duration = Duration::from_secs(20);

impl Process {
    async fn publish(&self, to: &str, addr: &str, lease: Duration) {
        self.store.publish(&self.fence, &topic(to), addr, false, lease).await.expect("publishes");
    }

    /// (node, addresses, live) of each route.
    async fn routes(&self, to: &str) -> Vec<(String, Vec<String>, bool)> {
        let entry = self.store.topic(&topic(to)).await.expect("looks up");
        entry.routes.into_iter().map(|route| (route.node.to_string(), route.addrs, route.live)).collect()
    }

    async fn tombstones(&self, to: &str) -> Vec<NodeId> {
        self.store.topic(&topic(to)).await.expect("looks up").tombstones
    }
}

fn route(name: &str, addrs: &[&str], live: bool) -> (String, Vec<String>, bool) {
    (name.to_owned(), addrs.iter().map(|addr| (*addr).to_owned()).collect(), live)
}

pub(crate) async fn each_start_takes_the_next_epoch(medium: &dyn Medium) {
    let first = Process::start(medium.open(), "a").await;
    let second = Process::start(medium.open(), "a").await;
    assert!(second.fence.epoch > first.fence.epoch);
    assert_eq!(Process::start(medium.open(), "b").await.fence.epoch, first.fence.epoch, "names count alone");
}

pub(crate) async fn a_start_after_a_crash_is_not_clean(medium: &dyn Medium) {
    let store = medium.open();
    assert!(store.register(&node("a")).await.expect("registers").clean, "there was none before");
    assert!(!medium.open().register(&node("a")).await.expect("registers").clean);
    let process = Process::start(medium.open(), "a").await;
    process.store.release(&process.fence).await.expect("releases");
    let after = store.register(&node("a")).await.expect("registers");
    assert!(after.clean);
    assert!(after.epoch > process.fence.epoch, "the epoch stays when released");
}

/// Every write there is, tried by a process on the lane `key`: its name and how it failed.
async fn try_all_writes(process: &Process, key: LaneKey) -> Vec<(&'static str, Option<StoreError>)> {
    let (s, f, t, n) = (&process.store, &process.fence, &topic("t"), &node("b"));
    let all = DeadLetterFilter::default();
    vec![
        ("commit", s.commit(f, batch([append(key, 1, 1..=1)])).await.err()),
        ("open_lane", s.open_lane(f, &lane(), inc(2)).await.err()),
        ("clear", s.clear(f).await.err()),
        ("forget_lane", s.forget_lane(f, &lane()).await.err()),
        ("receive_lane", s.receive_lane(f, &lane_on("new")).await.err()),
        ("purge_dead_letters", s.purge_dead_letters(f, &all).await.err()),
        ("publish", s.publish(f, t, "2.2.2.2:2", false, HOUR).await.err()),
        ("unpublish", s.unpublish(f, t).await.err()),
        ("set_tombstone", s.set_tombstone(f, t, n, true).await.err()),
        ("renew", s.renew(f, HOUR).await.err()),
        ("release", s.release(f).await.err()),
        ("clear_addresses", s.clear_addresses(f, t).await.err()),
        ("forget_node", s.forget_node(f, n).await.err()),
        ("remember_peer", s.remember_peer(f, n, "3.3.3.3:3").await.err()),
    ]
}

pub(crate) async fn every_write_of_a_fenced_process_is_refused(medium: &dyn Medium) {
    let (old, key) = sender(medium).await;
    old.publish("t", "1.1.1.1:1", HOUR).await;
    let new = Process::start(medium.open(), "a").await;
    for (operation, error) in try_all_writes(&old, key).await {
        assert!(matches!(error, Some(StoreError::Fenced)), "{operation}: {error:?}");
    }
    assert_eq!(new.queued(key).await, []);
    assert_eq!(new.routes("t").await, [route("a", &["1.1.1.1:1"], false)]);
    assert_eq!(new.open(&lane(), 2).await.key, key);
}

pub(crate) async fn a_published_address_is_a_route(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    let b = Process::start(medium.open(), "b").await;
    assert_eq!(a.routes("t").await, []);
    b.publish("t", "2.2.2.2:2", HOUR).await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    let both = [route("a", &["1.1.1.1:1"], true), route("b", &["2.2.2.2:2"], true)];
    assert_eq!(a.routes("t").await, both);
    assert_eq!(a.routes("other").await, []);
}

pub(crate) async fn publishing_again_moves_the_node(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    a.publish("u", "1.1.1.1:1", HOUR).await;
    a.publish("t", "1.1.1.1:2", HOUR).await;
    a.publish("t", "1.1.1.1:2", HOUR).await;
    assert_eq!(a.routes("t").await, [route("a", &["1.1.1.1:2"], true)]);
    assert_eq!(a.routes("u").await, [route("a", &["1.1.1.1:1"], true)], "other topics stay as they are");
}

pub(crate) async fn a_route_dies_with_its_lease(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    a.publish("t", "1.1.1.1:1", Duration::ZERO).await;
    assert_eq!(a.routes("t").await, [route("a", &["1.1.1.1:1"], false)]);
    for (lease, live) in [(HOUR, true), (Duration::ZERO, false), (Duration::MAX, true)] {
        a.store.renew(&a.fence, lease).await.expect("renews");
        assert_eq!(a.routes("t").await, [route("a", &["1.1.1.1:1"], live)]);
    }
}

pub(crate) async fn a_new_process_does_not_revive_routes_of_the_old(medium: &dyn Medium) {
    let old = Process::start(medium.open(), "a").await;
    old.publish("t", "1.1.1.1:1", HOUR).await;
    old.publish("u", "1.1.1.1:1", HOUR).await;
    let new = Process::start(medium.open(), "a").await;
    assert_eq!(new.routes("t").await, [route("a", &["1.1.1.1:1"], false)]);
    new.publish("t", "1.1.1.1:2", HOUR).await;
    assert_eq!(new.routes("t").await, [route("a", &["1.1.1.1:2"], true)]);
    assert_eq!(new.routes("u").await, [route("a", &["1.1.1.1:1"], false)], "not subscribed again");
}

pub(crate) async fn routes_without_a_lease_never_expire(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    for _ in 0..2 {
        a.store.seed(&topic("t"), &node("b"), "2.2.2.2:2").await.expect("seeds");
    }
    a.store.seed(&topic("t"), &node("c"), "2.2.2.2:2").await.expect("the row is there");
    assert_eq!(a.routes("t").await, [route("b", &["2.2.2.2:2"], true)]);
    let b = Process::start(medium.open(), "b").await;
    b.publish("t", "2.2.2.2:2", HOUR).await;
    b.store.release(&b.fence).await.expect("releases");
    assert_eq!(a.routes("t").await, [route("b", &["2.2.2.2:2"], true)], "publishing a seed leases nothing");
}

pub(crate) async fn several_addresses_are_one_node(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    a.store.seed(&topic("t"), &node("b"), "0.localhost:2").await.expect("seeds");
    let b = Process::start(medium.open(), "b").await;
    b.publish("t", "127.0.0.1:2", Duration::ZERO).await;
    assert_eq!(a.routes("t").await, [route("b", &["127.0.0.1:2", "0.localhost:2"], true)]);
}

pub(crate) async fn several_topics_are_looked_up_as_each_of_them(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    let b = Process::start(medium.open(), "b").await;
    let topics: Vec<_> = (0..2500).map(|n| topic(&format!("t{n}"))).collect();
    for name in ["t0", "t1", "t2499"] {
        a.publish(name, "1.1.1.1:1", HOUR).await;
        b.publish(name, "2.2.2.2:2", Duration::ZERO).await;
    }
    b.store.unpublish(&b.fence, &topics[1]).await.expect("unpublishes");
    let found = a.store.topics(&topics).await.expect("looks up");
    assert_eq!(found.len(), topics.len());
    for at in [0, 1, 2, 2499] {
        assert_eq!(found[at], a.store.topic(&topics[at]).await.expect("looks up"), "{at}");
    }
    assert_eq!((found[0].routes.len(), found[1].routes.len(), found[1].tombstones.len()), (2, 1, 1));
    assert!(found[2..2499].iter().all(|entry| *entry == TopicEntry::default()));
    let twice = a.store.topics(&[topics[1].clone(), topics[1].clone()]).await.expect("looks up");
    assert_eq!(twice, [found[1].clone(), found[1].clone()]);
    assert_eq!(a.store.topics(&[]).await.expect("looks up"), []);
}

pub(crate) async fn an_address_serves_one_node(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    let b = Process::start(medium.open(), "b").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    b.publish("t", "1.1.1.1:1", HOUR).await;
    assert_eq!(a.routes("t").await, [route("b", &["1.1.1.1:1"], true)], "the last to bind it has it");
}

pub(crate) async fn unsubscribing_leaves_a_tombstone(medium: &dyn Medium) {
    let b = Process::start(medium.open(), "b").await;
    b.publish("t", "2.2.2.2:2", HOUR).await;
    b.store.seed(&topic("t"), &node("b"), "localhost:2").await.expect("seeds");
    b.store.unpublish(&b.fence, &topic("t")).await.expect("unpublishes");
    assert_eq!(b.routes("t").await, []);
    assert_eq!(b.tombstones("t").await, [node("b")]);
    assert_eq!(b.tombstones("u").await, []);
}

pub(crate) async fn subscribing_removes_the_tombstone(medium: &dyn Medium) {
    let b = Process::start(medium.open(), "b").await;
    b.store.unpublish(&b.fence, &topic("t")).await.expect("unpublishes");
    b.store.publish(&b.fence, &topic("t"), "2.2.2.2:2", true, HOUR).await.expect("publishes");
    assert_eq!(b.routes("t").await, [route("b", &["2.2.2.2:2"], true)]);
    assert_eq!(b.tombstones("t").await, []);
}

pub(crate) async fn a_row_added_later_counts_more_than_a_tombstone(medium: &dyn Medium) {
    let b = Process::start(medium.open(), "b").await;
    b.store.unpublish(&b.fence, &topic("t")).await.expect("unpublishes");
    b.store.seed(&topic("t"), &node("b"), "2.2.2.2:2").await.expect("seeds");
    assert_eq!(b.tombstones("t").await, []);
}

pub(crate) async fn a_tombstone_told_by_a_link_counts_although_seeds_name_the_node(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    a.store.seed(&topic("t"), &node("b"), "2.2.2.2:2").await.expect("seeds");
    a.store.set_tombstone(&a.fence, &topic("t"), &node("b"), true).await.expect("notes");
    assert_eq!(a.routes("t").await, [route("b", &["2.2.2.2:2"], true)]);
    assert_eq!(a.tombstones("t").await, [node("b")]);
    a.store.set_tombstone(&a.fence, &topic("t"), &node("b"), false).await.expect("notes");
    assert_eq!(a.tombstones("t").await, []);
}

pub(crate) async fn release_takes_back_what_was_leased(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    a.publish("u", "1.1.1.1:1", HOUR).await;
    a.store.seed(&topic("u"), &node("a"), "localhost:1").await.expect("seeds");
    for _ in 0..2 {
        a.store.release(&a.fence).await.expect("releases");
    }
    assert_eq!(a.routes("t").await, []);
    assert_eq!(a.routes("u").await, [route("a", &["localhost:1"], true)]);
    assert_eq!(a.tombstones("t").await, [], "released is not unsubscribed");
}

pub(crate) async fn clearing_addresses_and_forgetting_nodes_count_what_goes(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    let b = Process::start(medium.open(), "b").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    b.publish("t", "2.2.2.2:2", HOUR).await;
    b.publish("u", "2.2.2.2:2", HOUR).await;
    assert_eq!(a.store.clear_addresses(&a.fence, &topic("t")).await.expect("clears"), 2);
    assert_eq!((a.routes("t").await.len(), a.routes("u").await.len()), (0, 1));
    b.store.unpublish(&b.fence, &topic("t")).await.expect("unpublishes");
    a.store.remember_peer(&a.fence, &node("b"), "2.2.2.2:2").await.expect("remembers");
    assert_eq!(a.store.forget_node(&a.fence, &node("b")).await.expect("forgets"), 3);
    assert_eq!(a.routes("u").await, []);
    assert_eq!(a.tombstones("t").await, []);
    assert_eq!(a.store.peers(&node("a")).await.expect("lists"), []);
    assert!(a.store.register(&node("b")).await.expect("registers").epoch > b.fence.epoch, "its epoch stays");
}

pub(crate) async fn peers_are_remembered_with_their_last_address(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    for (peer, addr) in [("c", "3.3.3.3:3"), ("b", "2.2.2.2:1"), ("b", "2.2.2.2:2")] {
        a.store.remember_peer(&a.fence, &node(peer), addr).await.expect("remembers");
    }
    drop(a);
    let store = medium.open();
    let peers = [(node("b"), "2.2.2.2:2".to_owned()), (node("c"), "3.3.3.3:3".to_owned())];
    assert_eq!(store.peers(&node("a")).await.expect("lists"), peers);
    assert_eq!(store.peers(&node("b")).await.expect("lists"), []);
}

pub(crate) async fn handles_on_one_medium_share_an_id(medium: &dyn Medium) {
    let first = medium.open().facts().await.expect("answers");
    assert_eq!(medium.open().facts().await.expect("answers"), first);
    assert!(!first.durability.is_empty() && !first.description.is_empty() && first.max_message > 0);
}

/// Waits for a change on a thread of its own, which has begun to wait when this returns.
fn watch(store: &SharedStore) -> mpsc::Receiver<Instant> {
    let store = SharedStore::clone(store);
    let (seen, answer) = mpsc::channel();
    let (started, waiting) = mpsc::channel();
    std::thread::spawn(move || {
        let mut change = store.changed();
        let early = (&mut change).now_or_never();
        started.send(()).expect("test waits");
        early.unwrap_or_else(|| futures::executor::block_on(change)).expect("watches");
        // The test may have ended.
        let _ = seen.send(Instant::now());
    });
    waiting.recv().expect("thread runs");
    answer
}

pub(crate) async fn a_change_is_seen_within_100_ms_by_all_handles(medium: &dyn Medium) {
    let a = Process::start(medium.open(), "a").await;
    let other = medium.open();
    for store in [&a.store, &other] {
        // What happened so far.
        a.publish("t", "1.1.1.1:9", HOUR).await;
        watch(store).recv_timeout(PATIENCE).expect("sees the past");
    }
    let mut slowest = Vec::new();
    for round in 0..5 {
        let watching = [watch(&a.store), watch(&other)];
        a.publish("t", &format!("1.1.1.1:{round}"), HOUR).await;
        let committed = Instant::now();
        let seen = watching.map(|watch| watch.recv_timeout(PATIENCE).expect("sees the change"));
        slowest.extend(seen.iter().map(|at| at.saturating_duration_since(committed)).max());
    }
    let best = slowest.iter().min().expect("five rounds");
    assert!(*best <= Duration::from_millis(100), "{slowest:?}");
}

pub(crate) async fn a_change_before_the_call_is_not_missed(medium: &dyn Medium) {
    let watching = medium.open();
    let a = Process::start(medium.open(), "a").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    watch(&watching).recv_timeout(PATIENCE).expect("sees what happened since it was opened");
    a.store.unpublish(&a.fence, &topic("t")).await.expect("unpublishes");
    watch(&watching).recv_timeout(PATIENCE).expect("sees what happened since the last call");
}

pub(crate) async fn a_dropped_wait_misses_nothing(medium: &dyn Medium) {
    let watching = medium.open();
    assert!(watching.changed().now_or_never().is_none());
    let a = Process::start(medium.open(), "a").await;
    a.publish("t", "1.1.1.1:1", HOUR).await;
    watch(&watching).recv_timeout(PATIENCE).expect("sees the change");
}

pub(crate) async fn queues_do_not_wake_watchers(medium: &dyn Medium) {
    let (process, key) = sender(medium).await;
    let watching = medium.open();
    process.publish("t", "1.1.1.1:1", HOUR).await;
    watch(&watching).recv_timeout(PATIENCE).expect("sees the route");
    let watch = watch(&watching);
    process.commit([append(key, 1, 1..=3), trim(key, 2)]).await;
    process.store.renew(&process.fence, HOUR).await.expect("renews");
    let none = watch.recv_timeout(Duration::from_millis(200));
    assert_eq!(none, Err(mpsc::RecvTimeoutError::Timeout), "nothing of the catalogue changed");
}
