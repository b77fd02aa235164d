//! Messages that could not be handled: what is kept of them, and how they are read and purged.

use super::{Fence, StoreFuture};
use crate::types::{Message, MessageId, NodeId, Topic};

/// The number of a dead letter in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub(crate) i64);

impl DeadLetterId {
    /// Creates the id from the number in the store's table.
    pub const fn new(id: i64) -> Self {
        DeadLetterId(id)
    }

    /// Returns the number as the store's table shows it.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// The place where a message failed for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterOrigin {
    /// A subscriber of this node failed it too often. A replay hands it to the subscriber again.
    Handler,
    /// The receiver refused it for good. A replay appends it to its lane again.
    Refused,
}

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
impl DeadLetterOrigin {
    /// Returns the word that stands for it in tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            DeadLetterOrigin::Handler => "handler",
            DeadLetterOrigin::Refused => "refused",
        }
    }

    /// Reads the word that stands for it.
    pub(crate) fn parse(word: &str) -> Result<Self, super::StoreError> {
        match word {
            "handler" => Ok(DeadLetterOrigin::Handler),
            "refused" => Ok(DeadLetterOrigin::Refused),
            other => Err(super::StoreError::Damaged(format!("dead letter of origin {other:?}").into())),
        }
    }
}

/// A message that could not be handled, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The identity of the message.
    pub id: MessageId,
    /// The place where it failed.
    pub origin: DeadLetterOrigin,
    /// The message itself.
    pub message: Message,
    /// The reason of the last failure, for people to read.
    pub reason: String,
    /// The number of failed deliveries.
    pub attempts: u32,
    /// The time of the last failure, in milliseconds since 1970.
    pub died_ms: u64,
}

impl DeadLetter {
    /// Creates a letter without a reason, attempts and time, for stores and their tests. Its fields can be assigned.
    pub fn new(id: MessageId, origin: DeadLetterOrigin, message: Message) -> Self {
        DeadLetter { id, origin, message, reason: String::new(), attempts: 0, died_ms: 0 }
    }

    /// Returns the node that keeps the letter: the receiver if its handler failed, the sender if the receiver refused.
    pub fn owner(&self) -> &NodeId {
        match self.origin {
            DeadLetterOrigin::Handler => self.id.lane.receiver(),
            DeadLetterOrigin::Refused => self.id.lane.sender(),
        }
    }
}

/// Selects dead letters. The default selects all.
///
/// ```
/// use liner::{DeadLetterFilter, Topic};
///
/// let invoices = DeadLetterFilter::default().topic(Topic::new("billing")?);
/// # Ok::<(), liner::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// The ids to select. If it is empty, letters with any id are selected.
    pub ids: Vec<DeadLetterId>,
    /// The topic the letters are addressed to. If it is `None`, letters to any topic are selected.
    pub topic: Option<Topic>,
}

impl DeadLetterFilter {
    /// Adds an id: only letters whose ids were added are selected.
    #[must_use]
    pub fn id(mut self, id: DeadLetterId) -> Self {
        self.ids.push(id);
        self
    }

    /// Selects only letters addressed to this topic.
    #[must_use]
    pub fn topic(mut self, topic: Topic) -> Self {
        self.topic = Some(topic);
        self
    }

    /// Returns whether the filter selects this letter.
    pub fn matches(&self, id: DeadLetterId, letter: &DeadLetter) -> bool {
        let named = self.ids.is_empty() || self.ids.contains(&id);
        named && self.topic.as_ref().is_none_or(|topic| letter.id.lane.topic() == topic)
    }
}

/// What could not be handled.
pub trait DeadLetters: Send + Sync {
    /// Returns this node's dead letters (as receiver for `Handler`, as sender for `Refused`) above `after`, in id order, at most
    /// `limit`. Reads only.
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>>;

    /// Deletes this node's dead letters that match. Returns how many.
    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64>;
}
