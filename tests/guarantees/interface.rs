//! The interface, message by message: what each one does, and its typed refusals.

use crate::support::*;
use actix::prelude::*;
use liner::{
    BatchNack, ClearAddresses, Delivery, DeliveryBatch, Durability, GetPublisher, Headers, Limits, LinerSystem,
    ListAddresses, ListDeadLetters, MeshEvent, Mode, Nack, Receive, RefreshAddresses, ReplayDeadLetters, SendAll,
    SendBatch, SendError, SendTo, Shutdown, SpawnError, Subscribe, SubscribeError, Unsubscribe,
};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

async fn send_all_reaches_every_node_once_and_send_to_takes_turns(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        let node = Node::start(mesh.named(name, "work")).await;
        let inbox = Inbox::at(&node).await;
        nodes.push((node, inbox));
    }
    let receipts = orders.call(SendAll::new("work", "all")).await.expect("accepted");
    let to: BTreeSet<_> = receipts.iter().map(|r| r.id.lane.receiver().to_string()).collect();
    assert_eq!(to.into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
    for (_, inbox) in &mut nodes {
        assert_eq!(inbox.text().await, "all");
    }
    for n in 0..9 {
        orders.send("work", &n.to_string()).await;
    }
    let mut got = Vec::new();
    for (_, inbox) in &mut nodes {
        got.extend(inbox.texts(3).await);
    }
    got.sort();
    assert_eq!(got, texts("", 9));
}

async fn send_all_goes_out_on_the_first_connection_and_counts_once_per_node(mesh: Mesh) {
    for (topic, durability) in [("behind", Durability::WriteBehind), ("committed", Durability::Committed)] {
        let orders = Node::start(mesh.named(&format!("orders-{topic}"), "orders")).await;
        let mut events = Events::of(&orders).await;
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let node = Node::start(mesh.named(&format!("{name}-{topic}"), topic)).await;
            let inbox = Inbox::at(&node).await;
            nodes.push((node, inbox));
        }
        orders.call(SendAll::new(topic, "all").durability(durability)).await.expect("accepted");
        for (_, inbox) in &mut nodes {
            assert_eq!(inbox.text().await, "all");
        }
        orders.settled().await;
        assert_eq!(orders.stats().await.accepted, 3);
        let lost = events.so_far().into_iter().find(|event| matches!(event, MeshEvent::PeerDown { .. }));
        assert!(lost.is_none(), "{lost:?}");
    }
}

async fn a_batch_goes_to_one_node_in_order(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let a = Node::start(mesh.named("a", "work")).await;
    let _b = Node::start(mesh.named("b", "work")).await;
    a.call(Receive::callback(|_| Ok(()))).await.expect("receives").detach();
    let receipts = orders.call(SendBatch::new("work", texts("", 20))).await.expect("accepted");
    assert!(receipts.windows(2).all(|pair| pair[0].id.lane == pair[1].id.lane && pair[0].id.seq < pair[1].id.seq));
}

async fn a_live_link_is_preferred_to_a_node_that_cannot_be_reached(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders").seed("work", "away", "127.0.0.1:1")).await;
    let here = Node::start(mesh.named("here", "work")).await;
    let mut inbox = Inbox::at(&here).await;
    let mut events = Events::of(&orders).await;
    orders.call(RefreshAddresses::new("work")).await.expect("known");
    events.peer_up("here").await;
    for n in 0..5 {
        orders.send("work", &n.to_string()).await;
    }
    assert_eq!(inbox.texts(5).await, texts("", 5));
}

async fn a_reply_has_a_route_inside_the_handler_at_once(mesh: Mesh) {
    struct Echo(Addr<LinerSystem>, mpsc::UnboundedSender<Result<(), SendError>>);
    impl Actor for Echo {
        type Context = Context<Self>;
    }
    impl Handler<Delivery> for Echo {
        type Result = ResponseFuture<Result<(), Nack>>;

        fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
            let reply = self.0.send(SendTo::new(delivery.reply_to(), delivery.payload.as_bytes().clone()));
            let told = self.1.clone();
            Box::pin(async move {
                let reply = reply.await.expect("the node lives").map(|_| ());
                told.send(reply).map_err(|_| Nack::new("nobody listens"))
            })
        }
    }
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&orders).await;
    let (told, mut replies) = mpsc::unbounded_channel();
    let echo = Echo(billing.addr.clone(), told).start();
    billing.call(Receive::new(echo.recipient())).await.expect("receives").detach();
    orders.send("billing", "ping").await;
    soon("a reply", replies.recv()).await.expect("lives").expect("accepted");
    let reply = inbox.next().await;
    assert_eq!((inbox::text(&reply).as_str(), reply.sender().as_str()), ("ping", "billing-1"));
}

