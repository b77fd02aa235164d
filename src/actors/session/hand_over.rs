//! Handing messages to subscribers.

use super::*;
use crate::actors::answers::answer;
use crate::actors::messages::{Delivery, DeliveryBatch, Nack};
use actix::dev::RecipientRequest;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Session {
    /// Hands over whatever may be. Messages for a batch subscriber are gathered by lane first.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut batches: Vec<(Slot, Vec<u64>, Vec<Delivery>)> = Vec::new();
        // Looked up once for all that one lane has.
        let mut taker: Option<(Slot, Option<Sink>)> = None;
        let (mut delivered, mut bytes) = (0, 0);
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, .. } = next;
            let (_, sink) = match &mut taker {
                Some(taker) if taker.0 == slot => taker,
                taker => taker.insert((slot, self.sinks.get(next.lane.topic()).cloned())),
            };
            let delivery = delivery(next);
            delivered += 1;
            bytes += delivery.payload.len() + delivery.headers.encoded().len();
            match sink {
                Some(Sink::Callback(callback)) => {
                    let result = catch_unwind(AssertUnwindSafe(|| callback(&delivery)));
                    let result = result.unwrap_or_else(|_| Err(Nack::new("the callback panicked")));
                    self.answered(now, slot, token, answer(result));
                }
                Some(Sink::Actor(recipient)) if recipient.connected() => {
                    self.answers.await_one(slot, token, send_unparked(recipient, delivery));
                }
                Some(Sink::Batch(_)) => match batches.last_mut().filter(|(s, ..)| *s == slot) {
                    Some((_, tokens, deliveries)) => {
                        tokens.push(token);
                        deliveries.push(delivery);
                    }
                    None => batches.push((slot, vec![token], vec![delivery])),
                },
                Some(Sink::Actor(_)) | None => {
                    taker = None;
                    self.sink_gone(now, delivery.topic(), slot, token);
                }
            }
        }
        count(&self.node.counters.delivered, delivered);
        count(&self.node.counters.bytes_delivered, bytes as u64);
        for (slot, tokens, deliveries) in batches {
            self.hand_over_batch(now, slot, tokens, deliveries);
        }
    }

    pub(super) fn hand_over_batch(&mut self, now: Instant, slot: Slot, tokens: Vec<u64>, deliveries: Vec<Delivery>) {
        let topic = self.inbound.lane(slot).topic().clone();
        match self.sinks.get(&topic) {
            Some(Sink::Batch(recipient)) if recipient.connected() => {
                self.answers.await_many(slot, tokens, send_unparked(recipient, DeliveryBatch(deliveries)));
            }
            _ => tokens.into_iter().for_each(|token| self.sink_gone(now, &topic, slot, token)),
        }
    }

    /// The subscriber's actor has stopped: what it was to get waits for the next subscriber.
    pub(super) fn sink_gone(&mut self, now: Instant, topic: &Topic, slot: Slot, token: u64) {
        self.set_handler(SetHandler { topic: topic.clone(), handler: None });
        self.inbound.handle_answer(now, slot, token, Answer::Returned, random);
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

/// Sends through a handle of its own: one that met a full mailbox once is parked, and a request made with it then is never
/// woken. What bounds the mailbox is `in_flight`.
fn send_unparked<M>(recipient: &Recipient<M>, message: M) -> RecipientRequest<M>
where
    M: Message + Send,
    M::Result: Send,
{
    recipient.clone().send(message)
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
