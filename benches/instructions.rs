//! Work to count instructions of: two nodes in one process, write-behind messages of 100 bytes.
//!
//! `scripts/instructions` runs this under callgrind with few messages and with many: the difference is what a message
//! costs. Without arguments it runs every kind once, so that `cargo bench` finds out whether it still works.

use actix::prelude::*;
use liner::{
    Config, Delivery, Durability, GetPublisher, LinerSystem, Nack, PendingCount, Receive, SendTo, Shutdown, Stats,
    Timing, Topic,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Ways to send and to receive.
const KINDS: [&str; 3] = ["publisher-callback", "do_send-actor", "send-actor"];
/// Sends that wait for their receipt at a time.
const WINDOW: u64 = 1024;

struct Counter(Arc<AtomicU64>);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Counter {
    type Result = Result<(), Nack>;

    fn handle(&mut self, _: Delivery, _: &mut Self::Context) -> Self::Result {
        self.0.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

async fn run(kind: &str, messages: u64) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let receiver = Config::sqlite("receiver", "work", dir.path().join("receiver.sqlite"));
    let receiver = LinerSystem::spawn(receiver).await.expect("receiver starts");
    let addr = receiver.send(Stats).await.expect("alive").expect("stats").published;
    let handled = Arc::new(AtomicU64::new(0));
    let counter = handled.clone();
    let receive = if kind == "publisher-callback" {
        Receive::callback(move |_| {
            counter.fetch_add(1, Ordering::Release);
            Ok(())
        })
    } else {
        let arbiter = Arbiter::new().handle();
        Receive::new(Counter::start_in_arbiter(&arbiter, |_| Counter(counter)).recipient()).on(&arbiter)
    };
    receiver.send(receive).await.expect("alive").expect("receives").detach();
    let sender = Config::sqlite("sender", "source", dir.path().join("sender.sqlite")).seed("work", "receiver", &addr);
    // Under an emulator everything takes long; what waits for long would be stored.
    let timing = Timing::default().write_behind_delay(Duration::from_secs(600));
    let sender = sender.durability(Durability::WriteBehind).timing(timing);
    let sender = LinerSystem::spawn(sender).await.expect("sender starts");
    // What is sent before the lane is open takes the long way.
    for messages in [1, messages] {
        let all = handled.load(Ordering::Acquire) + messages;
        send(&sender, kind, messages).await;
        while handled.load(Ordering::Acquire) < all
            || sender.send(PendingCount).await.expect("alive").expect("counts") > 0
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    for node in [sender, receiver] {
        node.send(Shutdown::drain(Duration::from_secs(60))).await.expect("alive").expect("ends");
    }
}

async fn send(sender: &Addr<LinerSystem>, kind: &str, messages: u64) {
    let topic = Topic::new("work").expect("a name");
    let payload = bytes::Bytes::from_static(&[7; 100]);
    match kind {
        "publisher-callback" => {
            let publisher = sender.send(GetPublisher::new(&topic)).await.expect("alive").expect("a publisher");
            for _ in 0..messages {
                publisher.send(&payload).await.expect("accepted");
            }
        }
        "do_send-actor" => (0..messages).for_each(|_| sender.do_send(SendTo::new(&topic, payload.clone()))),
        _ => {
            for first in (0..messages).step_by(WINDOW as usize) {
                let window = first..messages.min(first + WINDOW);
                let sends = window.map(|_| sender.send(SendTo::new(&topic, payload.clone())));
                for accepted in futures::future::join_all(sends).await {
                    accepted.expect("alive").expect("accepted");
                }
            }
        }
    }
}

#[actix::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.as_slice() {
        [kind, messages] if KINDS.contains(&kind.as_str()) => run(kind, messages.parse().expect("a number")).await,
        [] => {
            for kind in KINDS {
                run(kind, 10_000).await;
                println!("{kind}: 10,000 messages were handled");
            }
        }
        _ => panic!("usage: instructions [KIND MESSAGES], KIND one of {KINDS:?}"),
    }
}
