//! The session's handle on a subscriber that is fed: messages go to its [feeder](super::feeder).

use crate::actors::messages::FedSink;
use crate::actors::receiving::subscriber::exchange::{
    EndGuard, FeederCommand, FeederId, FeederReport, OutgoingBatch, OutgoingDelivery,
};
use crate::actors::receiving::subscriber::feeder::FeederStart;
use crate::actors::receiving::subscriber::replies::DeliveryTag;
use crate::types::Payload;
use crate::wire::inbound::{LaneSlot, SubscriberSpec};
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use bytes::BytesMut;
use futures::channel::mpsc;
use std::collections::HashMap;

/// Messages of a lane that the feeder of an actor holds ready in addition to those in the mailbox.
const PREFETCH: u32 = 1024;

/// Payloads up to this size, in bytes, are copied for the thread of the subscriber. Counting references to a buffer that two
/// threads share costs more.
const COPIED_BYTES: usize = 4096;

/// See the [module](self).
pub(crate) struct SubscriberHandle {
    pub(crate) feeder: FeederId,
    spec: SubscriberSpec,
    sink: FedSink,
    /// `None` stands for the arbiter of the session.
    arbiter: Option<ArbiterHandle>,
    session: Recipient<FeederReport>,
    /// The way to the feeder, once it has been started.
    commands: Option<mpsc::UnboundedSender<FeederCommand>>,
    /// The failures that the feeder has reported, per lane.
    failures: HashMap<LaneSlot, u64>,
}

impl SubscriberHandle {
    pub(crate) fn new(feeder: FeederId, spec: SubscriberSpec, sink: FedSink, session: Recipient<FeederReport>) -> Self {
        let (arbiter, failures) = (sink.arbiter().cloned(), HashMap::new());
        SubscriberHandle { feeder, spec, sink, arbiter, session, commands: None, failures }
    }

    /// Creates a handle for a new feeder on the arbiter of the session: that of the previous one has ended.
    pub(crate) fn moved(&self, feeder: FeederId) -> Self {
        let handle = SubscriberHandle::new(feeder, self.spec, self.sink.clone(), self.session.clone());
        SubscriberHandle { arbiter: None, ..handle }
    }

    /// Returns whether the subscriber still takes messages.
    pub(crate) fn connected(&self) -> bool {
        self.sink.connected()
    }

    /// Returns whether a feeder has been started. It will report its end.
    pub(crate) fn has_feeder(&self) -> bool {
        self.commands.is_some()
    }

    /// Returns whether the subscriber has one batch of a lane at a time.
    pub(crate) fn takes_one_batch(&self) -> bool {
        matches!(self.sink, FedSink::Handoff(_))
    }

    /// Returns how many messages of a lane the feeder may hold ready.
    pub(crate) fn prefetch(&self) -> u32 {
        if matches!(self.sink, FedSink::Actor(..)) { PREFETCH } else { 0 }
    }

    /// Records a failure that the feeder has reported.
    pub(crate) fn failed(&mut self, slot: LaneSlot) {
        *self.failures.entry(slot).or_default() += 1;
    }

    /// Stops waiting for the reply to this hand-over.
    pub(crate) fn forget(&self, slot: LaneSlot, tag: DeliveryTag) {
        self.command(FeederCommand::Forget(slot, tag));
    }

    /// Has the messages held ready returned, and the feeder end when no replies are pending.
    pub(crate) fn retire(&self) {
        self.command(FeederCommand::Retire);
    }

    /// Drops everything that is not handled: the session has ended.
    pub(crate) fn abandon(&self) {
        self.command(FeederCommand::Abandon);
    }

    /// Has the messages held ready returned. Nothing more is handed over until there are new ones.
    pub(crate) fn give_back(&self) {
        self.command(FeederCommand::GiveBack);
    }

    fn command(&self, command: FeederCommand) {
        if let Some(commands) = &self.commands {
            // A feeder that has ended has nothing left that the command is about.
            let _ = commands.unbounded_send(command);
        }
    }

    /// Passes messages of a lane to the feeder.
    ///
    /// # Errors
    /// Returns the messages if the feeder has ended. It reports its end after everything else it was given.
    pub(crate) fn feed(
        &mut self,
        slot: LaneSlot,
        mut outgoing: Vec<OutgoingDelivery>,
    ) -> Result<(), Vec<OutgoingDelivery>> {
        if self.arbiter.is_some() {
            unshare(&mut outgoing);
        }
        let failures = self.failures.get(&slot).copied().unwrap_or_default();
        let (feeder, session) = (self.feeder, self.session.clone());
        let deliver = FeederCommand::Deliver(OutgoingBatch { feeder, slot, outgoing, failures, session });
        self.start_or_get().unbounded_send(deliver).map_err(|refused| match refused.into_inner() {
            FeederCommand::Deliver(mut batch) => std::mem::take(&mut batch.outgoing),
            _ => Vec::new(),
        })
    }

    /// Returns the way to the feeder, which is started with its first message.
    fn start_or_get(&mut self) -> &mpsc::UnboundedSender<FeederCommand> {
        self.commands.get_or_insert_with(|| {
            let (sender, commands) = mpsc::unbounded();
            let end_guard = EndGuard { feeder: self.feeder, session: self.session.clone() };
            let in_flight = usize::try_from(self.spec.in_flight).unwrap_or(usize::MAX);
            let (sink, is_timed) = (self.sink.clone(), self.spec.timeout.is_some());
            let start = FeederStart { sink, in_flight, is_timed, commands, end_guard };
            start.start(self.arbiter.as_ref());
            sender
        })
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
