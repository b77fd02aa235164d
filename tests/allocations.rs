//! How often a message allocates memory once everything is warm: counted over both nodes, in one process.

use actix::prelude::*;
use liner::{
    Config, Delivery, Durability, GetPublisher, LinerSystem, Nack, PendingCount, Receive, SendTo, Stats as NodeStats,
    Timing,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages of one burst. Few enough that none waits for long: what waits is written to the store.
const BURST: u64 = 2_000;
/// Bursts that are not counted, then bursts that are.
const WARM: usize = 20;
const COUNTED: usize = 20;

struct Pair {
    sender: Addr<LinerSystem>,
    handled: Arc<AtomicU64>,
    _receiver: Addr<LinerSystem>,
    _dir: tempfile::TempDir,
}

struct Counter(Arc<AtomicU64>);

impl Actor for Counter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // Beyond its capacity, a mailbox allocates once more for every message.
        ctx.set_mailbox_capacity(256);
    }
}

impl Handler<Delivery> for Counter {
    type Result = Result<(), Nack>;

    fn handle(&mut self, _: Delivery, _: &mut Self::Context) -> Self::Result {
        self.0.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

impl Pair {
    async fn start(receive: impl FnOnce(Arc<AtomicU64>) -> Receive) -> Pair {
        let dir = tempfile::tempdir().expect("temporary directory");
        let receiver = Config::sqlite("receiver", "work", dir.path().join("receiver.sqlite"));
        let receiver = LinerSystem::spawn(receiver).await.expect("receiver starts");
        let addr = receiver.send(NodeStats).await.expect("alive").expect("stats").published;
        let handled = Arc::new(AtomicU64::new(0));
        receiver.send(receive(handled.clone())).await.expect("alive").expect("receives").detach();
        let sender =
            Config::sqlite("sender", "source", dir.path().join("sender.sqlite")).seed("work", "receiver", &addr);
        // What a busy machine delays is not what is counted here.
        let timing = Timing::default().write_behind_delay(Duration::from_secs(60));
        let sender = sender.durability(Durability::WriteBehind).timing(timing);
        let sender = LinerSystem::spawn(sender).await.expect("sender starts");
        Pair { sender, handled, _receiver: receiver, _dir: dir }
    }

    async fn wait_for(&self, count: u64) {
        while self.handled.load(Ordering::Acquire) < count
            || self.sender.send(PendingCount).await.expect("alive").expect("counts") > 0
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Allocations a message, of both nodes and the caller.
    async fn allocations(&self, mut burst: impl AsyncFnMut()) -> f64 {
        let mut before = 0;
        for round in 0..WARM + COUNTED {
            if round == WARM {
                before = count();
            }
            burst().await;
            self.wait_for(BURST * (round as u64 + 1)).await;
        }
        (count() - before) as f64 / (BURST * COUNTED as u64) as f64
    }
}

fn count() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

async fn from_publisher_to_callback() -> f64 {
    let pair = Pair::start(|handled| {
        Receive::callback(move |_| {
            handled.fetch_add(1, Ordering::Release);
            Ok(())
        })
    })
    .await;
    let publisher = pair.sender.send(GetPublisher::new("work")).await.expect("alive").expect("known");
    let burst = async || {
        for _ in 0..BURST {
            publisher.send([7; 100]).await.expect("accepted");
        }
    };
    pair.allocations(burst).await
}

async fn from_do_send_to_actor() -> f64 {
    let thread = Arbiter::new().handle();
    let counter = |handled| Counter::start_in_arbiter(&thread, |_| Counter(handled));
    let pair = Pair::start(|handled| Receive::new(counter(handled).recipient()).on(&thread)).await;
    let payload = bytes::Bytes::from_static(&[7; 100]);
    let burst = async || {
        for _ in 0..BURST {
            pair.sender.do_send(SendTo::new("work", payload.clone()));
        }
    };
    pair.allocations(burst).await
}

/// One test: what is counted is the whole process.
#[actix::test]
async fn a_message_allocates_as_little_as_is_promised() {
    let fast = from_publisher_to_callback().await;
    assert!(fast < 0.1, "publisher to callback: {fast} a message");
    // Three where it is sent: the name of the topic, and two for the mailbox. Four where it is received: two for the
    // mailbox, the reply, and the wait for it. The rest is shared by the messages of a batch.
    let actor = from_do_send_to_actor().await;
    assert!(actor < 7.0, "do_send to an actor: {actor} a message");
    println!("{fast:.3} from publisher to callback, {actor:.3} from do_send to an actor");
}
