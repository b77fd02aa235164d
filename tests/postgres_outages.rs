//! Whole nodes on a PostgreSQL server that fails: nothing accepted is lost, nobody needs a restart, and what does not
//! need the store goes on without it.
#![cfg(feature = "postgres")]

mod support;

use liner::{Config, Durability, SendTo};
use std::time::Duration;
use support::postgres::{Server, psql};
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
        let url = server.database("mesh");
        let node = |topic: &str| {
            let mut config = Config::postgres(&format!("{topic}-1"), topic, url.as_str());
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
    async fn during<T: Send + 'static>(
        &mut self,
        outage: impl FnOnce(Server, &str) -> (Server, T) + Send + 'static,
    ) -> T {
        self.send(20).await;
        let (url, server) = (self.url.clone(), std::mem::replace(&mut self.server, Server::none()));
        let mut outage = tokio::task::spawn_blocking(move || outage(server, &url));
        let (server, told) = loop {
            tokio::select! {
                done = &mut outage => break done.expect("the outage ends"),
                () = self.send(1) => {}
            }
        };
        self.server = server;
        self.send(20).await;
        told
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
        until("the cursor is stored", || async { psql(&self.url, "SELECT count(*) FROM conn_messages") == "0" }).await;
        assert!(self.billing.addr.connected() && self.orders.addr.connected(), "nobody needed a restart");
    }
}

#[actix::test]
async fn g01_nothing_is_lost_when_every_connection_of_the_server_is_terminated() {
    let mut world = World::new().await;
    for _ in 0..3 {
        world
            .during(|server, url| {
                let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = 'mesh'";
                let terminated: u32 = psql(url, all).parse().expect("a number");
                assert!(terminated > 0, "one of them has just been used");
                (server, ())
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
            (server, ())
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
                (server, ())
            })
            .await;
    }
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
    world.server.signal("STOP", true);
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
    world.server.signal("CONT", true);
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
    world.server.signal("STOP", true);
    for n in 1..200 {
        world.orders.call(send(n)).await.expect("accepted");
        assert_eq!(world.inbox.text().await, n.to_string());
    }
    world.server.signal("CONT", true);
    world.orders.settled().await;
}
