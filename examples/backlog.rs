//! A million messages for a peer that is away: they wait on disk, not in memory, and drain when it returns.
//!
//! `cargo run --release --example backlog`

mod common;

use common::Store;
use liner::{Durability, GetPublisher, LinerSystem, PendingCount, Receive, SendFuture, Shutdown};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

const MESSAGES: u64 = 1_000_000;
/// Sends that wait for their commit at a time.
const WINDOW: usize = 4096;
/// What the process may take at most, in MiB.
const MEMORY: u64 = 200;

/// The most memory this process has taken so far, in MiB.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse::<u64>()? / 1024)
}

fn say(what: &str, since: Instant) -> Result<(), Box<dyn Error>> {
    let rate = MESSAGES as f64 / since.elapsed().as_secs_f64();
    println!("   {what} in {:.2?}: {rate:.0} a second, peak memory {} MiB", since.elapsed(), peak_memory()?);
    Ok(())
}

async fn accept(window: &mut Vec<SendFuture>) -> Result<(), Box<dyn Error>> {
    for sending in window.drain(..) {
        sending.await?;
    }
    Ok(())
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;

    println!(
        "1. orders sends {MESSAGES} messages of 100 bytes to billing-1, which an operator has announced and nobody runs"
    );
    let config = store.config("orders-1", "orders").seed("billing", "billing-1", "127.0.0.1:1");
    let orders = LinerSystem::spawn(config).await?;
    let billing = orders.send(GetPublisher::new("billing").durability(Durability::Committed)).await??;
    let start = Instant::now();
    let mut window = Vec::with_capacity(WINDOW);
    for _ in 0..MESSAGES {
        window.push(billing.send([7; 100]));
        if window.len() == WINDOW {
            accept(&mut window).await?;
        }
    }
    accept(&mut window).await?;
    say("all are committed", start)?;
    println!("   {} wait in the store", orders.send(PendingCount).await??);

    println!("2. billing-1 starts, and gets them");
    let (count, done) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let node = LinerSystem::spawn(store.config("billing-1", "billing")).await?;
    let start = Instant::now();
    let (counter, notify) = (count.clone(), done.clone());
    let receive = Receive::callback(move |_| {
        if counter.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
            notify.notify_one();
        }
        Ok(())
    });
    node.send(receive).await??.detach();
    done.notified().await;
    say("all are handled", start)?;

    println!("3. both end; the store is empty");
    let patience = Duration::from_secs(30);
    node.send(Shutdown::drain(patience)).await??;
    let report = orders.send(Shutdown::drain(patience)).await??;
    let memory = peak_memory()?;
    if report.persisted + report.dropped > 0 || count.load(Ordering::Relaxed) != MESSAGES || memory > MEMORY {
        return Err(format!("{report:?}, {} handled, {memory} MiB", count.load(Ordering::Relaxed)).into());
    }
    println!("done");
    Ok(())
}
