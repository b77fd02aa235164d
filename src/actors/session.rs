//! Session: one per peer that dials this node. It feeds what arrives to the receiving machine, hands messages to
//! subscribers, and carries their answers back.
//!
//! It outlives its connections: a peer's new connection replaces the old one here, and a message that is with a
//! subscriber meanwhile is not handed over a second time.

use super::answers::{Answered, Answers, answer};
use super::connection::{Connection, ConnectionError, read_loop, write_loop};
use super::messages::{Delivery, DeliveryBatch, MeshEvent, Nack, Sink};
use super::node::{Node, count, random, wall_ms};
use super::sender::{PeerNews, gone};
use super::store::{Commit, OpenInbox};
use crate::stores::{DeadLetter, DeadLetterOrigin, LaneKey, Write};
use crate::types::{Cursor, Incarnation, LaneId, MessageId, NodeId, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::inbound::{Answer, Event, HandOver, Handler as Spec, Inbound, Slot};
use actix::dev::RecipientRequest;
use actix::prelude::*;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinHandle;

/// A connection of this peer, its handshake done.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Attach {
    pub(super) connection: Connection,
    /// Its place among the connections this node takes.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Who takes the messages of a topic, or nobody any more.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(super) struct SetHandler {
    pub(super) topic: Topic,
    pub(super) handler: Option<(Spec, Sink)>,
}

/// Tell the peer that this node serves a topic, or does not any more.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(super) struct Announce {
    pub(super) topic: Topic,
    pub(super) serves: bool,
}

/// Hand nothing over any more; answered when all is handled, committed and acked as far as it goes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Drain;

/// Close the connection and stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Close;

/// Whole frames that arrived.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), LinkError>")]
struct Arrived {
    generation: u64,
    chunk: Bytes,
}

/// The write loop has taken what was there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Writable;

/// A connection ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Ended {
    generation: u64,
    reason: String,
}

/// What goes to the write loop: one buffer at a time, so that acks gather in the machine while the socket is busy.
#[derive(Default)]
struct Outlet {
    bytes: RefCell<Option<Bytes>>,
    ready: Notify,
    /// The session had more.
    starved: Cell<bool>,
}

/// Whom a session talks to.
#[derive(Clone)]
pub(super) struct SessionPeers {
    pub(super) store: Recipient<Commit>,
    pub(super) open: Recipient<OpenInbox>,
    pub(super) system: Recipient<PeerNews>,
}

/// See the [module](self).
pub(super) struct Session {
    node: Arc<Node>,
    peer: NodeId,
    peers: SessionPeers,
    inbound: Inbound,
    sinks: HashMap<Topic, Sink>,
    keys: HashMap<Slot, LaneKey>,
    /// Topics this node unsubscribed from that the peer has lanes for: it is told on every connection.
    withdrawn: HashSet<Topic>,
    answers: Answers,
    outlet: Option<Rc<Outlet>>,
    tasks: Vec<JoinHandle<()>>,
    generation: u64,
    timer: Option<(Instant, SpawnHandle)>,
    drained: Vec<futures::channel::oneshot::Sender<()>>,
    /// Whether a connection is up, for the listener.
    connected: Arc<AtomicBool>,
    duplicates: u64,
    dropped: u64,
}

impl Session {
    pub(super) fn new(
        node: Arc<Node>,
        peer: NodeId,
        peers: SessionPeers,
        handlers: &[SetHandler],
        connected: Arc<AtomicBool>,
    ) -> Self {
        let inbound = Inbound::new(node.inbound(), node.id.clone(), peer.clone());
        let mut session = Session {
            node,
            peer,
            peers,
            inbound,
            sinks: HashMap::new(),
            keys: HashMap::new(),
            withdrawn: HashSet::new(),
            answers: Answers::default(),
            outlet: None,
            tasks: Vec::new(),
            generation: 0,
            timer: None,
            drained: Vec::new(),
            connected,
            duplicates: 0,
            dropped: 0,
        };
        for handler in handlers {
            session.set_handler(handler.clone());
        }
        session
    }

    fn set_handler(&mut self, SetHandler { topic, handler }: SetHandler) {
        match handler {
            Some((spec, sink)) => {
                self.sinks.insert(topic.clone(), sink);
                self.inbound.subscribe(topic, spec);
            }
            None => {
                self.sinks.remove(&topic);
                self.inbound.unsubscribe(&topic);
            }
        }
    }

    // ---- the connection ----

