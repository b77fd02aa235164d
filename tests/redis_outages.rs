//! Whole nodes on a Redis server that fails: nothing accepted is lost, nobody needs a restart, and what does not need the
//! store goes on without it.
#![cfg(feature = "redis")]

mod support;

use liner::{Config, Durability, SendTo};
use std::time::Duration;
use support::redis::{Server, cli, queued};
use support::{Inbox, Node, until};

/// Two nodes, one of which sends to the other for as long as [`World::during`] runs.
struct World {
    server: Server,
    url: String,
    orders: Node,
    billing: Node,
    inbox: Inbox,
    /// The texts that were accepted, in order.
    accepted: Vec<String>,
}

impl World {
    async fn new() -> World {
        let server = Server::start(&[]);
        let url = server.url(0);
        let node = |topic: &str| {
            let mut config = Config::redis(&format!("{topic}-1"), topic, url.as_str());
            // Sends wait for a server that is away, and not for ever.
            config.timing.lease = Duration::from_secs(3);
            config
        };
        let orders = Node::start(node("orders")).await;
        let billing = Node::start(node("billing")).await;
        let inbox = Inbox::at(&billing).await;
        World { server, url, orders, billing, inbox, accepted: Vec::new() }
    }

    /// Sends one message after the other while the outage lasts, and twenty behind it.
    async fn during(&mut self, outage: impl FnOnce(Server, &str) -> Server + Send + 'static) {
        self.send(20).await;
        let (url, server) = (self.url.clone(), std::mem::replace(&mut self.server, Server::none()));
        let mut outage = tokio::task::spawn_blocking(move || outage(server, &url));
        self.server = loop {
            tokio::select! {
                done = &mut outage => break done.expect("the outage ends"),
                () = self.send(1) => {}
            }
        };
        self.send(20).await;
    }

    async fn send(&mut self, n: usize) {
        for _ in 0..n {
            let text = format!("{}", self.accepted.len());
            // What is not accepted is sent again under the same text: it may arrive twice, in its place.
            until("a send is accepted", || async {
                self.orders.call(SendTo::new("billing", text.clone())).await.is_ok()
            })
            .await;
            self.accepted.push(text);
        }
    }

    /// Everything accepted arrives, in order, and the queues end up empty.
    async fn check(mut self) {
        let mut last = None;
        while last.as_ref() != self.accepted.last() {
            let text = self.inbox.text().await;
            let at: usize = text.parse().expect("a number");
            let next = last.as_ref().map_or(0, |last: &String| last.parse::<usize>().expect("a number") + 1);
            assert!(at == next || (at + 1 == next), "{at} came instead of {next}");
            last = Some(text);
        }
        self.orders.settled().await;
        until("the queues are empty", || async { queued(&self.url) == 0 }).await;
        assert!(self.billing.addr.connected() && self.orders.addr.connected(), "nobody needed a restart");
    }
}

#[actix::test]
async fn g01_nothing_is_lost_when_every_client_of_the_server_is_killed() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world
            .during(|server, url| {
                // Those that listen may just be on their way back from the last time.
                cli(url, &["CLIENT", "KILL", "TYPE", "pubsub"]);
                let killed: u32 = cli(url, &["CLIENT", "KILL", "TYPE", "normal"]).parse().expect("a number");
                assert!(killed > 0, "one of them has just been used");
                server
            })
            .await;
    }
    world.check().await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_is_restarted() {
    let mut world = World::new().await;
    world
        .during(|mut server, _| {
            server.stop();
            server.start_again();
            server
        })
        .await;
    world.check().await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_is_killed() {
    let mut world = World::new().await;
    for _ in 0..2 {
        world
            .during(|mut server, _| {
                server.kill();
                server.start_again();
                server
            })
            .await;
    }
    world.check().await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_forgets_its_scripts() {
    let mut world = World::new().await;
    world
        .during(|server, url| {
            cli(url, &["SCRIPT", "FLUSH"]);
            server
        })
        .await;
    world.check().await;
}

#[actix::test]
async fn g17_a_server_that_stands_still_holds_up_nobody_who_does_not_need_it() {
    let mut world = World::new().await;
    world.send(5).await;
    world.inbox.texts(5).await;
    // Both lanes are open before the server is stopped.
    for durability in [Durability::WriteBehind, Durability::Committed] {
        world.orders.call(SendTo::new("billing", "before").durability(durability)).await.expect("accepted");
        assert_eq!(world.inbox.text().await, "before");
    }
    world.server.signal("STOP");
    let stopped = tokio::time::Instant::now();
    let committed = world.orders.addr.send(SendTo::new("billing", "committed"));
    let committed = actix_rt::spawn(committed);
    for n in 0..20 {
        let once = SendTo::new("billing", format!("once {n}")).at_most_once();
        world.orders.call(once).await.expect("queued");
        assert_eq!(world.inbox.text().await, format!("once {n}"));
    }
    tokio::time::sleep_until(stopped + Duration::from_secs(10)).await;
    assert!(!committed.is_finished(), "a commit waits for the server");
    world.server.signal("CONT");
    committed.await.expect("runs").expect("the node lives").expect("accepted once the server goes on");
    assert_eq!(world.inbox.text().await, "committed");
    world.orders.settled().await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_stands_still() {
    let mut world = World::new().await;
    let send = |n: usize| SendTo::new("billing", n.to_string()).durability(Durability::WriteBehind);
    world.orders.call(send(0)).await.expect("accepted");
    assert_eq!(world.inbox.text().await, "0");
    world.orders.settled().await;
    world.server.signal("STOP");
    for n in 1..200 {
        world.orders.call(send(n)).await.expect("accepted");
        assert_eq!(world.inbox.text().await, n.to_string());
    }
    world.server.signal("CONT");
    world.orders.settled().await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_is_away() {
    let mut world = World::new().await;
    let send = |n: usize| SendTo::new("billing", n.to_string()).durability(Durability::WriteBehind);
    world.orders.call(send(0)).await.expect("accepted");
    assert_eq!(world.inbox.text().await, "0");
    world.orders.settled().await;
    world.server.kill();
    for n in 1..200 {
        world.orders.call(send(n)).await.expect("accepted");
        assert_eq!(world.inbox.text().await, n.to_string());
    }
    world.server.start_again();
    world.orders.settled().await;
    until("the queues are empty", || async { queued(&world.url) == 0 }).await;
}
