//! Whole nodes on a Redis server that fails: nothing accepted is lost, nobody needs a restart, and what does not need the
//! store goes on without it.
#![cfg(feature = "redis")]

mod support;

use liner::stores::StoreError;
use liner::{Config, Durability, SendError, SendTo, Timing};
use std::time::Duration;
use support::outage::World;
use support::redis::{Server, cli};
use support::{Inbox, Node, until};

async fn world() -> World<Server> {
    let server = Server::start(&[]);
    let url = server.url(0);
    World::new(server, |name, topic| Config::redis(name, topic, url.as_str())).await
}

fn queued(server: &mut Server) -> u64 {
    support::redis::queued(&server.url(0))
}

#[actix::test]
async fn g01_nothing_is_lost_when_every_client_of_the_server_is_killed() {
    let mut world = world().await;
    for _ in 0..3 {
        world
            .during(|server| {
                // Those that listen may just be on their way back from the last time.
                cli(&server.url(0), &["CLIENT", "KILL", "TYPE", "pubsub"]);
                let killed = cli(&server.url(0), &["CLIENT", "KILL", "TYPE", "normal"]);
                assert!(killed.parse::<u32>().expect("a number") > 0, "one of them has just been used");
            })
            .await;
    }
    world.check(queued).await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_is_restarted() {
    let mut world = world().await;
    world
        .during(|server| {
            server.stop();
            server.start_again();
        })
        .await;
    world.check(queued).await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_is_killed() {
    let mut world = world().await;
    for _ in 0..2 {
        world
            .during(|server| {
                server.kill();
                server.start_again();
            })
            .await;
    }
    world.check(queued).await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_the_server_forgets_its_scripts() {
    let mut world = world().await;
    world.during(|server| drop(cli(&server.url(0), &["SCRIPT", "FLUSH"]))).await;
    world.check(queued).await;
}

#[actix::test]
async fn g17_a_server_that_stands_still_holds_up_nobody_who_does_not_need_it() {
    world().await.stands_still(|server| server.signal("STOP"), |server| server.signal("CONT")).await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_stands_still() {
    world().await.write_behind_flows(|server| server.signal("STOP"), |server| server.signal("CONT")).await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_is_away() {
    world().await.write_behind_flows(Server::kill, Server::start_again).await;
}

// ---- a server that comes back empty ----

#[actix::test]
async fn after_the_server_came_back_empty_its_nodes_need_a_restart_and_nothing_else() {
    let server = Server::start(&[]);
    let url = server.url(0);
    let start = async |topic: &str| {
        let config = Config::redis(format!("{topic}-1"), topic, url.as_str());
        Node::start(config.timing(Timing::default().lease(Duration::from_millis(600)))).await
    };
    let (orders, billing) = (start("orders").await, start("billing").await);
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    orders.settled().await;
    cli(&url, &["FLUSHALL"]);
    let refused = orders.call(SendTo::new("billing", "on a lane that is gone")).await;
    assert!(matches!(refused, Err(SendError::Store(StoreError::NoLane(_)))), "{refused:?}");
    let in_memory = SendTo::new("billing", "in memory").durability(Durability::WriteBehind);
    orders.call(in_memory).await.expect("accepted");
    assert_eq!(inbox.text().await, "in memory");
    // The lease is written again, with the epoch it had: nobody else is fenced, and nobody is let in.
    let epoch = || cli(&url, &["HGET", "lnr_node:orders-1", "epoch"]);
    until("the lease is renewed", || async { epoch() == "1" }).await;
    assert_eq!(cli(&url, &["EXISTS", "lnr_topic:billing:addr"]), "0", "routes do not come back by themselves");
    // Each process ends before the next of its name starts.
    for node in [orders, billing] {
        node.crash().await;
    }
    let (orders, billing) = (start("orders").await, start("billing").await);
    assert_eq!(epoch(), "2");
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "behind").await;
    assert_eq!(inbox.text().await, "behind");
    orders.settled().await;
}
