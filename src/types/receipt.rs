//! The promise that a message is accepted.

use super::MessageId;

/// Proof that a message was accepted with the durability of its mode.
///
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory("orders-1", "orders", &MemoryStore::new()).seed("billing", "billing-1", "127.0.0.1:1");
/// # let orders = LinerSystem::spawn(config).await?;
/// let receipt = orders.send(liner::SendTo::new("billing", "invoice 7")).await??;
/// assert_eq!(receipt.id.seq.get(), 1);
/// assert_eq!(receipt.id.lane.receiver().as_str(), "billing-1");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The identity of the message, the same as in the receiver's [`Delivery`](crate::Delivery). The number of an
    /// at-most-once message is 0.
    pub id: MessageId,
}
