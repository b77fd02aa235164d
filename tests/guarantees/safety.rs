//! Guarantees 1 to 8: nothing is lost, invented or reordered, and nothing is answered that is not so.

use crate::support::store::Health;
use crate::support::*;
use liner::{Durability, Headers, Limits, SendBatch, SendError, SendTo, Stats, Timing};
use std::collections::HashMap;
use std::time::Duration;

async fn g01_everything_accepted_is_handled_whatever_breaks(mesh: Mesh) {
    let proxy = Proxy::new().await;
    let advertised = |mesh: &Mesh| mesh.config("billing").advertise(proxy.addr());
    let mut orders = Node::start(mesh.config("orders")).await;
    let mut billing = Node::start(advertised(&mesh)).await;
    proxy.forward_to(&billing.bound().await);
    let mut inbox = Inbox::at(&billing).await;
    for round in 0..6 {
        orders.send_all("billing", &texts(&format!("{round}."), 40)).await;
        match round {
            0 | 3 => proxy.cut(),
            1 => {
                billing.crash().await;
                billing = Node::start(advertised(&mesh)).await;
                proxy.forward_to(&billing.bound().await);
                inbox.receive(&billing).await;
            }
            2 => {
                orders.crash().await;
                orders = Node::start(mesh.config("orders")).await;
            }
            4 => proxy.isolate(),
            _ => proxy.resume(),
        }
    }
    orders.settled().await;
    let mut first = Vec::new();
    for delivery in inbox.so_far() {
        let text = inbox::text(&delivery);
        if !first.contains(&text) {
            first.push(text);
        }
    }
    let sent: Vec<_> = (0..6).flat_map(|round| texts(&format!("{round}."), 40)).collect();
    assert_eq!(first, sent);
}

async fn g02_what_is_delivered_is_what_was_sent(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let refunds = inbox.subscribe(&billing, "refunds").await;
    let mut sent = HashMap::new();
    for n in 1..=100usize {
        let payload: Vec<u8> =
            (0..n * n).map(|at| u8::try_from((at * n) % 256).expect("below 256")).chain([0]).collect();
        let headers = match n % 3 {
            0 => Headers::builder().with("n", n.to_string()).with("empty", "").build().expect("valid"),
            _ => Headers::EMPTY,
        };
        let topic = if n % 2 == 0 { "billing" } else { "refunds" };
        let durability = if n % 5 == 0 { Durability::WriteBehind } else { Durability::Committed };
        let message = SendTo::new(topic, payload.clone()).headers(headers.clone()).durability(durability);
        let receipt = orders.call(message).await.expect("accepted");
        sent.insert(receipt.id, (topic, headers, payload));
    }
    for _ in 1..=100 {
        let got = inbox.next().await;
        let (topic, headers, payload) = sent.remove(&got.id).expect("was sent, and came once");
        assert_eq!(got.topic().as_str(), topic);
        assert_eq!((got.sender().as_str(), got.reply_to().as_str()), ("orders-1", "orders"));
        assert_eq!(got.headers, headers);
        assert_eq!(&*got.payload, &payload[..]);
    }
    drop(refunds);
}

async fn g03_what_was_rejected_never_arrives_and_what_may_arrive_is_indeterminate(mesh: Mesh) {
    let store = FaultyStore::around(mesh.open());
    let orders = Node::start(liner::Config::custom("orders-1", "orders", store.shared())).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "first").await;
    assert_eq!(inbox.text().await, "first");
    // The store would hang with the trim of the first, and the append wait behind it.
    store.trimmed().await;
    store.set(Health::Hang);
    let brief = |text: &'static str| SendTo::new("billing", text).deadline(Duration::from_millis(200));
    let given = orders.addr.send(brief("given"));
    store.append_hangs().await;
    let waiting = orders.addr.send(brief("late"));
    let (given, waiting) = futures::join!(given, waiting);
    assert!(matches!(given, Ok(Err(SendError::Indeterminate))), "{given:?}");
    assert!(matches!(waiting, Ok(Err(SendError::Deadline))), "{waiting:?}");
    store.set(Health::Up);
    orders.send("billing", "last").await;
    assert_eq!(inbox.texts(2).await, ["given", "last"]);
}

