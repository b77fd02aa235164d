//! Guarantees 15 to 22: whatever breaks is noticed, repaired and bounded. (18, idling, is in `tests/idle.rs`.)

use crate::support::store::Health;
use crate::support::*;
use liner::{
    AdminError, Config, Durability, ForgetLane, ForgetPeer, GetPublisher, Limits, ListAddresses, OnFull,
    RefreshAddresses, SendAll, SendError, SendTo, Shutdown, Timing,
};
use std::time::Duration;

/// A config that dials again only when it is told of a reason.
fn dials_on_news(config: Config) -> Config {
    config.timing(Timing::default().redial_backoff_min(NEVER).redial_backoff_max(NEVER))
}

async fn send_behind(node: &Node, topic: &str, text: &str) -> Result<(), SendError> {
    let message = SendTo::new(topic, text.to_owned()).durability(Durability::WriteBehind);
    node.call(message.deadline(Duration::from_secs(2))).await.map(|_| ())
}

async fn g15_a_half_open_peer_is_noticed_and_delivery_resumes_without_a_new_send(mesh: Mesh) {
    let proxy = Proxy::new().await;
    let timing = Timing::default()
        .heartbeat(Duration::from_millis(100))
        .connect_timeout(Duration::from_millis(200))
        .redial_backoff_max(Duration::from_millis(100));
    let orders = Node::start(mesh.config("orders").timing(timing)).await;
    let billing = Node::start(mesh.config("billing").advertise(proxy.addr())).await;
    proxy.forward_to(&billing.bound().await);
    let mut inbox = Inbox::at(&billing).await;
    let mut events = Events::of(&orders).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    proxy.stall();
    orders.send("billing", "during").await;
    events.peer_down("billing-1").await;
    proxy.cut();
    proxy.resume();
    assert_eq!(inbox.text().await, "during");
}

async fn g15_a_peer_that_returns_on_another_port_is_dialled_at_once(mesh: Mesh) {
    let orders = Node::start(dials_on_news(mesh.config("orders"))).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    billing.crash().await;
    orders.send_all("billing", &texts("", 3)).await;
    let billing = Node::start(mesh.config("billing")).await;
    inbox.receive(&billing).await;
    let mut got = inbox.texts(3).await;
    got.retain(|text| text != "before");
    assert_eq!(got[0], "0");
}

#[actix::test]
async fn g15_a_peer_with_a_store_of_its_own_that_returns_is_dialled_at_once() {
    let mesh = Mesh::sqlite();
    let billing = Node::start(mesh.apart("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let orders = mesh.apart("orders").seed("billing", "billing-1", &billing.bound().await);
    let orders = Node::start(dials_on_news(orders)).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    orders.settled().await;
    billing.shutdown().await;
    orders.send("billing", "meanwhile").await;
    // It remembers whom it met, dials them at start, and says where it listens now.
    let billing = Node::start(mesh.apart("billing")).await;
    inbox.receive(&billing).await;
    assert_eq!(inbox.text().await, "meanwhile");
}

async fn g16_a_black_hole_costs_other_peers_nothing(mesh: Mesh) {
    let mut config = mesh.config("orders").timing(Timing::default().connect_timeout(NEVER));
    let mut holes = Vec::new();
    for peer in ["hole-1", "hole-2", "hole-3"] {
        let hole = Proxy::new().await;
        hole.stall();
        config = config.seed("hole", peer, hole.addr());
        holes.push(hole);
    }
    let orders = Node::start(config).await;
    orders.call(SendAll::new("hole", "into the dark")).await.expect("accepted");
    for hole in &holes {
        hole.taken_more_than(0).await;
    }
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "light").await;
    assert_eq!(inbox.text().await, "light");
}

async fn g16_stopped_peers_hold_up_nobody_else(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders").on_full(OnFull::Reject)).await;
    let mut stopped = Vec::new();
    for peer in ["stopped-1", "stopped-2", "stopped-3"] {
        let proxy = Proxy::new().await;
        let node = Node::start(mesh.named(peer, "stopped").advertise(proxy.addr())).await;
        proxy.forward_to(&node.bound().await);
        let inbox = Inbox::at(&node).await;
        stopped.push((node, proxy, inbox));
    }
    orders.call(RefreshAddresses::new("stopped")).await.expect("known");
    orders.call(SendAll::new("stopped", "before")).await.expect("accepted");
    for (_, proxy, inbox) in &mut stopped {
        assert_eq!(inbox.text().await, "before");
        proxy.stall();
    }
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    let payload = "x".repeat(100_000);
    for n in 0..50 {
        orders.call(SendAll::new("stopped", payload.clone())).await.expect("accepted");
        if n % 10 == 0 {
            orders.send("billing", &n.to_string()).await;
            assert_eq!(inbox.text().await, n.to_string());
        }
    }
}

async fn g17_without_a_store_established_lanes_flow_and_recovery_needs_no_restart(mesh: Mesh) {
    let store = FaultyStore::around(mesh.open());
    let orders = Node::start(Config::custom("orders-1", "orders", store.shared())).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "open").await;
    assert_eq!(inbox.text().await, "open");
    store.set(Health::Down);
    flows(&orders, &mut inbox).await;
    let refused = committed(&orders).await;
    assert!(matches!(refused, Err(SendError::Store(_) | SendError::Deadline)), "{refused:?}");
    store.set(Health::Up);
    orders.send("billing", "recovered").await;
    assert_eq!(inbox.text().await, "recovered");
    orders.settled().await;
    store.set(Health::Hang);
    flows(&orders, &mut inbox).await;
    let unknown = committed(&orders).await;
    assert!(matches!(unknown, Err(SendError::Indeterminate)), "{unknown:?}");
    store.set(Health::Up);
    orders.send("billing", "recovered").await;
    assert_eq!(inbox.texts(2).await, ["committed", "recovered"]);
    orders.settled().await;
}

