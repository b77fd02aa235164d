//! The subscribers of the nodes: they subscribe, handle messages, and leave.

use crate::counters::Hit;
use crate::node::Handed;
use crate::trace;
use crate::world::{Coming, World};
use bytes::Bytes;
use liner::Topic;
use liner::wire::error::LinkError;
use liner::wire::frame::Data;
use liner::wire::inbound::{Disposition, HandOver, LaneSlot, SubscriberSpec};
use std::collections::VecDeque;
use std::time::Duration;

/// Every so many messages, one that no subscriber can handle.
const POISON_EVERY: u64 = 17;

impl World {
    pub(crate) fn subscribe(&mut self, node: usize, topic: Topic) {
        let in_flight = [1, 1, 2, 5][self.rng.index(4)];
        let timeout = self.rng.chance(300).then(|| Duration::from_millis(30));
        let borrows = in_flight == 1 && timeout.is_none();
        let handler = SubscriberSpec { in_flight, timeout, borrows };
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.handlers.contains_key(&topic) {
            return;
        }
        process.handlers.insert(topic.clone(), handler);
        self.hits.hit(Hit::Subscribed);
        trace!(self, "node {node}: subscribes to {topic:?} with {handler:?}");
        self.publish_route(node, &topic);
        for peer in 0..self.plan.nodes {
            let Some(p) = self.peer(node, peer) else { continue };
            p.inn.subscribe(topic.clone(), handler);
            p.ahead.retain(|slot, _| *p.inn.lane(*slot).topic() != topic);
            p.inn.announce(topic.clone(), true);
            self.drive(node, peer);
        }
    }

    fn unsubscribe(&mut self, node: usize, topic: &Topic) {
        let Some(process) = &mut self.nodes[node].process else { return };
        if process.handlers.remove(topic).is_none() {
            return;
        }
        self.hits.hit(Hit::Unsubscribed);
        trace!(self, "node {node}: unsubscribes from {topic:?}");
        self.unpublish_route(node, topic, true);
        let (now, random) = (self.instant(), self.rng.next());
        for peer in 0..self.plan.nodes {
            let Some(p) = self.peer(node, peer) else { continue };
            p.inn.unsubscribe(topic);
            p.inn.announce(topic.clone(), false);
            self.give_back_all(node, peer, |of| of == topic);
            let Some(p) = self.peer(node, peer) else { continue };
            let mut returned: Vec<_> =
                p.handed.keys().copied().filter(|(slot, _)| p.inn.lane(*slot).topic() == topic).collect();
            returned.sort();
            for (slot, token) in &returned {
                let Some(Handed { attempt, borrowed, .. }) = p.handed.remove(&(*slot, *token)) else { continue };
                borrowed.into_iter().for_each(|message| p.inn.handle_return(*slot, *token, message));
                let answer = Disposition::Failed { delay: None, reason: "stopped".to_owned() };
                p.inn.handle_disposition(now, *slot, *token, attempt, answer, || random);
            }
            for _ in returned {
                self.hits.hit(Hit::Returned);
            }
            self.drive(node, peer);
        }
    }

    pub(crate) fn resubscribe(&mut self, node: usize) {
        let topic = self.plan.topics[self.rng.index(self.plan.topics.len())].clone();
        let has = self.nodes[node].process.as_ref().is_some_and(|p| p.handlers.contains_key(&topic));
        if has {
            self.unsubscribe(node, &topic);
        } else {
            self.hits.hit(Hit::TopicWithoutHandler);
            self.subscribe(node, topic);
        }
    }

    pub(crate) fn subscribe_all(&mut self, node: usize) {
        for topic in self.plan.topics.clone() {
            self.subscribe(node, topic);
        }
    }

    /// A message is handed over: it reaches its subscriber, or is held ready for it.
    pub(crate) fn hand_over(&mut self, node: usize, peer: usize, delivery: HandOver) {
        let ahead = u32::try_from(self.rng.below(4)).expect("small");
        let goes_ahead = self.rng.chance(100);
        let slot = delivery.slot;
        let is_free = self.is_free(node, peer, slot);
        let Some(p) = self.peer(node, peer) else { return };
        let topic = p.inn.lane(slot).topic().clone();
        let borrows = self.handler(node, &topic).is_some_and(|handler| handler.borrows);
        let Some(p) = self.peer(node, peer) else { return };
        if goes_ahead && !borrows && !p.ahead.contains_key(&slot) {
            p.inn.set_prefetch(slot, ahead);
            p.ahead.insert(slot, (ahead, VecDeque::new()));
        }
        let held = p.ahead.get_mut(&slot).filter(|(limit, ready)| ready.len() < *limit as usize);
        match held {
            Some((_, ready)) if !is_free || !ready.is_empty() => {
                ready.push_back(delivery);
                self.hits.hit(Hit::HeldReady);
            }
            _ => self.reaches(node, peer, delivery),
        }
    }

