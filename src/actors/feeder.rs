//! Feeder: puts messages into a subscriber's mailbox, and gathers its answers, on the subscriber's own thread.
//!
//! A message that comes from another thread wakes the subscriber's. Where threads outnumber processors, the subscriber
//! then runs at once, takes this one message, and sleeps again: two switches of threads for every message. From its own
//! thread it is fed many for one switch, and what each message takes is allocated and freed on one thread. The feeder holds
//! some messages ready, so that the subscriber does not wait for the session between one mailbox and the next.
//!
//! Nobody says which thread that is. It shows when the subscriber answers, and until then the session feeds it directly.
//!
//! ```text
//!   Session ──Order::Deliver──▶ Feeder: ready ──▶ mailbox ──▶ owed ──Fed──▶ Session
//! ```

use super::answers::{Answered, Answers, Ticket};
use super::mailbox::Mailbox;
use super::messages::Delivery;
use crate::types::Payload;
use crate::wire::inbound::{Answer, Slot};
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use bytes::BytesMut;
use futures::channel::mpsc;
use futures::{Stream, StreamExt};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::vec;

/// Messages of a lane that the feeder holds ready beyond those in the mailbox: some mailboxes full.
pub(super) const AHEAD: u32 = 1024;

/// Messages put into a mailbox at a time, which is how many one holds without further ado unless its actor says otherwise.
const MAILFUL: usize = 16;

/// Answers that a feeder keeps to itself while it has more to put into the mailbox: waking the session costs more than
/// handling a message.
const REPORTED: usize = 256;

/// Payloads up to this size, in bytes, are copied for the subscriber's thread: threads that share one buffer count its
/// references in turns, which costs more.
const COPIED_BYTES: usize = 4096;

/// Where a subscriber runs, once it is known; `None`: where it cannot be fed from.
#[derive(Debug)]
pub(super) struct Home {
    session: ThreadId,
    found: OnceLock<Option<ArbiterHandle>>,
}

impl Home {
    /// A waker that notes where it is called, if that is still of interest.
    pub(super) fn finder(self: &Arc<Self>, waker: &Waker) -> Option<Waker> {
        let finder = || Waker::from(Arc::new(Finder { home: self.clone(), waker: waker.clone() }));
        self.found.get().is_none().then(finder)
    }
}

struct Finder {
    home: Arc<Home>,
    waker: Waker,
}

impl Wake for Finder {
    fn wake(self: Arc<Self>) {
        let elsewhere = thread::current().id() != self.home.session;
        let _ = self.home.found.set(elsewhere.then(Arbiter::try_current).flatten());
        self.waker.wake_by_ref();
    }
}

/// A message for a subscriber.
pub(super) struct Parcel {
    pub(super) token: u64,
    pub(super) delivery: Delivery,
}

impl Parcel {
    /// Names this hand-over.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket { token: self.token, attempt: self.delivery.attempt }
    }
}

/// Answers that a feeder has gathered; or it has ended with its thread, and the subscriber may not have.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fed {
    pub(super) feed: FeedId,
    pub(super) answered: Vec<Answered>,
    pub(super) ended: bool,
}

/// Tells the subscribers that one session fed in its life apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FeedId(pub(super) u64);

/// Messages of one lane on their way to the feeder. They come back, whatever happens to it.
struct Batch {
    feed: FeedId,
    slot: Slot,
    parcels: Vec<Parcel>,
    /// Failures of the lane that the session had heard of: what it hands over before it hears of one is not to overtake the
    /// message that failed.
    failures: u64,
    session: Recipient<Fed>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let parcels = std::mem::take(&mut self.parcels);
        if !parcels.is_empty() {
            let answered = parcels.iter().map(|parcel| untried(self.slot, parcel)).collect();
            self.session.do_send(Fed { feed: self.feed, answered, ended: true });
        }
    }
}

fn untried(slot: Slot, parcel: &Parcel) -> Answered {
    Answered::one(slot, parcel.ticket(), Answer::Untried)
}