#[actix::test]
async fn nodes_with_files_of_their_own_talk_and_reply_through_seeds() {
    let mesh = Mesh::sqlite();
    let mut peers = Vec::new();
    let mut config = mesh.apart("hub");
    for topic in ["a", "b", "c"] {
        let node = Node::start(mesh.apart(topic)).await;
        config = config.seed(topic, format!("{topic}-1"), node.bound().await);
        peers.push((topic, Inbox::at(&node).await, node));
    }
    let hub = Node::start(config).await;
    let mut replies = Inbox::at(&hub).await;
    for (topic, inbox, node) in &mut peers {
        hub.send(topic, "hello").await;
        let delivery = inbox.next().await;
        node.send(delivery.reply_to().as_str(), topic).await;
        assert_eq!(replies.text().await, *topic);
        node.settled().await;
    }
    hub.settled().await;
}

async fn a_subscription_is_one_per_topic_and_ends_when_dropped(mesh: Mesh) {
    let billing = Node::start(mesh.config("billing")).await;
    let orders = Node::start(mesh.config("orders")).await;
    let first = Inbox::new();
    let own = billing.call(Subscribe::new("billing", first.recipient.clone())).await;
    assert!(matches!(own, Err(SubscribeError::SelfTopic(_))), "{own:?}");
    let invalid = billing.call(Subscribe::new("", first.recipient.clone())).await;
    assert!(matches!(invalid, Err(SubscribeError::Topic(_))), "{invalid:?}");
    let subscription = first.subscribe(&billing, "extra").await;
    let again = billing.call(Subscribe::new("extra", first.recipient.clone())).await;
    assert!(matches!(again, Err(SubscribeError::AlreadySubscribed(_))), "{again:?}");
    drop(subscription);
    let mut second = Inbox::new();
    let _second = second.subscribe(&billing, "extra").await;
    orders.send("extra", "x").await;
    assert_eq!(second.text().await, "x");
}

async fn an_unsubscribed_topic_is_no_route_and_what_waited_comes_with_the_next_subscription(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    // It may get the message while its subscription ends.
    let refuses = |d: &Delivery| if inbox::text(d) == "waits" { Reply::Nack(Nack::default()) } else { Reply::Ok };
    let mut held = Inbox::scripted(refuses);
    let subscription = held.subscribe(&billing, "extra").await;
    orders.send("extra", "first").await;
    assert_eq!(held.text().await, "first");
    orders.settled().await;
    let mut events = Events::of(&orders).await;
    drop(subscription);
    billing.stats().await;
    orders.send("extra", "waits").await;
    billing.call(Unsubscribe::new("extra")).await.expect("unsubscribes");
    orders.call(RefreshAddresses::new("extra")).await.expect_err("nobody serves it");
    orders.has_no_route("extra").await;
    assert_eq!(orders.pending().await, 1);
    events
        .wait("the news", |e| matches!(e, MeshEvent::PeerUnsubscribed { topic, .. } if topic.as_str() == "extra"))
        .await;
    let mut inbox = Inbox::new();
    let _again = inbox.subscribe(&billing, "extra").await;
    assert_eq!(inbox.text().await, "waits");
    events
        .wait("the news", |e| matches!(e, MeshEvent::PeerSubscribed { topic, .. } if topic.as_str() == "extra"))
        .await;
    orders.send("extra", "again").await;
    assert_eq!(inbox.text().await, "again");
}

#[actix::test]
async fn on_separate_files_the_tombstone_travels_on_the_link() {
    let mesh = Mesh::sqlite();
    let billing = Node::start(mesh.apart("billing")).await;
    let orders = Node::start(mesh.apart("orders").seed("extra", "billing-1", &billing.bound().await)).await;
    let mut inbox = Inbox::new();
    let subscription = inbox.subscribe(&billing, "extra").await;
    orders.send("extra", "first").await;
    assert_eq!(inbox.text().await, "first");
    let mut events = Events::of(&orders).await;
    drop(subscription);
    billing.call(Unsubscribe::new("extra")).await.expect("unsubscribes");
    events.wait("the news", |e| matches!(e, MeshEvent::PeerUnsubscribed { .. })).await;
    orders.has_no_route("extra").await;
    let _again = inbox.subscribe(&billing, "extra").await;
    events.wait("the news", |e| matches!(e, MeshEvent::PeerSubscribed { .. })).await;
    orders.send("extra", "again").await;
    assert_eq!(inbox.text().await, "again");
}

