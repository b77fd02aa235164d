//! The lanes of a link, by number and by name.

use super::lane::{LaneEnds, SendLane};
use crate::wire::frame::LaneIx;
use std::collections::HashMap;

/// The lanes of a link. A number is never used again.
#[derive(Debug, Default)]
pub(super) struct SendLanes {
    /// Indexed by number; `None` for a lane that was removed.
    lanes: Vec<Option<SendLane>>,
    by_name: HashMap<LaneEnds, LaneIx>,
}

impl SendLanes {
    #[inline]
    pub(super) fn get(&self, lane: LaneIx) -> Option<&SendLane> {
        self.lanes.get(lane.0 as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, lane: LaneIx) -> Option<&mut SendLane> {
        self.lanes.get_mut(lane.0 as usize)?.as_mut()
    }

    pub(super) fn find(&self, ends: &LaneEnds) -> Option<LaneIx> {
        self.by_name.get(ends).copied()
    }

    /// Finds a lane or adds it.
    pub(super) fn add(&mut self, ends: LaneEnds) -> LaneIx {
        if let Some(lane) = self.find(&ends) {
            return lane;
        }
        let lane = LaneIx(u32::try_from(self.lanes.len()).expect("memory ends before four billion lanes"));
        self.lanes.push(Some(SendLane::new(ends.clone())));
        self.by_name.insert(ends, lane);
        lane
    }

    pub(super) fn remove(&mut self, lane: LaneIx) -> Option<SendLane> {
        let removed = self.lanes.get_mut(lane.0 as usize)?.take()?;
        self.by_name.remove(removed.ends());
        Some(removed)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneIx, &SendLane)> {
        (0..).map(LaneIx).zip(&self.lanes).filter_map(|(lane, l)| Some((lane, l.as_ref()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LaneIx, &mut SendLane)> {
        (0..).map(LaneIx).zip(&mut self.lanes).filter_map(|(lane, l)| Some((lane, l.as_mut()?)))
    }
}
