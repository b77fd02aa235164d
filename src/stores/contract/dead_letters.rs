//! Messages that could not be handled: what is kept of them, and how they are read and purged.

use super::{Fence, StoreFuture};
use crate::types::{Message, MessageId, NodeId, Topic};

/// A dead letter's number in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub(crate) i64);

impl DeadLetterId {
    /// The letter with this number in the store's table.
    pub const fn new(id: i64) -> Self {
        DeadLetterId(id)
    }

    /// The number as the store's table shows it.
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
    /// Whose letter it is: the receiver's when its handler failed, the sender's when the receiver refused.
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
    pub(crate) fn matches(&self, id: DeadLetterId, letter: &DeadLetter) -> bool {
        let named = self.ids.is_empty() || self.ids.contains(&id);
        named && self.topic.as_ref().is_none_or(|topic| letter.id.lane.topic() == topic)
    }
}

/// What could not be handled.
pub trait DeadLetters: Send + Sync {
    /// This node's dead letters (as receiver for `Handler`, as sender for `Refused`) above `after`, in id order, at most
    /// `limit`. Reads only.
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>>;

    /// Deletes this node's dead letters that match. Answers how many.
    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64>;
}