    /// Whether the subscriber of a lane may have one more of its messages.
    fn is_free(&mut self, node: usize, peer: usize, slot: LaneSlot) -> bool {
        let now = self.now;
        let Some(p) = self.peer(node, peer) else { return false };
        p.handed.retain(|_, h| h.until.is_none_or(|until| until > now));
        let has = p.handed.keys().filter(|(s, _)| *s == slot).count();
        let topic = p.inn.lane(slot).topic().clone();
        self.handler(node, &topic).is_some_and(|handler| has < handler.in_flight as usize)
    }

    fn handler(&self, node: usize, topic: &Topic) -> Option<SubscriberSpec> {
        self.nodes[node].process.as_ref()?.handlers.get(topic).copied()
    }

    /// Gives the messages back that are held ready for some topics.
    pub(crate) fn give_back_all(&mut self, node: usize, peer: usize, of: impl Fn(&Topic) -> bool) {
        let Some(p) = self.peer(node, peer) else { return };
        let mut slots: Vec<_> = p.ahead.keys().copied().filter(|slot| of(p.inn.lane(*slot).topic())).collect();
        slots.sort();
        for slot in slots {
            self.give_back(node, peer, slot);
        }
    }

    /// Gives the messages back that are held ready for a lane.
    fn give_back(&mut self, node: usize, peer: usize, slot: LaneSlot) {
        let (now, random) = (self.instant(), self.rng.next());
        let Some(p) = self.peer(node, peer) else { return };
        let Some((_, ready)) = p.ahead.get_mut(&slot) else { return };
        let ready = std::mem::take(ready);
        for delivery in &ready {
            p.inn.handle_disposition(now, slot, delivery.token, delivery.attempt, Disposition::Untried, || random);
        }
        ready.iter().for_each(|_| self.hits.hit(Hit::GivenBack));
    }

    /// Hands the subscriber the messages held ready for it, up to its limit.
    fn promote(&mut self, node: usize, peer: usize, slot: LaneSlot) {
        while self.is_free(node, peer, slot) {
            let ready = self.peer(node, peer).and_then(|p| p.ahead.get_mut(&slot));
            let Some(next) = ready.and_then(|(_, ready)| ready.pop_front()) else { return };
            self.reaches(node, peer, next);
        }
    }

    /// Gives a message to its subscriber, which will report what became of it.
    fn reaches(&mut self, node: usize, peer: usize, delivery: HandOver) {
        let Some(p) = self.peer(node, peer) else { return };
        let lane = p.inn.lane(delivery.slot).clone();
        let lane = self.lane_of[&lane];
        trace!(self, "node {node} from {peer}: lane {lane} hands over {delivery:?}");
        if (self.plan.lanes[lane].sender, self.plan.lanes[lane].receiver) != (peer, node) {
            self.checker.fail(2, format!("lane {lane}: delivered at node {node} from {peer}"));
        }
        let topic = self.plan.lanes[lane].topic.clone();
        let Some(handler) = self.handler(node, &topic) else {
            return self.checker.fail(13, format!("lane {lane}: handed over without a subscriber"));
        };
        let id = match delivery.place {
            Some(place) => {
                if delivery.redelivered {
                    self.hits.hit(Hit::RedeliveredHandOver);
                }
                if delivery.attempt > 1 {
                    self.hits.hit(Hit::LaterAttempt);
                }
                self.checker.handed_over(lane, place, delivery.redelivered, &delivery.message).map(|(id, _)| id)
            }
            None => {
                self.hits.hit(Hit::DirectHandOver);
                self.checker.handed_over_direct(lane, &delivery.message)
            }
        };
        let Some(id) = id else { return };
        self.next_id += 1;
        let (stamp, now) = (self.next_id, self.now);
        let HandOver { slot, token, place, attempt, message, .. } = delivery;
        let Some(p) = self.peer(node, peer) else { return };
        p.handed.retain(|_, h| h.until.is_none_or(|until| until > now));
        let until = handler.timeout.map(|t| now + t);
        p.handed.insert(
            (slot, token),
            Handed { stamp, attempt, lane, place, until, borrowed: handler.borrows.then_some(message) },
        );
        let handed = p.handed.keys().filter(|(s, _)| *s == slot).count();
        if handed > handler.in_flight as usize {
            self.checker.fail(5, format!("lane {lane}: {handed} messages are with a subscriber of {handler:?}"));
        }
        self.decide(node, peer, (slot, token, stamp), id, handler);
    }

