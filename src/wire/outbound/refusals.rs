//! Messages that the receiver will never take. The lane stops at them until each is a dead letter.

use super::queued::QueuedState;
use super::{LaneIx, Outbound, OutboundEvent};
use crate::types::Seq;
use crate::wire::frame::RefuseCode;
use std::collections::BTreeMap;

/// Reason of a refusal that is repeated. The dead letter that exists already has the true one.
const BROUGHT_BACK: &str = "its row was written again";

/// Where a refused message stands.
#[derive(Debug, Clone, Copy)]
enum RefusalPhase {
    /// Its dead letter is not kept yet.
    Open {
        /// What it counts as pending, in bytes; `None` if it was cleared after it was sent.
        size: Option<usize>,
        /// Whether its row may have come back since its removal was asked for.
        repeat: bool,
    },
    /// Its dead letter is kept and its row was removed.
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct RefusedMessage {
    code: RefuseCode,
    phase: RefusalPhase,
}

/// The refused messages of a lane. A message stays here until it is acked, because a group append that was under way may
/// bring its row back.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    messages: BTreeMap<Seq, RefusedMessage>,
    /// How many of them are open.
    open: usize,
}

impl Refusals {
    /// Whether nothing may be sent, because a refused message is not a dead letter yet.
    #[inline]
    pub(super) fn is_stopped(&self) -> bool {
        self.open > 0
    }

    /// Whether the message is refused and not a dead letter yet.
    pub(super) fn is_open(&self, seq: Seq) -> bool {
        matches!(self.messages.get(&seq), Some(RefusedMessage { phase: RefusalPhase::Open { .. }, .. }))
    }

    /// Whether the message was refused.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.messages.contains_key(&seq)
    }

    fn insert(&mut self, seq: Seq, code: RefuseCode, size: Option<usize>) {
        self.open += usize::from(!self.is_open(seq));
        let phase = RefusalPhase::Open { size, repeat: false };
        self.messages.insert(seq, RefusedMessage { code, phase });
    }

    /// The removal of the message's row must be repeated. Returns the reason, if so.
    fn take_repeat(&mut self, seq: Seq) -> Option<RefuseCode> {
        let refused = self.messages.get_mut(&seq)?;
        let RefusalPhase::Open { repeat, .. } = &mut refused.phase else { return None };
        std::mem::take(repeat).then_some(refused.code)
    }

    /// The dead letter is kept. Returns what the message counts as pending, or `None` if it is not open.
    fn close(&mut self, seq: Seq) -> Option<Option<usize>> {
        let refused = self.messages.get_mut(&seq)?;
        let RefusalPhase::Open { size, .. } = refused.phase else { return None };
        refused.phase = RefusalPhase::Closed;
        self.open -= 1;
        Some(size)
    }

    /// A group append before `seq` was committed. Open refusals will be repeated; the others are returned.
    fn bring_back(&mut self, seq: Seq) -> Vec<(Seq, RefuseCode)> {
        let mut closed = Vec::new();
        for (refused, message) in self.messages.range_mut(..seq) {
            match &mut message.phase {
                RefusalPhase::Open { repeat, .. } => *repeat = true,
                RefusalPhase::Closed => closed.push((*refused, message.code)),
            }
        }
        closed
    }

    /// Everything up to `through` is acked.
    pub(super) fn forget_through(&mut self, through: Seq) {
        if !self.messages.is_empty() {
            self.messages.retain(|seq, m| *seq > through || matches!(m.phase, RefusalPhase::Open { .. }));
        }
    }

    /// The durable queue was cleared: the lane stops at nothing.
    pub(super) fn close_all(&mut self) {
        self.open = 0;
        for message in self.messages.values_mut() {
            message.phase = RefusalPhase::Closed;
        }
    }
}

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
