//! Messages that list, replay and purge dead letters.

use crate::error::AdminError;
use crate::stores::{DeadLetter, DeadLetterFilter, DeadLetterId};
use actix::prelude::Message as ActixMessage;

/// Letters of one list, unless it sets its own limit.
const DEFAULT_LIMIT: usize = 1000;

/// Lists dead letters in the order of their ids: messages that this node's subscribers failed, and messages of this node
/// that receivers refused.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use liner::{DeadLetterFilter, ListDeadLetters, Topic};
///
/// let filter = DeadLetterFilter::default().topic(Topic::new("billing")?);
/// for (id, letter) in orders.send(ListDeadLetters::new(filter).limit(100)).await?? {
///     println!("{}: {} after {} attempts: {}", id.get(), letter.id, letter.attempts, letter.reason);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "Result<Vec<(DeadLetterId, DeadLetter)>, AdminError>")]
pub struct ListDeadLetters {
    pub(crate) filter: DeadLetterFilter,
    pub(crate) after: Option<DeadLetterId>,
    pub(crate) limit: usize,
}

impl ListDeadLetters {
    /// Creates a request for the dead letters that match.
    pub fn new(filter: DeadLetterFilter) -> Self {
        ListDeadLetters { filter, after: None, limit: DEFAULT_LIMIT }
    }

    /// Lists only letters after this one: the next page.
    #[must_use]
    pub fn after(mut self, id: DeadLetterId) -> Self {
        self.after = Some(id);
        self
    }

    /// Sets the maximum number of letters. Default 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl Default for ListDeadLetters {
    /// Creates a request for all dead letters, up to the default limit.
    fn default() -> Self {
        Self::new(DeadLetterFilter::default())
    }
}

/// Retries dead letters, one after the other. A letter is deleted once it is handled, or accepted again.
///
/// A letter that a subscriber failed is handed to the subscriber, outside lane order. A letter that a receiver refused is
/// appended to its lane.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Cancellation
/// If the future of `Addr::send` is dropped, the replay continues.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &MemoryStore::new())).await?;
/// use liner::ReplayDeadLetters;
///
/// let replayed = billing.send(ReplayDeadLetters::default()).await??;
/// println!("{} handled or accepted again, {} failed again", replayed.done, replayed.failed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, ActixMessage)]
#[rtype(result = "Result<Replayed, AdminError>")]
pub struct ReplayDeadLetters {
    pub(crate) filter: DeadLetterFilter,
}

impl ReplayDeadLetters {
    /// Creates a replay of the dead letters that match.
    pub fn new(filter: DeadLetterFilter) -> Self {
        ReplayDeadLetters { filter }
    }
}

/// Report of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Letters that were handled, or accepted again.
    pub done: u64,
    /// Letters that failed again, and stay.
    pub failed: u64,
}

/// Deletes dead letters, and returns how many.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &MemoryStore::new())).await?;
/// use liner::PurgeDeadLetters;
///
/// assert_eq!(billing.send(PurgeDeadLetters::default()).await??, 0);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct PurgeDeadLetters {
    pub(crate) filter: DeadLetterFilter,
}

impl PurgeDeadLetters {
    /// Creates a request to delete the dead letters that match.
    pub fn new(filter: DeadLetterFilter) -> Self {
        PurgeDeadLetters { filter }
    }
}
