//! A message that waits in memory, and the credit it needs.

use crate::types::{Message, Seq};
use crate::wire::frame::DataFlags;
use std::time::Instant;

/// What is known of a message that only memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueuedState {
    /// Accepted (write-behind): may be sent at once.
    Accepted,
    /// Waits for its commit; accepted only then.
    Reserved { deadline: Instant, synced: bool, given: StoreHandoff },
    /// Waits for a commit that its caller runs (a group over several lanes).
    External,
    /// Committed, but an earlier one is not.
    Stored,
}

/// Whether the store may already hold a message that waits for its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreHandoff {
    /// Certainly not.
    NotGiven,
    /// An append carries it right now.
    InAppend,
    /// An append that carried it ended without an answer.
    Unknown,
    /// The same, and the caller was told.
    Reported,
}

/// A message that waits in memory.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) seq: Seq,
    pub(super) message: Message,
    pub(super) state: QueuedState,
    pub(super) since: Instant,
    pub(super) redelivered: bool,
}

/// The rest of a large message that is sent in parts.
#[derive(Debug)]
pub(super) struct PartialSend {
    /// `Seq::ZERO`: at most once.
    pub(super) seq: Seq,
    pub(super) message: Message,
    pub(super) offset: usize,
    pub(super) flags: DataFlags,
}

/// What the receiver still takes on this connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Credit {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) used_messages: u64,
    pub(super) used_bytes: u64,
}

impl Credit {
    /// Whether one more message may go. The last one may overshoot the bytes, so that a message larger than the whole
    /// budget passes alone.
    pub(super) fn allows(&self) -> bool {
        self.used_messages < self.messages && self.used_bytes < self.bytes
    }

    pub(super) fn use_for(&mut self, size: usize) {
        self.used_messages += 1;
        self.used_bytes = self.used_bytes.saturating_add(size as u64);
    }

    /// A message was not sent to its end after all: the receiver does not count it either.
    pub(super) fn give_back(&mut self, size: usize) {
        self.used_messages = self.used_messages.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(size as u64);
    }
}
