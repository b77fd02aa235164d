//! Messages that could not be handled: what is kept of them, and how they are read and purged.

use super::{Fence, StoreError, StoreFuture};
use crate::types::{Message, MessageId, NodeId, Topic};

/// A dead letter's number in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub(crate) i64);

impl DeadLetterId {
    /// Makes the id of the letter with this number in the store's table.
    pub const fn new(id: i64) -> Self {
        DeadLetterId(id)
    }

    /// Returns the number as the store's table shows it.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Where a message died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterOrigin {
    /// This node's subscriber failed it too often. Replay hands it to the subscriber again.
    Handler,
    /// The receiver refused it for good. Replay appends it to its lane again.
    Refused,
}

impl DeadLetterOrigin {
    /// Returns the word that stands for it in tables.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            DeadLetterOrigin::Handler => "handler",
            DeadLetterOrigin::Refused => "refused",
        }
    }

    /// Reads the word that stands for it.
    pub(crate) fn parse(word: &str) -> Result<Self, StoreError> {
        match word {
            "handler" => Ok(DeadLetterOrigin::Handler),
            "refused" => Ok(DeadLetterOrigin::Refused),
            other => Err(StoreError::Damaged(format!("dead letter of origin {other:?}").into())),
        }
    }
}

/// A message that could not be handled, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which message.
    pub id: MessageId,
    /// Where it died.
    pub origin: DeadLetterOrigin,
    /// The message.
    pub message: Message,
    /// The last reason given.
    pub reason: String,
    /// How often it was handed over.
    pub attempts: u32,
    /// When it died, in milliseconds since 1970.
    pub died_ms: u64,
}

impl DeadLetter {
    /// Returns the node that owns the letter: the receiver if its handler failed, the sender if the receiver refused.
    pub fn owner(&self) -> &NodeId {
        match self.origin {
            DeadLetterOrigin::Handler => self.id.lane.receiver(),
            DeadLetterOrigin::Refused => self.id.lane.sender(),
        }
    }
}

/// Which dead letters an operation is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Only these, if any are named.
    pub ids: Vec<DeadLetterId>,
    /// Only letters addressed to this topic.
    pub topic: Option<Topic>,
}

impl DeadLetterFilter {
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
