//! Feeder: hands messages to a subscriber and gathers its replies, on the arbiter of the subscriber.
//!
//! A message from another thread wakes the thread of the subscriber. With more threads than processors, that thread runs at
//! once, takes one message and sleeps again: two switches of threads per message. A feeder on the same arbiter needs one
//! switch for many messages, and their memory is allocated and freed on one thread. The feeder of an actor holds messages
//! ready, so that the subscriber does not wait for the session.
//!
//! ```text
//!   Session ──FeederCommand::Deliver──▶ Feeder: ready ──▶ outlet ──▶ replies ──FeederReport──▶ Session
//! ```

use crate::actors::messages::FedSink;
use crate::actors::receiving::subscriber::exchange::{
    EndGuard, FeederCommand, FeederReport, FeederStage, OutgoingDelivery, is_failure, untried,
};
use crate::actors::receiving::subscriber::outlet::Outlet;
use crate::actors::receiving::subscriber::replies::{PendingReplies, ReplyRun};
use crate::wire::inbound::LaneSlot;
use actix_rt::ArbiterHandle;
use futures::StreamExt;
use futures::channel::mpsc;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

/// Messages put into a mailbox at a time: the capacity of a mailbox, unless its actor sets another.
const MAILFUL: usize = 16;

/// Replies that a feeder gathers while it has more messages to hand over: waking the session costs more than handling a
/// message.
const REPORT_AFTER: usize = 256;

/// What a feeder starts with. If it is dropped, the session is notified that the feeder has ended.
pub(crate) struct FeederStart {
    pub(crate) sink: FedSink,
    pub(crate) in_flight: usize,
    /// Whether messages have a timeout.
    pub(crate) is_timed: bool,
    pub(crate) commands: mpsc::UnboundedReceiver<FeederCommand>,
    /// Dropped after the messages on their way, which are reported first.
    pub(crate) end_guard: EndGuard,
}

impl FeederStart {
    /// Starts the feeder on the arbiter, or on the current one.
    pub(crate) fn start(self, arbiter: Option<&ArbiterHandle>) {
        let start = move || drop(actix_rt::spawn(Feeder::new(self)));
        match arbiter {
            // If the arbiter has ended, the feeder has, too.
            Some(arbiter) => drop(arbiter.spawn_fn(start)),
            None => start(),
        }
    }
}

/// The messages of one lane that the feeder holds ready.
#[derive(Default)]
struct Ready {
    /// Not handed over yet.
    batches: VecDeque<vec::IntoIter<OutgoingDelivery>>,
    /// The number of failures reported to the session.
    failures: u64,
}

impl Ready {
    fn has_next(&mut self) -> bool {
        while self.batches.front().is_some_and(|batch| batch.len() == 0) {
            self.batches.pop_front();
        }
        !self.batches.is_empty()
    }

    fn next(&mut self) -> Option<OutgoingDelivery> {
        if self.has_next() { self.batches.front_mut()?.next() } else { None }
    }
}

/// See the [module](self).
struct Feeder {
    in_flight: usize,
    outlet: Outlet,
    commands: mpsc::UnboundedReceiver<FeederCommand>,
    is_retired: bool,
    /// Whether the session has ended.
    is_closed: bool,
    lanes: HashMap<LaneSlot, Ready>,
    pending: PendingReplies,
    /// Replies not reported yet, and the number of messages they are for.
    replies: Vec<ReplyRun>,
    unreported: usize,
    /// Dropped last, so that the end is reported after everything else.
    end_guard: EndGuard,
}

impl Feeder {
    fn new(start: FeederStart) -> Self {
        let FeederStart { sink, in_flight, is_timed, commands, end_guard } = start;
        Feeder {
            in_flight,
            outlet: Outlet::new(sink),
            commands,
            is_retired: false,
            is_closed: false,
            lanes: HashMap::new(),
            pending: PendingReplies::new(!is_timed),
            replies: Vec::new(),
            unreported: 0,
            end_guard,
        }
    }

