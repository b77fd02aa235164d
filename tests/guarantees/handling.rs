//! Guarantees 9 to 14: failing handlers, restarts of numbering, names, topics without a handler, and stores that are not
//! ours.

use crate::support::*;
use liner::stores::{DeadLetterFilter, DeadLetterOrigin};
use liner::{
    BatchNack, BatchReply, ClearStoredMessages, Config, Delivery, Limits, ListDeadLetters, MeshEvent, Nack,
    PurgeDeadLetters, Receive, ReplayDeadLetters, SendError, SendTo, SpawnError, Timing,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// A config whose nacks are repeated at once.
fn impatient(config: Config) -> Config {
    let (shortest, longest) = (Duration::from_millis(1), Duration::from_millis(5));
    let timing = Timing::default().nack_backoff_min(shortest).nack_backoff_max(longest);
    config.timing(timing).limits(Limits::default().max_attempts(3))
}

async fn g09_a_nack_redelivers_in_lane_order(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut inbox = Inbox::scripted(|d| match (inbox::text(d).as_str(), d.attempt) {
        ("1", 1) => Reply::Nack(Nack::new("not yet")),
        ("1", 2) => Reply::Nack(Nack::after(Duration::from_millis(2), "not yet")),
        _ => Reply::Ok,
    });
    billing.call(Receive::new(inbox.recipient.clone()).in_flight(1)).await.expect("receives").detach();
    orders.send_all("billing", &texts("", 3)).await;
    let mut got = Vec::new();
    for _ in 0..5 {
        let delivery = inbox.next().await;
        assert!(delivery.redelivered || delivery.attempt == 1);
        got.push((inbox::text(&delivery), delivery.attempt));
    }
    let expected = [("0", 1), ("1", 1), ("1", 2), ("1", 3), ("2", 1)];
    assert_eq!(got, expected.map(|(text, attempt)| (text.to_owned(), attempt)));
    orders.settled().await;
}

async fn g09_after_too_many_failures_a_message_is_a_dead_letter_and_can_be_replayed(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut events = Events::of(&billing).await;
    let mended = Arc::new(AtomicBool::new(false));
    let works = mended.clone();
    let mut inbox = Inbox::scripted(move |d| match inbox::text(d).as_str() {
        "bad" if !works.load(Ordering::Relaxed) => Reply::Nack(Nack::new("cannot")),
        _ => Reply::Ok,
    });
    inbox.receive(&billing).await;
    let receipt = orders.send("billing", "bad").await;
    orders.send("billing", "good").await;
    let dead = |e: &MeshEvent| matches!(e, MeshEvent::DeadLettered { id, reason, .. } if *id == receipt.id && reason == "cannot");
    events.wait("a dead letter", dead).await;
    orders.settled().await;
    while inbox.text().await != "good" {}
    let letters = billing.call(ListDeadLetters::default()).await.expect("lists");
    let (_, letter) = &letters[0];
    assert_eq!((letters.len(), &letter.id, letter.attempts), (1, &receipt.id, 3));
    assert_eq!((letter.origin, letter.reason.as_str()), (DeadLetterOrigin::Handler, "cannot"));
    let replay = async || {
        let replayed = billing.call(ReplayDeadLetters::default()).await.expect("replays");
        (replayed.done, replayed.failed)
    };
    assert_eq!(replay().await, (0, 1));
    mended.store(true, Ordering::Relaxed);
    assert_eq!(replay().await, (1, 0));
    assert!(billing.call(ListDeadLetters::default()).await.expect("lists").is_empty());
}

async fn g09_dead_letters_are_purged_by_filter(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut events = Events::of(&billing).await;
    let failing = || Inbox::scripted(|_| Reply::Nack(Nack::after(Duration::ZERO, "no")));
    let (own, other) = (failing(), failing());
    own.receive(&billing).await;
    let _other = other.subscribe(&billing, "other").await;
    orders.send("billing", "x").await;
    orders.send("other", "y").await;
    for _ in 0..2 {
        events.wait("a dead letter", |e| matches!(e, MeshEvent::DeadLettered { .. })).await;
    }
    let filter = DeadLetterFilter::default().topic(topic("other"));
    assert_eq!(billing.call(PurgeDeadLetters::new(filter)).await.expect("purges"), 1);
    let left = billing.call(ListDeadLetters::default()).await.expect("lists");
    assert_eq!(left.iter().map(|(_, l)| l.id.lane.topic().as_str()).collect::<Vec<_>>(), ["billing"]);
}

async fn g05_batches_handed_off_to_a_thread_keep_their_order_over_a_nack(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let (batches, taken) = std::sync::mpsc::channel::<(Vec<Delivery>, BatchReply)>();
    let (seen, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let mut gives_back = true;
    std::thread::spawn(move || {
        'batches: for (batch, reply) in taken {
            for (at, delivery) in batch.iter().enumerate() {
                match (inbox::text(delivery).as_str(), delivery.attempt) {
                    ("3", 1) => {
                        reply.nack(BatchNack::new(at, Nack::new("not yet")));
                        continue 'batches;
                    }
                    ("5", _) if std::mem::take(&mut gives_back) => {
                        reply.give_back(at);
                        continue 'batches;
                    }
                    (text, attempt) => seen.send((text.to_owned(), attempt)).expect("the test waits"),
                }
            }
            reply.ack();
        }
    });
    let handoff = Receive::handoff(move |batch, reply| batches.send((batch, reply)).expect("the thread lives"));
    billing.call(handoff).await.expect("receives").detach();
    orders.send_all("billing", &texts("", 10)).await;
    for n in 0..10 {
        let expected = (n.to_string(), if n == 3 { 2 } else { 1 });
        assert_eq!(handled.recv().await, Some(expected));
    }
    orders.settled().await;
    let stats = billing.stats().await;
    assert_eq!((stats.handled, stats.nacked), (10, 1));
}

async fn g09_a_batch_that_is_dropped_has_failed(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut events = Events::of(&billing).await;
    billing.call(Receive::handoff(|_, reply| drop(reply))).await.expect("receives").detach();
    orders.send("billing", "x").await;
    let dead = |e: &MeshEvent| matches!(e, MeshEvent::DeadLettered { reason, .. } if reason == "the batch was dropped");
    events.wait("a dead letter", dead).await;
    assert_eq!(billing.call(ListDeadLetters::default()).await.expect("lists").len(), 1);
}

async fn g09_a_callback_that_panics_is_a_nack(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let calls = Arc::new(AtomicU32::new(0));
    let count = calls.clone();
    let receive = Receive::callback(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => panic!("the test says so"),
        _ => Ok(()),
    });
    billing.call(receive).await.expect("receives").detach();
    orders.send("billing", "x").await;
    orders.settled().await;
    let stats = billing.stats().await;
    assert_eq!((calls.load(Ordering::Relaxed), stats.nacked, stats.handled), (2, 1, 1));
}

