//! Handing messages to subscribers.

use super::subscribers::Pause;
use super::*;
use crate::actors::messages::{Callback, Delivery, Nack};
use crate::actors::receiving::subscriber::call::call;
use crate::actors::receiving::subscriber::exchange::OutgoingDelivery;
use crate::actors::receiving::subscriber::replies::disposition;
use bytes::Bytes;

/// The largest number of messages that memory is reserved for in advance.
const MAX_TYPICAL: usize = 512;

/// Messages of one lane that are handed over together.
struct PendingBatch {
    slot: LaneSlot,
    lane: LaneId,
    outgoing: Vec<OutgoingDelivery>,
}

/// Messages on their way to feeders, by lane.
#[derive(Default)]
pub(super) struct PendingBatches {
    lanes: Vec<PendingBatch>,
    /// The size of the last batch of a lane: memory for the next one is reserved accordingly.
    typical: usize,
}

impl PendingBatches {
    fn push(&mut self, inbound: &Inbound, next: HandOver) {
        let HandOver { slot, token, .. } = next;
        let at = self.lanes.iter().rposition(|lane| lane.slot == slot).unwrap_or_else(|| {
            let (lane, outgoing) = (inbound.lane(slot).unshared(), Vec::with_capacity(self.typical));
            self.lanes.push(PendingBatch { slot, lane, outgoing });
            self.lanes.len() - 1
        });
        let PendingBatch { lane, outgoing, .. } = &mut self.lanes[at];
        outgoing.push(OutgoingDelivery { token, delivery: delivery(lane.clone(), next) });
    }

    fn take(&mut self) -> Vec<PendingBatch> {
        if let Some(last) = self.lanes.last() {
            self.typical = last.outgoing.len().min(MAX_TYPICAL);
        }
        std::mem::take(&mut self.lanes)
    }
}

/// The path of the messages of one lane, looked up once for many.
pub(super) struct Lookup {
    slot: LaneSlot,
    path: Path,
}

enum Path {
    /// They are lent to the callback.
    Call(CallbackRunner),
    /// They go to the feeder as they arrive.
    FeedNow,
    /// They are queued in the machine and handed over in turn: their subscriber takes one batch at a time, or there is none.
    Queue,
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
    pub(super) fn handle_frame(
        &mut self,
        now: Instant,
        lookup: &mut Option<Lookup>,
        frame: Frame<'_>,
        chunk: &Bytes,
    ) -> Result<(), LinkError> {
        let Frame::Data(data) = frame else { return self.inbound.handle_frame(now, frame, chunk) };
        let slot = self.inbound.slot(data.lane).ok_or(LinkError::UnknownLane)?;
        let runner = match self.look_up(lookup, slot) {
            Path::Call(runner) => runner,
            Path::FeedNow => {
                if let Some(next) = self.inbound.handle_data_now(now, &data, chunk)? {
                    self.tally.deliver(&next);
                    self.batches.push(&self.inbound, next);
                }
                return Ok(());
            }
            Path::Queue => return self.inbound.handle_frame(now, Frame::Data(data), chunk),
        };
        let (node, tally) = (&self.node, &mut self.tally);
        let call = |next: HandOver| {
            tally.deliver(&next);
            match runner.call(next) {
                Ok(()) => {
                    tally.handled(1);
                    Ok(())
                }
                Err((message, nack)) => {
                    runner.lane.iter().for_each(|lane| note_nack(node, lane, &nack.reason));
                    Err((message, disposition(Err(nack))))
                }
            }
        };
        self.inbound.handle_data_with(now, &data, chunk, random, call)
    }

