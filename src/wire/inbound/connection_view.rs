//! [`ConnectionView`]: a lane on the present connection, as its receiver sees it.

use super::reassembly::Reassembly;
use super::window::ReceiveWindow;
use crate::types::{Cursor, Incarnation, Seq};
use crate::wire::error::LinkError;
use crate::wire::frame::{Data, LaneIx, Resume};
use std::cmp::Ordering;

/// A lane on the present connection. Numbers here are in the sender's numbering.
#[derive(Debug)]
pub(super) struct ConnectionView {
    ix: LaneIx,
    /// The sender's incarnations with their first numbers.
    spans: Vec<(Incarnation, Seq)>,
    /// The last number that arrived in order.
    position: Seq,
    /// A message that was refused: everything with a number is dropped until it is skipped.
    refused: Option<Seq>,
    pub(super) reassembly: Reassembly,
    pub(super) window: ReceiveWindow,
    /// The last ack that was sent.
    acked: Option<Cursor>,
    /// Whether the ack is sent even if it is the same.
    ack_again: bool,
}

impl ConnectionView {
    /// A lane that is resumed at `position`.
    pub(super) fn new(resume: &Resume, position: Seq, window: ReceiveWindow) -> Self {
        ConnectionView {
            ix: resume.lane,
            spans: resume.spans.clone(),
            position,
            refused: None,
            reassembly: Reassembly::default(),
            window,
            acked: None,
            ack_again: false,
        }
    }

    /// The sender's number of the lane.
    pub(super) fn ix(&self) -> LaneIx {
        self.ix
    }

    /// Whether nothing has arrived in part, and nothing is to be dropped.
    #[inline]
    pub(super) fn is_between_messages(&self) -> bool {
        self.reassembly.is_idle() && self.refused.is_none()
    }

    /// Whether a message that arrives is dropped because one before it was refused.
    #[inline]
    pub(super) fn drops(&self, data: &Data<'_>) -> bool {
        self.refused.is_some() && !data.is_direct()
    }

    /// Returns whether a message is a duplicate.
    ///
    /// # Errors
    /// Returns a [`LinkError`] if numbers are missing, or the lane has none.
    #[inline]
    pub(super) fn check(&self, data: &Data<'_>) -> Result<bool, LinkError> {
        if data.is_direct() {
            return Ok(false);
        }
        let expected = self.position.next();
        match data.seq.cmp(&expected) {
            _ if self.spans.is_empty() => Err(LinkError::UnknownLane),
            Ordering::Less => Ok(true),
            Ordering::Greater if self.refused.is_none() => Err(LinkError::Hole { expected, found: data.seq }),
            Ordering::Equal | Ordering::Greater => Ok(false),
        }
    }

    /// A message arrived completely. Returns its place, unless it is at most once.
    #[inline]
    pub(super) fn arrived(&mut self, data: &Data<'_>) -> Option<Cursor> {
        if data.is_direct() {
            return None;
        }
        self.position = data.seq;
        self.cursor(data.seq)
    }

    /// Refuses the message `seq`. Returns its place.
    pub(super) fn refuse(&mut self, seq: Seq) -> Option<Cursor> {
        let place = self.cursor(seq)?;
        self.refused = Some(place.seq);
        Some(place)
    }

    /// Handles that the numbers `from..=to` are skipped. Returns whether that is new.
    ///
    /// # Errors
    /// Returns a [`LinkError`] if numbers are missing before them, or the lane has none.
    pub(super) fn skip(&mut self, from: Seq, to: Seq) -> Result<bool, LinkError> {
        if self.spans.is_empty() {
            return Err(LinkError::UnknownLane);
        }
        let expected = self.position.next();
        // After a refused message, the sender skips again once it has the refusal.
        let early = self.refused.is_some() && from > expected;
        if to <= self.position || early {
            return Ok(false);
        }
        if from > expected {
            return Err(LinkError::Hole { expected, found: from });
        }
        self.position = to;
        self.reassembly.clear();
        self.refused = self.refused.filter(|refused| *refused > to);
        Ok(true)
    }

    /// Returns the place of a number.
    #[inline]
    pub(super) fn cursor(&self, seq: Seq) -> Option<Cursor> {
        // Nearly always it is of the last incarnation.
        let (incarnation, _) = match self.spans.last()? {
            last if last.1 <= seq => last,
            _ => self.spans.iter().rev().find(|(_, first)| *first <= seq).or(self.spans.first())?,
        };
        Some(Cursor { incarnation: *incarnation, seq })
    }

    /// The sender may have missed the last ack: it is sent again.
    pub(super) fn ack_again(&mut self) {
        self.ack_again = true;
    }

    /// Whether the sender does not have the ack `floor`.
    #[inline]
    pub(super) fn lacks_ack(&self, floor: Option<Cursor>) -> bool {
        self.acked != floor
    }

    /// Returns the ack to send, given what may be acked.
    pub(super) fn take_ack(&mut self, floor: Option<Cursor>) -> Option<Cursor> {
        let again = std::mem::take(&mut self.ack_again);
        let floor = floor.filter(|c| self.spans.iter().any(|(i, _)| *i == c.incarnation))?;
        // A strict message takes the floor back to the committed cursor, but what was acked stays so.
        let ack = self.acked.map_or(floor, |acked| self.later(acked, floor));
        if !again && self.acked == Some(ack) {
            return None;
        }
        self.acked = Some(ack);
        Some(ack)
    }

    /// The later of two places, by the order of the incarnations.
    fn later(&self, a: Cursor, b: Cursor) -> Cursor {
        let rank = |c: Cursor| (self.spans.iter().position(|(i, _)| *i == c.incarnation), c.seq);
        if rank(a) > rank(b) { a } else { b }
    }
}
