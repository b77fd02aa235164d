//! The desk of a running client: what waits for its callbacks, and the one thread that calls them.
//!
//! Connections leave batches of messages here and go on; the thread works them off one message after the other. What it
//! has begun it ends, so whoever closes the desk can wait until no callback runs, and none will.

use crate::callbacks::{Callbacks, Event, Receive};
use liner::{BatchNack, BatchReply, Delivery};
use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that wait for the status callback. More are left out.
const QUEUED_EVENTS: usize = 1024;

/// After so long the handled part of a batch is answered and the rest taken again, so that acks do not wait for a whole batch
/// of slow callbacks.
const SLICE: Duration = Duration::from_millis(5);

thread_local! {
    /// The client whose callbacks this thread calls; 0: it is none of these threads.
    static CALLS_FOR: Cell<u64> = const { Cell::new(0) };
}

/// The client whose callbacks the current thread calls, if it is such a thread.
pub(crate) fn current_client() -> Option<u64> {
    Some(CALLS_FOR.get()).filter(|id| *id > 0)
}

struct Batch {
    deliveries: Vec<Delivery>,
    reply: BatchReply,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    events: VecDeque<Event>,
    closed: bool,
    /// A callback runs.
    busy: bool,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    work: Condvar,
    idle: Condvar,
}

impl Desk {
    /// Leaves a batch for the receive callback.
    pub(crate) fn put(&self, deliveries: Vec<Delivery>, reply: BatchReply) {
        let mut state = self.state.lock();
        if state.closed {
            drop(state);
            return reply.give_back(0);
        }
        state.batches.push_back(Batch { deliveries, reply });
        drop(state);
        self.work.notify_one();
    }

    /// Leaves an event for the status callback.
    pub(crate) fn tell(&self, event: Event) {
        let mut state = self.state.lock();
        if !state.closed && state.events.len() < QUEUED_EVENTS {
            state.events.push_back(event);
            drop(state);
            self.work.notify_one();
        }
    }

    /// No callback begins from here on.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// Waits until no callback runs. Not for the desk's own thread.
    pub(crate) fn wait_until_idle(&self) {
        let mut state = self.state.lock();
        while state.busy {
            self.idle.wait(&mut state);
        }
    }

    /// Starts the thread, which ends when the desk is closed.
    pub(crate) fn start(
        self: &Arc<Self>,
        client: u64,
        callbacks: Arc<Callbacks>,
        mut receive: Box<Receive>,
    ) -> std::io::Result<JoinHandle<()>> {
        let desk = self.clone();
        std::thread::Builder::new().name("liner-callbacks".to_owned()).spawn(move || {
            CALLS_FOR.set(client);
            desk.serve(&callbacks, &mut receive);
        })
    }

    fn serve(&self, callbacks: &Callbacks, receive: &mut Receive) {
        let mut state = self.state.lock();
        while !state.closed {
            if let Some(event) = state.events.pop_front() {
                drop(state);
                self.calling(|| callbacks.tell(&event));
            } else if let Some(batch) = state.batches.pop_front() {
                drop(state);
                self.work_off(callbacks, receive, batch);
            } else {
                self.work.wait(&mut state);
                continue;
            }
            state = self.state.lock();
        }
        let left = std::mem::take(&mut state.batches);
        drop(state);
        left.into_iter().for_each(|batch| batch.reply.give_back(0));
    }

    fn work_off(&self, callbacks: &Callbacks, receive: &mut Receive, Batch { deliveries, reply }: Batch) {
        let since = Instant::now();
        for (at, delivery) in deliveries.iter().enumerate() {
            if at > 0 && since.elapsed() > SLICE {
                return reply.give_back(at);
            }
            match self.calling(|| callbacks.receive(receive, delivery)) {
                None => return reply.give_back(at),
                Some(Ok(())) => {}
                Some(Err(nack)) => return reply.nack(BatchNack::new(at, nack)),
            }
        }
        reply.ack();
    }

    /// Calls a callback, unless the desk is closed.
    fn calling<T>(&self, call: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = self.state.lock();
            if state.closed {
                return None;
            }
            state.busy = true;
        }
        let result = call();
        self.state.lock().busy = false;
        self.idle.notify_all();
        Some(result)
    }
}
