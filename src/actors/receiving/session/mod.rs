//! Session: one per peer that dials this node. It passes received frames to the receiving machine, hands messages to
//! subscribers, and passes their replies back.
//!
//! A session outlives its connections. A new connection of the peer replaces the old one, and a message that a subscriber
//! has at that time is not handed over a second time.

mod attach;
mod hand_over;
mod messages;
mod persist;

pub(crate) use messages::{Announce, Attach, Close, Drain, SetHandler};

use hand_over::{PendingBatch, RetiredSubscriber, Subscriber};
use messages::{Arrived, Ended, Writable, WriteSlot};

use crate::actors::connection::{Connection, ConnectionError, read_loop, write_loop};
use crate::actors::messages::{MeshEvent, Sink};
use crate::actors::node::peer_news::PeerNews;
use crate::actors::node::timer::Timer;
use crate::actors::node::{Node, count, random, wall_ms};
use crate::actors::receiving::subscriber::exchange::{FeederId, FeederReport};
use crate::actors::receiving::subscriber::handle::SubscriberHandle;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, PendingReplies, ReplyRun};
use crate::actors::storing::store::{Commit, OpenInbox};
use crate::stores::{DeadLetter, DeadLetterOrigin, LaneKey, Write};
use crate::types::{Cursor, Incarnation, LaneId, Message, MessageId, NodeId, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::Frame;
use crate::wire::inbound::{CursorStep, Disposition, HandOver, Inbound, InboundEvent, LaneSlot};
use actix::prelude::*;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// The actors a session sends to.
#[derive(Clone)]
pub(crate) struct SessionPeers {
    pub(crate) store: Recipient<Commit>,
    pub(crate) open: Recipient<OpenInbox>,
    pub(crate) system: Recipient<PeerNews>,
}

/// The longest wait for a peer to close its end.
const GOODBYE_PATIENCE: Duration = Duration::from_millis(500);

/// See the [module](self).
pub(crate) struct Session {
    node: Arc<Node>,
    peer: NodeId,
    peers: SessionPeers,
    inbound: Inbound,
    subscribers: HashMap<Topic, Subscriber>,
    keys: HashMap<LaneSlot, LaneKey>,
    /// Topics this node unsubscribed from and the peer has lanes for. The peer is notified on every connection.
    withdrawn: HashSet<Topic>,
    answers: PendingReplies,
    /// Messages on their way to mailboxes.
    handed: Vec<PendingBatch>,
    /// Former subscribers.
    retired: HashMap<FeederId, RetiredSubscriber>,
    /// The size of the last batch of a lane: memory for the next one is reserved accordingly.
    typical: usize,
    outlet: Option<Rc<WriteSlot>>,
    tasks: Vec<JoinHandle<()>>,
    generation: u64,
    timer: Timer,
    drained: Vec<futures::channel::oneshot::Sender<()>>,
    /// Set while the session closes. Dropping it notifies the waiting caller.
    closing: Option<futures::channel::oneshot::Sender<()>>,
    /// Whether a connection is up, for the listener.
    connected: Arc<AtomicBool>,
    /// This session, as the recipient of reports of feeders.
    fed: Recipient<FeederReport>,
    next_feed: FeederId,
    duplicates: u64,
    dropped: u64,
    untried: (u64, u64),
    uncounted: Uncounted,
}

/// Counts that are not added to the node's counters yet.
#[derive(Default)]
struct Uncounted {
    delivered: u64,
    bytes: u64,
    handled: u64,
}

impl Uncounted {
    fn deliver(&mut self, next: &HandOver) {
        self.delivered += 1;
        self.bytes += next.message.size() as u64;
    }
}

impl Session {
    pub(crate) fn new(
        node: Arc<Node>,
        peer: NodeId,
        peers: SessionPeers,
        handlers: &[SetHandler],
        connected: Arc<AtomicBool>,
        fed: Recipient<FeederReport>,
    ) -> Self {
        let inbound = Inbound::new(node.inbound(), node.id.clone(), peer.clone());
        let mut session = Session {
            node,
            peer,
            peers,
            inbound,
            subscribers: HashMap::new(),
            keys: HashMap::new(),
            withdrawn: HashSet::new(),
            answers: PendingReplies::default(),
            handed: Vec::new(),
            retired: HashMap::new(),
            typical: 0,
            outlet: None,
            tasks: Vec::new(),
            generation: 0,
            timer: Timer::default(),
            drained: Vec::new(),
            closing: None,
            connected,
            fed,
            next_feed: FeederId(0),
            duplicates: 0,
            dropped: 0,
            untried: (0, 0),
            uncounted: Uncounted::default(),
        };
        for handler in handlers {
            session.set_handler(handler.clone());
        }
        session
    }

    fn set_handler(&mut self, SetHandler { topic, handler }: SetHandler) {
        match handler {
            Some((spec, sink)) => {
                self.next_feed.0 += 1;
                let subscriber = Subscriber::new(sink, spec.in_flight, self.next_feed, self.fed.clone());
                let before = self.subscribers.insert(topic.clone(), subscriber);
                self.retire(&topic, before);
                self.inbound.subscribe(topic, spec);
            }
            None => {
                let before = self.subscribers.remove(&topic);
                self.retire(&topic, before);
                self.inbound.unsubscribe(&topic);
            }
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
        self.count();
        self.transmit();
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
        let Uncounted { delivered, bytes, handled } = std::mem::take(&mut self.uncounted);
        // Messages that came back untried were not delivered. They may be more than were delivered since: counters wrap.
        let (messages, untried_bytes) = (counts.untried - self.untried.0, counts.untried_bytes - self.untried.1);
        self.untried = (counts.untried, counts.untried_bytes);
        count(&self.node.counters.delivered, delivered.wrapping_sub(messages));
        count(&self.node.counters.bytes_delivered, bytes.wrapping_sub(untried_bytes));
        count(&self.node.counters.handled, handled);
    }

    fn arm(&mut self, ctx: &mut Context<Self>) {
        self.timer.arm(ctx, self.inbound.poll_timeout(), |actor, ctx| {
            actor.timer.fired();
            actor.inbound.handle_timeout(Instant::now(), random());
            actor.drive(ctx);
        });
    }

    fn act(&mut self, ctx: &mut Context<Self>, event: InboundEvent) {
        let peer = self.peer.clone();
        tracing::trace!(node = %self.node.id, %peer, ?event);
        match event {
            InboundEvent::OpenLane { slot, lane } => self.open(ctx, slot, lane),
            InboundEvent::Advance { slot, expected, cursor } => self.advance(ctx, slot, expected, cursor),
            InboundEvent::RecordAttempt { slot, token, place, attempts } => {
                let Cursor { incarnation, seq } = place;
                let write = |lane| Write::Attempt { lane, incarnation, seq, attempts };
                self.commit(ctx, slot, write, move |actor| actor.inbound.handle_recorded(slot, token));
            }
            InboundEvent::DeadLetter { slot, token, place, message, attempts, reason, advance } => {
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
                let advance = match advance {
                    CursorStep::Stay => None,
                    CursorStep::Advance { expected } => Some((expected, place)),
                };
                self.dead_letter(ctx, slot, token, letter, advance);
            }
            InboundEvent::Overdue { slot, token, attempt } => {
                let tag = DeliveryTag { token, attempt };
                count(&self.node.counters.nacked, 1);
                self.answers.forget(slot, tag);
                if let Some(Subscriber::Actor(feed)) = self.subscribers.get(self.inbound.lane(slot).topic()) {
                    feed.forget(slot, tag);
                }
            }
            InboundEvent::LaneRestarted(lane) => self.node.event(MeshEvent::LaneRestarted { lane }),
            InboundEvent::PeerSubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: true });
            }
            InboundEvent::PeerUnsubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: false });
            }
            InboundEvent::PeerClosed(code, text) => self.end(&format!("closed by the peer: {code:?} {text}")),
            InboundEvent::Silent => self.end("no sign of life"),
        }
    }

    fn end(&mut self, reason: &str) {
        tracing::info!(node = %self.node.id, peer = %self.peer, reason, "session closed");
        self.detach();
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(self.answers.clone());
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.feeds().for_each(SubscriberHandle::abandon);
    }
}