    fn attach(&mut self, ctx: &mut Context<Self>, Attach { connection, permit }: Attach) {
        self.detach();
        self.connected.store(true, Ordering::Release);
        let Connection { stream, decoder } = connection;
        self.inbound.handle_connected(Instant::now());
        for topic in &self.withdrawn {
            self.inbound.announce(topic.clone(), false);
        }
        let generation = self.generation;
        let outlet = Rc::new(Outlet::default());
        self.outlet = Some(outlet.clone());
        let (reader, writer) = stream.into_split();
        let addr = ctx.address();
        let read = async move {
            let take = |chunk| {
                let arrived = addr.send(Arrived { generation, chunk });
                async move { arrived.await.map_err(|_| ConnectionError::Closed)?.map_err(ConnectionError::from) }
            };
            let reason = read_loop(reader, decoder, take).await.to_string();
            addr.do_send(Ended { generation, reason });
            drop(permit);
        };
        let addr = ctx.address();
        let write = async move {
            let next = || {
                let bytes = outlet.bytes.take();
                if bytes.is_some() && outlet.starved.take() {
                    addr.do_send(Writable);
                }
                bytes
            };
            let error = write_loop(writer, next, || outlet.ready.notified()).await;
            addr.do_send(Ended { generation, reason: error.to_string() });
        };
        self.tasks = vec![actix_rt::spawn(read), actix_rt::spawn(write)];
        tracing::info!(node = %self.node.id, peer = %self.peer, "session open");
        self.drive(ctx);
    }

    /// Ends the connection, if there is one.
    fn detach(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.connected.store(false, Ordering::Release);
        self.outlet = None;
        self.generation += 1;
        self.inbound.handle_disconnected();
    }

    fn transmit(&mut self) {
        let Some(outlet) = &self.outlet else { return };
        if outlet.bytes.borrow().is_some() {
            outlet.starved.set(true);
        } else if let Some(bytes) = self.inbound.poll_transmit() {
            outlet.bytes.replace(Some(bytes));
            outlet.ready.notify_one();
        }
    }

    // ---- the machine ----

    fn drive(&mut self, ctx: &mut Context<Self>) {
        loop {
            self.hand_over_all();
            let Some(event) = self.inbound.poll_event() else { break };
            self.act(ctx, event);
            while let Some(event) = self.inbound.poll_event() {
                self.act(ctx, event);
            }
        }
        self.transmit();
        self.count();
        self.arm(ctx);
        if !self.drained.is_empty() && self.inbound.is_settled() {
            for waiter in self.drained.drain(..) {
                let _ = waiter.send(());
            }
        }
    }

    fn count(&mut self) {
        let counts = self.inbound.counts();
        count(&self.node.counters.duplicates, counts.duplicates - self.duplicates);
        count(&self.node.counters.dropped, counts.dropped - self.dropped);
        (self.duplicates, self.dropped) = (counts.duplicates, counts.dropped);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.inbound.poll_timeout();
        if self.timer.is_some_and(|(at, _)| Some(at) == deadline) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = deadline.map(|at| {
            let timer = ctx.run_later(at.saturating_duration_since(Instant::now()), |actor, ctx| {
                actor.timer = None;
                actor.inbound.handle_timeout(Instant::now(), random());
                actor.drive(ctx);
            });
            (at, timer)
        });
    }

    /// Hands over whatever may be. Messages for a batch subscriber are gathered by lane first.
    fn hand_over_all(&mut self) {
        let now = Instant::now();
        let mut batches: Vec<(Slot, Vec<u64>, Vec<Delivery>)> = Vec::new();
        while let Some(next) = self.inbound.poll_delivery(now) {
            let HandOver { slot, token, .. } = next;
            let topic = next.lane.topic().clone();
            let delivery = delivery(next);
            count(&self.node.counters.delivered, 1);
            let size = delivery.payload.len() + delivery.headers.encoded().len();
            count(&self.node.counters.bytes_delivered, size as u64);
            match self.sinks.get(&topic) {
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
                Some(Sink::Actor(_)) | None => self.sink_gone(now, &topic, slot, token),
            }
        }
        for (slot, tokens, deliveries) in batches {
            self.hand_over_batch(now, slot, tokens, deliveries);
        }
    }

    fn hand_over_batch(&mut self, now: Instant, slot: Slot, tokens: Vec<u64>, deliveries: Vec<Delivery>) {
        let topic = self.inbound.lane(slot).topic().clone();
        match self.sinks.get(&topic) {
            Some(Sink::Batch(recipient)) if recipient.connected() => {
                self.answers.await_many(slot, tokens, send_unparked(recipient, DeliveryBatch(deliveries)));
            }
            _ => tokens.into_iter().for_each(|token| self.sink_gone(now, &topic, slot, token)),
        }
    }

