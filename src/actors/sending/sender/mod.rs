//! Sender: one per peer. It dials, backs off and dials again, carries bytes between the connection and the link's
//! machine, and carries out what the machine asks for.

mod refused_message;

use crate::actors::connection::{Connection, ConnectionEnded, ConnectionError, dial, read_loop, write_loop};
use crate::actors::messages::MeshEvent;
use crate::actors::node::peer_news::PeerNews;
use crate::actors::node::timer::Timer;
use crate::actors::node::{Node, count, random, wall_ms};
use crate::actors::sending::link::{Drive, Link};
use crate::actors::storing::ack_tracker::{Acked, AckedBatch, LinkIdle};
use crate::actors::storing::store::{Commit, Load, store_gone};
use crate::stores::{DeadLetter, DeadLetterOrigin, Page, PageLimit, StoreError, Stored, Write};
use crate::types::{Incarnation, Message as Body, MessageId, Seq};
use crate::wire::backoff::Backoff;
use crate::wire::frame::{CloseCode, LaneIx, RefuseCode, Welcome};
use crate::wire::outbound::{AppendOutcome, LoadedPage, Numbered, OutboundEvent, PeerLimits};
use actix::prelude::*;
use refused_message::RefusedMessage;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinHandle;

/// Dial now: an address is new, or the peer has just been heard of.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DialNow;

/// Close the connection and stop.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stop;

/// Whom a sender talks to.
#[derive(Clone)]
pub(crate) struct SenderPeers {
    pub(crate) store: Recipient<Commit>,
    pub(crate) load: Recipient<Load>,
    pub(crate) acks: Recipient<AckedBatch>,
    pub(crate) idle: Recipient<LinkIdle>,
    pub(crate) system: Recipient<PeerNews>,
}

enum SenderState {
    /// Waits for the next attempt, or for an address.
    Waiting,
    Dialing,
    Connected {
        tasks: [JoinHandle<()>; 2],
    },
    /// For good.
    Stopped,
}

/// See the [module](self).
pub(crate) struct Sender {
    node: Arc<Node>,
    link: Arc<Link>,
    peers: SenderPeers,
    state: SenderState,
    backoff: Backoff,
    redial: Option<SpawnHandle>,
    timer: Timer,
    /// Counts connections, so that news of an old one is recognised.
    generation: u64,
}

impl Sender {
    pub(crate) fn new(node: Arc<Node>, link: Arc<Link>, peers: SenderPeers) -> Self {
        let timing = &node.config.timing;
        let backoff = Backoff::new(timing.redial_backoff_min, timing.redial_backoff_max);
        Sender {
            node,
            link,
            peers,
            state: SenderState::Waiting,
            backoff,
            redial: None,
            timer: Timer::default(),
            generation: 0,
        }
    }

    // ---- the connection ----

    fn dial(&mut self, ctx: &mut Context<Self>) {
        if !matches!(self.state, SenderState::Waiting) {
            return;
        }
        if let Some(redial) = self.redial.take() {
            ctx.cancel_future(redial);
        }
        let addrs = self.link.addrs();
        if addrs.is_empty() {
            return;
        }
        self.state = SenderState::Dialing;
        self.link.dialing();
        let (node, peer) = (self.node.clone(), self.link.peer.clone());
        let attempt = async move { dial(&node, &peer, &addrs).await };
        ctx.spawn(attempt.into_actor(self).map(|result, actor, ctx| match result {
            _ if matches!(actor.state, SenderState::Stopped) => {}
            Ok((connection, welcome)) => actor.connected(ctx, connection, welcome),
            Err(error) => actor.dial_failed(ctx, error),
        }));
    }

    fn dial_failed(&mut self, ctx: &mut Context<Self>, error: ConnectionError) {
        tracing::debug!(node = %self.node.id, peer = %self.link.peer, %error, "dialling failed");
        match &error {
            ConnectionError::Refused(CloseCode::Fenced, _) => self.check_fence(ctx),
            ConnectionError::Refused(CloseCode::NameConflict, _) => {
                self.node.event(MeshEvent::NameConflict { peer: self.link.peer.clone() });
            }
            _ => {}
        }
        self.node.event(MeshEvent::DialFailed { peer: self.link.peer.clone(), reason: error.to_string() });
        self.link.dial_failed();
        self.wait(ctx);
        self.drive(ctx);
    }

    fn wait(&mut self, ctx: &mut Context<Self>) {
        self.state = SenderState::Waiting;
        let delay = self.backoff.next_delay(random());
        self.redial = Some(ctx.run_later(delay, |actor, ctx| {
            actor.redial = None;
            actor.dial(ctx);
        }));
    }

