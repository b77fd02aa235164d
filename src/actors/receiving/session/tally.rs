//! Counts of a session that are added to the node's counters many at a time.

use crate::actors::node::{Counters, count};
use crate::wire::inbound::{HandOver, InboundCounts};

/// See the [module](self).
#[derive(Default)]
pub(super) struct Tally {
    delivered: u64,
    bytes: u64,
    handled: u64,
    /// The counts of the machine when they were added the last time.
    machine: InboundCounts,
}

impl Tally {
    pub(super) fn deliver(&mut self, next: &HandOver) {
        self.delivered += 1;
        self.bytes += next.message.size() as u64;
    }

    pub(super) fn handled(&mut self, messages: u64) {
        self.handled += messages;
    }

    /// Adds what was counted since the last time.
    pub(super) fn add_to(&mut self, counters: &Counters, machine: InboundCounts) {
        let Tally { delivered, bytes, handled, machine: before } = std::mem::take(self);
        count(&counters.duplicates, machine.duplicates - before.duplicates);
        count(&counters.dropped, machine.dropped - before.dropped);
        // Messages that came back untried were not delivered. The difference may be negative: wrapping keeps the sum right.
        count(&counters.delivered, delivered.wrapping_sub(machine.untried - before.untried));
        count(&counters.bytes_delivered, bytes.wrapping_sub(machine.untried_bytes - before.untried_bytes));
        count(&counters.handled, handled);
        self.machine = machine;
    }
}
