//! Handing messages to subscribers.

use super::*;
use crate::actors::answers::{Mailbox, answer};
use crate::actors::feeder::{Feed, What};
use crate::actors::messages::{BatchReply, Callback, Delivery, DeliveryBatch, Handoff, Nack};
use bytes::Bytes;
use futures::channel::oneshot;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Who takes the messages of a topic, on this thread.
pub(super) enum Taker {
    Actor(Feed),
    Batch(Mailbox<DeliveryBatch>),
    Handoff(Arc<Handoff>),
    Callback(Arc<Callback>),
}

impl Taker {
    pub(super) fn new(sink: Sink, feed: FeedId, session: Recipient<Fed>) -> Self {
        match sink {
            Sink::Actor(recipient) => Taker::Actor(Feed::new(feed, recipient, session)),
            Sink::Batch(recipient) => Taker::Batch(Mailbox::new(recipient)),
            Sink::Handoff(handoff) => Taker::Handoff(handoff),
            Sink::Callback(callback) => Taker::Callback(callback),
        }
    }
}

/// Messages of one lane for its subscriber's mailbox.
struct Handed {
    slot: Slot,
    lane: LaneId,
    parcels: Vec<Parcel>,
}

/// Who takes the messages of a lane: looked up once for many.
pub(super) struct Lookup {
    slot: Slot,
    /// `None`: not a callback.
    calls: Option<Calls>,
}

/// What is the same for all calls for one lane.
struct Calls {
    callback: Arc<Callback>,
    /// Lent to the message that is being handled.
    lane: Option<LaneId>,
}

impl Calls {
    /// A message that was not handled comes back.
    fn call(&mut self, next: HandOver) -> Result<(), (Message, Nack)> {
        let lane = self.lane.take().expect("one call at a time, and it comes back");
        let delivery = delivery(lane, next);
        let result = catch_unwind(AssertUnwindSafe(|| (self.callback)(&delivery)));
        let Delivery { id, headers, payload, .. } = delivery;
        self.lane = Some(id.lane);
        let result = result.unwrap_or_else(|_| Err(Nack::new("the callback panicked")));
        result.map_err(|nack| (Message { headers, payload }, nack))
    }
}

impl Session {
    /// Takes a frame off the connection. `lookup` is that of the frame before it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        lookup: &mut Option<Lookup>,
        frame: Frame<'_>,
        chunk: &Bytes,
    ) -> Result<(), LinkError> {
        let Frame::Data(data) = frame else { return self.inbound.handle_frame(now, frame, chunk) };
        let slot = self.inbound.slot(data.lane).ok_or(LinkError::UnknownLane)?;
        let Some(calls) = &mut self.look_up(lookup, slot).calls else {
            return self.inbound.handle_frame(now, Frame::Data(data), chunk);
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

    fn look_up<'a>(&self, known: &'a mut Option<Lookup>, slot: Slot) -> &'a mut Lookup {
        match known.take().filter(|lookup| lookup.slot == slot) {
            Some(same) => known.insert(same),
            None => {
                let lane = self.inbound.lane(slot);
                let calls = match self.takers.get(lane.topic()) {
                    Some(Taker::Callback(callback)) => {
                        Some(Calls { callback: callback.clone(), lane: Some(lane.clone()) })
                    }
                    _ => None,
                };
                known.insert(Lookup { slot, calls })
            }
        }
    }

    /// Hands over whatever may be.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut handed: Vec<Handed> = Vec::new();
        let mut lookup = None;
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, .. } = next;
            self.uncounted.deliver(&next);
            match &mut self.look_up(&mut lookup, slot).calls {
                Some(calls) => {
                    let result = calls.call(next).map_err(|(message, nack)| {
                        self.inbound.handle_return(slot, token, message);
                        nack
                    });
                    self.answered(now, slot, token, answer(result));
                }
                None => self.gather(&mut handed, next),
            }
        }
        for lane in handed {
            self.hand_over(now, lane);
        }
    }

    /// Messages for a mailbox are gathered by lane first.
    fn gather(&mut self, handed: &mut Vec<Handed>, next: HandOver) {
        let HandOver { slot, token, .. } = next;
        if handed.last().is_none_or(|lane| lane.slot != slot) {
            let lane = self.inbound.lane(slot).unshared();
            handed.push(Handed { slot, lane, parcels: self.spare.take().unwrap_or_default() });
        }
        if let Some(Handed { lane, parcels, .. }) = handed.last_mut() {
            parcels.push(Parcel { slot, token, what: What::Delivery(delivery(lane.clone(), next)) });
        }
    }

    fn hand_over(&mut self, now: Instant, Handed { slot, parcels, .. }: Handed) {
        let topic = self.inbound.lane(slot).topic().clone();
        match self.takers.get_mut(&topic) {
            Some(Taker::Actor(feed)) if feed.mailbox.connected() => {
                let fed = feed.feed(parcels);
                self.take_fed(now, fed);
            }
            Some(Taker::Batch(mailbox)) if mailbox.connected() => {
                let (tokens, deliveries) = unpack(parcels);
                self.answers.send_many(slot, tokens, mailbox, deliveries);
            }
            Some(Taker::Handoff(handoff)) => {
                let (tokens, deliveries) = unpack(parcels);
                let (reply, answer) = oneshot::channel();
                self.inbound.close_batch(slot);
                self.answers.await_batch(slot, tokens, answer);
                let handed = catch_unwind(AssertUnwindSafe(|| handoff(deliveries, BatchReply(reply))));
                if handed.is_err() {
                    tracing::error!(node = %self.node.id, %topic, "a function that takes batches panicked");
                }
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
            Answer::Done => self.uncounted.handled += 1,
            Answer::Failed { reason, .. } => note_nack(&self.node, self.inbound.lane(slot), reason),
            Answer::Returned | Answer::Untried => {}
        }
        self.inbound.handle_answer(now, slot, token, answer, random);
    }
}

fn note_nack(node: &Node, lane: &LaneId, reason: &str) {
    tracing::debug!(node = %node.id, %lane, reason, "nack");
    count(&node.counters.nacked, 1);
}

/// The messages of parcels that nobody has yet, and their tokens.
fn unpack(parcels: Vec<Parcel>) -> (Vec<u64>, Vec<Delivery>) {
    let delivery = |parcel: Parcel| match parcel.what {
        What::Delivery(delivery) => Some((parcel.token, delivery)),
        What::Addressed(..) | What::Request(_) => None,
    };
    parcels.into_iter().filter_map(delivery).unzip()
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
