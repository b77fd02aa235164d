//! Feeder: fills the mailbox of a subscriber and gathers its replies, on the arbiter of the subscriber.
//!
//! A message from another thread wakes the thread of the subscriber. With more threads than processors, that thread runs at
//! once, takes one message and sleeps again: two switches of threads per message. A feeder on the same arbiter needs one
//! switch for many messages, and their memory is allocated and freed on one thread. The feeder holds messages ready, so
//! that the subscriber does not wait for the session.
//!
//! The arbiter becomes known with the first reply of the subscriber. Until then the session fills the mailbox itself.
//!
//! ```text
//!   Session ──FeederCommand::Deliver──▶ Feeder: ready ──▶ mailbox ──▶ replies ──FeederReport──▶ Session
//! ```

use crate::actors::messages::Delivery;
use crate::actors::receiving::subscriber::exchange::{
    EndGuard, FeederCommand, FeederReport, FeederStage, OutgoingDelivery, is_failure, untried,
};
use crate::actors::receiving::subscriber::mailbox::Mailbox;
use crate::actors::receiving::subscriber::replies::{PendingReplies, ReplyRun};
use crate::wire::inbound::LaneSlot;
use actix::prelude::*;
use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

/// Messages put into a mailbox at a time: the capacity of a mailbox, unless its actor sets another.
const MAILFUL: usize = 16;

/// Replies that a feeder gathers while it has more messages to hand over: waking the session costs more than handling a
/// message.
const REPORTED: usize = 256;

/// The messages of one lane that the feeder holds ready.
#[derive(Default)]
struct Ready {
    /// Not in the mailbox yet.
    batches: VecDeque<vec::IntoIter<OutgoingDelivery>>,
    /// The number of failures reported to the session.
    failures: u64,
}

/// See the [module](self).
pub(crate) struct Feeder {
    in_flight: usize,
    mailbox: Mailbox<Delivery>,
    /// Ends with the subscription.
    orders: mpsc::UnboundedReceiver<FeederCommand>,
    is_retired: bool,
    lanes: HashMap<LaneSlot, Ready>,
    owed: PendingReplies,
    /// Replies not reported yet, and the number of messages they are for.
    answered: Vec<ReplyRun>,
    messages: usize,
    stage: FeederStage,
    /// Dropped last, so that the end is reported after everything else.
    end_guard: EndGuard,
}

impl Feeder {
    pub(crate) fn new(
        in_flight: usize,
        subscriber: Recipient<Delivery>,
        orders: mpsc::UnboundedReceiver<FeederCommand>,
        end_guard: EndGuard,
    ) -> Self {
        let (mailbox, owed) = (Mailbox::new(subscriber), PendingReplies::default());
        let (is_retired, stage, lanes, answered) = (false, FeederStage::Feeding, HashMap::new(), Vec::new());
        Feeder { in_flight, mailbox, orders, is_retired, lanes, owed, answered, messages: 0, stage, end_guard }
    }

    fn take(&mut self, order: FeederCommand) {
        match order {
            FeederCommand::Deliver(mut batch) => {
                let ready = self.lanes.entry(batch.slot).or_default();
                let outgoing = std::mem::take(&mut batch.outgoing);
                if batch.failures == ready.failures {
                    ready.batches.push_back(outgoing.into_iter());
                } else {
                    self.answered.extend(outgoing.iter().map(|delivery| untried(batch.slot, delivery)));
                }
            }
            FeederCommand::Forget(slot, tag) => {
                self.owed.forget(slot, tag);
                let ready = self.lanes.get_mut(&slot).into_iter().flat_map(|lane| &mut lane.batches);
                for batch in ready {
                    let others = batch.by_ref().filter(|delivery| delivery.tag() != tag);
                    *batch = others.collect::<Vec<_>>().into_iter();
                }
            }
            FeederCommand::GiveBack => self.give_all_back(),
            FeederCommand::Abandon => {
                self.lanes.clear();
                self.owed = PendingReplies::default();
            }
        }
    }

    /// Puts messages into the mailbox, within `in_flight` and at most one mailbox full. Returns whether there are more.
    fn fill(&mut self) -> bool {
        if !self.mailbox.connected() {
            self.give_all_back();
            return false;
        }
        let mut more = false;
        for (slot, ready) in &mut self.lanes {
            let allowed = self.in_flight.saturating_sub(self.owed.owed(*slot));
            let mut room = allowed.min(MAILFUL);
            while room > 0
                && let Some(batch) = ready.batches.front_mut()
            {
                match batch.next() {
                    Some(delivery) => {
                        let tag = delivery.tag();
                        self.owed.expect_reply(*slot, tag, self.mailbox.send(delivery.delivery, None));
                        room -= 1;
                    }
                    None => drop(ready.batches.pop_front()),
                }
            }
            more |= room == 0 && allowed > MAILFUL && !ready.batches.is_empty();
        }
        more
    }

    /// Returns the ready messages of a lane to the session.
    fn give_back(&mut self, slot: LaneSlot) {
        let Some(ready) = self.lanes.get_mut(&slot) else { return };
        let batches = std::mem::take(&mut ready.batches);
        self.answered.extend(batches.into_iter().flatten().map(|delivery| untried(slot, &delivery)));
    }

    fn give_all_back(&mut self) {
        let slots: Vec<_> = self.lanes.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.give_back(slot));
    }

    fn report(&mut self) {
        self.messages = 0;
        let stage = std::mem::replace(&mut self.stage, FeederStage::Feeding);
        if !self.answered.is_empty() || stage != FeederStage::Feeding {
            let answered = std::mem::take(&mut self.answered);
            self.end_guard.session.do_send(FeederReport { feed: self.end_guard.feed, answered, stage });
        }
    }

    /// Records replies of the subscriber.
    fn note(&mut self, answered: Vec<ReplyRun>) {
        let failed: Vec<_> = answered.iter().filter(|a| is_failure(&a.answer)).map(|a| a.slot).collect();
        for answered in answered {
            self.messages += answered.messages();
            answered.join(&mut self.answered);
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
        while !self.is_retired
            && let Poll::Ready(order) = self.orders.poll_next_unpin(cx)
        {
            match order {
                Some(order) => self.take(order),
                None => {
                    self.is_retired = true;
                    self.give_all_back();
                    self.stage = FeederStage::GivenBack;
                }
            }
        }
        if let Poll::Ready(Some(answered)) = Pin::new(&mut self.owed).poll_next(cx) {
            self.note(answered);
        }
        let more = self.fill();
        if !more || self.messages >= REPORTED {
            self.report();
        }
        if more {
            // After the subscriber has had its turn.
            cx.waker().wake_by_ref();
        }
        let is_over = self.is_retired && (self.owed.is_empty() || !self.end_guard.session.connected());
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Feeder {
    /// The arbiter may end before the subscription.
    fn drop(&mut self) {
        self.give_all_back();
        self.answered.extend(self.owed.abandon());
        self.report();
    }
}