    /// A message arrives, and a subscriber that borrows may be done with it at once.
    pub(crate) fn data_arrived(
        &mut self,
        node: usize,
        peer: usize,
        data: &Data<'_>,
        chunk: &Bytes,
    ) -> Result<(), LinkError> {
        let (now, random) = (self.instant(), self.rng.next());
        let id = data.payload.first_chunk::<8>().map_or(0, |id| u64::from_le_bytes(*id));
        let poison = self.plan.poison && id.is_multiple_of(POISON_EVERY);
        let handled = !poison && !self.rng.chance(self.plan.nack);
        let at_once = self.rng.chance(500);
        let mut passed = None;
        let Some(p) = self.peer(node, peer) else { return Ok(()) };
        let topic = p.inn.slot(data.lane).map(|slot| p.inn.lane(slot).topic().clone());
        let borrows = topic.and_then(|topic| self.handler(node, &topic)).is_some_and(|handler| handler.borrows);
        let Some(p) = self.peer(node, peer) else { return Ok(()) };
        if at_once && !borrows {
            let next = p.inn.handle_data_now(now, data, chunk)?;
            if let Some(next) = next {
                self.hits.hit(Hit::TakenAtOnce);
                self.hand_over(node, peer, next);
            }
            return Ok(());
        }
        let outcome = p.inn.handle_data_with(
            now,
            data,
            chunk,
            || random,
            |next| {
                passed = Some(next.clone());
                let answer = Disposition::Failed { delay: None, reason: "cannot".to_owned() };
                if handled { Ok(()) } else { Err((next.message, answer)) }
            },
        );
        let Some(next) = passed else { return outcome };
        let lane = p.inn.lane(next.slot).clone();
        let lane = self.lane_of[&lane];
        trace!(self, "node {node} from {peer}: lane {lane} passes {next:?} on, handled: {handled}");
        self.hits.hit(if handled { Hit::PassedOn } else { Hit::PassedOnAndNacked });
        match next.place {
            Some(place) => {
                self.checker.handed_over(lane, place, next.redelivered, &next.message);
                if handled {
                    self.checker.handled(lane, place);
                }
            }
            None => drop(self.checker.handed_over_direct(lane, &next.message)),
        }
        outcome
    }

    fn decide(
        &mut self,
        node: usize,
        peer: usize,
        (slot, token, stamp): (LaneSlot, u64, u64),
        id: u64,
        handler: SubscriberSpec,
    ) {
        let process = self.process_no(node);
        let poison = self.plan.poison && id.is_multiple_of(POISON_EVERY);
        let reason = || "cannot".to_owned();
        let answer = if poison {
            self.hits.hit(Hit::Poison);
            Disposition::Failed { delay: None, reason: reason() }
        } else if self.rng.chance(self.plan.nack) {
            let delay = self.rng.chance(400).then(|| self.rng.millis(0, 30));
            self.hits.hit(if delay.is_some() { Hit::NackWithDelay } else { Hit::Nack });
            Disposition::Failed { delay, reason: reason() }
        } else {
            Disposition::Done
        };
        let mut wait = match self.rng.below(3) {
            0 => Duration::ZERO,
            1 => self.rng.micros(10, 500),
            _ if self.plan.slow_handlers => self.rng.millis(1, 25),
            _ => self.rng.micros(10, 3000),
        };
        if handler.timeout.is_some() && self.rng.chance(self.plan.nack / 4) {
            self.hits.hit(Hit::HandlerTimeout);
            wait += Duration::from_millis(40);
        }
        self.after(wait, Coming::Disposition { node, process, peer, slot, token, stamp, answer });
    }

    pub(crate) fn answered(
        &mut self,
        node: usize,
        peer: usize,
        slot: LaneSlot,
        token: u64,
        stamp: u64,
        answer: Disposition,
    ) {
        let (now, virtual_now, random) = (self.instant(), self.now, self.rng.next());
        let Some(p) = self.peer(node, peer) else { return };
        let current = p.handed.get(&(slot, token));
        let Some(handed) = current.filter(|h| h.stamp == stamp && h.until.is_none_or(|u| u > virtual_now)) else {
            return;
        };
        let (lane, place, attempt) = (handed.lane, handed.place, handed.attempt);
        let borrowed = p.handed.remove(&(slot, token)).and_then(|handed| handed.borrowed);
        if answer != Disposition::Done {
            borrowed.into_iter().for_each(|message| p.inn.handle_return(slot, token, message));
        }
        trace!(self, "node {node} from {peer}: lane {lane} {place:?} is answered {answer:?}");
        if let (Disposition::Done, Some(place)) = (&answer, place) {
            self.checker.handled(lane, place);
        }
        let has_failed = matches!(answer, Disposition::Failed { .. });
        if let Some(p) = self.peer(node, peer) {
            if answer == Disposition::Done {
                p.inn.handle_handled(now, slot, token..token + 1, attempt);
            } else {
                p.inn.handle_disposition(now, slot, token, attempt, answer, || random);
            }
        }
        if has_failed {
            self.give_back(node, peer, slot);
        }
        self.promote(node, peer, slot);
        self.drive(node, peer);
    }
}