    fn take(&mut self, command: FeederCommand) {
        match command {
            FeederCommand::Deliver(mut batch) => {
                let ready = self.lanes.entry(batch.slot).or_default();
                let outgoing = std::mem::take(&mut batch.outgoing);
                if batch.failures == ready.failures {
                    ready.batches.push_back(outgoing.into_iter());
                } else {
                    // Sent before the session knew of a failure: the message that failed comes first.
                    self.replies.extend(outgoing.iter().map(|delivery| untried(batch.slot, delivery)));
                }
            }
            FeederCommand::Forget(slot, tag) => {
                self.pending.forget(slot, tag);
                let ready = self.lanes.get_mut(&slot).into_iter().flat_map(|lane| &mut lane.batches);
                for batch in ready {
                    let others = batch.by_ref().filter(|delivery| delivery.tag() != tag);
                    *batch = others.collect::<Vec<_>>().into_iter();
                }
            }
            FeederCommand::GiveBack => self.give_all_back(),
            FeederCommand::Retire => self.retire(),
            FeederCommand::Abandon => {
                self.lanes.clear();
                drop(self.pending.abandon());
            }
        }
    }

    fn retire(&mut self) {
        if !std::mem::replace(&mut self.is_retired, true) {
            self.give_all_back();
            self.report(FeederStage::GivenBack);
        }
    }

    /// Hands messages over: to an actor within `in_flight` and at most one mailbox full, to others all that are ready.
    /// Returns whether there are more.
    fn fill(&mut self) -> bool {
        if !self.outlet.connected() {
            self.give_all_back();
            return false;
        }
        let mut more = false;
        for (slot, ready) in &mut self.lanes {
            let (allowed, turn) = match &self.outlet {
                Outlet::Actor(_) => (self.in_flight.saturating_sub(self.pending.len(*slot)), MAILFUL),
                Outlet::Batch(_) | Outlet::Handoff(_) => (usize::MAX, usize::MAX),
            };
            if allowed > 0 && ready.has_next() {
                let outgoing = iter::from_fn(|| ready.next()).take(turn.min(allowed));
                self.outlet.hand_over(outgoing, |reply| self.pending.push(*slot, reply));
            }
            more |= allowed > turn && ready.has_next();
        }
        more
    }

    /// Returns the ready messages of a lane to the session.
    fn give_back(&mut self, slot: LaneSlot) {
        let Some(ready) = self.lanes.get_mut(&slot) else { return };
        let batches = std::mem::take(&mut ready.batches);
        self.replies.extend(batches.into_iter().flatten().map(|delivery| untried(slot, &delivery)));
    }

    fn give_all_back(&mut self) {
        let slots: Vec<_> = self.lanes.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.give_back(slot));
    }

    fn report(&mut self, stage: FeederStage) {
        self.unreported = 0;
        if !self.replies.is_empty() || stage != FeederStage::Feeding {
            let replies = std::mem::take(&mut self.replies);
            self.end_guard.session.do_send(FeederReport { feeder: self.end_guard.feeder, replies, stage });
        }
    }

    /// Records replies of the subscriber.
    fn note(&mut self, replies: Vec<ReplyRun>) {
        let failed: Vec<_> = replies.iter().filter(|reply| is_failure(&reply.disposition)).map(|r| r.slot).collect();
        for reply in replies {
            self.unreported += reply.messages();
            reply.join(&mut self.replies);
        }
        for slot in failed {
            self.lanes.entry(slot).or_default().failures += 1;
            self.give_back(slot);
        }
    }
}

impl Future for Feeder {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_closed
            && let Poll::Ready(command) = self.commands.poll_next_unpin(cx)
        {
            match command {
                Some(command) => self.take(command),
                None => {
                    self.is_closed = true;
                    self.retire();
                }
            }
        }
        if let Poll::Ready(replies) = self.pending.poll(cx) {
            self.note(replies);
        }
        let more = self.fill();
        if !more || self.unreported >= REPORT_AFTER {
            self.report(FeederStage::Feeding);
        }
        if more {
            // After the subscriber has had its turn.
            cx.waker().wake_by_ref();
        }
        let is_over = self.is_retired && (self.pending.is_empty() || self.is_closed);
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Feeder {
    /// The arbiter may end before the subscription.
    fn drop(&mut self) {
        self.give_all_back();
        let abandoned = self.pending.abandon();
        self.replies.extend(abandoned);
        self.report(FeederStage::Feeding);
    }
}
