//! Finding out on which arbiter a subscriber runs: it shows where its replies come from.

use actix::prelude::*;
use actix_rt::ArbiterHandle;
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

/// The arbiter that a subscriber runs on.
#[derive(Debug)]
pub(crate) struct ArbiterProbe {
    /// The thread of the session.
    session: ThreadId,
    /// `None` once it is known that the subscriber cannot be fed there: it runs on the thread of the session, or outside
    /// actix.
    found: OnceLock<Option<ArbiterHandle>>,
}

impl ArbiterProbe {
    /// Creates a probe for a subscriber of the session on this thread.
    pub(crate) fn new() -> Self {
        ArbiterProbe { session: thread::current().id(), found: OnceLock::new() }
    }

    /// Returns the arbiter, once it is known and the subscriber can be fed there.
    pub(crate) fn arbiter(&self) -> Option<&ArbiterHandle> {
        self.found.get().and_then(Option::as_ref)
    }

    /// Returns a waker that records where it is called; `None` once the place is known.
    pub(crate) fn waker(self: &Arc<Self>, waker: &Waker) -> Option<Waker> {
        let recorder = || Waker::from(Arc::new(ProbeWaker { probe: self.clone(), waker: waker.clone() }));
        self.found.get().is_none().then(recorder)
    }
}

struct ProbeWaker {
    probe: Arc<ArbiterProbe>,
    waker: Waker,
}

impl Wake for ProbeWaker {
    fn wake(self: Arc<Self>) {
        let elsewhere = thread::current().id() != self.probe.session;
        let _ = self.probe.found.set(elsewhere.then(Arbiter::try_current).flatten());
        self.waker.wake_by_ref();
    }
}
