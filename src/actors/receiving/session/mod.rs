//! Session: one per peer that dials this node. It passes received frames to the receiving machine, hands messages to
//! subscribers, and passes their replies back.
//!
//! A session outlives its connections. A new connection of the peer replaces the old one, and a message that a subscriber
//! has at that time is not handed over a second time.

mod attachment;
mod hand_over;
mod messages;
mod persist;
mod subscribers;
mod tally;

pub(crate) use messages::{Announce, Attach, Close, Drain, SetHandler};

use attachment::Attachment;
use hand_over::PendingBatches;
use messages::{Arrived, Writable};
use subscribers::{Subscriber, Subscribers};
use tally::Tally;

use crate::actors::connection::ConnectionEnded;
use crate::actors::messages::MeshEvent;
use crate::actors::node::peer_news::PeerNews;
use crate::actors::node::timer::Timer;
use crate::actors::node::{Node, count, random, wall_ms};
use crate::actors::receiving::subscriber::exchange::FeederReport;
use crate::actors::receiving::subscriber::handle::SubscriberHandle;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, ReplyRun};
use crate::actors::storing::store::{Commit, OpenInbox};
use crate::stores::{DeadLetter, DeadLetterOrigin, LaneKey, Write};
use crate::types::{Cursor, Incarnation, LaneId, Message, MessageId, NodeId, Seq, Topic};
use crate::wire::codec;
use crate::wire::error::LinkError;
use crate::wire::frame::Frame;
use crate::wire::inbound::{CursorStep, Disposition, HandOver, Inbound, InboundEvent, LaneSlot};
use actix::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

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
    attachment: Attachment,
    inbound: Inbound,
    subscribers: Subscribers,
    /// Messages on their way to feeders.
    batches: PendingBatches,
    keys: HashMap<LaneSlot, LaneKey>,
    /// Topics this node unsubscribed from and the peer has lanes for. The peer is notified on every connection.
    withdrawn: HashSet<Topic>,
    timer: Timer,
    drain_waiters: Vec<futures::channel::oneshot::Sender<()>>,
    /// Set while the session closes. Dropping it notifies the waiting caller.
    closing: Option<futures::channel::oneshot::Sender<()>>,
    tally: Tally,
}

impl Session {
    pub(crate) fn new(
        node: Arc<Node>,
        peer: NodeId,
        peers: SessionPeers,
        handlers: &[SetHandler],
        connected: Arc<AtomicBool>,
        reports: Recipient<FeederReport>,
    ) -> Self {
        let inbound = Inbound::new(node.inbound(), node.id.clone(), peer.clone());
        let mut session = Session {
            node,
            peer,
            peers,
            attachment: Attachment::new(connected),
            inbound,
            subscribers: Subscribers::new(reports),
            batches: PendingBatches::default(),
            keys: HashMap::new(),
            withdrawn: HashSet::new(),
            timer: Timer::default(),
            drain_waiters: Vec::new(),
            closing: None,
            tally: Tally::default(),
        };
        for handler in handlers {
            session.set_handler(handler.clone());
        }
        session
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
        self.tally.add_to(&self.node.counters, self.inbound.counts());
        self.transmit();
        self.arm(ctx);
        if !self.drain_waiters.is_empty() && self.inbound.is_settled() {
            for waiter in self.drain_waiters.drain(..) {
                let _ = waiter.send(());
            }
        }
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
                count(&self.node.counters.nacked, 1);
                self.subscribers.forget(self.inbound.lane(slot).topic(), slot, DeliveryTag { token, attempt });
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

    fn stopped(&mut self, _: &mut Self::Context) {
        self.subscribers.abandon();
    }
}

impl Handler<FeederReport> for Session {
    type Result = ();

    fn handle(&mut self, report: FeederReport, ctx: &mut Self::Context) {
        self.take_report(Instant::now(), report);
        self.drive(ctx);
    }
}

impl Handler<Arrived> for Session {
    type Result = Result<(), LinkError>;

    fn handle(&mut self, Arrived { generation, chunk }: Arrived, ctx: &mut Self::Context) -> Self::Result {
        if !self.attachment.is_current(generation) {
            return Ok(());
        }
        let now = Instant::now();
        self.inbound.handle_heard(now);
        let mut result = Ok(());
        let mut lookup = None;
        for frame in codec::frames(&chunk) {
            result = match frame {
                Ok(frame) => self.handle_frame(now, &mut lookup, frame, &chunk),
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

impl Handler<ConnectionEnded> for Session {
    type Result = ();

    fn handle(&mut self, ended: ConnectionEnded, ctx: &mut Self::Context) {
        if self.attachment.is_current(ended.generation) {
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
        let (waiter, drain_waiters) = futures::channel::oneshot::channel();
        self.drain_waiters.push(waiter);
        self.inbound.drain();
        self.subscribers.fed().for_each(SubscriberHandle::give_back);
        self.drive(ctx);
        Box::pin(async move {
            let _ = drain_waiters.await;
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
        if self.attachment.is_open() {
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