    fn connected(&mut self, ctx: &mut Context<Self>, connection: Connection, welcome: Welcome) {
        self.backoff.reset();
        self.generation += 1;
        let generation = self.generation;
        self.link.connected(PeerLimits { max_frame: welcome.max_frame, max_message: welcome.max_message });
        let Connection { stream, decoder } = connection;
        let (reader, writer) = stream.into_split();
        let (link, addr) = (self.link.clone(), ctx.address());
        let read = async move {
            let take = |chunk| {
                let received = link.receive(&chunk);
                addr.do_send(Drive);
                std::future::ready(received.map_err(ConnectionError::from))
            };
            let reason = read_loop(reader, decoder, take).await.to_string();
            addr.do_send(ConnectionEnded { generation, reason });
        };
        let (link, addr) = (self.link.clone(), ctx.address());
        let write = async move {
            let done = |bytes| link.transmitted(bytes);
            let error = write_loop(writer, || link.poll_transmit(), done, || link.flow.transmit()).await;
            addr.do_send(ConnectionEnded { generation, reason: error.to_string() });
        };
        self.state = SenderState::Connected { tasks: [actix_rt::spawn(read), actix_rt::spawn(write)] };
        let peer = self.link.peer.clone();
        tracing::info!(node = %self.node.id, %peer, "link up");
        self.node.event(MeshEvent::PeerUp { peer: peer.clone() });
        let Welcome { topic, addr, store, .. } = welcome;
        self.peers.system.do_send(PeerNews::Met { node: peer, topic, addr, store });
        self.drive(ctx);
    }

    fn disconnect(&mut self, ctx: &mut Context<Self>, reason: &str) {
        let SenderState::Connected { tasks } = &self.state else { return };
        for task in tasks {
            task.abort();
        }
        self.generation += 1;
        self.link.disconnected();
        let peer = self.link.peer.clone();
        tracing::info!(node = %self.node.id, %peer, reason, "link lost");
        self.node.event(MeshEvent::PeerDown { peer: peer.clone(), reason: reason.to_owned() });
        self.peers.idle.do_send(LinkIdle(peer));
        self.wait(ctx);
        self.drive(ctx);
    }

    /// A peer says that a newer process has this node's name. Only the store knows.
    fn check_fence(&self, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        let check = async move {
            if let Err(error) = node.store.renew(&node.fence, node.config.timing.lease).await {
                node.store_failed(&error);
            }
        };
        ctx.spawn(check.into_actor(self));
    }

    // ---- the machine ----

    fn drive(&mut self, ctx: &mut Context<Self>) {
        let (events, deadline) = self.link.drive(Instant::now());
        let mut acked = Vec::new();
        for event in events {
            if let Some(ack) = self.act(ctx, event) {
                acked.push(ack);
            }
        }
        if !acked.is_empty() {
            self.peers.acks.do_send(AckedBatch(acked));
            if self.node.is_closing() && !self.link.has_work() {
                self.peers.idle.do_send(LinkIdle(self.link.peer.clone()));
            }
        }
        self.timer.arm(ctx, deadline, |actor, ctx| {
            actor.timer.fired();
            actor.drive(ctx);
        });
    }