/// That what needs no store goes through.
async fn flows(orders: &Node, inbox: &mut Inbox) {
    send_behind(orders, "billing", "behind").await.expect("accepted");
    assert_eq!(inbox.text().await, "behind");
    orders.call(SendTo::new("billing", "direct").at_most_once()).await.expect("taken");
    assert_eq!(inbox.text().await, "direct");
}

async fn committed(orders: &Node) -> Result<liner::Receipt, SendError> {
    orders.call(SendTo::new("billing", "committed").deadline(Duration::from_millis(150))).await
}

async fn g17_a_receiver_without_its_store_hands_over_and_acks_later(mesh: Mesh) {
    let store = FaultyStore::around(mesh.open());
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(Config::custom("billing-1", "billing", store.shared())).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "open").await;
    inbox.next().await;
    orders.settled().await;
    store.set(Health::Down);
    orders.send_all("billing", &texts("", 10)).await;
    assert_eq!(inbox.texts(10).await, texts("", 10));
    assert_eq!(orders.pending().await, 10);
    store.set(Health::Up);
    orders.settled().await;
    assert_eq!(inbox.so_far().len(), 0);
}

async fn g19_a_full_queue_waits_or_rejects_as_configured(mesh: Mesh) {
    for on_full in [OnFull::Reject, OnFull::Wait] {
        let store = FaultyStore::around(mesh.open());
        let config = Config::custom("orders-1", "orders", store.shared()).on_full(on_full);
        let config = config.limits(Limits::default().link_messages(10));
        let orders = Node::start(config.seed("away", "away-1", "127.0.0.1:1")).await;
        orders.send("away", "opens the lane").await;
        store.set(Health::Down);
        for n in 0..10 {
            send_behind(&orders, "away", &n.to_string()).await.expect("there is room");
        }
        let refused = send_behind(&orders, "away", "more").await.expect_err("there is none");
        match on_full {
            OnFull::Reject => assert!(matches!(refused, SendError::QueueFull), "{refused:?}"),
            OnFull::Wait => assert!(matches!(refused, SendError::Deadline), "{refused:?}"),
        }
        let waits = orders.call(GetPublisher::new("away").durability(Durability::WriteBehind)).await.expect("known");
        assert!(matches!(waits.try_send("x"), Err(SendError::QueueFull)));
        store.set(Health::Up);
        if on_full == OnFull::Wait {
            waits.send("there is room again").await.expect("accepted");
        }
        orders.crash().await;
    }
}

async fn g19_an_outbox_limit_concerns_its_lane_only(mesh: Mesh) {
    let config = mesh.config("orders").limits(Limits::default().lane_messages(5));
    let orders = Node::start(config.seed("away", "away-1", "127.0.0.1:1").seed("far", "far-1", "127.0.0.1:1")).await;
    orders.send_all("away", &texts("", 5)).await;
    let refused = orders.call(SendTo::new("away", "more")).await;
    assert!(matches!(refused, Err(SendError::QueueFull)), "{refused:?}");
    orders.send("far", "x").await;
}