enum Order {
    Deliver(Batch),
    /// Nothing is owed for this message any more.
    Forget(Slot, u64),
    /// What is ready is not wanted in the mailbox any more.
    GiveBack,
}

/// One subscriber, as a session feeds it.
pub(super) struct Feed {
    pub(super) id: FeedId,
    in_flight: usize,
    mailbox: Mailbox<Delivery>,
    home: Arc<Home>,
    session: Recipient<Fed>,
    feeder: Option<mpsc::UnboundedSender<Order>>,
    /// Failures that the feeder has reported.
    failures: HashMap<Slot, u64>,
    /// The feeder's thread has ended, and the subscriber has not.
    is_direct: bool,
}

impl Feed {
    pub(super) fn new(id: FeedId, in_flight: u32, subscriber: Recipient<Delivery>, session: Recipient<Fed>) -> Self {
        Feed {
            id,
            in_flight: usize::try_from(in_flight).unwrap_or(usize::MAX),
            mailbox: Mailbox::new(subscriber),
            home: Arc::new(Home { session: thread::current().id(), found: OnceLock::new() }),
            session,
            feeder: None,
            failures: HashMap::new(),
            is_direct: false,
        }
    }

    /// Whether the subscriber takes messages.
    pub(super) fn connected(&self) -> bool {
        self.mailbox.connected()
    }

    /// The feeder's thread has ended: the session feeds the subscriber from now on.
    pub(super) fn feeder_ended(&mut self) {
        self.feeder = None;
        self.is_direct = true;
    }

    /// Notes that the feeder has reported a failure.
    pub(super) fn failed(&mut self, slot: Slot) {
        *self.failures.entry(slot).or_default() += 1;
    }

    /// Nothing is owed for this message any more.
    pub(super) fn forget(&self, slot: Slot, token: u64) {
        self.order(Order::Forget(slot, token));
    }

    /// Nothing more goes into the mailbox: messages that wait for it come back.
    pub(super) fn give_back(&self) {
        self.order(Order::GiveBack);
    }

    fn order(&self, order: Order) {
        if let Some(feeder) = &self.feeder {
            // What a feeder that has ended had, and a batch that does not reach it, come back by themselves.
            let _ = feeder.unbounded_send(order);
        }
    }

    /// Whether there is a feeder, which is started as soon as it can be.
    pub(super) fn has_feeder(&mut self) -> bool {
        if self.feeder.is_none()
            && !self.is_direct
            && let Some(Some(arbiter)) = self.home.found.get()
        {
            let (feeder, orders) = mpsc::unbounded();
            let (feed, in_flight) = (self.id, self.in_flight);
            let (subscriber, session) = (self.mailbox.recipient(), self.session.clone());
            let start = move || drop(actix_rt::spawn(Feeder::new(feed, in_flight, subscriber, orders, session)));
            self.feeder = arbiter.spawn_fn(start).then_some(feeder);
        }
        self.feeder.is_some()
    }

    /// Hands messages of a lane over: to the feeder, or into the mailbox, with what is then owed for them in `answers`.
    pub(super) fn feed(&self, slot: Slot, mut parcels: Vec<Parcel>, answers: &Answers) {
        if self.feeder.is_none() {
            for parcel in parcels {
                let ticket = parcel.ticket();
                answers.await_one(slot, ticket, self.mailbox.send(parcel.delivery, Some(self.home.clone())));
            }
            return;
        }
        unshare(&mut parcels);
        let failures = self.failures.get(&slot).copied().unwrap_or_default();
        let session = self.session.clone();
        self.order(Order::Deliver(Batch { feed: self.id, slot, parcels, failures, session }));
    }
}

/// Moves small payloads into a buffer that only these messages share.
fn unshare(parcels: &mut [Parcel]) {
    let is_small = |payload: &Payload| payload.len() <= COPIED_BYTES;
    let small = || parcels.iter().map(|parcel| &parcel.delivery.payload).filter(|payload| is_small(payload));
    let mut copy = BytesMut::with_capacity(small().map(|payload| payload.len()).sum());
    small().for_each(|payload| copy.extend_from_slice(payload));
    let copy = copy.freeze();
    let mut at = 0;
    for payload in parcels.iter_mut().map(|parcel| &mut parcel.delivery.payload).filter(|payload| is_small(payload)) {
        let end = at + payload.len();
        *payload = Payload::part_of(&copy, at..end);
        at = end;
    }
}

