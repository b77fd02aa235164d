//! Refusing messages that the receiver will never take, until each is a dead letter.

use super::queued::QueuedState;
use super::{LaneIx, Outbound, OutboundEvent};
use crate::types::Seq;
use crate::wire::frame::RefuseCode;

/// Reason of a refusal that is repeated. The dead letter that exists already has the true one.
const BROUGHT_BACK: &str = "its row was written again";

impl Outbound {
    /// Stops a lane at a message that the receiver will never take. `size` is what it counts as pending, if anything.
    pub(super) fn refuse(&mut self, lane: LaneIx, seq: Seq, size: Option<usize>, code: RefuseCode, text: String) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        l.refusals.insert(seq, code, size);
        self.report_refusal(lane, seq, code, text);
    }

    fn report_refusal(&mut self, lane: LaneIx, seq: Seq, code: RefuseCode, text: String) {
        let Some(l) = self.lanes.get(lane) else { return };
        let fresh = l.fresh.find(seq).filter(|m| m.state != QueuedState::Stored);
        let message = fresh.map(|m| m.message.clone());
        let incarnation = l.numbering.incarnation(seq);
        self.events.push_back(OutboundEvent::Refused { lane, seq, incarnation, message, code, text });
    }

    /// Refuses messages again whose rows a group append up to `seq` may have brought back.
    pub(super) fn refuse_again(&mut self, lane: LaneIx, seq: Seq) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        for (refused, code) in l.refusals.bring_back(seq) {
            self.refuse(lane, refused, None, code, BROUGHT_BACK.to_owned());
        }
    }

    /// Handles that a refused message was kept as a dead letter and its row was deleted. The lane continues after it.
    pub fn handle_refused(&mut self, lane: LaneIx, seq: Seq) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        if let Some(code) = l.refusals.take_repeat(seq) {
            return self.report_refusal(lane, seq, code, BROUGHT_BACK.to_owned());
        }
        let Some(size) = l.refusals.close(seq) else { return };
        if let Some(size) = size {
            l.pending.remove(size);
        }
        if let Some(refused) = l.fresh.remove(seq) {
            self.memory.free_one(refused.message.size());
        }
        l.ready.pop_front_if(|m| m.seq == seq);
        self.unblock(lane);
    }
}
