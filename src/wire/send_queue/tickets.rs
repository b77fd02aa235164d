//! Tickets: what keeps a send from overtaking those before it on their way into the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the sends of a topic that wait in its queue or are on their way into it. Any thread may take a ticket.
#[derive(Debug, Default)]
pub struct Tickets {
    waiting: AtomicUsize,
}

/// A send's ticket for the queue of its topic. It is taken where the send was found to be blocked, so that the caller's
/// next send does not overtake it on its way into the queue, and dropped when the send is finished.
#[derive(Debug)]
pub struct QueueTicket(Arc<Tickets>);

impl Tickets {
    /// Returns how many tickets there are.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Whether a message may be offered without going through the queue: nothing waits there.
    #[inline]
    pub fn may_pass(&self) -> bool {
        self.waiting() == 0
    }

    /// Takes a ticket, unless there are `limit` already.
    pub fn take(self: &Arc<Self>, limit: usize) -> Option<QueueTicket> {
        let ticket = |_| QueueTicket(self.clone());
        let more = |waiting| (waiting < limit).then_some(waiting + 1);
        self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok().map(ticket)
    }
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}
