//! Handing messages to subscribers.

use super::*;
use crate::actors::messages::{BatchReply, Callback, Delivery, DeliveryBatch, Handoff, Nack};
use crate::actors::receiving::subscriber::answers::{Ticket, answer};
use crate::actors::receiving::subscriber::feed::{AHEAD, Feed, Parcel, Stage, is_failure};
use crate::actors::receiving::subscriber::mailbox::Mailbox;
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
    pub(super) fn new(sink: Sink, in_flight: u32, feed: FeedId, session: Recipient<Fed>) -> Self {
        match sink {
            Sink::Actor(recipient) => Taker::Actor(Feed::new(feed, in_flight, recipient, session)),
            Sink::Batch(recipient) => Taker::Batch(Mailbox::new(recipient)),
            Sink::Handoff(handoff) => Taker::Handoff(handoff),
            Sink::Callback(callback) => Taker::Callback(callback),
        }
    }

    fn is_fed(&self) -> bool {
        matches!(self, Taker::Actor(feed) if feed.is_fed())
    }
}

/// A subscriber that does not take messages any more, and has not answered all it was given.
pub(super) struct Retired {
    topic: Topic,
    /// What was held ready for it has come back.
    gave_back: bool,
}

/// Messages of one lane for its subscriber's mailbox.
pub(super) struct Handed {
    slot: LaneSlot,
    lane: LaneId,
    parcels: Vec<Parcel>,
}

/// Most messages that memory is set aside for before they are handed over.
const MAX_TYPICAL: usize = 512;

/// Who takes the messages of a lane: looked up once for many.
pub(super) struct Lookup {
    slot: LaneSlot,
    way: Way,
}

