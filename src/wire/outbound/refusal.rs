//! Messages that the receiver will never take: the lane stops at them until each is a dead letter.

use super::lane::RefusedMessage;
use super::*;

/// The reason of a refusal that is repeated; the dead letter that is there already has the true one.
const BROUGHT_BACK: &str = "its row was written again";

impl Outbound {
    /// Stops a lane at a message that the receiver will never take.
    pub(super) fn refuse(&mut self, lane: LaneIx, seq: Seq, code: RefuseCode, text: String) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        l.refusals.insert(seq, RefusedMessage { code, again: false });
        let fresh = l.fresh.iter().find(|i| i.seq == seq && i.state != QueuedState::Stored);
        let message = fresh.map(|i| i.message.clone());
        let incarnation = l.incarnation(seq);
        self.events.push_back(OutboundEvent::Refused { lane, seq, incarnation, message, code, text });
    }

    /// A group append up to `seq` was committed. It may have brought back rows of messages that were refused meanwhile.
    pub(super) fn refuse_again(&mut self, lane: LaneIx, seq: Seq) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let mut settled = Vec::new();
        for (refused, refusal) in l.refusals.range_mut(..seq) {
            refusal.again = l.refused.contains_key(refused);
            if !refusal.again {
                settled.push((*refused, refusal.code));
            }
        }
        for (refused, code) in settled {
            if let Some(l) = lane_mut(&mut self.lanes, lane) {
                l.refused.insert(refused, None);
            }
            self.refuse(lane, refused, code, BROUGHT_BACK.to_owned());
        }
    }

    /// The refused message was kept as a dead letter and its row removed: the lane goes on behind it.
    pub fn handle_refused(&mut self, lane: LaneIx, seq: Seq) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        if let Some(RefusedMessage { code, again: true }) =
            l.refusals.get(&seq).copied().filter(|_| l.refused.contains_key(&seq))
        {
            return self.refuse(lane, seq, code, BROUGHT_BACK.to_owned());
        }
        let Some(size) = l.refused.remove(&seq) else { return };
        if let Some(size) = size {
            l.pending.remove(size);
        }
        if let Some(at) = l.fresh.iter().position(|i| i.seq == seq)
            && let Some(item) = l.fresh.remove(at)
        {
            self.memory.remove(item.message.size());
        }
        if let Some(item) = l.ready.pop_front_if(|i| i.seq == seq) {
            l.ready_bytes -= item.message.size();
        }
        self.unblock(lane);
    }
}