#[actix::test]
async fn on_separate_files_a_node_that_dialled_can_offer_a_further_topic() {
    let mesh = Mesh::sqlite();
    let billing = Node::start(mesh.apart("billing")).await;
    let orders = Node::start(mesh.apart("orders").seed("billing", "billing-1", &billing.bound().await)).await;
    orders.send("billing", "hello").await;
    Inbox::at(&billing).await.next().await;
    let mut events = Events::of(&billing).await;
    let mut inbox = Inbox::new();
    let _subscription = inbox.subscribe(&orders, "extra").await;
    events.wait("the news", |e| matches!(e, MeshEvent::PeerSubscribed { .. })).await;
    billing.send("extra", "found").await;
    assert_eq!(inbox.text().await, "found");
}

async fn a_released_node_keeps_its_lane(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    inbox.next().await;
    orders.settled().await;
    let mut events = Events::of(&orders).await;
    billing.shutdown().await;
    events.peer_down("billing-1").await;
    orders.call(ListAddresses::new("billing")).await.expect("lists");
    let refreshed = orders.call(RefreshAddresses::new("billing")).await;
    assert!(refreshed.is_err(), "{refreshed:?}");
    orders.send("billing", "waits").await;
    let direct = orders.call(SendTo::new("billing", "x").at_most_once()).await;
    assert!(matches!(direct, Err(SendError::NoRoute(_))), "{direct:?}");
    orders.crash().await;
    let orders = Node::start(mesh.config("orders")).await;
    orders.send("billing", "waits, too").await;
    let billing = Node::start(mesh.config("billing")).await;
    inbox.receive(&billing).await;
    assert_eq!(inbox.texts(2).await, ["waits", "waits, too"]);
}

async fn a_catalogue_change_is_seen_without_being_asked_for(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders").seed("billing", "old", "127.0.0.1:1")).await;
    let mut events = Events::of(&orders).await;
    orders.call(GetPublisher::new("billing")).await.expect("known");
    let billing = Node::start(mesh.config("billing")).await;
    events.peer_up("billing-1").await;
    drop(billing);
}

async fn addresses_are_listed_refreshed_and_cleared(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    assert!(orders.call(ListAddresses::new("billing")).await.expect("lists").is_empty());
    assert!(orders.call(RefreshAddresses::new("billing")).await.is_err());
    let billing = Node::start(mesh.config("billing")).await;
    let addresses = orders.call(RefreshAddresses::new("billing")).await.expect("known");
    assert_eq!(addresses.len(), 1);
    assert_eq!((addresses[0].node.as_str(), addresses[0].live), ("billing-1", true));
    assert_eq!(addresses[0].addr, billing.bound().await);
    assert_eq!(billing.call(ClearAddresses).await.expect("clears"), 1);
    assert!(orders.call(ListAddresses::new("billing")).await.expect("lists").is_empty());
}

async fn large_payloads_travel_in_parts_compressed_or_not(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let noise = |n: u32| n.wrapping_mul(2_654_435_761).rotate_left(n % 31).to_le_bytes();
    let random: Vec<u8> = (0..1_500_000u32).flat_map(noise).collect();
    let headers = Headers::builder().with("kind", "large").build().expect("valid");
    for payload in [vec![7; 9 << 20], random, vec![1; (1 << 20) + 1]] {
        for mode in
            [Mode::AtLeastOnce(Durability::Committed), Mode::AtLeastOnce(Durability::WriteBehind), Mode::AtMostOnce]
        {
            let send = SendTo::new("billing", payload.clone()).headers(headers.clone());
            let send = match mode {
                Mode::AtMostOnce => send.at_most_once(),
                Mode::AtLeastOnce(durability) => send.durability(durability),
            };
            orders.call(send).await.expect("accepted");
            let got = inbox.next().await;
            assert!(*got.payload == payload[..] && got.headers == headers);
        }
    }
}