async fn g09_an_actor_that_panics_nacks_and_the_next_subscriber_goes_on(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut failing = Inbox::scripted(|_| Reply::Panic);
    let subscription = billing.call(Receive::new(failing.recipient.clone())).await.expect("receives");
    let receipt = orders.send("billing", "x").await;
    failing.next().await;
    drop(subscription);
    let again = Inbox::at(&billing).await.next().await;
    // The actor may get it a second time while it dies.
    assert!(again.id == receipt.id && again.attempt >= 2);
    orders.settled().await;
}

async fn g09_a_message_that_takes_too_long_does_not_fail_those_handled_in_time(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(impatient(mesh.config("billing"))).await;
    let mut inbox = Inbox::scripted(|d| match (inbox::text(d).as_str(), d.attempt) {
        ("0", 1) => Reply::Hold,
        _ => Reply::Ok,
    });
    // Long enough for the others on a busy machine.
    let receive = Receive::new(inbox.recipient.clone()).timeout(Duration::from_secs(5));
    billing.call(receive).await.expect("receives").detach();
    orders.send("billing", "0").await;
    assert_eq!(inbox.text().await, "0");
    orders.send("billing", "1").await;
    assert_eq!(inbox.texts(2).await, ["1", "0"]);
    orders.settled().await;
    let stats = billing.stats().await;
    assert_eq!((stats.nacked, stats.handled), (1, 2), "only the one that was held has failed");
}

