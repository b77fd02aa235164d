//! Feeder: puts messages into a subscriber's mailbox on the subscriber's own thread.
//!
//! A message that comes from another thread wakes the subscriber's. Where threads outnumber processors, the subscriber
//! then runs at once, takes this one message, and sleeps again: two switches of threads for every message. From its own
//! thread it is fed many for one switch.
//!
//! Nobody says which thread that is. It shows when the subscriber answers, and until then the session feeds it directly.

use super::answers::{Mailbox, Request};
use super::messages::Delivery;
use crate::wire::inbound::Slot;
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use futures::StreamExt;
use futures::channel::mpsc;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

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

/// A message that was handed over, or is about to be.
pub(super) struct Parcel {
    pub(super) slot: Slot,
    pub(super) token: u64,
    pub(super) what: What,
}

pub(super) enum What {
    /// Nobody has it yet.
    Delivery(Delivery),
    /// With the handle it goes into the mailbox by.
    Addressed(Delivery, Recipient<Delivery>),
    /// It is in the mailbox.
    Request(Request<Delivery>),
}

/// Messages that were put into the mailbox, in order; or were not, because the subscriber's thread has ended.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Fed {
    pub(super) feed: FeedId,
    pub(super) parcels: Vec<Parcel>,
}

/// Tells the subscribers that one session fed in its life apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FeedId(pub(super) u64);

/// Messages on their way to the feeder. They come back, whatever happens to it.
struct Batch {
    feed: FeedId,
    parcels: Vec<Parcel>,
    session: Recipient<Fed>,
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.session.do_send(Fed { feed: self.feed, parcels: std::mem::take(&mut self.parcels) });
    }
}

/// One subscriber, as a session feeds it.
pub(super) struct Feed {
    pub(super) id: FeedId,
    pub(super) mailbox: Mailbox<Delivery>,
    home: Arc<Home>,
    session: Recipient<Fed>,
    feeder: Option<mpsc::UnboundedSender<Batch>>,
    /// The feeder's thread has ended, and the subscriber has not.
    is_direct: bool,
}

impl Feed {
    pub(super) fn new(id: FeedId, subscriber: Recipient<Delivery>, session: Recipient<Fed>) -> Self {
        let home = Arc::new(Home { session: thread::current().id(), found: OnceLock::new() });
        Feed { id, mailbox: Mailbox::new(subscriber), home, session, feeder: None, is_direct: false }
    }

    /// Messages came back. Answers whether the subscriber can still be fed, from the session's thread.
    pub(super) fn feeder_ended(&mut self) -> bool {
        self.feeder = None;
        self.is_direct = true;
        self.mailbox.connected()
    }

    /// Puts messages into the mailbox, now or soon; answers those that are there now.
    pub(super) fn feed(&mut self, parcels: Vec<Parcel>) -> Fed {
        if self.feeder.is_none()
            && !self.is_direct
            && let Some(Some(arbiter)) = self.home.found.get()
        {
            let (feeder, batches) = mpsc::unbounded();
            let started = arbiter.spawn_fn(move || drop(actix_rt::spawn(work(batches))));
            self.feeder = started.then_some(feeder);
        }
        // The same memory from beginning to end: a message costs no list of its own.
        let parcels = parcels.into_iter().map(|parcel| parcel.address(&self.mailbox));
        let parcels = match &self.feeder {
            Some(feeder) => {
                let parcels = parcels.collect();
                // If it has ended, the batch comes back as it is.
                let _ = feeder.unbounded_send(Batch { feed: self.id, parcels, session: self.session.clone() });
                Vec::new()
            }
            None => parcels.map(|parcel| parcel.send(Some(&self.home))).collect(),
        };
        Fed { feed: self.id, parcels }
    }
}

impl Parcel {
    fn address(mut self, mailbox: &Mailbox<Delivery>) -> Parcel {
        if let What::Delivery(delivery) = self.what {
            self.what = What::Addressed(delivery, mailbox.handle());
        }
        self
    }

    fn send(mut self, home: Option<&Arc<Home>>) -> Parcel {
        if let What::Addressed(delivery, handle) = self.what {
            self.what = What::Request(Request::new(handle, delivery, home.cloned()));
        }
        self
    }
}

async fn work(mut batches: mpsc::UnboundedReceiver<Batch>) {
    while let Some(mut batch) = batches.next().await {
        let parcels = std::mem::take(&mut batch.parcels);
        batch.parcels = parcels.into_iter().map(|parcel| parcel.send(None)).collect();
    }
}
