//! The numbers of a lane, and the incarnations that gave them out.

use super::LaneRecord;
use crate::types::{Incarnation, Seq};

/// The numbers of a lane, as its sender gives them out.
#[derive(Debug)]
pub(super) struct Numbering {
    /// Incarnations with the first number of each, oldest first. Empty until the durable queue is opened.
    spans: Vec<(Incarnation, Seq)>,
    /// The incarnation before the first span.
    predecessor: Option<Incarnation>,
    /// The number of the next message.
    next: Seq,
}

impl Numbering {
    pub(super) fn new() -> Self {
        Numbering { spans: Vec::new(), predecessor: None, next: Seq::new(1) }
    }

    pub(super) fn open(&mut self, record: LaneRecord) {
        self.next = record.next;
        self.spans = record.spans;
        self.predecessor = record.predecessor;
    }

    pub(super) fn is_open(&self) -> bool {
        !self.spans.is_empty()
    }

    /// The number of the next message.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// Gives out a number.
    #[inline]
    pub(super) fn take_next(&mut self) -> Seq {
        let seq = self.next;
        self.next = seq.next();
        seq
    }

    /// The first number of the first span.
    pub(super) fn first(&self) -> Option<Seq> {
        self.spans.first().map(|(_, first)| *first)
    }

    pub(super) fn spans(&self) -> &[(Incarnation, Seq)] {
        &self.spans
    }

    pub(super) fn predecessor(&self) -> Option<Incarnation> {
        self.predecessor
    }

    /// The incarnation of this process.
    pub(super) fn current(&self) -> Option<Incarnation> {
        self.spans.last().map(|(incarnation, _)| *incarnation)
    }

    /// The incarnation that gave out `seq`.
    pub(super) fn incarnation(&self, seq: Seq) -> Incarnation {
        let span = self.spans.iter().rev().find(|(_, first)| *first <= seq).or(self.spans.first());
        span.expect("a lane that gives out numbers was opened").0
    }

    /// Converts `seq` of `incarnation` to this sender's numbering, limited to what that incarnation gave out here. Returns
    /// `None` for an incarnation that is not queued here.
    pub(super) fn position(&self, incarnation: Incarnation, seq: Seq) -> Option<Seq> {
        let at = self.spans.iter().position(|(i, _)| *i == incarnation)?;
        let end = self.spans.get(at + 1).map_or(self.next, |(_, first)| *first).prev();
        Some(seq.min(end))
    }

    /// Forgets the incarnations that have nothing queued after an ack of everything up to `through`.
    pub(super) fn forget_through(&mut self, through: Seq) {
        while self.spans.get(1).is_some_and(|(_, first)| *first <= through.next()) {
            self.predecessor = Some(self.spans.remove(0).0);
        }
    }
}