    /// The subscriber's actor has stopped: what it was to get waits for the next subscriber.
    fn sink_gone(&mut self, now: Instant, topic: &Topic, slot: Slot, token: u64) {
        self.set_handler(SetHandler { topic: topic.clone(), handler: None });
        self.inbound.handle_answer(now, slot, token, Answer::Returned, 0);
    }

    fn answered(&mut self, now: Instant, slot: Slot, token: u64, answer: Answer) {
        match &answer {
            Answer::Done => count(&self.node.counters.handled, 1),
            Answer::Failed { reason, .. } => {
                tracing::debug!(node = %self.node.id, lane = %self.inbound.lane(slot), reason, "nack");
                count(&self.node.counters.nacked, 1);
            }
            Answer::Returned => {}
        }
        self.inbound.handle_answer(now, slot, token, answer, random());
    }

    fn act(&mut self, ctx: &mut Context<Self>, event: Event) {
        let peer = self.peer.clone();
        tracing::trace!(node = %self.node.id, %peer, ?event);
        match event {
            Event::OpenLane { slot, lane } => self.open(ctx, slot, lane),
            Event::Advance { slot, expected, cursor } => self.advance(ctx, slot, expected, cursor),
            Event::RecordAttempt { slot, token, place, attempts } => {
                let Cursor { incarnation, seq } = place;
                let write = |lane| Write::Attempt { lane, incarnation, seq, attempts };
                self.commit(ctx, slot, write, move |actor| actor.inbound.handle_recorded(slot, token));
            }
            Event::DeadLetter { slot, token, place, message, attempts, reason, advance } => {
                let letter = DeadLetter {
                    id: MessageId {
                        lane: self.inbound.lane(slot).clone(),
                        incarnation: place.incarnation,
                        seq: place.seq,
                    },
                    origin: DeadLetterOrigin::Handler,
                    message,
                    reason,
                    attempts,
                    died_ms: wall_ms(),
                };
                self.dead_letter(ctx, slot, token, letter, advance.map(|expected| (expected, place)));
            }
            Event::LaneRestarted(lane) => self.node.event(MeshEvent::LaneRestarted(lane)),
            Event::PeerSubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: true });
            }
            Event::PeerUnsubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: false });
            }
            Event::PeerClosed(code, text) => self.end(&format!("closed by the peer: {code:?} {text}")),
            Event::Silent => self.end("no sign of life"),
        }
    }

    fn end(&mut self, reason: &str) {
        tracing::info!(node = %self.node.id, peer = %self.peer, reason, "session closed");
        self.detach();
    }

    fn open(&mut self, ctx: &mut Context<Self>, slot: Slot, lane: LaneId) {
        let open = self.peers.open.send(OpenInbox { lane: lane.clone() });
        ctx.spawn(open.into_actor(self).map(
            move |result, actor, ctx| match result.unwrap_or_else(|e| Err(gone(&e))) {
                Ok(found) => {
                    actor.check_withdrawn(ctx, lane.topic().clone());
                    actor.keys.insert(slot, found.key);
                    actor.inbound.handle_opened(slot, found.cursor, found.attempts);
                    actor.drive(ctx);
                }
                Err(error) => {
                    actor.node.store_failed(&error);
                    if error.is_retryable() {
                        let wait = actor.node.config.timing.store_retry;
                        ctx.run_later(wait, move |actor, ctx| actor.open(ctx, slot, lane));
                    }
                }
            },
        ));
    }

    /// A process of this name may have unsubscribed from the topic while the peer was away.
    fn check_withdrawn(&mut self, ctx: &mut Context<Self>, topic: Topic) {
        let node = self.node.clone();
        let look = async move {
            let entry = node.store.topic(&topic).await;
            let withdrawn = entry.is_ok_and(|entry| entry.tombstones.contains(&node.id));
            (topic, withdrawn)
        };
        ctx.spawn(look.into_actor(self).map(|(topic, withdrawn), actor, ctx| {
            if withdrawn && actor.withdrawn.insert(topic.clone()) {
                actor.inbound.announce(topic, false);
                actor.drive(ctx);
            }
        }));
    }

    fn advance(&mut self, ctx: &mut Context<Self>, slot: Slot, expected: Option<Incarnation>, cursor: Cursor) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let commit = self.peers.store.send(Commit::persistent(vec![Write::Advance { lane, expected, cursor }]));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            let Ok(Ok(committed)) = result else { return };
            if committed.stale.contains(&lane) {
                actor.reread(ctx, slot);
            } else {
                actor.inbound.handle_advanced(slot, Ok(()));
                actor.drive(ctx);
            }
        }));
    }

    /// The stored cursor is not what was expected: find out what it is.
    fn reread(&mut self, ctx: &mut Context<Self>, slot: Slot) {
        let open = self.peers.open.send(OpenInbox { lane: self.inbound.lane(slot).clone() });
        ctx.spawn(open.into_actor(self).map(move |result, actor, ctx| match result {
            Ok(Ok(found)) => {
                actor.keys.insert(slot, found.key);
                actor.inbound.handle_advanced(slot, Err(found.cursor));
                actor.drive(ctx);
            }
            _ => {
                let wait = actor.node.config.timing.store_retry;
                ctx.run_later(wait, move |actor, ctx| actor.reread(ctx, slot));
            }
        }));
    }

    fn commit(
        &mut self,
        ctx: &mut Context<Self>,
        slot: Slot,
        write: impl FnOnce(LaneKey) -> Write,
        done: impl FnOnce(&mut Self) + 'static,
    ) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let commit = self.peers.store.send(Commit::persistent(vec![write(lane)]));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            if let Ok(Ok(_)) = result {
                done(actor);
                actor.drive(ctx);
            }
        }));
    }

    fn dead_letter(
        &mut self,
        ctx: &mut Context<Self>,
        slot: Slot,
        token: u64,
        letter: DeadLetter,
        advance: Option<(Option<Incarnation>, Cursor)>,
    ) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let (id, reason) = (letter.id.lane.clone(), letter.reason.clone());
        let mut writes = vec![Write::DeadLetter(Box::new(letter))];
        writes.extend(advance.map(|(expected, cursor)| Write::Advance { lane, expected, cursor }));
        let commit = self.peers.store.send(Commit::persistent(writes));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            if let Ok(Ok(_)) = result {
                count(&actor.node.counters.dead_lettered, 1);
                actor.node.event(MeshEvent::DeadLettered(id, reason));
                actor.inbound.handle_dead_lettered(Instant::now(), slot, token);
                actor.drive(ctx);
            }
        }));
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

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.answers.clone());
    }
}