async fn g19_a_message_above_the_byte_budget_passes_alone(mesh: Mesh) {
    let (from, to) = (mesh.config("orders"), mesh.config("billing"));
    let orders = Node::start(from.limits(Limits::default().link_bytes(1000).at_most_once_bytes(1000))).await;
    let billing = Node::start(to.limits(Limits::default().window_bytes(1000))).await;
    let mut inbox = Inbox::at(&billing).await;
    for durability in [Durability::Committed, Durability::WriteBehind, Durability::Committed] {
        let large = SendTo::new("billing", vec![7; 100_000]).durability(durability);
        orders.call(large).await.expect("accepted");
        assert_eq!(inbox.next().await.payload.len(), 100_000);
    }
}

async fn g19_what_waits_for_an_absent_peer_waits_on_disk_and_drains_when_it_returns(mesh: Mesh) {
    const MESSAGES: u64 = 200_000;
    let orders = Node::start(mesh.config("orders").seed("billing", "billing-1", "127.0.0.1:1")).await;
    let publisher = orders.call(GetPublisher::new("billing")).await.expect("known");
    let mut accepted = Vec::new();
    for n in 0..MESSAGES {
        accepted.push(publisher.send(format!("{n:0100}")));
        if accepted.len() == 10_000 {
            for receipt in futures::future::join_all(accepted.drain(..)).await {
                receipt.expect("accepted");
            }
            let stats = orders.stats().await;
            assert!(stats.links[0].memory.messages <= 65_536, "{:?}", stats.links);
        }
    }
    let stats = orders.stats().await;
    assert_eq!((stats.pending, stats.links[0].memory.messages), (MESSAGES, 0));
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::at(&billing).await;
    for n in 0..MESSAGES {
        assert_eq!(inbox.text().await, format!("{n:0100}"));
    }
    orders.settled().await;
}

async fn g20_a_shutdown_lets_handlers_end_and_leaves_nothing_handled_behind(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let mut inbox = Inbox::scripted(|_| Reply::Hold);
    inbox.receive(&billing).await;
    orders.send_all("billing", &texts("", 10)).await;
    inbox.texts(10).await;
    let ending = billing.addr.send(Shutdown::drain(PATIENCE));
    let refused = billing.call(SendTo::new("orders", "x")).await;
    assert!(matches!(refused, Err(SendError::Closed)), "{refused:?}");
    inbox.release(&Ok(()));
    soon("the end", ending).await.expect("lives").expect("shuts down");
    orders.settled().await;
    assert!(orders.call(ListAddresses::new("billing")).await.expect("lists").is_empty(), "the routes are withdrawn");
    let report = orders.shutdown().await;
    assert_eq!((report.persisted, report.dropped), (0, 0));
}

async fn g20_a_shutdown_stores_what_only_memory_held_and_says_so(mesh: Mesh) {
    let config = mesh.config("orders").seed("billing", "billing-1", "127.0.0.1:1");
    let orders = Node::start(config.timing(Timing::default().write_behind_delay(NEVER))).await;
    for text in texts("", 7) {
        send_behind(&orders, "billing", &text).await.expect("accepted");
    }
    let report = orders.shutdown().await;
    assert_eq!((report.drained, report.persisted, report.dropped), (0, 7, 0));
    let _orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    assert_eq!(Inbox::at(&billing).await.texts(7).await, texts("", 7));
}

async fn g20_after_a_shutdown_everything_is_refused(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let publisher = orders.call(GetPublisher::new("billing")).await.expect("a publisher");
    let first = orders.addr.send(Shutdown::now());
    let second = orders.addr.send(Shutdown::now());
    let (first, second) = futures::join!(first, second);
    first.expect("lives").expect("shuts down");
    assert!(matches!(second, Ok(Err(AdminError::Closed)) | Err(_)), "{second:?}");
    assert!(matches!(publisher.send("x").await, Err(SendError::Closed)));
    until("it ends", || async { !orders.addr.connected() }).await;
}

