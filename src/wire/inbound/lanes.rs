//! The lanes of a peer: by slot, by name, and by the sender's number.

use super::lane::RecvLane;
use super::{LaneSlot, SubscriberSpec};
use crate::types::{LaneId, LaneName, NodeId, Topic};
use crate::wire::error::LinkError;
use crate::wire::frame::LaneIx;
use std::collections::HashMap;
use std::ops::{Index, IndexMut};

/// The lanes from one peer to this node.
#[derive(Debug)]
pub(super) struct RecvLanes {
    me: NodeId,
    peer: NodeId,
    lanes: Vec<RecvLane>,
    by_name: HashMap<(Topic, Topic), LaneSlot>,
    /// The sender's numbers on the present connection.
    by_ix: HashMap<LaneIx, LaneSlot>,
    /// The lane of the last frame, which mostly is that of the next one, too.
    last: Option<(LaneIx, LaneSlot)>,
}

impl RecvLanes {
    pub(super) fn new(me: NodeId, peer: NodeId) -> Self {
        RecvLanes { me, peer, lanes: Vec::new(), by_name: HashMap::new(), by_ix: HashMap::new(), last: None }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LaneSlot, &RecvLane)> {
        (0..).map(LaneSlot).zip(&self.lanes)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (LaneSlot, &mut RecvLane)> {
        (0..).map(LaneSlot).zip(&mut self.lanes)
    }

    /// Returns the lanes to `topic`.
    pub(super) fn to_topic(&self, topic: &Topic) -> Vec<LaneSlot> {
        self.iter().filter(|(_, lane)| lane.id.topic() == topic).map(|(slot, _)| slot).collect()
    }

    /// Finds a lane by name or adds it, for a subscriber if there is one.
    ///
    /// # Errors
    /// Returns [`LinkError::TooManyLanes`] if there are `max` lanes already.
    pub(super) fn find_or_add(
        &mut self,
        source: &Topic,
        topic: &Topic,
        max: usize,
        subscriber: Option<SubscriberSpec>,
    ) -> Result<LaneSlot, LinkError> {
        let ends = (source.clone(), topic.clone());
        if let Some(slot) = self.by_name.get(&ends) {
            return Ok(*slot);
        }
        if self.lanes.len() >= max {
            return Err(LinkError::TooManyLanes);
        }
        let name = LaneName {
            sender: self.peer.clone(),
            source: source.clone(),
            receiver: self.me.clone(),
            topic: topic.clone(),
        };
        let slot = LaneSlot(self.lanes.len());
        self.lanes.push(RecvLane::new(LaneId::new(name), subscriber));
        self.by_name.insert(ends, slot);
        Ok(slot)
    }

    /// The sender uses the number `ix` for a lane from now on.
    pub(super) fn bind(&mut self, ix: LaneIx, slot: LaneSlot) {
        self.by_ix.insert(ix, slot);
        self.last = None;
    }

    /// The connection is gone, and the sender's numbers with it.
    pub(super) fn unbind_all(&mut self) {
        self.by_ix.clear();
        self.last = None;
    }

    /// Returns the lane that the sender calls `ix`.
    #[inline]
    pub(super) fn slot(&self, ix: LaneIx) -> Option<LaneSlot> {
        match self.last {
            Some((last, slot)) if last == ix => Some(slot),
            _ => self.by_ix.get(&ix).copied(),
        }
    }

    /// Returns the lane of a frame.
    ///
    /// # Errors
    /// Returns [`LinkError::UnknownLane`] if it is not open on this connection.
    #[inline]
    pub(super) fn open(&mut self, ix: LaneIx) -> Result<(LaneSlot, &mut RecvLane), LinkError> {
        let slot = self.slot(ix).ok_or(LinkError::UnknownLane)?;
        self.last = Some((ix, slot));
        let lane = &mut self.lanes[slot.0];
        if lane.view.is_none() { Err(LinkError::UnknownLane) } else { Ok((slot, lane)) }
    }
}

impl Index<LaneSlot> for RecvLanes {
    type Output = RecvLane;

    #[inline]
    fn index(&self, slot: LaneSlot) -> &RecvLane {
        &self.lanes[slot.0]
    }
}

impl IndexMut<LaneSlot> for RecvLanes {
    #[inline]
    fn index_mut(&mut self, slot: LaneSlot) -> &mut RecvLane {
        &mut self.lanes[slot.0]
    }
}