async fn g09_a_handler_that_takes_too_long_has_failed(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let config = impatient(mesh.config("billing")).limits(Limits::default().max_attempts(u32::MAX));
    let billing = Node::start(config).await;
    // On a busy machine, time may be up before the subscriber runs at all: it never sees that attempt then.
    let mut held = false;
    let mut inbox = Inbox::scripted(move |_| if std::mem::replace(&mut held, true) { Reply::Ok } else { Reply::Hold });
    let receive = Receive::new(inbox.recipient.clone()).timeout(Duration::from_millis(30));
    billing.call(receive).await.expect("receives").detach();
    orders.send("billing", "x").await;
    assert!(inbox.next().await.attempt < inbox.next().await.attempt);
    orders.settled().await;
}

async fn g09_a_message_that_kills_its_process_ends_as_a_dead_letter_alone(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let mut killed = 0;
    let _alive = loop {
        let billing = Node::start(impatient(mesh.config("billing"))).await;
        let mut inbox = Inbox::scripted(|d| if inbox::text(d) == "poison" { Reply::Hold } else { Reply::Ok });
        inbox.receive(&billing).await;
        if killed == 0 {
            orders.send_all("billing", &["poison".to_owned(), "next".to_owned()]).await;
        }
        if inbox.text().await == "next" {
            let letters = billing.call(ListDeadLetters::default()).await.expect("lists");
            assert_eq!(letters.len(), 1);
            break billing;
        }
        killed += 1;
        assert!(killed <= 4, "three attempts, and the first one that nobody recorded");
        billing.crash().await;
    };
    assert!(killed >= 3, "it was tried {killed} times");
    orders.settled().await;
}

async fn g10_what_was_cleared_stays_away_and_what_follows_arrives(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    orders.settled().await;
    billing.shutdown().await;
    orders.send_all("billing", &texts("cleared", 10)).await;
    assert_eq!(orders.call(ClearStoredMessages).await.expect("clears").messages, 10);
    assert_eq!(orders.pending().await, 0);
    orders.send("billing", "after").await;
    let billing = Node::start(mesh.config("billing")).await;
    inbox.receive(&billing).await;
    assert_eq!(inbox.text().await, "after");
    orders.settled().await;
}

#[actix::test]
async fn g10_a_sender_that_lost_its_file_is_heard_and_reported() {
    let mesh = Mesh::sqlite();
    let billing = Node::start(mesh.apart("billing")).await;
    let mut events = Events::of(&billing).await;
    let mut inbox = Inbox::at(&billing).await;
    let at = billing.bound().await;
    for file in ["first", "second"] {
        let config = Config::sqlite("orders-1", "orders", mesh.path(file)).seed("billing", "billing-1", &at);
        let orders = Node::start(config).await;
        orders.send_all("billing", &texts(file, 5)).await;
        assert_eq!(inbox.texts(5).await, texts(file, 5));
        orders.settled().await;
        orders.shutdown().await;
    }
    events.wait("the restart is reported", |e| matches!(e, MeshEvent::LaneRestarted { .. })).await;
}

async fn g11_the_newer_process_of_a_name_wins_and_the_older_stops(mesh: Mesh) {
    let older = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    older.send("billing", "older").await;
    assert_eq!(inbox.text().await, "older");
    let mut events = Events::of(&older).await;
    let newer = Node::start(mesh.config("orders")).await;
    let fenced = soon("an answer", older.addr.send(SendTo::new("billing", "never"))).await;
    assert!(!matches!(fenced, Ok(Ok(_))), "a fenced process accepts nothing: {fenced:?}");
    events.wait("it knows", |e| matches!(e, MeshEvent::Fenced)).await;
    until("it stops", || async { !older.addr.connected() }).await;
    newer.send("billing", "newer").await;
    assert_eq!(inbox.text().await, "newer");
}

