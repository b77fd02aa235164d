//! `liner` inside an actix application: its actors send and receive mesh messages next to their own, and hold recipients,
//! not the mesh itself. Runs in the application's own actix system.
//!
//! `cargo run --release --example actix_app`

mod common;

use actix::prelude::*;
use common::{Store, next};
use liner::{Delivery, LinerSystem, MeshEvent, Nack, Receive, SendError, SendTo, Shutdown, WatchEvents};
use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};

/// A message of the application: somebody buys something. The reply is the order's number in the mesh.
#[derive(Message)]
#[rtype(result = "Result<String, SendError>")]
struct Buy {
    article: &'static str,
}

/// A message of the application: how many of an article are left?
#[derive(Message)]
#[rtype(result = "u32")]
struct Stock(&'static str);

/// Takes orders from the application and passes them on to the warehouse, wherever that is.
struct Shop {
    mesh: Recipient<SendTo>,
    orders: u32,
}

impl Actor for Shop {
    type Context = Context<Self>;
}

impl Handler<Buy> for Shop {
    type Result = ResponseActFuture<Self, Result<String, SendError>>;

    fn handle(&mut self, Buy { article }: Buy, _: &mut Self::Context) -> Self::Result {
        let accepted = self.mesh.send(SendTo::new("warehouse", article)).into_actor(self);
        Box::pin(accepted.map(|result, shop, _| {
            let receipt = result.map_err(|_| SendError::Closed)??;
            shop.orders += 1;
            Ok(format!("order {} is {}", shop.orders, receipt.id))
        }))
    }
}

/// Keeps the stock. It replies to the application, handles orders from the mesh, and watches its links.
struct Warehouse {
    stock: HashMap<String, u32>,
    shipped: UnboundedSender<String>,
}

impl Actor for Warehouse {
    type Context = Context<Self>;
}

impl Handler<Stock> for Warehouse {
    type Result = u32;

    fn handle(&mut self, Stock(article): Stock, _: &mut Self::Context) -> u32 {
        self.stock.get(article).copied().unwrap_or_default()
    }
}

impl Handler<Delivery> for Warehouse {
    type Result = Result<(), Nack>;

    fn handle(&mut self, order: Delivery, _: &mut Self::Context) -> Self::Result {
        let article = String::from_utf8_lossy(&order.payload).into_owned();
        let left = self.stock.get_mut(&article).filter(|left| **left > 0).ok_or_else(|| Nack::new("sold out"))?;
        *left -= 1;
        self.shipped.send(article).map_err(|_| Nack::new("nobody carries it away"))
    }
}

impl Handler<MeshEvent> for Warehouse {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, _: &mut Self::Context) {
        println!("   the warehouse hears: {event:?}");
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;

    println!("1. the warehouse and its node");
    let (shipped, mut shipments) = mpsc::unbounded_channel();
    let stock = HashMap::from([("lamp".to_owned(), 2), ("chair".to_owned(), 4)]);
    let warehouse = Warehouse { stock, shipped }.start();
    let there = LinerSystem::spawn(store.config("warehouse-1", "warehouse")).await?;
    there.send(WatchEvents::new(warehouse.clone().recipient())).await?;
    there.send(Receive::new(warehouse.clone().recipient())).await??.detach();

    println!("2. the shop and its node");
    let here = LinerSystem::spawn(store.config("shop-1", "shop")).await?;
    let shop = Shop { mesh: here.clone().recipient(), orders: 0 }.start();

    println!("3. customers buy");
    for article in ["lamp", "chair", "chair", "lamp", "chair"] {
        println!("   {}: {article}", shop.send(Buy { article }).await??);
    }
    for _ in 0..5 {
        println!("   shipped: {}", next(&mut shipments).await?);
    }
    let left = (warehouse.send(Stock("lamp")).await?, warehouse.send(Stock("chair")).await?);
    println!("4. left: {} lamps, {} chair", left.0, left.1);

    for system in [here, there] {
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    if left == (0, 1) { Ok(()) } else { Err("the stock is wrong".into()) }
}
