//! The session's handle on a subscriber that is an actor: messages go to its [feeder](super::feeder), or straight into its mailbox
//! while there is none.

use crate::actors::messages::Delivery;
use crate::actors::receiving::subscriber::arbiter_probe::ArbiterProbe;
use crate::actors::receiving::subscriber::exchange::{
    EndGuard, FeederCommand, FeederId, FeederReport, OutgoingBatch, OutgoingDelivery,
};
use crate::actors::receiving::subscriber::feeder::Feeder;
use crate::actors::receiving::subscriber::mailbox::Mailbox;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, PendingReplies};
use crate::types::Payload;
use crate::wire::inbound::LaneSlot;
use actix::prelude::*;
use bytes::BytesMut;
use futures::channel::mpsc;
use std::collections::HashMap;
use std::sync::Arc;

/// Messages of a lane that the feeder holds ready in addition to those in the mailbox.
pub(crate) const AHEAD: u32 = 1024;

/// Payloads up to this size, in bytes, are copied for the thread of the subscriber. Counting references to a buffer that two
/// threads share costs more.
const COPIED_BYTES: usize = 4096;

/// See the [module](self).
pub(crate) struct SubscriberHandle {
    pub(crate) id: FeederId,
    in_flight: usize,
    mailbox: Mailbox<Delivery>,
    probe: Arc<ArbiterProbe>,
    session: Recipient<FeederReport>,
    feeder: Option<mpsc::UnboundedSender<FeederCommand>>,
    /// The failures that the feeder has reported, per lane.
    failures: HashMap<LaneSlot, u64>,
    /// The arbiter of the feeder has ended, but not the subscriber.
    is_direct: bool,
}

impl SubscriberHandle {
    pub(crate) fn new(
        id: FeederId,
        in_flight: u32,
        subscriber: Recipient<Delivery>,
        session: Recipient<FeederReport>,
    ) -> Self {
        SubscriberHandle {
            id,
            in_flight: usize::try_from(in_flight).unwrap_or(usize::MAX),
            mailbox: Mailbox::new(subscriber),
            probe: Arc::new(ArbiterProbe::new()),
            session,
            feeder: None,
            failures: HashMap::new(),
            is_direct: false,
        }
    }

    /// Returns whether the subscriber still takes messages.
    pub(crate) fn connected(&self) -> bool {
        self.mailbox.connected()
    }

    /// Handles the end of the feeder's arbiter. The session fills the mailbox from now on.
    pub(crate) fn feeder_ended(&mut self) {
        self.feeder = None;
        self.is_direct = true;
    }

    /// Records a failure that the feeder has reported.
    pub(crate) fn failed(&mut self, slot: LaneSlot) {
        *self.failures.entry(slot).or_default() += 1;
    }

    /// Stops waiting for the reply to this hand-over.
    pub(crate) fn forget(&self, slot: LaneSlot, tag: DeliveryTag) {
        self.order(FeederCommand::Forget(slot, tag));
    }

    /// Drops everything that is not handled: the session has ended.
    pub(crate) fn abandon(&self) {
        self.order(FeederCommand::Abandon);
    }

    /// Returns whether a feeder will report its end.
    pub(crate) fn is_fed(&self) -> bool {
        self.feeder.is_some()
    }

    /// Has the messages held ready returned. Nothing more goes into the mailbox.
    pub(crate) fn give_back(&self) {
        self.order(FeederCommand::GiveBack);
    }

    fn order(&self, order: FeederCommand) {
        if let Some(feeder) = &self.feeder {
            // The messages of a feeder that has ended, and a batch that does not reach it, come back by themselves.
            let _ = feeder.unbounded_send(order);
        }
    }

    /// Returns whether there is a feeder. Starts it once the arbiter is known.
    pub(crate) fn has_feeder(&mut self) -> bool {
        if self.feeder.is_none()
            && !self.is_direct
            && let Some(arbiter) = self.probe.arbiter()
        {
            let (feeder, orders) = mpsc::unbounded();
            let (in_flight, subscriber) = (self.in_flight, self.mailbox.recipient());
            let end_guard = EndGuard { feed: self.id, session: self.session.clone() };
            let start = move || drop(actix_rt::spawn(Feeder::new(in_flight, subscriber, orders, end_guard)));
            self.feeder = arbiter.spawn_fn(start).then_some(feeder);
        }
        self.feeder.is_some()
    }

    /// Hands messages of a lane over: to the feeder, or into the mailbox with their replies pending in `answers`.
    pub(crate) fn feed(&self, slot: LaneSlot, mut outgoing: Vec<OutgoingDelivery>, answers: &PendingReplies) {
        if self.feeder.is_none() {
            for delivery in outgoing {
                let tag = delivery.tag();
                answers.expect_reply(slot, tag, self.mailbox.send(delivery.delivery, Some(self.probe.clone())));
            }
            return;
        }
        unshare(&mut outgoing);
        let failures = self.failures.get(&slot).copied().unwrap_or_default();
        let session = self.session.clone();
        self.order(FeederCommand::Deliver(OutgoingBatch { feed: self.id, slot, outgoing, failures, session }));
    }
}

/// Copies small payloads into a buffer that only these messages share.
fn unshare(outgoing: &mut [OutgoingDelivery]) {
    let is_small = |payload: &Payload| payload.len() <= COPIED_BYTES;
    let small = || outgoing.iter().map(|delivery| &delivery.delivery.payload).filter(|payload| is_small(payload));
    let mut copy = BytesMut::with_capacity(small().map(|payload| payload.len()).sum());
    small().for_each(|payload| copy.extend_from_slice(payload));
    let copy = copy.freeze();
    let mut at = 0;
    for payload in
        outgoing.iter_mut().map(|delivery| &mut delivery.delivery.payload).filter(|payload| is_small(payload))
    {
        let end = at + payload.len();
        *payload = Payload::part_of(&copy, at..end);
        at = end;
    }
}
