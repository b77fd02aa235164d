//! A producer that sends in batches, a consumer that receives in batches, and a message that cannot be handled: it is
//! redelivered, becomes a dead letter, and is replayed once the consumer is repaired.
//!
//! `cargo run --release --example producer_consumer`

mod common;

use actix::prelude::*;
use common::{Store, next};
use liner::{
    BatchNack, DeliveryBatch, Limits, LinerSystem, ListDeadLetters, MeshEvent, Nack, Receive, ReplayDeadLetters,
    SendBatch, Shutdown, WatchEvents,
};
use std::error::Error;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedSender};

const READINGS: usize = 1000;
const BROKEN: usize = 500;

/// Adds up readings, a batch at a time, as one would in a transaction.
struct Consumer {
    mended: bool,
    sums: UnboundedSender<(usize, usize)>,
    letters: UnboundedSender<String>,
}

/// The consumer learns to read what it could not.
#[derive(Message)]
#[rtype(result = "()")]
struct Mend;

impl Actor for Consumer {
    type Context = Context<Self>;
}

impl Handler<DeliveryBatch> for Consumer {
    type Result = Result<(), BatchNack>;

    fn handle(&mut self, DeliveryBatch(batch): DeliveryBatch, _: &mut Self::Context) -> Self::Result {
        let (mut count, mut sum) = (0, 0);
        let mut failed = None;
        for (at, delivery) in batch.iter().enumerate() {
            match std::str::from_utf8(&delivery.payload).map(str::parse::<usize>) {
                Ok(Ok(reading)) => sum += reading,
                _ if self.mended => sum += BROKEN,
                _ => {
                    println!("   the consumer cannot read message {}, attempt {}", delivery.id.seq, delivery.attempt);
                    failed = Some(BatchNack::new(at, Nack::after(Duration::from_millis(20), "not a number")));
                    break;
                }
            }
            count += 1;
        }
        // What stands before the broken one is handled, whatever becomes of that.
        let _ = self.sums.send((count, sum));
        failed.map_or(Ok(()), Err)
    }
}

impl Handler<MeshEvent> for Consumer {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, _: &mut Self::Context) {
        if let MeshEvent::DeadLettered { id, reason, .. } = event {
            let _ = self.letters.send(format!("from {}: {reason}", id.sender()));
        }
    }
}

impl Handler<Mend> for Consumer {
    type Result = ();

    fn handle(&mut self, _: Mend, _: &mut Self::Context) {
        self.mended = true;
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = Store::from_args()?;
    let config = store.config("consumer-1", "readings").limits(Limits::default().max_attempts(3));
    let consumer = LinerSystem::spawn(config).await?;
    let producer = LinerSystem::spawn(store.config("producer-1", "meters")).await?;
    let (sums, mut summed) = mpsc::unbounded_channel();
    let (letters, mut died) = mpsc::unbounded_channel();
    let actor = Consumer { mended: false, sums, letters }.start();
    consumer.send(WatchEvents::new(actor.clone().recipient())).await?;
    consumer.send(Receive::batch(actor.clone().recipient())).await??.detach();

    println!("1. {READINGS} readings go out in one call; number {BROKEN} is not a number");
    let readings = (0..READINGS).map(|n| if n == BROKEN { "broken".to_owned() } else { n.to_string() });
    let receipts = producer.send(SendBatch::new("readings", readings)).await??;
    println!("   {} receipts", receipts.len());
    let (mut count, mut sum, mut batches) = (0, 0, 0);
    while count < READINGS - 1 {
        let (more, by) = next(&mut summed).await?;
        (count, sum, batches) = (count + more, sum + by, batches + 1);
    }
    println!("   {count} readings came in {batches} batches");

    println!("2. after three attempts the broken one is a dead letter");
    println!("   {}", next(&mut died).await?);
    for (_, letter) in consumer.send(ListDeadLetters::default()).await?? {
        println!("   {} died after {} attempts: {}", letter.id, letter.attempts, letter.reason);
    }

    println!("3. the consumer is mended, and the letter replayed");
    actor.send(Mend).await?;
    let replayed = consumer.send(ReplayDeadLetters::default()).await??;
    let (_, by) = next(&mut summed).await?;
    sum += by;
    println!("   {replayed:?}; the sum is {sum}");

    for system in [producer, consumer] {
        system.send(Shutdown::drain(Duration::from_secs(5))).await??;
    }
    if sum == (0..READINGS).sum::<usize>() { Ok(()) } else { Err("the sum is wrong".into()) }
}