impl StreamHandler<Vec<ReplyRun>> for Session {
    fn handle(&mut self, answered: Vec<ReplyRun>, ctx: &mut Self::Context) {
        let now = Instant::now();
        for answered in answered {
            self.answered(now, answered);
        }
        self.drive(ctx);
    }

    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<FeederReport> for Session {
    type Result = ();

    fn handle(&mut self, fed: FeederReport, ctx: &mut Self::Context) {
        self.take_report(Instant::now(), fed);
        self.drive(ctx);
    }
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
        let mut lookup = None;
        for frame in codec::frames(&chunk) {
            result = match frame {
                Ok(frame) => self.take(now, &mut lookup, frame, &chunk),
                Err(error) => Err(LinkError::from(error)),
            };
            if result.is_err() {
                break;
            }
        }
        self.drive(ctx);
        result
    }
}

impl Handler<Ended> for Session {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Self::Context) {
        if ended.generation == self.generation {
            self.end(&ended.reason);
            if self.closing.is_some() {
                ctx.stop();
            }
            self.drive(ctx);
        }
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
        self.feeds().for_each(SubscriberHandle::give_back);
        self.drive(ctx);
        Box::pin(async move {
            let _ = drained.await;
        })
    }
}

impl Handler<Close> for Session {
    type Result = ResponseFuture<()>;

    /// The last bytes written, mostly acks, are lost if the socket is closed while the peer still sends. Therefore the peer is
    /// asked to close it.
    fn handle(&mut self, _: Close, ctx: &mut Self::Context) -> Self::Result {
        let (waiter, closed) = futures::channel::oneshot::channel();
        self.closing = Some(waiter);
        if self.outlet.is_some() {
            self.inbound.goodbye();
            self.transmit();
            ctx.run_later(GOODBYE_PATIENCE, |_, ctx| ctx.stop());
        } else {
            ctx.stop();
        }
        Box::pin(async move {
            let _ = closed.await;
        })
    }
}
