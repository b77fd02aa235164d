//! Messages of a lane between arrival and ack.

use crate::types::{Amount, Cursor, Message};
use crate::wire::frame::DataFlags;
use bytes::BytesMut;
use std::collections::VecDeque;
use std::time::Instant;

/// State of a message between arrival and ack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    /// To be handed over.
    Waiting,
    /// Its attempt is being recorded before it is handed over.
    Recording,
    /// Its attempt is recorded. To be handed over.
    Recorded,
    /// With the subscriber.
    Handed { since: Instant },
    /// Being kept as a dead letter.
    Dying,
    /// Handled, dead-lettered or skipped.
    Done,
}

/// A message between arrival and ack, or a range of numbers that was skipped.
#[derive(Debug)]
pub(super) struct QueueEntry {
    /// Incarnation and number, or `None` if it is at most once.
    pub(super) place: Option<Cursor>,
    /// `None` once it is done, while it is borrowed, and for a skip.
    pub(super) message: Option<Message>,
    /// Bytes it takes of the credit; `None` for a skip.
    pub(super) size: Option<usize>,
    pub(super) flags: DataFlags,
    /// Number of hand-overs, including those that an earlier process recorded.
    pub(super) handed: u32,
    /// Number of hand-overs that failed.
    pub(super) failed: u32,
    pub(super) state: EntryState,
}

impl QueueEntry {
    /// Whether the subscriber has it, handed over for the `attempt`th time.
    pub(super) fn is_with_subscriber(&self, attempt: u32) -> bool {
        matches!(self.state, EntryState::Handed { .. }) && self.handed == attempt
    }

    /// Whether it may have been handed over before.
    pub(super) fn is_redelivered(&self) -> bool {
        self.flags.has(DataFlags::REDELIVERED) || self.handed > 0
    }

    /// Since when the subscriber has it.
    pub(super) fn handed_since(&self) -> Option<Instant> {
        match self.state {
            EntryState::Handed { since } => Some(since),
            _ => None,
        }
    }

    /// It is done: its message is not needed any more.
    pub(super) fn finish(&mut self) {
        self.message = None;
        self.state = EntryState::Done;
    }
}

/// The messages of a lane in order of arrival. Each has a token that counts up.
#[derive(Debug, Default)]
pub(super) struct DeliveryQueue {
    entries: VecDeque<QueueEntry>,
    /// Token of the first entry.
    base: u64,
    /// Token of the first entry that may be waiting. Never below `base`.
    next: u64,
    /// Token of the first entry that may share the buffer it arrived in.
    attached: Option<u64>,
}

impl DeliveryQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether every entry was handed over.
    pub(super) fn has_none_waiting(&self) -> bool {
        self.next == self.end()
    }

    /// Token of the first entry.
    #[inline]
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Token of the next message that arrives.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn get_mut(&mut self, token: u64) -> Option<&mut QueueEntry> {
        self.entries.get_mut(usize::try_from(token.checked_sub(self.base)?).ok()?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &QueueEntry)> {
        (self.base..).zip(&self.entries)
    }

    /// Returns the next entry to hand over, with its token.
    pub(super) fn next_waiting(&mut self) -> Option<(u64, &mut QueueEntry)> {
        let from = usize::try_from(self.next.saturating_sub(self.base)).ok()?;
        let waits =
            |e: &QueueEntry| matches!(e.state, EntryState::Waiting | EntryState::Recorded | EntryState::Recording);
        let at = self.entries.range(from.min(self.entries.len())..).position(waits)? + from;
        self.next = self.base + at as u64;
        let token = self.next;
        self.entries.get_mut(at).map(|entry| (token, entry))
    }

    /// The entry is handed over.
    pub(super) fn set_handed(&mut self, token: u64) {
        self.next = token + 1;
    }

    /// The entry waits again.
    pub(super) fn set_waiting(&mut self, token: u64) {
        self.next = self.next.min(token);
    }

    pub(super) fn push(&mut self, entry: QueueEntry) {
        self.entries.push_back(entry);
    }

    /// Adds a range of skipped numbers that ends with `place`. Skips in a row are one entry, so that a peer cannot pile them
    /// up.
    pub(super) fn push_skip(&mut self, place: Option<Cursor>) {
        if let Some(last) = self.entries.back_mut().filter(|e| e.size.is_none()) {
            last.place = place;
            return;
        }
        let (flags, state) = (DataFlags::empty(), EntryState::Done);
        self.entries.push_back(QueueEntry { place, message: None, size: None, flags, handed: 0, failed: 0, state });
    }

    /// Takes the first entry if it is `done`.
    #[inline]
    pub(super) fn pop_front_if(&mut self, done: impl FnOnce(&QueueEntry) -> bool) -> Option<QueueEntry> {
        let entry = self.entries.pop_front_if(|e| done(e))?;
        self.pass_one();
        Some(entry)
    }

    /// A message is done that was never queued, or the first entry was taken.
    #[inline]
    pub(super) fn pass_one(&mut self) {
        self.base += 1;
        self.next = self.next.max(self.base);
    }

    /// Whether a message at `place` is being kept as a dead letter.
    pub(super) fn is_dying_at(&self, place: Option<Cursor>) -> bool {
        self.entries.iter().any(|e| e.state == EntryState::Dying && e.place == place)
    }

    /// What the queue holds against the window.
    pub(super) fn amount(&self) -> Amount {
        let mut amount = Amount::default();
        self.entries.iter().filter_map(|e| e.size).for_each(|size| amount.add(size));
        amount
    }

    /// Notes that the entry may share the buffer it arrived in. Returns whether it is the only one.
    pub(super) fn attach(&mut self, token: u64) -> bool {
        let first = self.attached.is_none();
        self.attached = Some(self.attached.map_or(token, |attached| attached.min(token)));
        first
    }

    /// Moves the messages that wait into a buffer of their own, unless they have `shared_bytes`: they are then worth the
    /// buffer they arrived in.
    pub(super) fn detach(&mut self, shared_bytes: usize) {
        let Some(first) = self.attached.take() else { return };
        let from = usize::try_from(first.max(self.next) - self.base).unwrap_or(usize::MAX);
        let from = from.min(self.entries.len());
        let bytes: usize = self.entries.range(from..).filter_map(|e| e.message.as_ref()).map(Message::size).sum();
        if bytes >= shared_bytes {
            return;
        }
        let mut own = BytesMut::with_capacity(bytes);
        for message in self.entries.range_mut(from..).filter_map(|e| e.message.as_mut()) {
            *message = message.moved_into(&mut own);
        }
    }
}
