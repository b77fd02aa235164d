//! Lanes that need the connection or the store.

use crate::wire::frame::LaneIx;
use std::collections::{BTreeSet, VecDeque};

/// The lanes of a link that need the connection or the store.
#[derive(Debug, Default)]
pub(super) struct SendSchedule {
    /// Lanes that may have something to send, in turn.
    turn: VecDeque<LaneIx>,
    /// Lanes with messages that only memory holds, or with a deadline.
    unstored: BTreeSet<LaneIx>,
    /// Lanes whose messages are to be written now.
    committing: BTreeSet<LaneIx>,
    /// Lanes whose load failed.
    reload: BTreeSet<LaneIx>,
}

impl SendSchedule {
    /// Adds a lane that is not in the turn.
    pub(super) fn push_turn(&mut self, lane: LaneIx) {
        self.turn.push_back(lane);
    }

    pub(super) fn pop_turn(&mut self) -> Option<LaneIx> {
        self.turn.pop_front()
    }

    pub(super) fn has_turn(&self) -> bool {
        !self.turn.is_empty()
    }

    pub(super) fn clear_turn(&mut self) {
        self.turn.clear();
    }

    pub(super) fn set_unstored(&mut self, lane: LaneIx, unstored: bool) {
        if unstored {
            self.unstored.insert(lane);
        } else {
            self.unstored.remove(&lane);
        }
    }

    pub(super) fn unstored(&self) -> impl Iterator<Item = LaneIx> {
        self.unstored.iter().copied()
    }

    pub(super) fn commit(&mut self, lane: LaneIx) {
        self.committing.insert(lane);
    }

    /// Schedules those of the unstored lanes that are `due`.
    pub(super) fn commit_unstored_if(&mut self, mut due: impl FnMut(LaneIx) -> bool) {
        self.committing.extend(self.unstored.iter().copied().filter(|lane| due(*lane)));
    }

    pub(super) fn pop_commit(&mut self) -> Option<LaneIx> {
        self.committing.pop_first()
    }

    pub(super) fn has_commit(&self) -> bool {
        !self.committing.is_empty()
    }

    pub(super) fn set_reload(&mut self, lane: LaneIx, reload: bool) {
        if reload {
            self.reload.insert(lane);
        } else {
            self.reload.remove(&lane);
        }
    }

    pub(super) fn reload(&self) -> impl Iterator<Item = LaneIx> {
        self.reload.iter().copied()
    }

    /// Forgets a lane that was removed. Its place in the turn ends when it is reached.
    pub(super) fn remove(&mut self, lane: LaneIx) {
        self.unstored.remove(&lane);
        self.reload.remove(&lane);
    }
}
