//! The contents of a link: what it holds in memory, and whether anything waits for acks.

use super::*;

impl Link {
    /// Writes what only memory holds, and waits until the store has it.
    pub(crate) async fn flush(&self) {
        loop {
            let stored = self.stored.notified();
            {
                let mut state = self.state.lock();
                if !state.outbound.has_unstored() {
                    return;
                }
                state.outbound.flush();
                self.schedule(&mut state);
            }
            stored.await;
        }
    }

    /// Whether a message that was sent away may be offered again.
    pub(crate) fn has_room(&self) -> bool {
        self.state.lock().outbound.has_room()
    }

    pub(crate) fn has_work(&self) -> bool {
        self.state.lock().outbound.has_work()
    }

    /// Each lane with whether it is open in the store, and what is accepted and not acked on it.
    pub(crate) fn pending(&self) -> Vec<(LaneId, bool, Amount)> {
        let state = self.state.lock();
        let outbound = &state.outbound;
        let lane = |ix: LaneIx| (state.lanes[ix.0 as usize].id.clone(), outbound.is_durable(ix), outbound.pending(ix));
        outbound.lanes().map(|(ix, ..)| lane(ix)).collect()
    }

    /// What only memory holds.
    pub(crate) fn memory(&self) -> Amount {
        self.state.lock().outbound.memory()
    }

    /// Messages sent again so far.
    pub(crate) fn redelivered(&self) -> u64 {
        self.state.lock().outbound.redelivered()
    }

    /// Brings the node's counters up to date.
    pub(crate) fn count_now(&self) {
        self.count(&mut self.state.lock());
    }
}