async fn g03_a_lost_reply_is_neither_success_nor_failure(mesh: Mesh) {
    let store = FaultyStore::around(mesh.open());
    let orders = Node::start(liner::Config::custom("orders-1", "orders", store.shared())).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "first").await;
    store.set(Health::LoseReplies);
    let outcome = orders.call(SendTo::new("billing", "lost").deadline(Duration::from_millis(200))).await;
    assert!(matches!(outcome, Err(SendError::Indeterminate)), "{outcome:?}");
    store.set(Health::Up);
    orders.send("billing", "last").await;
    assert_eq!(inbox.texts(3).await, ["first", "lost", "last"]);
}

async fn g04_order_first_deliveries_come_in_accept_order(mesh: Mesh) {
    let proxy = Proxy::new().await;
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing").advertise(proxy.addr())).await;
    proxy.forward_to(&billing.bound().await);
    let mut inbox = Inbox::at(&billing).await;
    let sent = texts("", 300);
    for (n, text) in sent.iter().enumerate() {
        let durability = if n % 7 == 0 { Durability::Committed } else { Durability::WriteBehind };
        orders.call(SendTo::new("billing", text.clone()).durability(durability)).await.expect("accepted");
        if n % 60 == 30 {
            proxy.cut();
        }
    }
    let mut first: Vec<String> = Vec::new();
    while first.len() < sent.len() {
        let text = inbox.text().await;
        if !first.contains(&text) {
            first.push(text);
        }
    }
    assert_eq!(first, sent);
}

async fn g04_a_crash_of_the_sender_loses_only_a_suffix(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders").timing(Timing::default().write_behind_delay(NEVER))).await;
    let billing = Node::start(mesh.config("billing")).await;
    billing.shutdown().await;
    mesh.open().seed(&topic("billing"), &name("billing-1"), "127.0.0.1:1").await.expect("seeds");
    let behind = |text: &'static str| SendTo::new("billing", text).durability(Durability::WriteBehind);
    orders.call(behind("1")).await.expect("accepted");
    orders.call(behind("2")).await.expect("accepted");
    orders.send("billing", "3").await;
    orders.call(behind("4")).await.expect("accepted");
    orders.crash().await;
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "5").await;
    assert_eq!(inbox.texts(4).await, ["1", "2", "3", "5"]);
}

async fn g05_a_lane_that_is_stuck_holds_no_other(mesh: Mesh) {
    let billing = Node::start(mesh.config("billing").limits(Limits::default().window_messages(8))).await;
    let orders = Node::start(mesh.config("orders")).await;
    let stuck = Inbox::scripted(|_| Reply::Hold);
    let _stuck = stuck.subscribe(&billing, "stuck").await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send_all("stuck", &texts("", 50)).await;
    orders.send_all("billing", &texts("", 50)).await;
    assert_eq!(inbox.texts(50).await, texts("", 50));
    assert!(stuck.holds() <= 8, "the window bounds what is taken");
    assert_eq!(orders.pending().await.min(50), 50);
}

async fn g05_a_subscriber_with_one_in_flight_has_one_message_of_a_lane(mesh: Mesh) {
    let billing = Node::start(mesh.config("billing")).await;
    let orders = Node::start(mesh.config("orders")).await;
    let mut inbox = Inbox::scripted(|_| Reply::Hold);
    let receive = liner::Receive::new(inbox.recipient.clone()).in_flight(1);
    billing.call(receive).await.expect("receives").detach();
    orders.send_all("billing", &texts("", 20)).await;
    for n in 0..20 {
        assert_eq!(inbox.text().await, n.to_string());
        assert_eq!((inbox.holds(), inbox.so_far().len()), (1, 0));
        inbox.release(&Ok(()));
    }
}

