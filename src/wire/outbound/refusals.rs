//! Messages that the receiver will never take. The lane stops at them until each is a dead letter.

use crate::types::Seq;
use crate::wire::frame::RefuseCode;
use std::collections::BTreeMap;

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
    /// Its dead letter is not kept yet. The message is acked, so its row cannot come back.
    Acked {
        /// See `Open`.
        size: Option<usize>,
    },
    /// Its dead letter is kept and its row was removed.
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct RefusalEntry {
    code: RefuseCode,
    phase: RefusalPhase,
}

/// The refused messages of a lane. A message stays here until it is acked, because a group append that was under way may
/// bring its row back.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    messages: BTreeMap<Seq, RefusalEntry>,
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
        self.messages.get(&seq).is_some_and(|message| !matches!(message.phase, RefusalPhase::Closed))
    }

    /// Whether the message was refused.
    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.messages.contains_key(&seq)
    }

    pub(super) fn insert(&mut self, seq: Seq, code: RefuseCode, size: Option<usize>) {
        self.open += usize::from(!self.is_open(seq));
        let phase = RefusalPhase::Open { size, repeat: false };
        self.messages.insert(seq, RefusalEntry { code, phase });
    }

    /// The removal of the message's row must be repeated. Returns the reason, if so.
    pub(super) fn take_repeat(&mut self, seq: Seq) -> Option<RefuseCode> {
        let refused = self.messages.get_mut(&seq)?;
        let RefusalPhase::Open { repeat, .. } = &mut refused.phase else { return None };
        std::mem::take(repeat).then_some(refused.code)
    }

    /// The dead letter is kept. Returns what the message counts as pending, or `None` if it is not open.
    pub(super) fn close(&mut self, seq: Seq) -> Option<Option<usize>> {
        let refused = self.messages.get_mut(&seq)?;
        let size = match refused.phase {
            RefusalPhase::Open { size, .. } => {
                refused.phase = RefusalPhase::Closed;
                size
            }
            RefusalPhase::Acked { size } => {
                self.messages.remove(&seq);
                size
            }
            RefusalPhase::Closed => return None,
        };
        self.open -= 1;
        Some(size)
    }

    /// A group append before `seq` was committed. Open refusals will be repeated; the others are returned.
    pub(super) fn bring_back(&mut self, seq: Seq) -> Vec<(Seq, RefuseCode)> {
        let mut closed = Vec::new();
        for (refused, message) in self.messages.range_mut(..seq) {
            match &mut message.phase {
                RefusalPhase::Open { repeat, .. } => *repeat = true,
                RefusalPhase::Acked { .. } => {}
                RefusalPhase::Closed => closed.push((*refused, message.code)),
            }
        }
        closed
    }

    /// Everything up to `through` is acked.
    pub(super) fn forget_through(&mut self, through: Seq) {
        for (_, message) in self.messages.range_mut(..=through) {
            if let RefusalPhase::Open { size, .. } = message.phase {
                message.phase = RefusalPhase::Acked { size };
            }
        }
        if !self.messages.is_empty() {
            self.messages.retain(|seq, m| *seq > through || !matches!(m.phase, RefusalPhase::Closed));
        }
    }

    /// The durable queue was cleared: the lane stops at nothing.
    pub(super) fn close_all(&mut self) {
        self.open = 0;
        self.messages.retain(|_, message| !matches!(message.phase, RefusalPhase::Acked { .. }));
        for message in self.messages.values_mut() {
            message.phase = RefusalPhase::Closed;
        }
    }
}
