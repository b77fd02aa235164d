//! [`DeliveryGate`]: whether a subscriber may have more.

use super::SubscriberSpec;
use std::time::Instant;

/// What must be answered before the next message is handed over, apart from the limit of messages in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Barrier {
    #[default]
    None,
    /// The message handed over last may be what kills processes: it must be answered before the next.
    Alone,
    /// The messages handed over are a batch: all of them must be answered before the next.
    Batch,
}

/// Decides whether the subscriber of a lane may have another message.
#[derive(Debug)]
pub(super) struct DeliveryGate {
    subscriber: Option<SubscriberSpec>,
    /// Messages with the subscriber, or ready for it.
    outstanding: u32,
    /// How many of them may be ready for it beyond those it has.
    prefetch: u32,
    /// Whether nothing is handed over for now.
    paused: bool,
    barrier: Barrier,
    /// After a failure: nothing is handed over before this time, nor before everything outstanding is answered.
    blocked: Option<Instant>,
}

impl DeliveryGate {
    pub(super) fn new(subscriber: Option<SubscriberSpec>) -> Self {
        DeliveryGate { subscriber, outstanding: 0, prefetch: 0, paused: false, barrier: Barrier::None, blocked: None }
    }

    pub(super) fn subscriber(&self) -> Option<SubscriberSpec> {
        self.subscriber
    }

    pub(super) fn subscribe(&mut self, subscriber: SubscriberSpec) {
        self.subscriber = Some(subscriber);
        self.prefetch = 0;
    }

    pub(super) fn unsubscribe(&mut self) {
        self.subscriber = None;
    }

    pub(super) fn set_prefetch(&mut self, prefetch: u32) {
        self.prefetch = prefetch;
    }

    pub(super) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn close_batch(&mut self) {
        self.barrier = Barrier::Batch;
    }

    /// Messages with the subscriber, or ready for it.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// Returns the subscriber if it may have another message of the queue now. `records` tells whether attempts are
    /// recorded.
    pub(super) fn admit(&mut self, now: Instant, records: bool) -> Option<SubscriberSpec> {
        let subscriber = self.subscriber?;
        let waits_for_all = self.blocked.is_some() || self.barrier == Barrier::Batch;
        let too_early = self.blocked.is_some_and(|until| until > now);
        if (waits_for_all && self.outstanding > 0) || too_early || !self.has_room(subscriber, records) {
            return None;
        }
        self.blocked = None;
        if self.barrier == Barrier::Batch {
            self.barrier = Barrier::None;
        }
        Some(subscriber)
    }

    /// Whether the admitted message may join those that are outstanding. `alone` tells that it may join none.
    pub(super) fn admits_with_others(&self, alone: bool) -> bool {
        self.outstanding == 0 || !(alone || self.barrier == Barrier::Alone)
    }

    /// Whether the next message that arrives may go to the subscriber before it is queued. All earlier ones were handed
    /// over.
    pub(super) fn admits_arrival(&self) -> bool {
        let Some(subscriber) = self.subscriber.filter(|s| s.timeout.is_none() && !s.borrows) else { return false };
        self.blocked.is_none() && self.barrier == Barrier::None && self.has_room(subscriber, false)
    }

    /// Whether the next message that arrives may be lent to the subscriber before it is queued. There is no earlier one.
    pub(super) fn admits_loan(&self) -> bool {
        self.blocked.is_none() && self.subscriber.is_some_and(|s| s.borrows)
    }

    fn has_room(&self, subscriber: SubscriberSpec, records: bool) -> bool {
        // What waits for the subscriber would use up its time; and an attempt is recorded when it is made.
        let prefetch = if records || subscriber.timeout.is_some() { 0 } else { self.prefetch };
        !self.paused && self.outstanding < subscriber.in_flight.saturating_add(prefetch)
    }

    /// A message is handed over. If it is `alone`, it must be answered before the next.
    pub(super) fn hand_over(&mut self, alone: bool) {
        self.outstanding += 1;
        self.barrier = if alone { Barrier::Alone } else { Barrier::None };
    }

    /// A message is answered, or its time is over.
    pub(super) fn answered(&mut self) {
        self.outstanding -= 1;
    }

    /// A message failed: nothing is handed over before `until`.
    pub(super) fn block_until(&mut self, until: Instant) {
        self.blocked = Some(self.blocked.map_or(until, |b| b.max(until)));
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Returns when the next message may be handed over, if that is only a matter of time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.blocked.filter(|_| self.outstanding == 0 && self.subscriber.is_some())
    }
}
