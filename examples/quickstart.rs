//! Two nodes on one SQLite file: subscribe, send, receipt, delivery, and a receiver that restarts while messages wait.
//!
//! `cargo run --release --example quickstart`

mod common;

use actix::prelude::*;
use common::Store;
use liner::{Delivery, LinerSystem, Nack, PendingCount, Receive, SendTo, Shutdown};
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc;

/// Prints its deliveries. Its reply is the ack.
struct Billing {
    seen: mpsc::UnboundedSender<String>,
}

impl Actor for Billing {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Billing {
    type Result = Result<(), Nack>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        let text = String::from_utf8_lossy(&delivery.payload).into_owned();
        println!("   billing got {text:?} from {} as {}", delivery.sender(), delivery.id.seq);
        self.seen.send(text).map_err(|_| Nack::new("nobody watches"))
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;
    let (seen, mut deliveries) = mpsc::unbounded_channel();

    println!("1. two nodes start on one {store}");
    let orders = LinerSystem::spawn(store.config("orders-1", "orders")).await?;
    let billing = LinerSystem::spawn(store.config("billing-1", "billing")).await?;

    println!("2. billing takes the messages of its topic with an actor");
    let actor = Billing { seen: seen.clone() }.start();
    let subscription = billing.send(Receive::new(actor.clone().recipient())).await??;

    println!("3. orders sends; the receipt means: committed, whatever crashes now");
    let receipt = orders.send(SendTo::new("billing", "invoice 1")).await??;
    println!("   accepted as {}", receipt.id);
    deliveries.recv().await.ok_or("no delivery")?;

    println!("4. billing goes away; orders goes on sending");
    drop(subscription);
    let report = billing.send(Shutdown::drain(Duration::from_secs(5))).await??;
    println!("   billing ended: {report:?}");
    for n in 2..=4 {
        let receipt = orders.send(SendTo::new("billing", format!("invoice {n}"))).await??;
        println!("   accepted as {}", receipt.id);
    }
    println!("   {} messages wait in the store", orders.send(PendingCount).await??);

    println!("5. billing comes back on another port, and gets what waited, in order");
    let billing = LinerSystem::spawn(store.config("billing-1", "billing")).await?;
    billing.send(Receive::new(actor.recipient())).await??.detach();
    for _ in 2..=4 {
        deliveries.recv().await.ok_or("no delivery")?;
    }

    println!("6. both end; what was handled is gone from the store");
    let report = orders.send(Shutdown::drain(Duration::from_secs(5))).await??;
    println!("   orders ended: {report:?}");
    billing.send(Shutdown::drain(Duration::from_secs(5))).await??;
    println!("done");
    Ok(())
}
