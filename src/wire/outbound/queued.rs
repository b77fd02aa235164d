//! Messages of a lane that wait in memory: those that are stored and come next, and those that only memory holds.

use super::refusals::Refusals;
use crate::types::{Amount, Message, Seq};
use std::collections::VecDeque;
use std::time::Instant;

/// The clock is read only for every sixteenth message that queues up after another one.
const CLOCK_EVERY: u64 = 16;

/// State of a message that waits in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueuedState {
    /// Accepted as write-behind. May be sent at once.
    Accepted,
    /// Waits for its commit and is accepted only then.
    Reserved { deadline: Instant, synced: bool, handoff: StoreHandoff },
    /// Waits for a commit that its caller runs over several lanes.
    External,
    /// Committed, but an earlier message is not.
    Stored,
}

/// Whether the store may already hold a message that waits for its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreHandoff {
    /// The store was never given the message.
    NotGiven,
    /// The append under way carries the message.
    InAppend,
    /// An append that carried the message ended with an unknown outcome.
    Unknown,
    /// The store may hold the message, and the caller was notified.
    Reported,
}

/// A message that waits in memory.
#[derive(Debug)]
pub(super) struct QueuedMessage {
    pub(super) seq: Seq,
    pub(super) message: Message,
    pub(super) state: QueuedState,
    /// When the message was offered, or loaded.
    pub(super) since: Instant,
    /// Whether the receiver may have seen it.
    pub(super) redelivered: bool,
}

/// Stored messages that are sent next, in number order.
#[derive(Debug, Default)]
pub(super) struct ReadyQueue {
    messages: VecDeque<QueuedMessage>,
    /// Bytes in `messages`.
    bytes: usize,
}

impl ReadyQueue {
    pub(super) fn push(&mut self, message: QueuedMessage) {
        self.bytes += message.message.size();
        self.messages.push_back(message);
    }

