//! One lane as its receiver sees it.

use super::SubscriberSpec;
use super::connection_view::ConnectionView;
use super::cursors::CursorTracker;
use super::gate::DeliveryGate;
use super::queue::{DeliveryQueue, EntryState};
use crate::types::{Cursor, Incarnation, LaneId, Seq};
use crate::wire::frame::DataFlags;

/// Attempts that an earlier process recorded after the cursor.
#[derive(Debug, Default)]
pub(super) struct RecordedAttempts(Vec<(Incarnation, Seq, u32)>);

impl RecordedAttempts {
    pub(super) fn new(attempts: Vec<(Incarnation, Seq, u32)>) -> Self {
        RecordedAttempts(attempts)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the number of attempts of a message.
    pub(super) fn take(&mut self, place: Option<Cursor>) -> u32 {
        let is_it = |(i, s, _): &(Incarnation, Seq, u32)| place == Some(Cursor { incarnation: *i, seq: *s });
        self.0.iter().position(is_it).map_or(0, |at| self.0.swap_remove(at).2)
    }
}

/// A lane as its receiver sees it. Each part owns one fact.
#[derive(Debug)]
pub(super) struct RecvLane {
    pub(super) id: LaneId,
    pub(super) gate: DeliveryGate,
    pub(super) cursors: CursorTracker,
    pub(super) queue: DeliveryQueue,
    pub(super) attempts: RecordedAttempts,
    /// The lane on the present connection, if it was resumed there.
    pub(super) view: Option<ConnectionView>,
    /// Whether the lane is in the turn for hand-over.
    pub(super) in_turn: bool,
    /// Whether the lane is among those whose ack or credit may have changed.
    pub(super) in_acks: bool,
}

impl RecvLane {
    pub(super) fn new(id: LaneId, subscriber: Option<SubscriberSpec>) -> Self {
        RecvLane {
            id,
            gate: DeliveryGate::new(subscriber),
            cursors: CursorTracker::default(),
            queue: DeliveryQueue::default(),
            attempts: RecordedAttempts::default(),
            view: None,
            in_turn: false,
            in_acks: false,
        }
    }

    /// Takes everything done off the front of the queue. Returns whether there was anything.
    pub(super) fn advance(&mut self) -> bool {
        let before = self.queue.base();
        while let Some(entry) = self.queue.pop_front_if(|e| e.state == EntryState::Done) {
            self.finish(entry.place, entry.size, entry.flags);
        }
        self.queue.base() != before
    }

    /// The first message in order of arrival is done and left the queue.
    #[inline]
    pub(super) fn finish(&mut self, place: Option<Cursor>, size: Option<usize>, flags: DataFlags) {
        if let Some(place) = place {
            self.cursors.handled(place, flags.has(DataFlags::STRICT));
        }
        if let Some(size) = size {
            self.consume(size);
        }
    }

    /// A message left the queue, or never entered it: its credit is free again.
    #[inline]
    pub(super) fn consume(&mut self, size: usize) {
        if let Some(view) = &mut self.view {
            view.window.consume(size);
        }
    }

    /// Whether the sender does not know yet how far it may be acked.
    #[inline]
    pub(super) fn is_ack_due(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.lacks_ack(self.cursors.ack_floor()))
    }

    /// Whether everything handled is committed and nothing is with a subscriber.
    pub(super) fn is_settled(&self) -> bool {
        self.gate.outstanding() == 0 && self.cursors.is_settled()
    }
}
