//! Calls of subscribers. A panic of theirs is caught here and nowhere else.

use crate::actors::messages::{BatchReply, Callback, Delivery, Handoff, Nack};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a callback. A panic is a nack.
pub(crate) fn call(callback: &Callback, delivery: &Delivery) -> Result<(), Nack> {
    let result = catch_unwind(AssertUnwindSafe(|| callback(delivery)));
    result.unwrap_or_else(|_| Err(Nack::new("the callback panicked")))
}

/// Hands a batch off. Returns whether the function returned; after a panic its reply has been dropped, which is a nack.
pub(crate) fn hand_off(handoff: &Handoff, deliveries: Vec<Delivery>, reply: BatchReply) -> bool {
    catch_unwind(AssertUnwindSafe(|| handoff(deliveries, reply))).is_ok()
}