impl StreamHandler<Vec<Answered>> for Session {
    fn handle(&mut self, answered: Vec<Answered>, ctx: &mut Self::Context) {
        let now = Instant::now();
        for Answered { slot, token, answer } in answered {
            self.answered(now, slot, token, answer);
        }
        self.drive(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Arrived> for Session {
    type Result = Result<(), LinkError>;

    fn handle(&mut self, Arrived { generation, chunk }: Arrived, ctx: &mut Self::Context) -> Self::Result {
        if generation != self.generation {
            return Ok(());
        }
        let now = Instant::now();
        self.inbound.handle_heard(now);
        let mut result = Ok(());
        for frame in codec::frames(&chunk) {
            let taken = frame.map_err(LinkError::from).and_then(|f| self.inbound.handle_frame(now, f, &chunk));
            if taken.is_err() {
                result = taken;
                break;
            }
        }
        self.drive(ctx);
        result
    }
}

impl Handler<Attach> for Session {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        self.attach(ctx, attach);
    }
}

impl Handler<Ended> for Session {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        if ended.generation == self.generation {
            self.end(&ended.reason);
            self.drive(ctx);
        }
    }
}

impl Handler<Writable> for Session {
    type Result = ();

    fn handle(&mut self, _: Writable, _: &mut Self::Context) {
        self.transmit();
    }
}

impl Handler<SetHandler> for Session {
    type Result = ();

    fn handle(&mut self, handler: SetHandler, ctx: &mut Self::Context) {
        self.set_handler(handler);
        self.drive(ctx);
    }
}

impl Handler<Announce> for Session {
    type Result = ();

    fn handle(&mut self, Announce { topic, serves }: Announce, ctx: &mut Self::Context) {
        if serves {
            self.withdrawn.remove(&topic);
        } else {
            self.withdrawn.insert(topic.clone());
        }
        self.inbound.announce(topic, serves);
        self.drive(ctx);
    }
}

impl Handler<Drain> for Session {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, ctx: &mut Self::Context) -> Self::Result {
        let (waiter, drained) = futures::channel::oneshot::channel();
        self.drained.push(waiter);
        self.inbound.drain();
        self.drive(ctx);
        Box::pin(async move {
            let _ = drained.await;
        })
    }
}

impl Handler<Close> for Session {
    type Result = ();

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) {
        self.detach();
        ctx.terminate();
    }
}
