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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn gate(in_flight: u32, timeout: Option<Duration>) -> DeliveryGate {
        DeliveryGate::new(Some(SubscriberSpec { in_flight, timeout, borrows: false }))
    }

    #[test]
    fn after_a_batch_nothing_passes_until_all_of_it_is_answered() {
        let (mut gate, now) = (gate(8, None), Instant::now());
        for _ in 0..2 {
            assert!(gate.admit(now, false).is_some());
            gate.hand_over(false);
        }
        gate.close_batch();
        gate.answered();
        assert!(gate.admit(now, false).is_none() && !gate.admits_arrival());
        gate.answered();
        assert!(gate.admit(now, false).is_some() && gate.admits_arrival());
    }

    #[test]
    fn after_a_failure_nothing_passes_before_its_time_nor_before_the_others_are_answered() {
        let (mut gate, now) = (gate(8, None), Instant::now());
        let until = now + Duration::from_secs(1);
        gate.hand_over(false);
        gate.block_until(until);
        assert!(gate.admit(until, false).is_none() && gate.deadline().is_none());
        gate.answered();
        assert_eq!(gate.deadline(), Some(until));
        assert!(gate.admit(now, false).is_none() && !gate.admits_arrival());
        assert!(gate.admit(until, false).is_some() && !gate.is_blocked());
    }

    #[test]
    fn nothing_is_prefetched_where_time_is_limited_or_attempts_are_recorded() {
        let now = Instant::now();
        for (timeout, records, admits) in
            [(None, false, true), (None, true, false), (Some(Duration::from_secs(1)), false, false)]
        {
            let mut gate = gate(1, timeout);
            gate.set_prefetch(1);
            gate.hand_over(false);
            assert_eq!(gate.admit(now, records).is_some(), admits);
        }
    }

    #[test]
    fn a_suspect_message_joins_no_others_and_no_others_join_it() {
        let mut gate = gate(8, None);
        gate.hand_over(false);
        assert!(gate.admits_with_others(false) && !gate.admits_with_others(true));
        gate.answered();
        gate.hand_over(true);
        assert!(!gate.admits_with_others(false));
    }
}