async fn what_the_receiver_refuses_is_a_dead_letter_of_the_sender(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let small = Limits::default().max_message(100);
    let billing = Node::start(mesh.config("billing").limits(small)).await;
    let mut inbox = Inbox::at(&billing).await;
    let mut events = Events::of(&orders).await;
    orders.send("billing", &"x".repeat(101)).await;
    orders.send("billing", "fits").await;
    events.wait("a dead letter", |e| matches!(e, MeshEvent::DeadLettered { .. })).await;
    assert_eq!(inbox.text().await, "fits");
    orders.settled().await;
    let letters = orders.call(ListDeadLetters::default()).await.expect("lists");
    assert_eq!((letters.len(), letters[0].1.message.size()), (1, 101));
    billing.shutdown().await;
    let billing = Node::start(mesh.config("billing")).await;
    inbox.receive(&billing).await;
    assert_eq!(orders.call(ReplayDeadLetters::default()).await.expect("replays").done, 1);
    assert_eq!(inbox.next().await.payload.len(), 101);
}

async fn a_batch_subscriber_gets_many_at_once_and_nacks_from_where_it_failed(mesh: Mesh) {
    struct Batches(mpsc::UnboundedSender<Vec<(String, u32)>>);
    impl Actor for Batches {
        type Context = Context<Self>;
    }
    impl Handler<DeliveryBatch> for Batches {
        type Result = Result<(), BatchNack>;

        fn handle(&mut self, DeliveryBatch(batch): DeliveryBatch, _: &mut Self::Context) -> Self::Result {
            let at = batch.iter().position(|d| inbox::text(d) == "5" && d.attempt == 1);
            let handled = &batch[..at.unwrap_or(batch.len())];
            let _ = self.0.send(handled.iter().map(|d| (inbox::text(d), d.attempt)).collect());
            match at {
                Some(at) => Err(BatchNack::new(at, Nack::after(Duration::from_millis(1), "not yet"))),
                None => Ok(()),
            }
        }
    }
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    orders.send_all("billing", &texts("", 20)).await;
    let (told, mut batches) = mpsc::unbounded_channel();
    billing.call(Receive::batch(Batches(told).start().recipient())).await.expect("receives").detach();
    let mut handled = Vec::new();
    while handled.len() < 20 {
        handled.extend(soon("a batch", batches.recv()).await.expect("lives"));
    }
    handled.sort_by_key(|(text, _)| text.parse::<u32>().expect("a number"));
    assert_eq!(handled[5].1, 2);
    assert_eq!(handled.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), texts("", 20));
    orders.settled().await;
}

async fn a_publisher_works_from_a_thread_without_a_runtime(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let publisher = orders.call(GetPublisher::new("billing")).await.expect("a publisher");
    assert_eq!(publisher.topic().as_str(), "billing");
    let behind = orders.call(GetPublisher::new("billing").durability(Durability::WriteBehind)).await.expect("another");
    let thread = std::thread::spawn(move || {
        for n in 0..50 {
            publisher.send_blocking(n.to_string()).expect("accepted");
        }
        behind.try_send("50").expect("there is room");
        assert!(matches!(publisher.try_send("x"), Err(SendError::QueueFull)), "a commit cannot be had without waiting");
        assert!(matches!(publisher.send_blocking(""), Err(SendError::Empty(_))));
    });
    assert_eq!(inbox.texts(51).await, texts("", 51));
    thread.join().expect("the thread ends well");
}

async fn a_publisher_keeps_the_order_of_its_calls_and_dropping_a_future_withdraws_nothing(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let publisher = orders.call(GetPublisher::new("billing")).await.expect("a publisher");
    // The first ones wait for the lane to be opened; later ones find it open.
    for text in texts("", 2000) {
        drop(publisher.send(text));
    }
    assert_eq!(inbox.texts(2000).await, texts("", 2000));
}

async fn refusals_are_typed(mesh: Mesh) {
    let small = Limits::default().max_message(10);
    let orders = Node::start(mesh.config("orders").limits(small)).await;
    let refused = |send: SendTo| async { orders.call(send).await.expect_err("refused") };
    assert!(matches!(refused(SendTo::new("orders", "x")).await, SendError::SelfTopic(_)));
    assert!(matches!(refused(SendTo::new("__#internal_channel", "x")).await, SendError::Topic(_)));
    assert!(matches!(refused(SendTo::new("billing", "")).await, SendError::Empty(_)));
    assert!(matches!(
        refused(SendTo::new("billing", "more than ten")).await,
        SendError::TooLarge { size: 13, max: 10 }
    ));
    assert!(matches!(refused(SendTo::new("billing", "x")).await, SendError::NoRoute(_)));
    assert!(matches!(orders.call(SendAll::new("billing", "x")).await, Err(SendError::NoRoute(_))));
    assert!(matches!(
        orders.call(SendBatch::new("billing", ["x"])).await.map_err(|e| e.error),
        Err(SendError::NoRoute(_))
    ));
}

