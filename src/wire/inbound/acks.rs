//! Acks and credit.

use super::Inbound;
use super::LaneSlot;
use crate::types::Cursor;
use crate::wire::codec;
use crate::wire::frame::Frame;
use bytes::Bytes;

impl Inbound {
    /// Returns the next bytes for the connection.
    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        if self.heartbeat.is_none() {
            while let Some(slot) = self.acks.pop() {
                self.lanes[slot].in_acks = false;
            }
            return None;
        }
        if self.acks.is_now() || self.draining || !self.tx.is_empty() || self.has_news() {
            self.write_acks();
        }
        (!self.tx.is_empty()).then(|| self.tx.split().freeze())
    }

    /// Whether enough has left the queue of a lane for its sender to be notified at once.
    fn has_news(&self) -> bool {
        let window = self.config.window();
        let mut views = self.acks.changed().filter_map(|slot| self.lanes[slot].view.as_ref());
        views.any(|view| view.window.has_news(window))
    }

    pub(super) fn write_acks(&mut self) {
        while let Some(slot) = self.acks.pop() {
            let lane = &mut self.lanes[slot];
            lane.in_acks = false;
            if let Some(view) = &mut lane.view {
                view.window.set_reported();
            }
            self.write_ack(slot);
            self.write_credit(slot);
        }
    }

    fn write_ack(&mut self, slot: LaneSlot) {
        let lane = &mut self.lanes[slot];
        let floor = lane.cursors.ack_floor();
        let Some(view) = &mut lane.view else { return };
        if let Some(Cursor { incarnation, seq }) = view.take_ack(floor) {
            codec::encode(&Frame::Ack { lane: view.ix(), incarnation, seq }, &mut self.tx);
        }
    }

    /// Grants credit if a quarter of the window has become free and the lane has a subscriber.
    fn write_credit(&mut self, slot: LaneSlot) {
        let window = self.config.window();
        let lane = &mut self.lanes[slot];
        let Some(view) = lane.view.as_mut().filter(|_| lane.gate.subscriber().is_some()) else { return };
        if let Some(credit) = view.window.grant(window) {
            let (messages, bytes) = (credit.messages, credit.bytes);
            codec::encode(&Frame::Credit { lane: view.ix(), messages, bytes }, &mut self.tx);
        }
    }
}
