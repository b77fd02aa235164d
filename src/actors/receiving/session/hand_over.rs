//! Handing messages to subscribers.

use super::*;
use crate::actors::messages::{BatchReply, Callback, Delivery, DeliveryBatch, Handoff, Nack};
use crate::actors::receiving::subscriber::call::{call, hand_off};
use crate::actors::receiving::subscriber::exchange::{FeederStage, OutgoingDelivery, is_failure};
use crate::actors::receiving::subscriber::handle::{AHEAD, SubscriberHandle};
use crate::actors::receiving::subscriber::mailbox::Mailbox;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, answer};
use bytes::Bytes;
use futures::channel::oneshot;

/// The subscriber of a topic, as the session reaches it.
pub(super) enum Subscriber {
    Actor(SubscriberHandle),
    Batch(Mailbox<DeliveryBatch>),
    Handoff(Arc<Handoff>),
    Callback(Arc<Callback>),
}

impl Subscriber {
    pub(super) fn new(sink: Sink, in_flight: u32, feed: FeederId, session: Recipient<FeederReport>) -> Self {
        match sink {
            Sink::Actor(recipient) => Subscriber::Actor(SubscriberHandle::new(feed, in_flight, recipient, session)),
            Sink::Batch(recipient) => Subscriber::Batch(Mailbox::new(recipient)),
            Sink::Handoff(handoff) => Subscriber::Handoff(handoff),
            Sink::Callback(callback) => Subscriber::Callback(callback),
        }
    }

    fn is_fed(&self) -> bool {
        matches!(self, Subscriber::Actor(feed) if feed.is_fed())
    }
}

/// A former subscriber with replies pending.
pub(super) struct RetiredSubscriber {
    topic: Topic,
    /// Whether the messages held ready for it have come back.
    gave_back: bool,
}

/// Messages of one lane that are handed over together.
pub(super) struct PendingBatch {
    slot: LaneSlot,
    lane: LaneId,
    outgoing: Vec<OutgoingDelivery>,
}

/// The largest number of messages that memory is reserved for in advance.
const MAX_TYPICAL: usize = 512;

/// The path of the messages of one lane, looked up once for many.
pub(super) struct Lookup {
    slot: LaneSlot,
    way: Path,
}

enum Path {
    CallbackRunner(CallbackRunner),
    Mailbox,
    /// They are queued in the machine and handed over in turn.
    Turn,
}

/// Calls a callback for the messages of one lane.
struct CallbackRunner {
    callback: Arc<Callback>,
    /// `None` while a message that is being handled has it.
    lane: Option<LaneId>,
}

impl CallbackRunner {
    /// Calls the callback. Returns a message that was not handled.
    fn call(&mut self, next: HandOver) -> Result<(), (Message, Nack)> {
        let lane = self.lane.take().expect("one call at a time, and it comes back");
        let delivery = delivery(lane, next);
        let result = call(&*self.callback, &delivery);
        let Delivery { id, headers, payload, .. } = delivery;
        self.lane = Some(id.lane);
        result.map_err(|nack| (Message { headers, payload }, nack))
    }
}

impl Session {
    /// Handles a frame of the connection. `lookup` is that of the previous frame.
    pub(super) fn take(
        &mut self,
        now: Instant,
        lookup: &mut Option<Lookup>,
        frame: Frame<'_>,
        chunk: &Bytes,
    ) -> Result<(), LinkError> {
        let Frame::Data(data) = frame else { return self.inbound.handle_frame(now, frame, chunk) };
        let slot = self.inbound.slot(data.lane).ok_or(LinkError::UnknownLane)?;
        let calls = match self.look_up(lookup, slot) {
            Path::CallbackRunner(calls) => calls,
            Path::Mailbox => {
                if let Some(next) = self.inbound.handle_data_now(now, &data, chunk)? {
                    self.uncounted.deliver(&next);
                    self.gather(next);
                }
                return Ok(());
            }
            Path::Turn => return self.inbound.handle_frame(now, Frame::Data(data), chunk),
        };
        let (node, uncounted) = (&self.node, &mut self.uncounted);
        let call = |next: HandOver| {
            uncounted.deliver(&next);
            match calls.call(next) {
                Ok(()) => {
                    uncounted.handled += 1;
                    Ok(())
                }
                Err((message, nack)) => {
                    calls.lane.iter().for_each(|lane| note_nack(node, lane, &nack.reason));
                    Err((message, answer(Err(nack))))
                }
            }
        };
        self.inbound.handle_data_with(now, &data, chunk, random, call)
    }

