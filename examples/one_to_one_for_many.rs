//! Work shared out: one node sends, many serve the topic, and each message goes to one of them. The messages come from a
//! plain thread, which needs no runtime: a `Publisher` blocks it until the message is accepted.
//!
//! `cargo run --release --example one_to_one_for_many`

mod common;

use actix::prelude::*;
use common::{Store, next};
use liner::{
    GetPublisher, LinerSystem, MeshEvent, Nack, Publisher, Receipt, Receive, SendError, Shutdown, WatchEvents,
};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;

const WORKERS: usize = 3;
const TASKS: usize = 30;

/// Watches links that come up.
struct Watcher {
    up: mpsc::UnboundedSender<()>,
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<MeshEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, _: &mut Self::Context) {
        if matches!(event, MeshEvent::PeerUp { .. }) {
            // Once all links are up, the receiver is dropped.
            let _ = self.up.send(());
        }
    }
}

/// Runs on a thread of its own.
fn send_all_tasks(publisher: &Publisher) -> Result<Vec<Receipt>, SendError> {
    (0..TASKS).map(|task| publisher.send_blocking(format!("task {task}"))).collect()
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;
    let (seen, mut done) = mpsc::unbounded_channel();

    println!("{WORKERS} workers serve one topic, with a callback each");
    let mut systems = Vec::new();
    for number in 1..=WORKERS {
        let name = format!("worker-{number}");
        let worker = LinerSystem::spawn(store.config(&name, "tasks")).await?;
        let seen = seen.clone();
        let work = Receive::callback(move |task| {
            let text = String::from_utf8_lossy(&task.payload).into_owned();
            seen.send((name.clone(), text)).map_err(|_| Nack::new("nobody listens"))
        });
        worker.send(work).await??.detach();
        systems.push(worker);
    }

    println!("a thread sends {TASKS} tasks, one to one worker each, in turn");
    let boss = LinerSystem::spawn(store.config("boss", "office")).await?;
    let (up, mut links) = mpsc::unbounded_channel();
    boss.send(WatchEvents::new(Watcher { up }.start().recipient())).await?;
    let publisher = boss.send(GetPublisher::new("tasks")).await??;
    // Nodes with a live link come first: the turns are even once every link is up.
    for _ in 0..WORKERS {
        next(&mut links).await?;
    }
    let sending = thread::spawn(move || send_all_tasks(&publisher));

    let mut by_worker: BTreeMap<String, usize> = BTreeMap::new();
    let mut tasks = BTreeSet::new();
    while tasks.len() < TASKS {
        let (worker, task) = next(&mut done).await?;
        *by_worker.entry(worker).or_default() += 1;
        tasks.insert(task);
    }
    let receipts = sending.join().map_err(|_| "the sending thread panicked")??;
    println!("{} receipts, {} tasks done: {by_worker:?}", receipts.len(), tasks.len());

    systems.push(boss);
    for system in systems {
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    let even = by_worker.len() == WORKERS && by_worker.values().all(|tasks| *tasks == TASKS / WORKERS);
    if even { Ok(()) } else { Err("the tasks were not shared evenly".into()) }
}