/// What one lane has at the feeder.
#[derive(Default)]
struct Ready {
    /// Not in the mailbox yet.
    batches: VecDeque<vec::IntoIter<Parcel>>,
    /// Failures that were reported.
    failures: u64,
}

/// See the [module](self).
struct Feeder {
    feed: FeedId,
    in_flight: usize,
    mailbox: Mailbox<Delivery>,
    /// Ends when the subscription does.
    orders: mpsc::UnboundedReceiver<Order>,
    is_retired: bool,
    lanes: HashMap<Slot, Ready>,
    owed: Answers,
    /// What the session does not know yet, and messages in it.
    answered: Vec<Answered>,
    messages: usize,
    session: Recipient<Fed>,
}

impl Feeder {
    fn new(
        feed: FeedId,
        in_flight: usize,
        subscriber: Recipient<Delivery>,
        orders: mpsc::UnboundedReceiver<Order>,
        session: Recipient<Fed>,
    ) -> Self {
        let (mailbox, owed) = (Mailbox::new(subscriber), Answers::default());
        let (is_retired, lanes, answered) = (false, HashMap::new(), Vec::new());
        Feeder { feed, in_flight, mailbox, orders, is_retired, lanes, owed, answered, messages: 0, session }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Deliver(mut batch) => {
                let ready = self.lanes.entry(batch.slot).or_default();
                let parcels = std::mem::take(&mut batch.parcels);
                if batch.failures == ready.failures {
                    ready.batches.push_back(parcels.into_iter());
                } else {
                    self.answered.extend(parcels.iter().map(|parcel| untried(batch.slot, parcel)));
                }
            }
            Order::Forget(slot, token) => self.owed.forget(slot, token),
            Order::GiveBack => self.give_all_back(),
        }
    }

    /// Puts what is ready into the mailbox, as far as it may have it, a little at a time. Answers whether there is more.
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
                    Some(parcel) => {
                        let ticket = parcel.ticket();
                        self.owed.await_one(*slot, ticket, self.mailbox.send(parcel.delivery, None));
                        room -= 1;
                    }
                    None => drop(ready.batches.pop_front()),
                }
            }
            more |= room == 0 && allowed > MAILFUL && !ready.batches.is_empty();
        }
        more
    }

    /// Gives back what is ready of a lane.
    fn give_back(&mut self, slot: Slot) {
        let Some(ready) = self.lanes.get_mut(&slot) else { return };
        let batches = std::mem::take(&mut ready.batches);
        self.answered.extend(batches.into_iter().flatten().map(|parcel| untried(slot, &parcel)));
    }

    fn give_all_back(&mut self) {
        let slots: Vec<_> = self.lanes.keys().copied().collect();
        slots.into_iter().for_each(|slot| self.give_back(slot));
    }

    fn report(&mut self) {
        self.messages = 0;
        if !self.answered.is_empty() {
            let answered = std::mem::take(&mut self.answered);
            self.session.do_send(Fed { feed: self.feed, answered, ended: false });
        }
    }

    /// The subscriber has answered.
    fn note(&mut self, answered: Vec<Answered>) {
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

/// Whether what was handed over behind such a message must wait for it.
pub(super) fn is_failure(answer: &Answer) -> bool {
    matches!(answer, Answer::Failed { .. })
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
            // When the subscriber has had its turn.
            cx.waker().wake_by_ref();
        }
        if self.is_retired && self.owed.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Feeder {
    /// The thread may have ended before the subscription.
    fn drop(&mut self) {
        self.give_all_back();
        self.answered.extend(self.owed.abandon());
        self.report();
        if !self.is_retired {
            self.session.do_send(Fed { feed: self.feed, answered: Vec::new(), ended: true });
        }
    }
}
