//! Feed: one subscriber as a session feeds it, by itself or through a [feeder](crate::actors::receiving::subscriber::feeder).

use crate::actors::messages::Delivery;
use crate::actors::receiving::subscriber::answers::{Answered, Answers, Ticket};
use crate::actors::receiving::subscriber::feeder::Feeder;
use crate::actors::receiving::subscriber::mailbox::Mailbox;
use crate::types::Payload;
use crate::wire::inbound::{Disposition, LaneSlot};
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use bytes::BytesMut;
use futures::channel::mpsc;
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

/// Messages of a lane that the feeder holds ready beyond those in the mailbox: some mailboxes full.
pub(crate) const AHEAD: u32 = 1024;

/// Payloads up to this size, in bytes, are copied for the subscriber's thread: threads that share one buffer count its
/// references in turns, which costs more.
const COPIED_BYTES: usize = 4096;

/// Where a subscriber runs, once it is known; `None`: where it cannot be fed from.
#[derive(Debug)]
pub(crate) struct Home {
    session: ThreadId,
    found: OnceLock<Option<ArbiterHandle>>,
}

impl Home {
    /// A waker that notes where it is called, if that is still of interest.
    pub(crate) fn finder(self: &Arc<Self>, waker: &Waker) -> Option<Waker> {
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
pub(crate) struct Parcel {
    pub(crate) token: u64,
    pub(crate) delivery: Delivery,
}

impl Parcel {
    /// Names this hand-over.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { token: self.token, attempt: self.delivery.attempt }
    }
}

/// Answers that a feeder has gathered, and what it has come to.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Fed {
    pub(crate) feed: FeedId,
    pub(crate) answered: Vec<Answered>,
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Feeding,
    /// The subscription has ended, and what was ready has come back.
    GivenBack,
    /// It owes nothing any more: the subscription has ended, or the thread has, and the subscriber may not have.
    Ended,
}

/// Says, whatever happens, that a feeder has ended.
pub(crate) struct Farewell {
    pub(crate) feed: FeedId,
    pub(crate) session: Recipient<Fed>,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.session.do_send(Fed { feed: self.feed, answered: Vec::new(), stage: Stage::Ended });
    }
}

/// Tells the subscribers that one session fed in its life apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FeedId(pub(crate) u64);

/// Messages of one lane on their way to the feeder. They come back, whatever happens to it.
pub(crate) struct Batch {
    feed: FeedId,
    pub(crate) slot: LaneSlot,
    pub(crate) parcels: Vec<Parcel>,
    /// Failures of the lane that the session had heard of: what it hands over before it hears of one is not to overtake the
    /// message that failed.
    pub(crate) failures: u64,
    session: Recipient<Fed>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        let parcels = std::mem::take(&mut self.parcels);
        if !parcels.is_empty() {
            let answered = parcels.iter().map(|parcel| untried(self.slot, parcel)).collect();
            self.session.do_send(Fed { feed: self.feed, answered, stage: Stage::Ended });
        }
    }
}

pub(crate) fn untried(slot: LaneSlot, parcel: &Parcel) -> Answered {
    Answered::one(slot, parcel.ticket(), Disposition::Untried)
}

/// What a feeder is to do.
pub(crate) enum Order {
    Deliver(Batch),
    /// Nothing is owed for this hand-over any more.
    Forget(LaneSlot, Ticket),
    /// What is ready is not wanted in the mailbox any more.
    GiveBack,
    /// The session is gone, and with it all that is not handled yet.
    Abandon,
}

/// One subscriber, as a session feeds it.
pub(crate) struct Feed {
    pub(crate) id: FeedId,
    in_flight: usize,
    mailbox: Mailbox<Delivery>,
    home: Arc<Home>,
    session: Recipient<Fed>,
    feeder: Option<mpsc::UnboundedSender<Order>>,
    /// Failures that the feeder has reported.
    failures: HashMap<LaneSlot, u64>,
    /// The feeder's thread has ended, and the subscriber has not.
    is_direct: bool,
}

impl Feed {
    pub(crate) fn new(id: FeedId, in_flight: u32, subscriber: Recipient<Delivery>, session: Recipient<Fed>) -> Self {
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
    pub(crate) fn connected(&self) -> bool {
        self.mailbox.connected()
    }

    /// The feeder's thread has ended: the session feeds the subscriber from now on.
    pub(crate) fn feeder_ended(&mut self) {
        self.feeder = None;
        self.is_direct = true;
    }

    /// Notes that the feeder has reported a failure.
    pub(crate) fn failed(&mut self, slot: LaneSlot) {
        *self.failures.entry(slot).or_default() += 1;
    }

    /// Nothing is owed for this hand-over any more.
    pub(crate) fn forget(&self, slot: LaneSlot, ticket: Ticket) {
        self.order(Order::Forget(slot, ticket));
    }

    /// The session is gone.
    pub(crate) fn abandon(&self) {
        self.order(Order::Abandon);
    }

    /// Whether a feeder will say that it has ended.
    pub(crate) fn is_fed(&self) -> bool {
        self.feeder.is_some()
    }

    /// Nothing more goes into the mailbox: messages that wait for it come back.
    pub(crate) fn give_back(&self) {
        self.order(Order::GiveBack);
    }

    fn order(&self, order: Order) {
        if let Some(feeder) = &self.feeder {
            // What a feeder that has ended had, and a batch that does not reach it, come back by themselves.
            let _ = feeder.unbounded_send(order);
        }
    }

    /// Whether there is a feeder, which is started as soon as it can be.
    pub(crate) fn has_feeder(&mut self) -> bool {
        if self.feeder.is_none()
            && !self.is_direct
            && let Some(Some(arbiter)) = self.home.found.get()
        {
            let (feeder, orders) = mpsc::unbounded();
            let (in_flight, subscriber) = (self.in_flight, self.mailbox.recipient());
            let farewell = Farewell { feed: self.id, session: self.session.clone() };
            let start = move || drop(actix_rt::spawn(Feeder::new(in_flight, subscriber, orders, farewell)));
            self.feeder = arbiter.spawn_fn(start).then_some(feeder);
        }
        self.feeder.is_some()
    }

    /// Hands messages of a lane over: to the feeder, or into the mailbox, with what is then owed for them in `answers`.
    pub(crate) fn feed(&self, slot: LaneSlot, mut parcels: Vec<Parcel>, answers: &Answers) {
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

/// Whether what was handed over behind such a message must wait for it.
pub(crate) fn is_failure(answer: &Disposition) -> bool {
    matches!(answer, Disposition::Failed { .. })
}