#[actix::test]
async fn write_behind_is_stored_within_its_delay_when_the_peer_is_away() {
    let mesh = Mesh::sqlite();
    let orders = Node::start(mesh.config("orders").seed("billing", "billing-1", "127.0.0.1:1")).await;
    let send = SendTo::new("billing", "x").durability(Durability::WriteBehind);
    orders.call(send).await.expect("accepted");
    until("the row is there", || async { mesh.number("SELECT count(*) FROM conn_messages") == 1 }).await;
    assert_eq!(orders.stats().await.links[0].memory.messages, 0);
}

#[actix::test]
async fn synced_messages_are_accepted_and_arrive() {
    let mesh = Mesh::sqlite();
    let orders = Node::start(mesh.config("orders").durability(Durability::Synced)).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send_all("billing", &texts("", 20)).await;
    assert_eq!(inbox.texts(20).await, texts("", 20));
}

#[actix::test]
async fn systems_share_a_process_and_the_current_actix_system() {
    let mesh = Mesh::memory();
    let orders = LinerSystem::spawn(mesh.config("orders")).await.expect("starts");
    let billing = LinerSystem::spawn(mesh.config("billing")).await.expect("starts");
    let mut inbox = Inbox::new();
    let subscription = billing.send(Receive::new(inbox.recipient.clone())).await.expect("lives").expect("receives");
    orders.send(SendTo::new("billing", "x")).await.expect("lives").expect("accepted");
    assert_eq!(inbox.text().await, "x");
    for system in [orders, billing] {
        system.send(Shutdown::drain(PATIENCE)).await.expect("lives").expect("shuts down");
    }
    assert!(System::try_current().is_some(), "a node that ends leaves the application's system alone");
    drop(subscription);
}

#[test]
fn a_node_starts_under_plain_tokio_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mesh = Mesh::sqlite();
        let orders = LinerSystem::spawn(mesh.config("orders")).await.expect("starts");
        let billing = LinerSystem::spawn(mesh.config("billing")).await.expect("starts");
        let (told, mut got) = mpsc::unbounded_channel();
        let take = Receive::callback(move |d| told.send(inbox::text(d)).map_err(|_| Nack::new("nobody listens")));
        billing.send(take).await.expect("lives").expect("receives").detach();
        orders.send(SendTo::new("billing", "x")).await.expect("lives").expect("accepted");
        assert_eq!(soon("a delivery", got.recv()).await.as_deref(), Some("x"));
        for system in [orders, billing] {
            system.send(Shutdown::drain(PATIENCE)).await.expect("lives").expect("shuts down");
        }
    });
}

#[actix::test]
async fn a_port_in_use_and_an_open_network_are_refused() {
    let mesh = Mesh::memory();
    let orders = Node::start(mesh.config("orders")).await;
    let taken = Node::try_start(mesh.config("billing").listen(&orders.bound().await)).await.err().expect("refused");
    assert!(matches!(taken, SpawnError::Bind { .. }), "{taken:?}");
    let open = Node::try_start(mesh.config("billing").listen("0.0.0.0:0")).await.err().expect("refused");
    assert!(matches!(open, SpawnError::NotLoopback(_)), "{open:?}");
    let invalid = Node::try_start(mesh.named("", "x")).await.err().expect("refused");
    assert!(matches!(invalid, SpawnError::Config(_)), "{invalid:?}");
}

on_each_store!(
    send_all_reaches_every_node_once_and_send_to_takes_turns,
    send_all_goes_out_on_the_first_connection_and_counts_once_per_node,
    a_batch_goes_to_one_node_in_order,
    a_live_link_is_preferred_to_a_node_that_cannot_be_reached,
    a_reply_has_a_route_inside_the_handler_at_once,
    a_subscription_is_one_per_topic_and_ends_when_dropped,
    an_unsubscribed_topic_is_no_route_and_what_waited_comes_with_the_next_subscription,
    a_released_node_keeps_its_lane,
    a_catalogue_change_is_seen_without_being_asked_for,
    addresses_are_listed_refreshed_and_cleared,
    large_payloads_travel_in_parts_compressed_or_not,
    what_the_receiver_refuses_is_a_dead_letter_of_the_sender,
    a_batch_subscriber_gets_many_at_once_and_nacks_from_where_it_failed,
    a_publisher_works_from_a_thread_without_a_runtime,
    a_publisher_keeps_the_order_of_its_calls_and_dropping_a_future_withdraws_nothing,
    refusals_are_typed,
);