enum Way {
    Calls(Calls),
    Mailbox,
    /// They are handed over in turn.
    Turn,
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
        let calls = match self.look_up(lookup, slot) {
            Way::Calls(calls) => calls,
            Way::Mailbox => {
                if let Some(next) = self.inbound.handle_data_now(now, &data, chunk)? {
                    self.uncounted.deliver(&next);
                    self.gather(next);
                }
                return Ok(());
            }
            Way::Turn => return self.inbound.handle_frame(now, Frame::Data(data), chunk),
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

    fn look_up<'a>(&self, known: &'a mut Option<Lookup>, slot: LaneSlot) -> &'a mut Way {
        if known.as_ref().is_none_or(|lookup| lookup.slot != slot) {
            *known = None;
        }
        &mut known.get_or_insert_with(|| Lookup { slot, way: self.way(slot) }).way
    }

    fn way(&self, slot: LaneSlot) -> Way {
        let lane = self.inbound.lane(slot);
        match self.takers.get(lane.topic()) {
            Some(Taker::Callback(callback)) => {
                Way::Calls(Calls { callback: callback.clone(), lane: Some(lane.clone()) })
            }
            Some(Taker::Actor(_)) => Way::Mailbox,
            _ => Way::Turn,
        }
    }

    /// Hands over whatever may be.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut lookup = None;
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, attempt, .. } = next;
            self.uncounted.deliver(&next);
            if let Way::Calls(calls) = self.look_up(&mut lookup, slot) {
                let result = calls.call(next).map_err(|(message, nack)| {
                    self.inbound.handle_return(slot, token, message);
                    nack
                });
                let tokens = token..token + 1;
                self.answered(now, Answered { slot, tokens, attempt, answer: answer(result) });
            } else {
                self.gather(next);
            }
        }
        for lane in std::mem::take(&mut self.handed) {
            self.hand_over(now, lane);
        }
    }

    /// Messages for a mailbox are gathered by lane first.
    fn gather(&mut self, next: HandOver) {
        let HandOver { slot, token, .. } = next;
        let at = self.handed.iter().rposition(|lane| lane.slot == slot).unwrap_or_else(|| {
            let (lane, parcels) = (self.inbound.lane(slot).unshared(), Vec::with_capacity(self.typical));
            self.handed.push(Handed { slot, lane, parcels });
            self.handed.len() - 1
        });
        let Handed { lane, parcels, .. } = &mut self.handed[at];
        parcels.push(Parcel { token, delivery: delivery(lane.clone(), next) });
    }

    fn hand_over(&mut self, now: Instant, Handed { slot, parcels, .. }: Handed) {
        self.typical = parcels.len().min(MAX_TYPICAL);
        let topic = self.inbound.lane(slot).topic().clone();
        match self.takers.get_mut(&topic) {
            Some(Taker::Actor(feed)) if feed.connected() => {
                let is_alone =
                    self.answers.owed(slot) == 0 && self.retired.values().all(|retired| retired.topic != topic);
                if feed.has_feeder() && is_alone {
                    self.inbound.set_prefetch(slot, AHEAD);
                }
                feed.feed(slot, parcels, &self.answers);
            }
            Some(Taker::Batch(mailbox)) if mailbox.connected() => {
                let (tickets, deliveries) = unpack(parcels);
                self.answers.send_many(slot, tickets, mailbox, deliveries);
            }
            Some(Taker::Handoff(handoff)) => {
                let (tickets, deliveries) = unpack(parcels);
                let (reply, answer) = oneshot::channel();
                self.inbound.close_batch(slot);
                self.answers.await_batch(slot, tickets, answer);
                let handed = catch_unwind(AssertUnwindSafe(|| handoff(deliveries, BatchReply(reply))));
                if handed.is_err() {
                    tracing::error!(node = %self.node.id, %topic, "a function that takes batches panicked");
                }
            }
            _ => self.sink_gone(now, &topic, slot, parcels.iter().map(Parcel::ticket)),
        }
    }

    /// The subscribers that may have a feeder.
    pub(super) fn feeds(&self) -> impl Iterator<Item = &Feed> {
        self.takers.values().filter_map(|taker| match taker {
            Taker::Actor(feed) => Some(feed),
            _ => None,
        })
    }

    /// A subscriber does not take messages any more. What its feeder holds ready goes to the next one, and first.
    pub(super) fn retire(&mut self, topic: &Topic, taker: Option<Taker>) {
        if let Some(Taker::Actor(feed)) = taker.filter(Taker::is_fed) {
            self.retired.insert(feed.id, Retired { topic: topic.clone(), gave_back: false });
            self.inbound.set_paused(topic, true);
        }
    }

    /// A feeder has gathered answers.
    pub(super) fn take_fed(&mut self, now: Instant, Fed { feed, answered, stage }: Fed) {
        let fed_by = |taker: &Taker| matches!(taker, Taker::Actor(current) if current.id == feed);
        if let Some((topic, Taker::Actor(feed))) = self.takers.iter_mut().find(|(_, taker)| fed_by(taker)) {
            answered.iter().filter(|a| is_failure(&a.answer)).for_each(|a| feed.failed(a.slot));
            if stage == Stage::Ended {
                feed.feeder_ended();
                self.inbound.clear_prefetch(topic);
            }
        }
        for answered in answered {
            self.answered(now, answered);
        }
        if stage != Stage::Feeding
            && let Some(Retired { topic, .. }) = self.retired.remove(&feed)
        {
            let is_held_up = self.retired.values().any(|retired| retired.topic == topic && !retired.gave_back);
            self.inbound.set_paused(&topic, is_held_up);
            if stage == Stage::GivenBack {
                self.retired.insert(feed, Retired { topic, gave_back: true });
            }
        }
    }

    /// The subscriber's actor has stopped: what it was to get waits for the next subscriber.
    fn sink_gone(&mut self, now: Instant, topic: &Topic, slot: LaneSlot, tickets: impl IntoIterator<Item = Ticket>) {
        self.set_handler(SetHandler { topic: topic.clone(), handler: None });
        for Ticket { token, attempt } in tickets {
            self.inbound.handle_disposition(now, slot, token, attempt, Disposition::Untried, random);
        }
    }

    pub(super) fn answered(&mut self, now: Instant, Answered { slot, tokens, attempt, answer }: Answered) {
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

fn unpack(parcels: Vec<Parcel>) -> (Vec<Ticket>, Vec<Delivery>) {
    parcels.into_iter().map(|parcel| (parcel.ticket(), parcel.delivery)).unzip()
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
