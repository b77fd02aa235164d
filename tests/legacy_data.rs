//! Stores that liner_broker 1.4.1 left behind open without loss: its waiting messages are delivered, its remembered routes
//! take sends. The data under `legacy/fixtures` was written by that crate; `scripts/legacy-data` writes it again.

#[path = "legacy/left.rs"]
mod left;
mod support;

use left::{Isolated, Left, sqlite};
use liner::stores::{DeadLetter, DeadLetterOrigin, Fence, PageLimit, Store};
use liner::{Durability, Epoch, Incarnation, ListDeadLetters, NodeId, SendError, SendTo, Seq};
use std::time::Duration;
use support::{Inbox, Node, name, topic};

macro_rules! on_each_store {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[actix::test]
            async fn on_sqlite() {
                super::$name(super::Left::sqlite()).await;
            }

            #[cfg(feature = "postgres")]
            #[actix::test]
            async fn on_postgres() {
                super::$name(super::Left::postgres()).await;
            }

            #[cfg(feature = "redis")]
            #[actix::test]
            async fn on_redis() {
                super::$name(super::Left::redis()).await;
            }
        })*
    };
}

on_each_store!(
    what_waited_is_delivered_once_in_order_and_byte_for_byte,
    names_with_colons_are_told_apart,
    a_remembered_route_takes_sends_that_wait_for_its_node,
    what_cannot_be_attributed_is_a_dead_letter_with_a_reason,
    what_cannot_be_read_is_a_dead_letter_with_its_bytes,
    a_second_start_finds_nothing_more,
    a_start_that_is_broken_off_loses_nothing,
    a_fenced_process_takes_nothing_over,
    a_long_queue_is_taken_over_in_order,
    what_the_broker_queued_after_a_return_to_it_is_taken_over_too,
);

/// The messages for `billing` that were not handled.
fn waiting() -> Vec<String> {
    let large = "large ".repeat((3 << 19) / 6);
    vec!["waiting-0".to_owned(), "waiting-1".to_owned(), large, "waiting-2".to_owned()]
}

async fn letters(node: &Node) -> Vec<DeadLetter> {
    let letters = node.call(ListDeadLetters::default()).await.expect("lists");
    letters.into_iter().map(|(_, letter)| letter).collect()
}

/// The next messages are these, from that node and its topic, to that topic.
async fn gets(inbox: &mut Inbox, from: (&str, &str), to: &str, expected: &[String]) {
    for expected in expected {
        let delivery = inbox.next().await;
        assert_eq!(support::inbox::text(&delivery), *expected);
        assert_eq!((delivery.sender(), delivery.reply_to()), (&name(from.0), &topic(from.1)));
        assert_eq!(delivery.topic(), &topic(to));
    }
}

async fn what_waited_is_delivered_once_in_order_and_byte_for_byte(left: Left) {
    let orders = Node::start(left.config("orders-1", "orders")).await;
    assert_eq!(orders.pending().await, 6, "what was handled is not counted");
    let billing = Node::start(left.config("billing-1", "billing")).await;
    let mut own = Inbox::at(&billing).await;
    let mut refunds = Inbox::new();
    let _subscription = refunds.subscribe(&billing, "refunds").await;
    gets(&mut own, ("orders-1", "orders"), "billing", &waiting()).await;
    gets(&mut refunds, ("orders-1", "orders"), "refunds", &support::texts("refund-", 2)).await;
    // The lanes go on as any other.
    orders.send("billing", "new").await;
    orders.send("refunds", "new refund").await;
    assert_eq!((own.text().await, refunds.text().await), ("new".to_owned(), "new refund".to_owned()));
    orders.settled().await;
    assert!(own.so_far().is_empty() && refunds.so_far().is_empty());
    assert!(letters(&orders).await.is_empty());
    orders.shutdown().await;
    billing.shutdown().await;
    // Those of the other sender wait for it.
    assert_eq!(left.queued(), 3);
    names_with_colons_are_told_apart(left).await;
}

async fn names_with_colons_are_told_apart(left: Left) {
    let others = left.queued() - 3;
    let sender = Node::start(left.config("no:de", "or:ders")).await;
    let receiver = Node::start(left.config("bill:ing", "bill:s")).await;
    let mut inbox = Inbox::at(&receiver).await;
    gets(&mut inbox, ("no:de", "or:ders"), "bill:s", &support::texts("colon-", 3)).await;
    sender.settled().await;
    sender.shutdown().await;
    assert_eq!(left.queued(), others);
}

