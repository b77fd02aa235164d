//! Whole nodes on a PostgreSQL server that fails: nothing accepted is lost, nobody needs a restart, and what does not
//! need the store goes on without it.
#![cfg(feature = "postgres")]

mod support;

use liner::Config;
use std::sync::Arc;
use std::time::Instant;
use support::Proxy;
use support::outage::World;
use support::postgres::{Server, psql};

async fn world() -> World<Server> {
    let server = Server::start(&[]);
    let url = server.database("mesh");
    World::new(server, |name, topic| Config::postgres(name, topic, url.as_str())).await
}

fn queued(server: &mut Server) -> u64 {
    psql(&server.url("mesh"), "SELECT count(*) FROM conn_messages").parse().expect("a number")
}

#[actix::test]
async fn g01_nothing_is_lost_when_every_connection_of_the_server_is_terminated() {
    let mut world = world().await;
    for _ in 0..3 {
        world
            .during(|server| {
                let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND datname = 'mesh'";
                let terminated: u32 = psql(&server.url("mesh"), all).parse().expect("a number");
                assert!(terminated > 0, "one of them has just been used");
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
async fn g17_a_server_that_stands_still_holds_up_nobody_who_does_not_need_it() {
    world().await.stands_still(|server| server.signal("STOP", true), |server| server.signal("CONT", true)).await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_stands_still() {
    world().await.write_behind_flows(|server| server.signal("STOP", true), |server| server.signal("CONT", true)).await;
}

#[actix::test]
async fn g17_write_behind_messages_flow_while_the_server_is_away() {
    world().await.write_behind_flows(Server::kill, Server::start_again).await;
}

// ---- failover ----

/// A primary, and a standby that has each commit before it is answered.
struct Pair {
    primary: Server,
    standby: Server,
}

impl Pair {
    fn start() -> Pair {
        let primary = Server::start(&[]);
        primary.database("mesh");
        let standby = primary.standby();
        let url = primary.url("postgres");
        psql(&url, "ALTER SYSTEM SET synchronous_standby_names = '*'");
        psql(&url, "SELECT pg_reload_conf()");
        let deadline = Instant::now() + support::PATIENCE;
        while psql(&url, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(Instant::now() < deadline, "the standby does not follow");
        }
        Pair { primary, standby }
    }
}

fn queued_on_standby(pair: &mut Pair) -> u64 {
    queued(&mut pair.standby)
}

#[actix::test]
async fn g01_nothing_is_lost_when_a_standby_takes_over_behind_the_same_address() {
    let proxy = Arc::new(Proxy::new().await);
    let pair = tokio::task::spawn_blocking(Pair::start).await.expect("starts");
    let at = |server: &Server| format!("127.0.0.1:{}", server.port());
    proxy.forward_to(&at(&pair.primary));
    let url = pair.primary.url("mesh").replace(&at(&pair.primary), &proxy.addr());
    let mut world = World::new(pair, |name, topic| Config::postgres(name, topic, url.as_str())).await;
    let address = proxy.clone();
    world
        .during(move |pair| {
            pair.primary.kill();
            // For a while there is a server at the address that can only be read.
            address.forward_to(&at(&pair.standby));
            pair.standby.promote();
        })
        .await;
    world.check(queued_on_standby).await;
}

#[actix::test]
async fn g01_nothing_is_lost_when_another_of_several_hosts_takes_over() {
    let pair = tokio::task::spawn_blocking(Pair::start).await.expect("starts");
    let (primary, standby) = (pair.primary.port(), pair.standby.port());
    let hosts = format!("127.0.0.1:{standby},127.0.0.1:{primary}");
    let url = pair.primary.url("mesh").replace(&format!("127.0.0.1:{primary}"), &hosts);
    let url = format!("{url}?target_session_attrs=read-write");
    let mut world = World::new(pair, |name, topic| Config::postgres(name, topic, url.as_str())).await;
    world
        .during(|pair| {
            pair.primary.kill();
            pair.standby.promote();
        })
        .await;
    world.check(queued_on_standby).await;
}
