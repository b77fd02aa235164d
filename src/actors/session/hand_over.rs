//! Handing messages to subscribers.

use super::*;
use crate::actors::answers::{Mailbox, answer};
use crate::actors::feeder::{Feed, What};
use crate::actors::messages::{Callback, Delivery, DeliveryBatch, Nack};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who takes the messages of a topic, on this thread.
pub(super) enum Taker {
    Actor(Feed),
    Batch(Mailbox<DeliveryBatch>),
    Callback(Arc<Callback>),
}

impl Taker {
    pub(super) fn new(sink: Sink, feed: FeedId, session: Recipient<Fed>) -> Self {
        match sink {
            Sink::Actor(recipient) => Taker::Actor(Feed::new(feed, recipient, session)),
            Sink::Batch(recipient) => Taker::Batch(Mailbox::new(recipient)),
            Sink::Callback(callback) => Taker::Callback(callback),
        }
    }
}

/// Messages of one lane for its subscriber's mailbox.
struct Handed {
    slot: Slot,
    parcels: Vec<Parcel>,
}

impl Session {
    /// Hands over whatever may be. Messages for a mailbox are gathered by lane first.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut handed: Vec<Handed> = Vec::new();
        // Looked up once for all that one lane has.
        let mut callback: Option<(Slot, Option<Arc<Callback>>)> = None;
        let (mut delivered, mut bytes, mut done) = (0, 0, 0);
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, .. } = next;
            let (_, callback) = match &mut callback {
                Some(known) if known.0 == slot => known,
                other => other.insert((slot, self.callback(next.lane.topic()))),
            };
            let delivery = delivery(next);
            delivered += 1;
            bytes += delivery.payload.len() + delivery.headers.encoded().len();
            let Some(callback) = callback else {
                let parcel = Parcel { slot, token, what: What::Delivery(delivery) };
                match handed.last_mut().filter(|h| h.slot == slot) {
                    Some(lane) => lane.parcels.push(parcel),
                    None => {
                        let mut parcels = self.spare.take().unwrap_or_default();
                        parcels.push(parcel);
                        handed.push(Handed { slot, parcels });
                    }
                }
                continue;
            };
            let result = catch_unwind(AssertUnwindSafe(|| callback(&delivery)));
            match result.unwrap_or_else(|_| Err(Nack::new("the callback panicked"))) {
                Ok(()) => {
                    done += 1;
                    self.inbound.handle_answer(now, slot, token, Answer::Done, random);
                }
                nack => self.answered(now, slot, token, answer(nack)),
            }
        }
        count(&self.node.counters.delivered, delivered);
        count(&self.node.counters.bytes_delivered, bytes as u64);
        count(&self.node.counters.handled, done);
        for lane in handed {
            self.hand_over(now, lane);
        }
    }

    fn callback(&self, topic: &Topic) -> Option<Arc<Callback>> {
        match self.takers.get(topic) {
            Some(Taker::Callback(callback)) => Some(callback.clone()),
            _ => None,
        }
    }

    fn hand_over(&mut self, now: Instant, Handed { slot, parcels }: Handed) {
        let topic = self.inbound.lane(slot).topic().clone();
        match self.takers.get_mut(&topic) {
            Some(Taker::Actor(feed)) if feed.mailbox.connected() => {
                let fed = feed.feed(parcels);
                self.take_fed(now, fed);
            }
            Some(Taker::Batch(mailbox)) if mailbox.connected() => {
                let delivery = |parcel: Parcel| match parcel.what {
                    What::Delivery(delivery) => Some((parcel.token, delivery)),
                    What::Addressed(..) | What::Request(_) => None,
                };
                let (tokens, deliveries) = parcels.into_iter().filter_map(delivery).unzip();
                self.answers.send_many(slot, tokens, mailbox, deliveries);
            }
            _ => self.sink_gone(now, &topic, slot, parcels.iter().map(|p| p.token)),
        }
    }

    /// Messages are in a mailbox, or came back.
    pub(super) fn take_fed(&mut self, now: Instant, Fed { feed, mut parcels }: Fed) {
        let Some(topic) = parcels.first().map(|p| self.inbound.lane(p.slot).topic().clone()) else { return };
        let mut current = match self.takers.get_mut(&topic) {
            Some(Taker::Actor(current)) if current.id == feed => Some(current),
            _ => None,
        };
        let mailbox = current.as_ref().map(|current| current.mailbox.clone());
        let came_back = parcels.iter().any(|p| !matches!(p.what, What::Request(_)));
        let is_gone = came_back && !current.as_mut().is_some_and(|current| current.feeder_ended());
        for Parcel { slot, token, what } in parcels.drain(..) {
            match what {
                What::Request(request) => self.answers.await_one(slot, token, request, mailbox.clone()),
                _ if is_gone && mailbox.is_some() => self.sink_gone(now, &topic, slot, [token]),
                _ => self.inbound.handle_answer(now, slot, token, Answer::Returned, random),
            }
        }
        self.spare = Some(parcels);
    }

    /// The subscriber's actor has stopped: what it was to get waits for the next subscriber.
    fn sink_gone(&mut self, now: Instant, topic: &Topic, slot: Slot, tokens: impl IntoIterator<Item = u64>) {
        self.set_handler(SetHandler { topic: topic.clone(), handler: None });
        for token in tokens {
            self.inbound.handle_answer(now, slot, token, Answer::Returned, random);
        }
    }

    pub(super) fn answered(&mut self, now: Instant, slot: Slot, token: u64, answer: Answer) {
        match &answer {
            Answer::Done => count(&self.node.counters.handled, 1),
            Answer::Failed { reason, .. } => {
                tracing::debug!(node = %self.node.id, lane = %self.inbound.lane(slot), reason, "nack");
                count(&self.node.counters.nacked, 1);
            }
            Answer::Returned => {}
        }
        self.inbound.handle_answer(now, slot, token, answer, random);
    }
}

/// At-most-once messages have no number.
const UNNUMBERED: Cursor = Cursor { incarnation: Incarnation::new(0), seq: Seq::ZERO };

fn delivery(next: HandOver) -> Delivery {
    let Cursor { incarnation, seq } = next.place.unwrap_or(UNNUMBERED);
    Delivery {
        id: MessageId { lane: next.lane, incarnation, seq },
        attempt: next.attempt,
        redelivered: next.redelivered,
        headers: next.message.headers,
        payload: next.message.payload,
    }
}
