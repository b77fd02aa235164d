//! Outlet: the end through which messages reach a subscriber, on the thread of its feeder.

use crate::actors::messages::{BatchReply, Delivery, DeliveryBatch, FedSink, Handoff, Sink};
use crate::actors::receiving::subscriber::call::{call, hand_off};
use crate::actors::receiving::subscriber::exchange::OutgoingDelivery;
use crate::actors::receiving::subscriber::mailbox::Mailbox;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, PendingReply};
use futures::channel::oneshot;
use std::sync::Arc;

/// See the [module](self).
pub(crate) enum Outlet {
    Actor(Mailbox<Delivery>),
    Batch(Mailbox<DeliveryBatch>),
    Handoff(Arc<Handoff>),
}

impl Outlet {
    pub(crate) fn new(sink: FedSink) -> Self {
        match sink {
            FedSink::Actor(recipient, _) => Outlet::Actor(Mailbox::new(recipient)),
            FedSink::Batch(recipient, _) => Outlet::Batch(Mailbox::new(recipient)),
            FedSink::Handoff(handoff) => Outlet::Handoff(handoff),
        }
    }

    /// Returns whether the subscriber still takes messages.
    pub(crate) fn connected(&self) -> bool {
        match self {
            Outlet::Actor(mailbox) => mailbox.connected(),
            Outlet::Batch(mailbox) => mailbox.connected(),
            Outlet::Handoff(_) => true,
        }
    }

    /// Hands over messages of one lane, at least one. Each reply to expect is passed to `expect`.
    pub(crate) fn hand_over(
        &self,
        outgoing: impl Iterator<Item = OutgoingDelivery>,
        mut expect: impl FnMut(PendingReply),
    ) {
        match self {
            Outlet::Actor(mailbox) => {
                outgoing.for_each(|next| expect(PendingReply::One(next.tag(), mailbox.send(next.delivery))))
            }
            Outlet::Batch(mailbox) => {
                let (tags, deliveries) = unpack(outgoing);
                expect(PendingReply::Many(tags, mailbox.send(DeliveryBatch(deliveries))));
            }
            Outlet::Handoff(handoff) => {
                let (tags, deliveries) = unpack(outgoing);
                let (reply, result) = oneshot::channel();
                if !hand_off(&**handoff, deliveries, BatchReply(reply)) {
                    tracing::error!("a function that takes batches panicked");
                }
                expect(PendingReply::Handoff(tags, result));
            }
        }
    }
}

/// Hands over one message outside its lane, and returns whether it was handled.
pub(crate) async fn deliver_once(sink: Sink, delivery: Delivery) -> bool {
    let sink = match sink {
        Sink::Callback(callback) => return call(&*callback, &delivery).is_ok(),
        Sink::Fed(sink) => sink,
    };
    let next = OutgoingDelivery { token: 0, delivery };
    let mut pending = None;
    Outlet::new(sink).hand_over(std::iter::once(next), |reply| pending = Some(reply));
    match pending {
        Some(reply) => reply.handled().await,
        None => false,
    }
}

fn unpack(outgoing: impl Iterator<Item = OutgoingDelivery>) -> (Vec<Option<DeliveryTag>>, Vec<Delivery>) {
    outgoing.map(|next| (Some(next.tag()), next.delivery)).unzip()
}
