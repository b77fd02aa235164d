//! The publisher keeps the order of its caller.

use futures::future::try_join_all;
use liner::stores::memory::MemoryStore;
use liner::{Config, GetPublisher, LinerSystem, Receive, Shutdown};
use std::error::Error;

/// Enough that the first wait for the lane to be opened, and the last do not.
const MESSAGES: usize = 20_000;

#[actix::test]
async fn sends_made_while_the_lane_is_opened_are_not_overtaken_by_later_ones() -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::default();
    let receiver = LinerSystem::spawn(Config::memory("receiver", "sink", &store)).await?;
    receiver.send(Receive::callback(|_| Ok(()))).await??.forever();
    let sender = LinerSystem::spawn(Config::memory("sender", "source", &store)).await?;
    let publisher = sender.send(GetPublisher::new("sink")).await??;

    // On a thread of its own, so that the system works meanwhile.
    let sends = std::thread::spawn(move || (0..MESSAGES).map(|n| publisher.send(n.to_string())).collect::<Vec<_>>());
    let receipts = try_join_all(sends.join().map_err(|_| "the sending thread panicked")?).await?;

    assert!(receipts.is_sorted_by_key(|receipt| receipt.id.seq), "accepted out of order");
    for system in [sender, receiver] {
        system.send(Shutdown::now()).await??;
    }
    Ok(())
}