async fn a_remembered_route_takes_sends_that_wait_for_its_node(left: Left) {
    let orders = Node::start(left.config("orders-1", "orders")).await;
    let route = left.store().topic(&topic("audit")).await.expect("reads");
    assert!(route.routes.is_empty(), "audit-1 withdrew its route: {route:?}");
    orders.send("audit", "for later").await;
    let direct = orders.call(SendTo::new("audit", "now or never").at_most_once()).await;
    assert!(matches!(direct, Err(SendError::NoRoute(_))), "{direct:?}");
    orders.crash().await;
    let orders = Node::start(left.config("orders-1", "orders")).await;
    orders.send("audit", "and this").await;
    let audit = Node::start(left.config("audit-1", "audit")).await;
    let mut inbox = Inbox::at(&audit).await;
    assert_eq!(inbox.texts(2).await, ["for later", "and this"]);
    support::until("both are acked", || async { orders.pending().await == 6 }).await;
}

async fn what_cannot_be_attributed_is_a_dead_letter_with_a_reason(left: Left) {
    left.operator("DELETE FROM topic_key WHERE topic = 'refunds'", &[&["DEL", "lnr_topic:refunds:key"]]);
    let orders = Node::start(left.config("orders-1", "orders")).await;
    assert_eq!(orders.pending().await, 4);
    let letters = letters(&orders).await;
    let texts: Vec<_> = letters.iter().map(|l| String::from_utf8_lossy(&l.message.payload).into_owned()).collect();
    assert_eq!(texts, ["refund-0", "refund-1"]);
    for letter in &letters {
        assert_eq!((letter.origin, letter.id.lane.receiver()), (DeadLetterOrigin::Refused, &name("billing-1")));
        assert!(letter.reason.contains("no topic has the number 5"), "{}", letter.reason);
    }
    let billing = Node::start(left.config("billing-1", "billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    assert_eq!(inbox.texts(4).await, waiting());
    orders.settled().await;
    orders.shutdown().await;
    assert_eq!(left.queued(), 3);
}

async fn what_cannot_be_read_is_a_dead_letter_with_its_bytes(left: Left) {
    let sql = match left {
        Left::Sqlite(_) => "INSERT INTO conn_messages (connection_key, payload) VALUES (9, x'0000'), (9, x'')",
        #[allow(unreachable_patterns, reason = "without servers there is one kind of store")]
        _ => "INSERT INTO conn_messages (connection_key, payload) VALUES (9, '\\x0000'), (9, '\\x')",
    };
    left.operator(sql, &[&["RPUSH", "lnr_connection:9:messages", "\u{1}\u{2}", ""]]);
    let orders = Node::start(left.config("orders-1", "orders")).await;
    assert_eq!(orders.pending().await, 6);
    let letters = letters(&orders).await;
    let [letter] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!(letter.message.payload.len(), 2);
    assert!(letter.reason.contains("truncated"), "{}", letter.reason);
}

async fn a_second_start_finds_nothing_more(left: Left) {
    let store = left.store();
    let orders = name("orders-1");
    let first = adopt(&*store, &orders).await;
    assert_eq!((first.messages, first.dead_letters), (6, 0));
    assert_eq!(first.gone, 3, "two were handled, one was the broker's own");
    let lanes = store.lanes(&orders).await.expect("reads");
    let pending = store.pending(&orders).await.expect("reads");
    assert_eq!(adopt(&*store, &orders).await, Default::default());
    assert_eq!(store.lanes(&orders).await.expect("reads"), lanes);
    assert_eq!(store.pending(&orders).await.expect("reads"), pending);
    let names: Vec<_> = lanes.iter().map(|l| format!("{}>{}", l.receiver(), l.topic())).collect();
    assert_eq!(names, ["audit-1>audit", "billing-1>billing", "billing-1>refunds"]);
}

async fn adopt(store: &dyn Store, node: &NodeId) -> liner::stores::Adopted {
    let epoch = store.register(node).await.expect("registers").epoch;
    store.adopt(&Fence { node: node.clone(), epoch }).await.expect("takes over")
}

async fn a_start_that_is_broken_off_loses_nothing(left: Left) {
    let orders = name("orders-1");
    // Dropped in the middle, the future leaves what a process leaves that is killed there.
    for at in 0..8 {
        let store = left.store();
        let epoch = store.register(&orders).await.expect("registers").epoch;
        let fence = Fence { node: orders.clone(), epoch };
        let _ = tokio::time::timeout(Duration::from_micros(100 << at), store.adopt(&fence)).await;
    }
    what_waited_is_delivered_once_in_order_and_byte_for_byte(left).await;
}

async fn a_long_queue_is_taken_over_in_order(left: Left) {
    left.queue(101..=9100);
    let (store, orders) = (left.store(), name("orders-1"));
    assert_eq!(adopt(&*store, &orders).await.messages, 9006);
    let fence = Fence { node: orders.clone(), epoch: Epoch::new(1) };
    let lanes = store.lanes(&orders).await.expect("reads");
    let lane = lanes.iter().find(|lane| *lane.topic() == topic("billing")).expect("is there");
    let opened = store.open_lane(&fence, lane.name(), Incarnation::new(1)).await.expect("opens");
    assert_eq!((opened.pending.messages, opened.next), (9004, Seq::new(9101)));
    let (mut after, mut numbers) = (Seq::ZERO, Vec::new());
    let limit = PageLimit { messages: 1000, bytes: usize::MAX };
    while let Some(last) = numbers.last().copied().or(Some(0)).filter(|last| *last < 9100) {
        let page = store.load(opened.key, after, limit).await.expect("loads");
        assert!(page.messages.iter().all(|m| m.seq.get() < 100 || &m.message.payload[..] == b"late"));
        numbers.extend(page.messages.iter().map(|m| m.seq.get()));
        after = page.messages.last().expect("there are more").seq;
        assert!(after > Seq::new(last));
    }
    assert!(numbers[4..].iter().copied().eq(101..=9100), "as the broker numbered them");
}

async fn a_fenced_process_takes_nothing_over(left: Left) {
    let (store, orders) = (left.store(), name("orders-1"));
    store.register(&orders).await.expect("registers");
    let queued = left.queued();
    let fence = Fence { node: orders.clone(), epoch: Epoch::new(0) };
    assert!(matches!(store.adopt(&fence).await, Err(liner::stores::StoreError::Fenced)));
    assert_eq!(left.queued(), queued);
}

async fn what_the_broker_queued_after_a_return_to_it_is_taken_over_too(left: Left) {
    let orders = Node::start(left.config("orders-1", "orders")).await;
    let billing = Node::start(left.config("billing-1", "billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    assert_eq!(inbox.texts(4).await, waiting());
    let mut refunds = Inbox::new();
    let subscription = refunds.subscribe(&billing, "refunds").await;
    refunds.texts(2).await;
    orders.settled().await;
    orders.shutdown().await;
    subscription.detach();
    billing.shutdown().await;
    left.queue(20..=20);
    let orders = Node::start(left.config("orders-1", "orders")).await;
    let billing = Node::start(left.config("billing-1", "billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    assert_eq!(inbox.text().await, "late");
    orders.settled().await;
}

#[actix::test]
async fn nodes_with_a_file_each_do_not_handle_again_what_they_handled() {
    let files = Isolated::new();
    let b = Node::start(files.config("b").seed("topic-iso-c", "iso-c", "127.0.0.1:9")).await;
    let mut at_b = Inbox::at(&b).await;
    // A seed that the broker did not have.
    let told = files.config("a").seed("topic-iso-c", "iso-c", "127.0.0.1:9");
    let a = Node::start(told.seed("topic-iso-b", "iso-b", &b.bound().await)).await;
    let mut at_a = Inbox::at(&a).await;
    assert_eq!(at_b.texts(3).await, ["waiting-0", "waiting-1", "waiting-2"]);
    a.settled().await;
    b.send("topic-iso-a", "answer").await;
    assert_eq!(at_a.text().await, "answer");
    b.settled().await;
    assert!(at_b.so_far().is_empty() && at_a.so_far().is_empty());
}

#[actix::test]
async fn a_file_of_its_own_keeps_what_only_the_receiver_knows_to_be_handled() {
    let files = Isolated::new();
    let a = Node::start(files.config("a")).await;
    // Three of them were handled, which only the other file says.
    assert_eq!(a.pending().await, 6);
    assert!(letters(&a).await.is_empty());
    let refused = a.call(SendTo::new("topic-iso-b", "more").deadline(support::PATIENCE)).await;
    assert!(refused.is_ok(), "{refused:?}");
    assert_eq!(a.pending().await, 7);
}

#[actix::test]
async fn routes_of_the_broker_are_routes_without_a_lease() {
    let files = Isolated::new();
    let store = sqlite(&files.path("b"));
    let entry = store.topic(&topic("topic-iso-a")).await.expect("reads");
    let [route] = &entry.routes[..] else { panic!("{entry:?}") };
    assert_eq!((&route.node, route.live, route.addrs.len()), (&name("iso-a"), true, 1));
    drop(store);
    // A program gives its seeds at each start; here an operator tells where the peer is now.
    let a = Node::start(files.config("a")).await;
    let at = a.bound().await;
    let db = rusqlite::Connection::open(files.path("b")).expect("opens");
    db.execute("UPDATE topic_addr SET addr = ?1 WHERE topic = 'topic-iso-a'", [&at]).expect("updates");
    let mut at_a = Inbox::at(&a).await;
    let b = Node::start(files.config("b").durability(Durability::Committed)).await;
    b.send("topic-iso-a", "by a route of the broker").await;
    assert_eq!(at_a.text().await, "by a route of the broker");
}
