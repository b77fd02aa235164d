//! How far a lane has arrived, is handled, and is committed.

use crate::types::{Cursor, Incarnation};
use crate::wire::frame::Resume;
use std::time::Instant;

/// Whether the stored cursor was read.
#[derive(Debug, Default)]
pub(super) enum CursorState {
    /// The store was not asked yet.
    #[default]
    Unread,
    /// The store was asked. The latest `Resume` waits for the result.
    Reading(Box<Resume>),
    /// The store returned the cursor.
    Read,
}

/// What happens to a `Resume`.
#[derive(Debug)]
pub(super) enum ResumeStep {
    /// It gets its reply now.
    Reply(Resume),
    /// It waits for the store, which is to be asked.
    Read,
    /// It waits for the store, which was asked.
    Wait,
}

/// A commit that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommitEnd {
    /// Everything handled is committed.
    UpToDate,
    /// The store holds this cursor, and more is handled.
    Behind(Option<Cursor>),
}

/// The positions of a lane at its receiver.
///
/// ```text
///   committed     handled                         received
///      |  cursor due |  handed over  |   waiting    |
/// -----+-------------+---------------+--------------+---->  order of arrival
///                    '----------- queue -----------'
/// ```
///
/// Positions are cursors (incarnation, number). Numbers of different incarnations are never compared. What counts is the
/// order of arrival, which is the order of the queue.
#[derive(Debug, Default)]
pub(super) struct CursorTracker {
    state: CursorState,
    received: Option<Cursor>,
    handled: Option<Cursor>,
    committed: Option<Cursor>,
    /// The commit under way.
    committing: Option<Cursor>,
    /// Whether something handled and not committed may be acked only when it is committed.
    strict: bool,
    /// When the cursor must be committed.
    commit_due: Option<Instant>,
}

impl CursorTracker {
    /// A `Resume` arrived. It waits until the stored cursor is known, and replaces an earlier one that waits.
    pub(super) fn resume(&mut self, resume: Resume) -> ResumeStep {
        let step = match &self.state {
            CursorState::Read => return ResumeStep::Reply(resume),
            CursorState::Unread => ResumeStep::Read,
            CursorState::Reading(_) => ResumeStep::Wait,
        };
        self.state = CursorState::Reading(Box::new(resume));
        step
    }

    /// The store returned the cursor. Returns the state before.
    pub(super) fn open(&mut self, cursor: Option<Cursor>) -> CursorState {
        let before = std::mem::replace(&mut self.state, CursorState::Read);
        if !matches!(before, CursorState::Read) {
            (self.received, self.handled, self.committed) = (cursor, cursor, cursor);
        }
        before
    }

    /// Drops the `Resume` that waits for the store.
    pub(super) fn cancel_read(&mut self) {
        if let CursorState::Reading(_) = self.state {
            self.state = CursorState::Unread;
        }
    }

    pub(super) fn received(&self) -> Option<Cursor> {
        self.received
    }

    /// A message at `place` arrived, if it has a place.
    #[inline]
    pub(super) fn arrived(&mut self, place: Option<Cursor>) {
        self.received = place.or(self.received);
    }

    /// Numbers up to `place` were skipped.
    pub(super) fn skipped(&mut self, place: Option<Cursor>) {
        self.received = place;
    }

    /// A message was handled that was the first in order of arrival.
    #[inline]
    pub(super) fn handled(&mut self, place: Cursor, strict: bool) {
        self.handled = Some(place);
        self.strict |= strict;
    }

    /// The sender has acks beyond what this node remembers.
    pub(super) fn lift(&mut self, cursor: Cursor) {
        (self.received, self.handled) = (Some(cursor), Some(cursor));
    }

    /// Returns what may be acked now.
    #[inline]
    pub(super) fn ack_floor(&self) -> Option<Cursor> {
        if self.strict { self.committed } else { self.handled }
    }

    /// Whether everything handled is committed.
    #[inline]
    pub(super) fn is_committed(&self) -> bool {
        self.handled == self.committed
    }

    /// Whether everything handled is committed and no commit is under way.
    pub(super) fn is_settled(&self) -> bool {
        self.committing.is_none() && self.is_committed()
    }

    /// Whether an ack waits for the commit.
    #[inline]
    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// Returns the incarnation that is stored now, or when the commit under way ends.
    pub(super) fn stored_incarnation(&self) -> Option<Incarnation> {
        self.committing.or(self.committed).map(|c| c.incarnation)
    }

    /// Sets when the cursor must be committed, unless that is known or everything is committed. Returns whether it was set.
    #[inline]
    pub(super) fn schedule_commit(&mut self, due: impl FnOnce() -> Instant) -> bool {
        let schedules = self.commit_due.is_none() && !self.is_committed();
        if schedules {
            self.commit_due = Some(due());
        }
        schedules
    }

    pub(super) fn commit_due(&self) -> Option<Instant> {
        self.commit_due
    }

    /// Returns when the next commit must start; `None` while one is under way.
    pub(super) fn commit_deadline(&self) -> Option<Instant> {
        self.commit_due.filter(|_| self.committing.is_none())
    }

    /// Starts a commit, if there is something to commit and none is under way. Returns the incarnation that should be stored
    /// now, and the new cursor.
    pub(super) fn begin_commit(&mut self) -> Option<(Option<Incarnation>, Cursor)> {
        let cursor = self.handled.filter(|_| !self.is_committed() && self.committing.is_none())?;
        self.committing = Some(cursor);
        self.commit_due = None;
        Some((self.committed.map(|c| c.incarnation), cursor))
    }

    /// Ends the commit under way, if there is one. `Err` is what the store holds instead of what was expected.
    pub(super) fn end_commit(&mut self, outcome: Result<(), Option<Cursor>>) -> Option<CommitEnd> {
        let cursor = self.committing.take()?;
        self.committed = outcome.map_or_else(|stored| stored, |()| Some(cursor));
        if !self.is_committed() {
            return Some(CommitEnd::Behind(self.committed));
        }
        self.strict = false;
        self.commit_due = None;
        Some(CommitEnd::UpToDate)
    }
}