#[actix::test]
async fn g11_of_two_stores_with_one_name_the_newcomer_is_told() {
    let mesh = Mesh::sqlite();
    let billing = Node::start(mesh.apart("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let at = billing.bound().await;
    let on = |file: &str| Config::sqlite("orders-1", "orders", mesh.path(file)).seed("billing", "billing-1", &at);
    let first = Node::start(on("first")).await;
    first.send("billing", "first").await;
    assert_eq!(inbox.text().await, "first");
    let second = Node::start(on("second")).await;
    let mut events = Events::of(&second).await;
    second.send("billing", "second").await;
    events
        .wait("a conflict", |e| matches!(e, MeshEvent::NameConflict { peer, .. } if peer.as_str() == "billing-1"))
        .await;
    first.send("billing", "still first").await;
    assert_eq!(inbox.text().await, "still first");
    // When the first goes, the name is free.
    first.shutdown().await;
    assert_eq!(inbox.text().await, "second");
}

#[actix::test]
async fn g12_another_node_at_the_address_gets_nothing() {
    let mesh = Mesh::sqlite();
    let proxy = Proxy::new().await;
    let stranger = Node::start(mesh.apart("stranger")).await;
    let mut wrong = Inbox::at(&stranger).await;
    proxy.forward_to(&stranger.bound().await);
    let orders = Node::start(mesh.apart("orders").seed("billing", "billing-1", proxy.addr())).await;
    orders.send("billing", "for billing").await;
    proxy.taken_more_than(1).await;
    let billing = Node::start(mesh.apart("billing")).await;
    let mut right = Inbox::at(&billing).await;
    proxy.forward_to(&billing.bound().await);
    assert_eq!(right.text().await, "for billing");
    orders.settled().await;
    assert!(wrong.so_far().is_empty());
}

async fn g13_a_topic_without_a_handler_is_held_by_its_senders(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut events = Events::of(&orders).await;
    orders.send_all("billing", &texts("", 5)).await;
    events.peer_up("billing-1").await;
    assert_eq!(orders.pending().await, 5);
    let mut inbox = Inbox::new();
    let subscription = billing.call(Receive::new(inbox.recipient.clone())).await.expect("receives");
    assert_eq!(inbox.texts(5).await, texts("", 5));
    orders.settled().await;
    drop(subscription);
    // The end of the subscription is told by a message: one more question, and it has arrived.
    billing.stats().await;
    orders.send("billing", "later").await;
    assert_eq!(orders.pending().await, 1);
    inbox.receive(&billing).await;
    let later = inbox.next().await;
    assert_eq!((inbox::text(&later).as_str(), later.attempt), ("later", 1));
}

#[actix::test]
async fn g14_a_store_that_is_not_ours_is_an_error_and_stays_as_it_is() {
    let mesh = Mesh::sqlite();
    std::fs::write(mesh.file(), b"this is not a database, it is a letter to my aunt").expect("writes");
    let before = std::fs::read(mesh.file()).expect("reads");
    let refused = Node::try_start(mesh.config("orders")).await.err().expect("refused");
    assert!(matches!(refused, SpawnError::Open(liner::stores::OpenError::Corrupt { .. })), "{refused:?}");
    assert_eq!(std::fs::read(mesh.file()).expect("reads"), before);
}

#[actix::test]
async fn no_route_is_an_answer_and_a_known_topic_needs_no_store() {
    let mesh = Mesh::memory();
    let store = FaultyStore::around(mesh.open());
    let orders = Node::start(Config::custom("orders-1", "orders", store.shared())).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let nobody = orders.call(SendTo::new("nobody", "x")).await;
    assert!(matches!(nobody, Err(SendError::NoRoute(t)) if t.as_str() == "nobody"));
    orders.send("billing", "opens the lane").await;
    inbox.next().await;
    store.set(store::Health::Down);
    orders.call(SendTo::new("billing", "x").at_most_once()).await.expect("taken");
    assert_eq!(inbox.text().await, "x");
}

on_each_store!(
    g09_a_nack_redelivers_in_lane_order,
    g09_after_too_many_failures_a_message_is_a_dead_letter_and_can_be_replayed,
    g09_dead_letters_are_purged_by_filter,
    g05_batches_handed_off_to_a_thread_keep_their_order_over_a_nack,
    g09_a_batch_that_is_dropped_has_failed,
    g09_a_callback_that_panics_is_a_nack,
    g09_an_actor_that_panics_nacks_and_the_next_subscriber_goes_on,
    g09_a_message_that_takes_too_long_does_not_fail_those_handled_in_time,
    g09_a_handler_that_takes_too_long_has_failed,
    g09_a_message_that_kills_its_process_ends_as_a_dead_letter_alone,
    g10_what_was_cleared_stays_away_and_what_follows_arrives,
    g11_the_newer_process_of_a_name_wins_and_the_older_stops,
    g13_a_topic_without_a_handler_is_held_by_its_senders,
);