    pub(super) fn front(&self) -> Option<&QueuedMessage> {
        self.messages.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<QueuedMessage> {
        self.pop_front_if(|_| true)
    }

    pub(super) fn pop_front_if(&mut self, wanted: impl FnOnce(&QueuedMessage) -> bool) -> Option<QueuedMessage> {
        let message = self.messages.pop_front_if(|m| wanted(m))?;
        self.bytes -= message.message.size();
        Some(message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn amount(&self) -> Amount {
        Amount { messages: self.messages.len() as u64, bytes: self.bytes as u64 }
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

/// Messages that only memory holds and that were not sent, in number order.
#[derive(Debug, Default)]
pub(super) struct FreshQueue {
    messages: VecDeque<QueuedMessage>,
    /// How many of them are `Reserved`.
    reserved: usize,
    /// A lower bound of the deadlines among them.
    deadline: Option<Instant>,
}

impl FreshQueue {
    pub(super) fn push_back(&mut self, message: QueuedMessage) {
        if let QueuedState::Reserved { deadline, .. } = message.state {
            self.reserved += 1;
            self.deadline = Some(self.deadline.map_or(deadline, |d| d.min(deadline)));
        }
        self.messages.push_back(message);
    }

    /// Puts a message back that was sent and must be sent again.
    pub(super) fn push_front_accepted(&mut self, seq: Seq, message: Message, since: Instant) {
        let state = QueuedState::Accepted;
        self.messages.push_front(QueuedMessage { seq, message, state, since, redelivered: true });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &QueuedMessage> {
        self.messages.iter()
    }

    pub(super) fn front(&self) -> Option<&QueuedMessage> {
        self.messages.front()
    }

    pub(super) fn find(&self, seq: Seq) -> Option<&QueuedMessage> {
        self.messages.iter().find(|m| m.seq == seq)
    }

    /// Whether the first message may be sent now.
    pub(super) fn is_sendable(&self) -> bool {
        self.front().is_some_and(|m| m.state == QueuedState::Accepted)
    }

    /// Takes the first message, which is `Accepted`.
    pub(super) fn pop_front(&mut self) -> Option<QueuedMessage> {
        self.messages.pop_front_if(|m| m.state == QueuedState::Accepted)
    }

    /// Takes the first message if it is committed.
    pub(super) fn pop_stored(&mut self) -> Option<QueuedMessage> {
        self.messages.pop_front_if(|m| m.state == QueuedState::Stored)
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<QueuedMessage> {
        let at = self.messages.iter().position(|m| m.seq == seq)?;
        let message = self.messages.remove(at)?;
        self.reserved -= usize::from(matches!(message.state, QueuedState::Reserved { .. }));
        Some(message)
    }

    /// Whether any message waits for its commit.
    pub(super) fn has_reserved(&self) -> bool {
        self.reserved > 0
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    pub(super) fn has_stored(&self) -> bool {
        self.messages.iter().any(|m| m.state == QueuedState::Stored)
    }

    /// The waiting time of a message that queues up after another one is taken from that one, and the clock is not read:
    /// both are written together.
    pub(super) fn since_of_last(&self, seq: Seq) -> Option<Instant> {
        self.messages.back().filter(|_| !seq.get().is_multiple_of(CLOCK_EVERY)).map(|last| last.since)
    }

    /// Since when the first message waits to be written; `None` if no append may carry it now.
    pub(super) fn writable_since(&self, refusals: &Refusals) -> Option<Instant> {
        self.front().filter(|m| is_writable(m, refusals)).map(|m| m.since)
    }

    /// Takes up to `limit` rows for an append and notes that the store is given them. Stops at a message that no append
    /// may carry now. Returns whether a message wants the commit synced.
    pub(super) fn hand_to_store(
        &mut self,
        limit: usize,
        refusals: &Refusals,
        mut row: impl FnMut(Seq, &Message),
    ) -> bool {
        let mut synced = false;
        let ready = self.messages.iter().position(|m| !is_writable(m, refusals)).unwrap_or(self.messages.len());
        for message in self.messages.range_mut(..ready.min(limit)) {
            if let QueuedState::Reserved { synced: wants, handoff, .. } = &mut message.state {
                if *handoff == StoreHandoff::NotGiven {
                    *handoff = StoreHandoff::InAppend;
                }
                synced |= *wants;
            }
            row(message.seq, &message.message);
        }
        synced
    }

    /// Notes for every message in the append under way that it ended without a known commit.
    pub(super) fn end_append(&mut self, result: StoreHandoff) {
        for message in &mut self.messages {
            if let QueuedState::Reserved { handoff: handoff @ StoreHandoff::InAppend, .. } = &mut message.state {
                *handoff = result;
            }
        }
    }

    /// Marks what an append up to `through` committed. Returns the last number that became accepted by it, and how much
    /// did.
    pub(super) fn mark_stored(&mut self, through: Seq) -> (Option<Seq>, Amount) {
        let (mut last, mut accepted) = (None, Amount::default());
        for message in self.messages.iter_mut().take_while(|m| m.seq <= through) {
            match message.state {
                QueuedState::Reserved { .. } => {
                    last = Some(message.seq);
                    self.reserved -= 1;
                    accepted.add(message.message.size());
                }
                QueuedState::Accepted => {}
                QueuedState::External | QueuedState::Stored => continue,
            }
            message.state = QueuedState::Stored;
        }
        (last, accepted)
    }

    /// Marks the external message `seq` and everything accepted before it as committed. Returns what became accepted.
    pub(super) fn mark_group_stored(&mut self, seq: Seq) -> Amount {
        let mut accepted = Amount::default();
        for message in self.messages.iter_mut().take_while(|m| m.seq <= seq) {
            if message.seq == seq {
                accepted.add(message.message.size());
            } else if message.state != QueuedState::Accepted {
                continue;
            }
            message.state = QueuedState::Stored;
        }
        accepted
    }

    /// Makes the external message `seq` a write-behind one. Returns its size in bytes.
    pub(super) fn accept(&mut self, seq: Seq) -> Option<usize> {
        let message = self.messages.iter_mut().find(|m| m.seq == seq)?;
        message.state = QueuedState::Accepted;
        Some(message.message.size())
    }

    /// Gives up on the messages whose deadline is `due`. A message that the store was never given is removed and reported
    /// as `true` to `report`. Any other stays until its outcome is known, and is reported as `false`, once. Returns what
    /// was removed.
    pub(super) fn expire(&mut self, due: impl Fn(Instant) -> bool, mut report: impl FnMut(Seq, bool)) -> Amount {
        let mut next: Option<Instant> = None;
        let mut removed = Amount::default();
        self.messages.retain_mut(|message| {
            let QueuedState::Reserved { deadline, handoff, .. } = &mut message.state else { return true };
            match handoff {
                _ if !due(*deadline) => next = Some(next.map_or(*deadline, |d| d.min(*deadline))),
                StoreHandoff::Reported => {}
                StoreHandoff::InAppend | StoreHandoff::Unknown => {
                    *handoff = StoreHandoff::Reported;
                    report(message.seq, false);
                }
                StoreHandoff::NotGiven => {
                    removed.add(message.message.size());
                    report(message.seq, true);
                    return false;
                }
            }
            true
        });
        self.deadline = next;
        self.reserved -= usize::try_from(removed.messages).expect("counts what memory held");
        removed
    }

    /// Removes all messages but those that wait for their commit. Returns what was removed.
    pub(super) fn clear_accepted(&mut self) -> Amount {
        let mut removed = Amount::default();
        self.messages.retain(|message| {
            let stays = matches!(message.state, QueuedState::Reserved { .. } | QueuedState::External);
            if !stays {
                removed.add(message.message.size());
            }
            stays
        });
        removed
    }
}

/// Whether an append of the lane may carry the message now.
fn is_writable(message: &QueuedMessage, refusals: &Refusals) -> bool {
    matches!(message.state, QueuedState::Accepted | QueuedState::Reserved { .. }) && !refusals.is_open(message.seq)
}