/// By the second answer it is known where the subscriber runs, and messages are held ready for it there.
async fn g05_messages_held_ready_keep_their_order_over_nacks(mesh: Mesh) {
    let wait = Duration::from_millis(1);
    let timing = Timing::default().nack_backoff_min(wait).nack_backoff_max(wait);
    let billing = Node::start(mesh.config("billing").timing(timing)).await;
    let orders = Node::start(mesh.config("orders")).await;
    let fails = |d: &liner::Delivery| d.attempt == 1 && inbox::text(d).ends_with('7');
    let nack = || Reply::Nack(liner::Nack::new("not yet"));
    let mut inbox = Inbox::scripted(move |d| if fails(d) { nack() } else { Reply::Ok });
    let receive = liner::Receive::new(inbox.recipient.clone()).in_flight(1);
    billing.call(receive).await.expect("receives").detach();
    orders.send_all("billing", &texts("", 200)).await;
    for n in 0..200 {
        let delivery = inbox.next().await;
        assert_eq!((inbox::text(&delivery), delivery.attempt), (n.to_string(), 1));
        if n % 10 == 7 {
            let again = inbox.next().await;
            assert_eq!((inbox::text(&again), again.attempt), (n.to_string(), 2));
        }
    }
    orders.settled().await;
}

async fn g05_messages_held_ready_go_to_the_next_subscriber(mesh: Mesh) {
    let billing = Node::start(mesh.config("billing")).await;
    let orders = Node::start(mesh.config("orders")).await;
    let mut first = Inbox::scripted(|d| if inbox::text(d) == "0" { Reply::Ok } else { Reply::Hold });
    let receive = liner::Subscribe::new("work", first.recipient.clone()).in_flight(4);
    let subscription = billing.call(receive).await.expect("subscribes");
    orders.send("work", "0").await;
    assert_eq!(first.text().await, "0");
    orders.settled().await;
    orders.send_all("work", &(1..100).map(|n| n.to_string()).collect::<Vec<_>>()).await;
    assert_eq!(first.texts(4).await, ["1", "2", "3", "4"]);
    drop(subscription);
    let mut second = Inbox::new();
    let _subscription = second.subscribe(&billing, "work").await;
    // What this follows has reached the first, too.
    let mut news = Inbox::new();
    news.receive(&billing).await;
    orders.send("billing", "changed").await;
    assert_eq!(news.text().await, "changed");
    let mut got = Vec::new();
    let all = async {
        while billing.stats().await.handled < 101 {
            first.release(&Ok(()));
            got.extend(first.so_far());
        }
    };
    soon("all to be handled", all).await;
    assert!(got.len() < 90, "{} messages went to a subscriber that had left", got.len());
    got.extend(second.so_far());
    let got: Vec<_> = got.iter().map(inbox::text).collect();
    assert_eq!(got, (5..100).map(|n| n.to_string()).collect::<Vec<_>>());
    orders.settled().await;
}

async fn g06_at_most_once_is_never_delivered_twice_nor_out_of_order(mesh: Mesh) {
    let proxy = Proxy::new().await;
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing").advertise(proxy.addr())).await;
    proxy.forward_to(&billing.bound().await);
    let mut inbox = Inbox::at(&billing).await;
    for n in 0..300u32 {
        orders.call(SendTo::new("billing", n.to_string()).at_most_once()).await.expect("taken");
        if n % 60 == 30 {
            proxy.cut();
        }
    }
    orders.send("billing", "end").await;
    let mut got = Vec::new();
    loop {
        match inbox.text().await.as_str() {
            "end" => break,
            n => got.push(n.parse::<u32>().expect("a number")),
        }
    }
    assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
    let dropped = orders.stats().await.dropped;
    assert!(got.len() as u64 + dropped <= 300, "{} came and {dropped} were dropped", got.len());
}

async fn g07_what_was_handled_is_not_delivered_again_after_restarts(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send_all("billing", &texts("", 50)).await;
    inbox.texts(50).await;
    orders.settled().await;
    billing.crash().await;
    orders.crash().await;
    let billing = Node::start(mesh.config("billing")).await;
    inbox.receive(&billing).await;
    let orders = Node::start(mesh.config("orders")).await;
    orders.send("billing", "new").await;
    let next = inbox.next().await;
    assert_eq!((inbox::text(&next).as_str(), next.attempt), ("new", 1));
}