    fn act(&mut self, ctx: &mut Context<Self>, event: OutboundEvent) -> Option<Acked> {
        let peer = self.link.peer.clone();
        tracing::trace!(node = %self.node.id, %peer, ?event);
        match event {
            OutboundEvent::Append { lane, messages, synced } => self.append(ctx, lane, messages, synced),
            OutboundEvent::Load { lane, id, after } => self.load(ctx, lane, id, after),
            OutboundEvent::Acked { lane, through, amount, has_rows } => {
                count(&self.node.counters.acked, amount.messages);
                return self.link.lane(lane).0.map(|lane| Acked { lane, through, has_rows });
            }
            OutboundEvent::Refused { lane, seq, incarnation, message, code, text } => {
                self.refused(ctx, lane, RefusedMessage { seq, incarnation, message, code, text });
            }
            OutboundEvent::PeerSubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: true });
            }
            OutboundEvent::PeerUnsubscribed(topic) => {
                self.peers.system.do_send(PeerNews::Serves { node: peer, topic, serves: false });
            }
            OutboundEvent::Dropped(n) => count(&self.node.counters.dropped, n),
            OutboundEvent::Room => self.link.room.notify_waiters(),
            OutboundEvent::PeerClosed(code, text) => {
                if code == CloseCode::Fenced {
                    self.check_fence(ctx);
                }
                self.disconnect(ctx, &format!("closed by the peer: {code:?} {text}"));
            }
            OutboundEvent::Silent => self.disconnect(ctx, "no sign of life"),
            OutboundEvent::Accepted { .. } | OutboundEvent::Rejected { .. } | OutboundEvent::Indeterminate { .. } => {}
        }
        None
    }

    fn append(&mut self, ctx: &mut Context<Self>, lane: LaneIx, messages: Vec<Numbered>, synced: bool) {
        let (Some(key), _) = self.link.lane(lane) else { return };
        let writes = vec![Write::Append { lane: key, messages: stored(messages) }];
        let commit = self.peers.store.send(Commit { writes, synced, persistent: false });
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            let (outcome, error) = append_outcome(result.unwrap_or_else(|e| Err(store_gone(&e))));
            actor.link.appended(lane, outcome, error);
            actor.drive(ctx);
        }));
    }

    fn load(&mut self, ctx: &mut Context<Self>, lane: LaneIx, id: u64, after: Seq) {
        let (Some(key), _) = self.link.lane(lane) else { return };
        let page = self.node.outbound().page;
        let limit = PageLimit {
            messages: usize::try_from(page.messages).unwrap_or(usize::MAX),
            bytes: usize::try_from(page.bytes).unwrap_or(usize::MAX),
        };
        let load = self.peers.load.send(Load { lane: key, after, limit });
        ctx.spawn(load.into_actor(self).map(move |result, actor, ctx| {
            let page = result.unwrap_or_else(|e| Err(store_gone(&e)));
            if let Err(error) = &page {
                actor.node.store_failed(error);
            }
            actor.link.loaded(lane, id, page.ok().map(loaded_page));
            actor.drive(ctx);
        }));
    }
}

/// Rows for the store.
pub(crate) fn stored(messages: Vec<Numbered>) -> Vec<Stored> {
    let accepted_ms = wall_ms();
    let row = |m: Numbered| Stored { seq: m.seq, incarnation: m.incarnation, accepted_ms, message: m.message };
    messages.into_iter().map(row).collect()
}

fn loaded_page(page: Page) -> LoadedPage {
    let message = |r: Stored| Numbered { seq: r.seq, incarnation: r.incarnation, message: r.message };
    LoadedPage { messages: page.messages.into_iter().map(message).collect(), is_last: page.end }
}

fn append_outcome<T>(result: Result<T, StoreError>) -> (AppendOutcome, Option<StoreError>) {
    match result {
        Ok(_) => (AppendOutcome::Done, None),
        Err(error) if !error.is_definite() => (AppendOutcome::Unknown, Some(error)),
        Err(error) if error.is_retryable() => (AppendOutcome::Failed, Some(error)),
        Err(error) => (AppendOutcome::Fatal, Some(error)),
    }
}

impl Actor for Sender {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.dial(ctx);
        self.drive(ctx);
    }
}

impl Supervised for Sender {
    fn restarting(&mut self, _: &mut Self::Context) {
        if let SenderState::Connected { tasks } = &self.state {
            tasks.iter().for_each(JoinHandle::abort);
            self.link.disconnected();
        }
        self.state = SenderState::Waiting;
        self.timer.fired();
        self.redial = None;
    }
}

impl Handler<Drive> for Sender {
    type Result = ();

    fn handle(&mut self, _: Drive, ctx: &mut Self::Context) {
        self.drive(ctx);
    }
}

impl Handler<DialNow> for Sender {
    type Result = ();

    fn handle(&mut self, _: DialNow, ctx: &mut Self::Context) {
        self.backoff.reset();
        self.dial(ctx);
    }
}

impl Handler<ConnectionEnded> for Sender {
    type Result = ();

    fn handle(&mut self, ended: ConnectionEnded, ctx: &mut Self::Context) {
        if ended.generation == self.generation {
            self.disconnect(ctx, &ended.reason);
        }
    }
}

impl Handler<Stop> for Sender {
    type Result = ();

    /// A supervised actor is restarted whenever it ends while it has an address. So it rests, and ends when the last
    /// address is gone.
    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) {
        if let SenderState::Connected { tasks } = &self.state {
            tasks.iter().for_each(JoinHandle::abort);
            self.link.disconnected();
        }
        if let Some(redial) = self.redial.take() {
            ctx.cancel_future(redial);
        }
        self.timer.stop(ctx);
        self.generation += 1;
        self.state = SenderState::Stopped;
        self.link.attach(None);
    }
}
