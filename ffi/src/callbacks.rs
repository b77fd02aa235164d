//! The callbacks of one client: who takes its messages and its events.

use crate::callback_thread::current_client;
use liner::{Delivery, Nack};
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Takes a message.
pub(crate) type ReceiveHandler = dyn FnMut(&Delivery) -> Result<(), Nack> + Send;

/// Takes an event.
pub(crate) type StatusHandler = dyn FnMut(&StatusEvent) + Send;

/// An event for the status callback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusEvent {
    pub(crate) kind: i32,
    pub(crate) topic: String,
    pub(crate) peer: String,
    pub(crate) message: String,
}

#[derive(Default)]
struct StatusSlot {
    callback: Option<Box<StatusHandler>>,
    /// Counts what was set.
    generation: u64,
    running: bool,
}

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Callbacks {
    status: Mutex<StatusSlot>,
    idle: Condvar,
    has_status: AtomicBool,
    /// A message is with the receive callback.
    receiving: AtomicBool,
    /// That message was said not to be handled.
    nack: Mutex<Option<Nack>>,
}

impl Callbacks {
    /// Hands a message over. One that the callback panics on is not handled.
    pub(crate) fn receive(&self, receive: &mut ReceiveHandler, delivery: &Delivery) -> Result<(), Nack> {
        self.receiving.store(true, Ordering::Relaxed);
        let result = catch_unwind(AssertUnwindSafe(|| receive(delivery)));
        self.receiving.store(false, Ordering::Relaxed);
        let said = self.nack.lock().take();
        match (said, result) {
            (Some(nack), _) => Err(nack),
            (None, Ok(result)) => result,
            (None, Err(_)) => Err(Nack::new("the callback panicked")),
        }
    }

    /// Within the receive callback of `client`, whose callbacks these are: its message is not handled. Answers `false`
    /// anywhere else.
    pub(crate) fn nack(&self, client: u64, nack: Nack) -> bool {
        let inside = current_client() == Some(client) && self.receiving.load(Ordering::Relaxed);
        if inside {
            *self.nack.lock() = Some(nack);
        }
        inside
    }

    /// Whether somebody takes events.
    pub(crate) fn has_status(&self) -> bool {
        self.has_status.load(Ordering::Acquire)
    }

    /// Hands an event over.
    pub(crate) fn tell(&self, event: &StatusEvent) {
        let (mut callback, generation) = {
            let mut slot = self.status.lock();
            let Some(callback) = slot.callback.take() else { return };
            slot.running = true;
            (callback, slot.generation)
        };
        if catch_unwind(AssertUnwindSafe(|| callback(event))).is_err() {
            crate::log::line("the status callback panicked");
        }
        let mut slot = self.status.lock();
        slot.running = false;
        let replaced = if slot.generation == generation { slot.callback.replace(callback) } else { Some(callback) };
        drop(slot);
        self.idle.notify_all();
        // Dropped where no lock is held: what it has captured may do anything.
        drop(replaced);
    }

    /// Sets who takes events, or nobody. Then the callback before does not run any more, unless this is called inside one.
    pub(crate) fn set_status(&self, callback: Option<Box<StatusHandler>>) {
        let inside = current_client().is_some();
        let mut slot = self.status.lock();
        self.has_status.store(callback.is_some(), Ordering::Release);
        slot.generation += 1;
        let before = std::mem::replace(&mut slot.callback, callback);
        while !inside && slot.running {
            self.idle.wait(&mut slot);
        }
        drop(slot);
        drop(before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> StatusEvent {
        StatusEvent { kind: 1, topic: "t".to_owned(), peer: "p".to_owned(), message: String::new() }
    }

    #[test]
    fn a_panic_in_a_callback_is_a_nack_and_the_next_event_comes() {
        let callbacks = Callbacks::default();
        let mut count = 0;
        callbacks.set_status(Some(Box::new(move |_| {
            count += 1;
            assert!(count > 1, "the first time");
        })));
        callbacks.tell(&event());
        callbacks.tell(&event());
        assert!(callbacks.has_status());
        callbacks.set_status(None);
        assert!(!callbacks.has_status());
    }
}
