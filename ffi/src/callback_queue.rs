//! The callback queue of a running client, and the one thread that drains it.
//!
//! Connections put batches of messages into the queue; the thread calls the callbacks for one message after the other. A
//! call that has begun ends, so after [`CallbackQueue::close`] a caller can wait until no callback runs.

use crate::callback_thread::enter;
use crate::callbacks::{Callbacks, ReceiveHandler, StatusEvent};
use liner::{BatchNack, BatchReply, Delivery};
use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Events that wait for the status callback. Further events are discarded.
const QUEUED_EVENTS: usize = 1024;

/// The time after which the handled part of a batch is acked and the rest is given back, so that acks do not wait for a whole
/// batch of slow callbacks.
const SLICE: Duration = Duration::from_millis(5);

struct Batch {
    deliveries: Vec<Delivery>,
    reply: BatchReply,
}

#[derive(Default)]
struct QueueState {
    batches: VecDeque<Batch>,
    events: VecDeque<StatusEvent>,
    closed: bool,
    /// A callback runs.
    busy: bool,
}

/// The callback queue of a running client. See the [module](self).
#[derive(Default)]
pub(crate) struct CallbackQueue {
    state: Mutex<QueueState>,
    work: Condvar,
    idle: Condvar,
}

impl CallbackQueue {
    /// Queues a batch for the receive callback.
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

    /// Queues an event for the status callback.
    pub(crate) fn tell(&self, event: StatusEvent) {
        let mut state = self.state.lock();
        if !state.closed && state.events.len() < QUEUED_EVENTS {
            state.events.push_back(event);
            drop(state);
            self.work.notify_one();
        }
    }

    /// Closes the queue: no further callback is called.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.work.notify_all();
    }

    /// Waits until no callback runs. Must not be called on the callback thread.
    pub(crate) fn wait_until_idle(&self) {
        let mut state = self.state.lock();
        while state.busy {
            self.idle.wait(&mut state);
        }
    }

    /// Starts the thread, which ends when the queue is closed.
    pub(crate) fn start(
        self: &Arc<Self>,
        client: u64,
        callbacks: Arc<Callbacks>,
        mut receive: Box<ReceiveHandler>,
    ) -> std::io::Result<JoinHandle<()>> {
        let queue = self.clone();
        std::thread::Builder::new().name("liner-callbacks".to_owned()).spawn(move || {
            enter(client);
            queue.serve(&callbacks, &mut receive);
        })
    }

    fn serve(&self, callbacks: &Callbacks, receive: &mut ReceiveHandler) {
        let mut state = self.state.lock();
        while !state.closed {
            if let Some(event) = state.events.pop_front() {
                drop(state);
                self.calling(|| callbacks.tell(&event));
            } else if let Some(batch) = state.batches.pop_front() {
                drop(state);
                self.call_for(callbacks, receive, batch);
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

    fn call_for(&self, callbacks: &Callbacks, receive: &mut ReceiveHandler, Batch { deliveries, reply }: Batch) {
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

    /// Calls a callback, unless the queue is closed.
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
