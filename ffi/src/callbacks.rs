//! The callbacks of one client, for messages and for events.

use crate::callback_thread::current_client;
use liner::{Delivery, Nack};
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// A callback for messages.
pub(crate) type ReceiveHandler = dyn FnMut(&Delivery) -> Result<(), Nack> + Send;

/// A callback for events.
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
    /// The number of times a callback was set.
    generation: u64,
    running: bool,
}

/// The callbacks of one client.
#[derive(Default)]
pub(crate) struct Callbacks {
    status: Mutex<StatusSlot>,
    idle: Condvar,
    has_status: AtomicBool,
    /// Whether the receive callback runs.
    receiving: AtomicBool,
    /// The nack of the message that the receive callback has.
    nack: Mutex<Option<Nack>>,
}

impl Callbacks {
    /// Calls the receive callback. A panic is a nack.
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

    /// Nacks the message that the receive callback of `client` has. Returns `false` if the current thread is not inside that
    /// callback.
    pub(crate) fn nack(&self, client: u64, nack: Nack) -> bool {
        let inside = current_client() == Some(client) && self.receiving.load(Ordering::Relaxed);
        if inside {
            *self.nack.lock() = Some(nack);
        }
        inside
    }

    /// Returns whether there is a status callback.
    pub(crate) fn has_status(&self) -> bool {
        self.has_status.load(Ordering::Acquire)
    }

    /// Calls the status callback, if there is one.
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
        // Dropped without the lock: captured values may call anything when they are dropped.
        drop(replaced);
    }

    /// Sets the status callback, or removes it. The previous callback does not run after this returns, unless this is called
    /// inside a callback.
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
