//! A chat: every node serves the topic and sends to all others. Messages are kept in memory unless a peer is slow to take
//! them (write-behind), and each node's counters are shown at the end.
//!
//! `cargo run --release --example many_to_many`

mod common;

use actix::Addr;
use common::{Store, next};
use liner::{Durability, LinerSystem, ListAddresses, Nack, SendAll, Shutdown, Stats, Subscribe};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};

type Failure = Box<dyn Error>;

/// Who heard, who spoke, what.
type Heard = (String, String, String);

const NAMES: [&str; 4] = ["ann", "bob", "cid", "eve"];
const LINES: usize = 5;

/// A node with its own topic, which is not used here, and the topic it shares with the others.
async fn join(name: &'static str, store: &Store, heard: UnboundedSender<Heard>) -> Result<Addr<LinerSystem>, Failure> {
    let config = store.config(name, &format!("{name}-private")).durability(Durability::WriteBehind);
    let system = LinerSystem::spawn(config).await?;
    let listen = Subscribe::callback("chat", move |line| {
        let (from, text) = (line.sender().to_string(), String::from_utf8_lossy(&line.payload).into_owned());
        heard.send((name.to_owned(), from, text)).map_err(|_| Nack::new("nobody listens"))
    });
    system.send(listen).await??.detach();
    Ok(system)
}

#[actix::main]
async fn main() -> Result<(), Failure> {
    let store = Store::from_args()?;
    let (heard, mut ears) = mpsc::unbounded_channel();
    let mut systems = Vec::new();
    for name in NAMES {
        systems.push(join(name, &store, heard.clone()).await?);
    }
    println!("{} nodes in the chat:", systems.len());
    for address in systems[0].send(ListAddresses::new("chat")).await?? {
        println!("   {} at {}", address.node, address.addr);
    }

    for line in 0..LINES {
        for system in &systems {
            // A node does not send to itself.
            let receipts = system.send(SendAll::new("chat", format!("line {line}"))).await??;
            if receipts.len() != NAMES.len() - 1 {
                return Err("somebody was left out".into());
            }
        }
    }

    let mut heard_by: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for _ in 0..NAMES.len() * (NAMES.len() - 1) * LINES {
        let (who, from, text) = next(&mut ears).await?;
        heard_by.entry((who, from)).or_default().push(text);
    }
    let said: Vec<String> = (0..LINES).map(|line| format!("line {line}")).collect();
    for ((who, from), lines) in &heard_by {
        println!("{who} heard {} lines from {from}", lines.len());
        if *lines != said {
            return Err(format!("{who} heard from {from}: {lines:?}").into());
        }
    }

    for (name, system) in NAMES.iter().zip(systems) {
        let stats = system.send(Stats).await??;
        println!("{name}: accepted {}, handled {}, {} links", stats.accepted, stats.handled, stats.links.len());
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    println!("done: everybody heard everybody, in order");
    Ok(())
}