    fn look_up<'a>(&self, known: &'a mut Option<Lookup>, slot: LaneSlot) -> &'a mut Path {
        if known.as_ref().is_none_or(|lookup| lookup.slot != slot) {
            *known = None;
        }
        &mut known.get_or_insert_with(|| Lookup { slot, way: self.way(slot) }).way
    }

    fn way(&self, slot: LaneSlot) -> Path {
        let lane = self.inbound.lane(slot);
        match self.subscribers.get(lane.topic()) {
            Some(Subscriber::Callback(callback)) => {
                Path::CallbackRunner(CallbackRunner { callback: callback.clone(), lane: Some(lane.clone()) })
            }
            Some(Subscriber::Actor(_)) => Path::Mailbox,
            _ => Path::Turn,
        }
    }

    /// Hands over every message that the machine yields.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut lookup = None;
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, attempt, .. } = next;
            self.uncounted.deliver(&next);
            if let Path::CallbackRunner(calls) = self.look_up(&mut lookup, slot) {
                let result = calls.call(next).map_err(|(message, nack)| {
                    self.inbound.handle_return(slot, token, message);
                    nack
                });
                let tokens = token..token + 1;
                self.answered(now, ReplyRun { slot, tokens, attempt, answer: answer(result) });
            } else {
                self.gather(next);
            }
        }
        for lane in std::mem::take(&mut self.handed) {
            self.hand_over(now, lane);
        }
    }

    /// Gathers messages for a mailbox by lane.
    fn gather(&mut self, next: HandOver) {
        let HandOver { slot, token, .. } = next;
        let at = self.handed.iter().rposition(|lane| lane.slot == slot).unwrap_or_else(|| {
            let (lane, outgoing) = (self.inbound.lane(slot).unshared(), Vec::with_capacity(self.typical));
            self.handed.push(PendingBatch { slot, lane, outgoing });
            self.handed.len() - 1
        });
        let PendingBatch { lane, outgoing, .. } = &mut self.handed[at];
        outgoing.push(OutgoingDelivery { token, delivery: delivery(lane.clone(), next) });
    }

    fn hand_over(&mut self, now: Instant, PendingBatch { slot, outgoing, .. }: PendingBatch) {
        self.typical = outgoing.len().min(MAX_TYPICAL);
        let topic = self.inbound.lane(slot).topic().clone();
        match self.subscribers.get_mut(&topic) {
            Some(Subscriber::Actor(feed)) if feed.connected() => {
                let is_alone =
                    self.answers.owed(slot) == 0 && self.retired.values().all(|retired| retired.topic != topic);
                if feed.has_feeder() && is_alone {
                    self.inbound.set_prefetch(slot, AHEAD);
                }
                feed.feed(slot, outgoing, &self.answers);
            }
            Some(Subscriber::Batch(mailbox)) if mailbox.connected() => {
                let (tags, deliveries) = unpack(outgoing);
                self.answers.send_many(slot, tags, mailbox, deliveries);
            }
            Some(Subscriber::Handoff(handoff)) => {
                let (tags, deliveries) = unpack(outgoing);
                let (reply, answer) = oneshot::channel();
                self.inbound.close_batch(slot);
                self.answers.expect_batch_reply(slot, tags, answer);
                if !hand_off(&**handoff, deliveries, BatchReply(reply)) {
                    tracing::error!(node = %self.node.id, %topic, "a function that takes batches panicked");
                }
            }
            _ => self.sink_gone(now, &topic, slot, outgoing.iter().map(OutgoingDelivery::tag)),
        }
    }

    /// Returns the subscribers that may have a feeder.
    pub(super) fn feeds(&self) -> impl Iterator<Item = &SubscriberHandle> {
        self.subscribers.values().filter_map(|subscriber| match subscriber {
            Subscriber::Actor(feed) => Some(feed),
            _ => None,
        })
    }

    /// Retires a subscriber. Messages that its feeder holds ready go to the next subscriber before any others.
    pub(super) fn retire(&mut self, topic: &Topic, subscriber: Option<Subscriber>) {
        if let Some(Subscriber::Actor(feed)) = subscriber.filter(Subscriber::is_fed) {
            self.retired.insert(feed.id, RetiredSubscriber { topic: topic.clone(), gave_back: false });
            self.inbound.set_paused(topic, true);
        }
    }

    /// Handles the report of a feeder.
    pub(super) fn take_report(&mut self, now: Instant, FeederReport { feed, answered, stage }: FeederReport) {
        let fed_by = |subscriber: &Subscriber| matches!(subscriber, Subscriber::Actor(current) if current.id == feed);
        if let Some((topic, Subscriber::Actor(feed))) =
            self.subscribers.iter_mut().find(|(_, subscriber)| fed_by(subscriber))
        {
            answered.iter().filter(|a| is_failure(&a.answer)).for_each(|a| feed.failed(a.slot));
            if stage == FeederStage::Ended {
                feed.feeder_ended();
                self.inbound.clear_prefetch(topic);
            }
        }
        for answered in answered {
            self.answered(now, answered);
        }
        if stage != FeederStage::Feeding
            && let Some(RetiredSubscriber { topic, .. }) = self.retired.remove(&feed)
        {
            let is_held_up = self.retired.values().any(|retired| retired.topic == topic && !retired.gave_back);
            self.inbound.set_paused(&topic, is_held_up);
            if stage == FeederStage::GivenBack {
                self.retired.insert(feed, RetiredSubscriber { topic, gave_back: true });
            }
        }
    }

    /// Handles that the subscriber's actor has stopped. Its messages wait for the next subscriber.
    fn sink_gone(&mut self, now: Instant, topic: &Topic, slot: LaneSlot, tags: impl IntoIterator<Item = DeliveryTag>) {
        self.set_handler(SetHandler { topic: topic.clone(), handler: None });
        for DeliveryTag { token, attempt } in tags {
            self.inbound.handle_disposition(now, slot, token, attempt, Disposition::Untried, random);
        }
    }

    pub(super) fn answered(&mut self, now: Instant, ReplyRun { slot, tokens, attempt, answer }: ReplyRun) {
        if answer == Disposition::Done {
            self.uncounted.handled += self.inbound.handle_handled(now, slot, tokens, attempt);
            return;
        }
        let reason = match &answer {
            Disposition::Failed { reason, .. } => Some(reason.clone()),
            Disposition::Done | Disposition::Untried => None,
        };
        if self.inbound.handle_disposition(now, slot, tokens.start, attempt, answer, random)
            && let Some(reason) = reason
        {
            note_nack(&self.node, self.inbound.lane(slot), &reason);
        }
    }
}

fn note_nack(node: &Node, lane: &LaneId, reason: &str) {
    tracing::debug!(node = %node.id, %lane, reason, "nack");
    count(&node.counters.nacked, 1);
}

fn unpack(outgoing: Vec<OutgoingDelivery>) -> (Vec<DeliveryTag>, Vec<Delivery>) {
    outgoing.into_iter().map(|delivery| (delivery.tag(), delivery.delivery)).unzip()
}

/// At-most-once messages have no number.
const UNNUMBERED: Cursor = Cursor { incarnation: Incarnation::new(0), seq: Seq::ZERO };

fn delivery(lane: LaneId, next: HandOver) -> Delivery {
    let Cursor { incarnation, seq } = next.place.unwrap_or(UNNUMBERED);
    Delivery {
        id: MessageId { lane, incarnation, seq },
        attempt: next.attempt,
        redelivered: next.redelivered,
        headers: next.message.headers,
        payload: next.message.payload,
    }
}