async fn g07_what_may_have_been_seen_is_marked(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut held = Inbox::scripted(|d| if inbox::text(d) == "first" { Reply::Ok } else { Reply::Hold });
    held.receive(&billing).await;
    // What is accepted before the link is up is loaded from the store, and might have been sent for all one knows.
    orders.send("billing", "first").await;
    held.next().await;
    orders.settled().await;
    let receipt = orders.send("billing", "again").await;
    assert!(!held.next().await.redelivered);
    billing.crash().await;
    let billing = Node::start(mesh.config("billing")).await;
    let again = Inbox::at(&billing).await.next().await;
    assert_eq!((again.id, again.redelivered), (receipt.id, true));
}

#[actix::test]
async fn g08_a_committed_message_is_acked_only_when_the_cursor_is_committed() {
    let mesh = Mesh::sqlite();
    let store = FaultyStore::around(mesh.open());
    let billing = Node::start(liner::Config::custom("billing-1", "billing", store.shared())).await;
    let orders = mesh.apart("orders").seed("billing", "billing-1", &billing.bound().await);
    let orders = Node::start(orders.seed("other", "billing-1", &billing.bound().await)).await;
    let mut inbox = Inbox::at(&billing).await;
    let _other = inbox.subscribe(&billing, "other").await;
    for topic in ["billing", "other"] {
        orders.send(topic, "opens the lane").await;
        inbox.next().await;
    }
    orders.settled().await;
    store.set(Health::Hang);
    orders.send("billing", "strict").await;
    assert_eq!(inbox.text().await, "strict");
    // The link is alive, and a write-behind message is acked as soon as it is handled.
    orders.call(SendTo::new("other", "behind").durability(Durability::WriteBehind)).await.expect("accepted");
    assert_eq!(inbox.text().await, "behind");
    until("the write-behind message is acked", || async { orders.pending().await == 1 }).await;
    let waiting = orders.call(liner::PendingByLane).await.expect("counts");
    assert_eq!(waiting[0].lane.topic().as_str(), "billing");
    store.set(Health::Up);
    orders.settled().await;
}

#[actix::test]
async fn g08_a_row_stays_until_its_ack_and_goes_with_it() {
    let mesh = Mesh::sqlite();
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::scripted(|_| Reply::Hold);
    inbox.receive(&billing).await;
    orders.send("billing", "kept").await;
    inbox.next().await;
    let rows = || mesh.number("SELECT count(*) FROM conn_messages");
    assert_eq!(rows(), 1);
    inbox.release(&Ok(()));
    until("the row goes", || async { rows() == 0 }).await;
}

#[actix::test]
async fn a_batch_is_accepted_in_order_up_to_the_first_that_is_not() {
    let mesh = Mesh::memory();
    let orders = Node::start(mesh.config("orders").limits(Limits::default().max_message(10))).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let refused = orders.call(SendBatch::new("billing", ["one", "two", "more than ten bytes", "four"])).await;
    let refused = refused.expect_err("one is too large");
    assert_eq!(refused.accepted.len(), 2);
    assert!(matches!(refused.error, SendError::TooLarge { size: 19, max: 10 }));
    orders.send("billing", "end").await;
    assert_eq!(inbox.texts(3).await, ["one", "two", "end"]);
    assert_eq!(orders.call(Stats).await.expect("reports").accepted, 3);
}

on_each_store!(
    g01_everything_accepted_is_handled_whatever_breaks,
    g02_what_is_delivered_is_what_was_sent,
    g03_what_was_rejected_never_arrives_and_what_may_arrive_is_indeterminate,
    g03_a_lost_reply_is_neither_success_nor_failure,
    g04_order_first_deliveries_come_in_accept_order,
    g04_a_crash_of_the_sender_loses_only_a_suffix,
    g05_a_lane_that_is_stuck_holds_no_other,
    g05_a_subscriber_with_one_in_flight_has_one_message_of_a_lane,
    g05_messages_held_ready_keep_their_order_over_nacks,
    g05_messages_held_ready_go_to_the_next_subscriber,
    g06_at_most_once_is_never_delivered_twice_nor_out_of_order,
    g07_what_was_handled_is_not_delivered_again_after_restarts,
    g07_what_may_have_been_seen_is_marked,
);
