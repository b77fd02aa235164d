//! News for everybody: `SendAll` goes to every node of a topic, in one transaction, with a receipt for each. A node that
//! is away gets its copy when it comes back.
//!
//! `cargo run --release --example one_to_many`

mod common;

use actix::Addr;
use common::{Store, next};
use liner::{LinerSystem, Nack, PendingByLane, SendAll, Shutdown, Subscribe};
use std::collections::BTreeSet;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

type Failure = Box<dyn Error>;
type News = (String, String);

/// A node that subscribes to the news in addition to its own topic.
async fn reader(name: &'static str, store: &Store, seen: UnboundedSender<News>) -> Result<Addr<LinerSystem>, Failure> {
    let system = LinerSystem::spawn(store.config(name, "readers")).await?;
    let subscribe = Subscribe::callback("news", move |news| {
        let text = String::from_utf8_lossy(&news.payload).into_owned();
        println!("   {name} reads {text:?}");
        seen.send((name.to_owned(), text)).map_err(|_| Nack::new("nobody listens"))
    });
    system.send(subscribe).await??.detach();
    Ok(system)
}

/// Waits until each of these nodes has read `text`.
async fn all_read(seen: &mut UnboundedReceiver<News>, text: &str, names: &[&str]) -> Result<(), Failure> {
    let mut missing: BTreeSet<&str> = names.iter().copied().collect();
    while !missing.is_empty() {
        let (name, read) = next(seen).await?;
        if read != text || !missing.remove(name.as_str()) {
            return Err(format!("{name} should not have read {read:?} now").into());
        }
    }
    Ok(())
}

#[actix::main]
async fn main() -> Result<(), Failure> {
    let store = Store::from_args()?;
    let (seen, mut read) = mpsc::unbounded_channel();
    let ann = reader("ann", &store, seen.clone()).await?;
    let bob = reader("bob", &store, seen.clone()).await?;
    let eve = reader("eve", &store, seen.clone()).await?;
    let press = LinerSystem::spawn(store.config("press", "letters")).await?;

    println!("1. the press sends to all who serve the topic");
    let receipts = press.send(SendAll::new("news", "first issue")).await??;
    println!("   accepted for {} nodes, all or none", receipts.len());
    all_read(&mut read, "first issue", &["ann", "bob", "eve"]).await?;

    println!("2. eve goes away; her copy waits");
    eve.send(Shutdown::drain(Duration::from_secs(5))).await??;
    let receipts = press.send(SendAll::new("news", "second issue")).await??;
    all_read(&mut read, "second issue", &["ann", "bob"]).await?;
    for waiting in press.send(PendingByLane).await?? {
        println!("   {} for {}", waiting.amount.messages, waiting.lane.receiver());
    }

    println!("3. eve is back, and gets it");
    let eve = reader("eve", &store, seen).await?;
    all_read(&mut read, "second issue", &["eve"]).await?;

    for system in [press, ann, bob, eve] {
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    println!("done");
    if receipts.len() == 3 { Ok(()) } else { Err("a node was left out".into()) }
}
