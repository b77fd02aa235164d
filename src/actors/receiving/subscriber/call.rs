//! Calls of subscribers. A panic of theirs is caught here and nowhere else.

use crate::actors::messages::{BatchReply, Callback, Delivery, DeliveryBatch, Handoff, Nack, Sink};
use futures::channel::oneshot;
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

/// Hands over one message outside its lane, and returns whether it was handled.
pub(crate) async fn deliver_once(sink: &Sink, delivery: Delivery) -> bool {
    match sink {
        Sink::Callback(callback) => call(&**callback, &delivery).is_ok(),
        Sink::Handoff(handoff) => {
            let (reply, answer) = oneshot::channel();
            hand_off(&**handoff, vec![delivery], BatchReply(reply))
                && answer.await.is_ok_and(|answer| answer.handled > 0)
        }
        Sink::Actor(recipient) => matches!(recipient.send(delivery).await, Ok(Ok(()))),
        Sink::Batch(recipient) => matches!(recipient.send(DeliveryBatch(vec![delivery])).await, Ok(Ok(()))),
    }
}