async fn g21_a_crashed_node_is_used_only_when_no_live_one_is_left(mesh: Mesh) {
    let timing = Timing::default().lease(Duration::from_millis(300));
    let brief = |name: &str| mesh.named(name, "work").timing(timing.clone());
    let orders = Node::start(mesh.config("orders")).await;
    let (dead, live) = (Node::start(brief("dead")).await, Node::start(brief("live")).await);
    let mut inbox = Inbox::at(&live).await;
    dead.crash().await;
    let expired = || async {
        let addresses = orders.call(RefreshAddresses::new("work")).await.expect("known");
        addresses.iter().any(|a| a.node.as_str() == "dead" && !a.live)
    };
    until("the lease expires", expired).await;
    for n in 0..6 {
        orders.send("work", &n.to_string()).await;
        assert_eq!(inbox.text().await, n.to_string());
    }
    live.shutdown().await;
    orders.call(RefreshAddresses::new("work")).await.expect("the dead one is left");
    orders.send("work", "queued").await;
    let dropped = orders.stats().await.dropped;
    orders.call(SendTo::new("work", "dropped").at_most_once()).await.expect("taken");
    until("it is dropped", || async { orders.stats().await.dropped == dropped + 1 }).await;
    let dead = Node::start(brief("dead")).await;
    assert_eq!(Inbox::at(&dead).await.text().await, "queued");
}

async fn g21_an_operator_gives_up_on_a_lane_or_a_peer(mesh: Mesh) {
    let config = mesh.config("orders").seed("a", "away-1", "127.0.0.1:1").seed("b", "away-1", "127.0.0.1:1");
    let orders = Node::start(config).await;
    orders.send_all("a", &texts("", 3)).await;
    orders.send_all("b", &texts("", 4)).await;
    let lane = orders.call(ForgetLane::new("away-1", "a")).await.expect("known");
    assert_eq!((lane.lanes, lane.dropped.messages), (1, 3));
    let gone = orders.call(SendTo::new("a", "x")).await;
    assert!(matches!(gone, Err(SendError::NoRoute(_))), "{gone:?}");
    assert_eq!(orders.pending().await, 4);
    let peer = orders.call(ForgetPeer::new("away-1")).await.expect("known");
    assert_eq!((peer.lanes, peer.dropped.messages), (1, 4));
    assert_eq!(orders.pending().await, 0);
    let unknown = orders.call(ForgetPeer::new("away-1")).await;
    assert!(matches!(unknown, Err(AdminError::UnknownPeer(_))), "{unknown:?}");
}

#[actix::test]
async fn g22_a_lease_that_a_clock_jump_ended_comes_back_with_its_renewal() {
    let mesh = Mesh::sqlite();
    let orders = Node::start(mesh.config("orders")).await;
    let timing = Timing::default().lease(Duration::from_secs(3));
    let billing = Node::start(mesh.config("billing").timing(timing)).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    inbox.next().await;
    mesh.execute("UPDATE liner_nodes SET lease_until = 1 WHERE name = 'billing-1'");
    orders.call(RefreshAddresses::new("billing")).await.expect("known");
    // Nobody else is live: it goes to the node all the same.
    orders.send("billing", "expired").await;
    assert_eq!(inbox.texts(1).await, ["expired"]);
    let live = || async { orders.call(ListAddresses::new("billing")).await.expect("lists")[0].live };
    until("the lease is renewed", live).await;
}

on_each_store!(
    g15_a_half_open_peer_is_noticed_and_delivery_resumes_without_a_new_send,
    g15_a_peer_that_returns_on_another_port_is_dialled_at_once,
    g16_a_black_hole_costs_other_peers_nothing,
    g16_stopped_peers_hold_up_nobody_else,
    g17_without_a_store_established_lanes_flow_and_recovery_needs_no_restart,
    g17_a_receiver_without_its_store_hands_over_and_acks_later,
    g19_a_full_queue_waits_or_rejects_as_configured,
    g19_an_outbox_limit_concerns_its_lane_only,
    g19_a_message_above_the_byte_budget_passes_alone,
    g19_what_waits_for_an_absent_peer_waits_on_disk_and_drains_when_it_returns,
    g20_a_shutdown_lets_handlers_end_and_leaves_nothing_handled_behind,
    g20_a_shutdown_stores_what_only_memory_held_and_says_so,
    g20_after_a_shutdown_everything_is_refused,
    g21_a_crashed_node_is_used_only_when_no_live_one_is_left,
    g21_an_operator_gives_up_on_a_lane_or_a_peer,
);