    fn look_up<'a>(&self, known: &'a mut Option<Lookup>, slot: LaneSlot) -> &'a mut Path {
        if known.as_ref().is_none_or(|lookup| lookup.slot != slot) {
            *known = None;
        }
        &mut known.get_or_insert_with(|| Lookup { slot, path: self.path(slot) }).path
    }

    fn path(&self, slot: LaneSlot) -> Path {
        let lane = self.inbound.lane(slot);
        match self.subscribers.get(lane.topic()) {
            Some(Subscriber::Callback(callback)) => {
                Path::Call(CallbackRunner { callback: callback.clone(), lane: Some(lane.clone()) })
            }
            Some(Subscriber::Fed(handle)) if !handle.takes_one_batch() => Path::FeedNow,
            _ => Path::Queue,
        }
    }

    /// Hands over every message that the machine yields.
    pub(super) fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut lookup = None;
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, attempt, .. } = next;
            self.tally.deliver(&next);
            if let Path::Call(runner) = self.look_up(&mut lookup, slot) {
                let result = runner.call(next).map_err(|(message, nack)| {
                    self.inbound.handle_return(slot, token, message);
                    nack
                });
                let reply = ReplyRun::one(slot, DeliveryTag { token, attempt }, disposition(result));
                self.take_reply(now, reply);
            } else {
                self.batches.push(&self.inbound, next);
            }
        }
        for batch in self.batches.take() {
            self.hand_over(now, batch);
        }
    }

    fn hand_over(&mut self, now: Instant, PendingBatch { slot, outgoing, .. }: PendingBatch) {
        let topic = self.inbound.lane(slot).topic().clone();
        if self.subscribers.is_paused(&topic) {
            return self.take_back(now, slot, &outgoing);
        }
        let has_no_retired = self.subscribers.has_no_retired(&topic);
        let handle = match self.subscribers.get_mut(&topic) {
            Some(Subscriber::Fed(handle)) if handle.connected() => handle,
            _ => {
                // The actor of the subscriber has stopped. Its messages wait for the next subscriber.
                self.set_handler(SetHandler { topic, handler: None });
                return self.take_back(now, slot, &outgoing);
            }
        };
        if has_no_retired {
            self.inbound.set_prefetch(slot, handle.prefetch());
        }
        if handle.takes_one_batch() {
            self.inbound.close_batch(slot);
        }
        if let Err(outgoing) = handle.feed(slot, outgoing) {
            let pause = self.subscribers.feeder_lost(&topic);
            self.pause(pause);
            self.take_back(now, slot, &outgoing);
        }
    }

    /// Returns messages to the machine that were not handed over.
    fn take_back(&mut self, now: Instant, slot: LaneSlot, outgoing: &[OutgoingDelivery]) {
        for DeliveryTag { token, attempt } in outgoing.iter().map(OutgoingDelivery::tag) {
            self.inbound.handle_disposition(now, slot, token, attempt, Disposition::Untried, random);
        }
    }

    pub(super) fn set_handler(&mut self, SetHandler { topic, handler }: SetHandler) {
        let pause = match handler {
            Some((spec, sink)) => {
                let pause = self.subscribers.set(&topic, spec, sink);
                self.inbound.subscribe(topic, spec);
                pause
            }
            None => {
                self.inbound.unsubscribe(&topic);
                self.subscribers.remove(&topic)
            }
        };
        self.pause(pause);
    }

    fn pause(&mut self, pause: Option<Pause>) {
        if let Some(Pause { topic, is_paused }) = pause {
            self.inbound.set_paused(&topic, is_paused);
        }
    }

    /// Handles the report of a feeder.
    pub(super) fn take_report(&mut self, now: Instant, FeederReport { feeder, replies, stage }: FeederReport) {
        let pause = self.subscribers.report(feeder, &replies, stage);
        for reply in replies {
            self.take_reply(now, reply);
        }
        self.pause(pause);
    }

    fn take_reply(&mut self, now: Instant, ReplyRun { slot, tokens, attempt, disposition }: ReplyRun) {
        if disposition == Disposition::Done {
            self.tally.handled(self.inbound.handle_handled(now, slot, tokens, attempt));
            return;
        }
        let reason = match &disposition {
            Disposition::Failed { reason, .. } => Some(reason.clone()),
            Disposition::Done | Disposition::Untried => None,
        };
        if self.inbound.handle_disposition(now, slot, tokens.start, attempt, disposition, random)
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
