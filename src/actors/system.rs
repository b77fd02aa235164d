//! LinerSystem: the actor applications talk to. It routes, keeps the topics in use, and knows every other actor.

use super::ack_tracker::AckTracker;
use super::catalogue::Catalogue;
use super::link::Link;
use super::listener::Listener;
use super::messages::{
    GetPublisher, MeshEvent, Options, Outgoing, Receipt, Receive, SendAll, SendBatch, SendTo, Sink, Subscribe,
    Subscription, SubscriptionGuard, Unsubscribe, WatchEvents,
};
use super::node::Node;
use super::publisher::{Fast, Publisher, fast};
use super::routes::Board;
use super::sender::{DialNow, PeerNews, Sender, SenderPeers};
use super::sending::{Job, Resolve, SendContext, Waiting, work};
use super::session::{Announce, SetHandler};
use super::store::{OpenOutbox, StoreActor};
use super::threads::Threads;
use crate::error::{SendBatchError, SendError, SubscribeError};
use crate::stores::StoreError;
use crate::types::{NameError, NodeId, Payload, Topic};
use crate::wire::inbound::Handler as Spec;
use crate::wire::outbound::Body;
use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use futures::FutureExt;
use futures::channel::{mpsc, oneshot};
use std::collections::HashMap;
use std::sync::Arc;

/// One link and the actor that drives it.
pub(super) struct Peer {
    pub(super) link: Arc<Link>,
    pub(super) sender: Addr<Sender>,
}

/// The actor applications talk to: spawn it with [`LinerSystem::spawn`], then send it the messages of this crate.
///
/// It lives until it gets a [`Shutdown`](crate::Shutdown), or the actix system it was spawned in ends, which is like a
/// crash: nothing accepted is lost, the rest is repeated after the next start.
pub struct LinerSystem {
    pub(super) node: Arc<Node>,
    pub(super) threads: Threads,
    pub(super) store: Addr<StoreActor>,
    pub(super) acks: Addr<AckTracker>,
    pub(super) listener: Addr<Listener>,
    pub(super) catalogue: Catalogue,
    pub(super) peers: HashMap<NodeId, Peer>,
    queues: HashMap<Topic, mpsc::UnboundedSender<Waiting>>,
    /// The topics with a subscriber, and which one it is.
    handlers: HashMap<Topic, (u64, Sink)>,
    next_handler: u64,
    watchers: Vec<Recipient<MeshEvent>>,
    /// Threads that senders run on, in turn.
    next_thread: usize,
}

/// The catalogue may have changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct CatalogueChanged;

/// A publisher's send, for the queue of its topic. It has its place already.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Queue {
    pub(super) board: Arc<Board>,
    pub(super) waiting: Waiting,
}

impl LinerSystem {
    pub(super) fn new(
        node: Arc<Node>,
        threads: Threads,
        store: Addr<StoreActor>,
        acks: Addr<AckTracker>,
        listener: Addr<Listener>,
    ) -> Self {
        LinerSystem {
            node,
            threads,
            store,
            acks,
            listener,
            catalogue: Catalogue::default(),
            peers: HashMap::new(),
            queues: HashMap::new(),
            handlers: HashMap::new(),
            next_handler: 0,
            watchers: Vec::new(),
            next_thread: 0,
        }
    }

    // ---- peers and topics ----

    /// The link to a node, started if there is none, with the addresses it may be dialled at.
    pub(super) fn link(&mut self, ctx: &Context<Self>, peer: &NodeId, addrs: Vec<String>) -> Arc<Link> {
        if let Some(known) = self.peers.get(peer) {
            if !addrs.is_empty() && known.link.set_addrs(addrs) {
                known.sender.do_send(DialNow);
            }
            return known.link.clone();
        }
        let link = Arc::new(Link::new(peer.clone(), self.node.clone()));
        if !addrs.is_empty() {
            // The sender dials as soon as it runs: an at-most-once message waits for that, too.
            link.dialing();
        }
        link.set_addrs(addrs);
        let talks_to = SenderPeers {
            store: self.store.clone().recipient(),
            load: self.store.clone().recipient(),
            acks: self.acks.clone().recipient(),
            resting: self.acks.clone().recipient(),
            system: ctx.address().recipient(),
        };
        let thread = &self.threads.links[self.next_thread % self.threads.links.len()];
        self.next_thread += 1;
        let (node, end) = (self.node.clone(), link.clone());
        let sender = Supervisor::start_in_arbiter(thread, move |_| Sender::new(node, end, talks_to));
        link.attach(sender.clone().recipient());
        self.peers.insert(peer.clone(), Peer { link: link.clone(), sender });
        link
    }

    pub(super) fn rebuild(&mut self, ctx: &Context<Self>, topic: &Topic) {
        let mut catalogue = std::mem::take(&mut self.catalogue);
        let node = self.node.clone();
        catalogue.rebuild(&node, topic, |peer, addrs| self.link(ctx, peer, addrs));
        self.catalogue = catalogue;
    }

    fn board(&mut self, topic: &Topic) -> Arc<Board> {
        self.catalogue.topic(topic).board.clone()
    }

    /// Reads what the store says of a topic now, and makes its board anew.
    pub(super) fn look_up(&self, topic: Topic) -> ResponseActFuture<Self, Result<(), StoreError>> {
        let node = self.node.clone();
        let look = async move {
            let entry = node.store.topic(&topic).await;
            (topic, entry)
        };
        Box::pin(look.into_actor(self).map(|(topic, entry), actor, ctx| {
            actor.catalogue.topic(&topic).update(entry?);
            actor.rebuild(ctx, &topic);
            Ok(())
        }))
    }

    pub(super) fn refresh_all(&mut self, ctx: &mut Context<Self>) {
        for topic in self.catalogue.topics() {
            let look = self.look_up(topic).map(|result, actor, _| {
                if let Err(error) = result {
                    actor.node.store_failed(&error);
                }
            });
            ctx.spawn(look);
        }
    }

    // ---- sending ----

    fn check_topic(&self, topic: Result<Topic, NameError>) -> Result<Topic, SendError> {
        let topic = topic?;
        if topic == self.node.topic { Err(SendError::SelfTopic(topic)) } else { Ok(topic) }
    }

    /// Puts something into a topic's queue.
    fn queue(&mut self, ctx: &Context<Self>, board: &Arc<Board>, job: Job) -> Result<(), SendError> {
        if self.node.is_closing() {
            return Err(SendError::Closed);
        }
        let place = board.queue_up(&self.node)?;
        self.enqueue(ctx, board, Waiting { job, place })
    }

    fn enqueue(&mut self, ctx: &Context<Self>, board: &Arc<Board>, waiting: Waiting) -> Result<(), SendError> {
        if !self.queues.contains_key(&board.topic) {
            let (queue, waits) = mpsc::unbounded();
            let open: Recipient<OpenOutbox> = self.store.clone().recipient();
            let context = SendContext {
                node: self.node.clone(),
                store: self.store.clone().recipient(),
                open,
                resolve: ctx.address().recipient(),
            };
            actix_rt::spawn(work(context, board.clone(), waits));
            self.queues.insert(board.topic.clone(), queue);
        }
        let queue = self.queues.get(&board.topic).ok_or(SendError::Closed)?;
        queue.unbounded_send(waiting).map_err(|_| SendError::Closed)
    }

    /// Ends the queues, after what is in them.
    pub(super) fn close_queues(&mut self) {
        self.queues.clear();
    }

    pub(super) fn waiting_sends(&self) -> usize {
        self.catalogue.boards().map(|board| board.waiting()).sum()
    }

    fn send_to(&mut self, ctx: &Context<Self>, send: SendTo) -> Answer<Result<Receipt, SendError>> {
        let SendTo { topic, outgoing, options } = send;
        let topic = match self.check_topic(topic) {
            Ok(topic) => topic,
            Err(error) => return Answer::Now(Err(error)),
        };
        let board = self.board(&topic);
        let payload = match Payload::new(outgoing.payload) {
            Ok(payload) => payload,
            Err(error) => return Answer::Now(Err(error.into())),
        };
        match fast(&self.node, &board, &outgoing.headers, &Body::Shared(payload.clone()), options) {
            Fast::Done(result) => Answer::Now(result),
            Fast::Committing(commit) => Answer::Later(commit),
            Fast::Blocked => {
                let outgoing = Outgoing { headers: outgoing.headers, payload: payload.into_bytes() };
                self.later(ctx, &board, |reply| Job::One(outgoing, options, reply))
            }
        }
    }

    fn later<T>(
        &mut self,
        ctx: &Context<Self>,
        board: &Arc<Board>,
        job: impl FnOnce(oneshot::Sender<Result<T, SendError>>) -> Job,
    ) -> Answer<Result<T, SendError>> {
        let (reply, answer) = oneshot::channel();
        match self.queue(ctx, board, job(reply)) {
            Ok(()) => Answer::Later(answer),
            Err(error) => Answer::Now(Err(error)),
        }
    }

    // ---- receiving ----

    fn add_handler(
        &mut self,
        ctx: &Context<Self>,
        topic: Topic,
        spec: Spec,
        sink: Sink,
    ) -> Result<Subscription, SubscribeError> {
        if self.handlers.contains_key(&topic) {
            return Err(SubscribeError::AlreadySubscribed(topic));
        }
        self.next_handler += 1;
        let generation = self.next_handler;
        self.handlers.insert(topic.clone(), (generation, sink.clone()));
        self.listener.do_send(SetHandler { topic: topic.clone(), handler: Some((spec, sink)) });
        let guard = SubscriptionGuard { topic, generation };
        Ok(Subscription { guard: Some(guard), system: ctx.address().recipient() })
    }

    pub(super) fn remove_handler(&mut self, topic: &Topic) {
        if self.handlers.remove(topic).is_some() {
            self.listener.do_send(SetHandler { topic: topic.clone(), handler: None });
        }
    }

    /// Who takes the messages of a topic here.
    pub(super) fn sink(&self, topic: &Topic) -> Option<&Sink> {
        self.handlers.get(topic).map(|(_, sink)| sink)
    }
}

impl Actor for LinerSystem {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.threads.stop();
    }
}

/// A reply that is there, or will be. As public as the handlers whose result it is.
#[allow(unreachable_pub)]
pub enum Answer<T> {
    /// It is there.
    Now(T),
    /// It will be.
    Later(oneshot::Receiver<T>),
}

/// What to reply when the system ended before there was an answer.
pub(super) trait Closed {
    fn closed() -> Self;
}

impl<T> Closed for Result<T, SendError> {
    fn closed() -> Self {
        Err(SendError::Closed)
    }
}

impl<T> Closed for Result<T, SendBatchError> {
    fn closed() -> Self {
        Err(SendBatchError { accepted: Vec::new(), error: SendError::Closed })
    }
}

impl<A, M> MessageResponse<A, M> for Answer<M::Result>
where
    A: Actor,
    M: Message,
    M::Result: Closed + Send,
{
    fn handle(self, _: &mut A::Context, reply: Option<OneshotSender<M::Result>>) {
        let Some(reply) = reply else { return };
        match self {
            Answer::Now(result) => drop(reply.send(result)),
            Answer::Later(result) => drop(actix_rt::spawn(result.map(|result| {
                let _ = reply.send(result.unwrap_or_else(|_| M::Result::closed()));
            }))),
        }
    }
}

impl Handler<SendTo> for LinerSystem {
    type Result = Answer<Result<Receipt, SendError>>;

    fn handle(&mut self, send: SendTo, ctx: &mut Self::Context) -> Self::Result {
        self.send_to(ctx, send)
    }
}

impl Handler<Queue> for LinerSystem {
    type Result = ();

    /// When it cannot be queued, dropping it tells the caller that the system is closed.
    fn handle(&mut self, Queue { board, waiting }: Queue, ctx: &mut Self::Context) {
        if !self.node.is_closing() {
            let _ = self.enqueue(ctx, &board, waiting);
        }
    }
}

impl Handler<SendAll> for LinerSystem {
    type Result = Answer<Result<Vec<Receipt>, SendError>>;

    fn handle(&mut self, SendAll { topic, outgoing, options }: SendAll, ctx: &mut Self::Context) -> Self::Result {
        match self.check_topic(topic) {
            Ok(topic) => {
                let board = self.board(&topic);
                self.later(ctx, &board, |reply| Job::All(outgoing, options, reply))
            }
            Err(error) => Answer::Now(Err(error)),
        }
    }
}

impl Handler<SendBatch> for LinerSystem {
    type Result = Answer<Result<Vec<Receipt>, SendBatchError>>;

    fn handle(&mut self, SendBatch { topic, messages, options }: SendBatch, ctx: &mut Self::Context) -> Self::Result {
        let refuse = |error| Answer::Now(Err(SendBatchError { accepted: Vec::new(), error }));
        let board = match self.check_topic(topic) {
            Ok(topic) => self.board(&topic),
            Err(error) => return refuse(error),
        };
        let (reply, answer) = oneshot::channel();
        match self.queue(ctx, &board, Job::Batch(messages, options, reply)) {
            Ok(()) => Answer::Later(answer),
            Err(error) => refuse(error),
        }
    }
}

impl Handler<GetPublisher> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<Publisher, SendError>>;

    fn handle(&mut self, GetPublisher { topic, options }: GetPublisher, ctx: &mut Self::Context) -> Self::Result {
        let topic = match self.check_topic(topic) {
            Ok(topic) => topic,
            Err(error) => return Box::pin(fut::ready(Err(error))),
        };
        let publisher = publisher(self, ctx, &topic, options);
        if self.catalogue.get(&topic).is_some_and(super::catalogue::TopicState::was_read) {
            return Box::pin(fut::ready(Ok(publisher)));
        }
        // The topic's nodes are looked up now, so that the first message finds them.
        Box::pin(self.look_up(topic).map(|result, _, _| result.map(|()| publisher).map_err(SendError::Store)))
    }
}

fn publisher(system: &mut LinerSystem, ctx: &Context<LinerSystem>, topic: &Topic, options: Options) -> Publisher {
    Publisher::new(system.node.clone(), system.board(topic), ctx.address(), options)
}

impl Handler<Resolve> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, Resolve(topic): Resolve, _: &mut Self::Context) -> Self::Result {
        self.look_up(topic)
    }
}

impl Handler<Subscribe> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<Subscription, SubscribeError>>;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) -> Self::Result {
        let Subscribe { topic, sink, in_flight, timeout } = subscribe;
        let refuse = |error: SubscribeError| -> Self::Result { Box::pin(fut::ready(Err(error))) };
        let topic = match topic {
            Ok(topic) if topic == self.node.topic => return refuse(SubscribeError::SelfTopic(topic)),
            Ok(topic) if self.sink(&topic).is_some() => return refuse(SubscribeError::AlreadySubscribed(topic)),
            Ok(topic) if !self.node.is_closing() => topic,
            Ok(_) => return refuse(SubscribeError::Closed),
            Err(error) => return refuse(error.into()),
        };
        let node = self.node.clone();
        let publish = async move {
            let lease = node.config.timing.lease;
            let published = node.store.publish(&node.fence, &topic, &node.published, true, lease).await;
            (topic, published)
        };
        Box::pin(publish.into_actor(self).map(move |(topic, published), actor, ctx| {
            published?;
            let subscription = actor.add_handler(ctx, topic.clone(), Spec { in_flight, timeout }, sink)?;
            actor.listener.do_send(Announce { topic, serves: true });
            Ok(subscription)
        }))
    }
}

impl Handler<Receive> for LinerSystem {
    type Result = Result<Subscription, SubscribeError>;

    fn handle(&mut self, Receive { sink, in_flight, timeout }: Receive, ctx: &mut Self::Context) -> Self::Result {
        let topic = self.node.topic.clone();
        self.add_handler(ctx, topic, Spec { in_flight, timeout }, sink)
    }
}

impl Handler<Unsubscribe> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<(), SubscribeError>>;

    fn handle(&mut self, Unsubscribe { topic }: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let topic = match topic {
            Ok(topic) if topic == self.node.topic => {
                return Box::pin(fut::ready(Err(SubscribeError::SelfTopic(topic))));
            }
            Ok(topic) => topic,
            Err(error) => return Box::pin(fut::ready(Err(error.into()))),
        };
        let node = self.node.clone();
        let unpublish = async move {
            let done = node.store.unpublish(&node.fence, &topic).await;
            (topic, done)
        };
        Box::pin(unpublish.into_actor(self).map(|(topic, done), actor, _| {
            done?;
            actor.remove_handler(&topic);
            actor.listener.do_send(Announce { topic, serves: false });
            Ok(())
        }))
    }
}

impl Handler<SubscriptionGuard> for LinerSystem {
    type Result = ();

    fn handle(&mut self, guard: SubscriptionGuard, _: &mut Self::Context) {
        if self.handlers.get(&guard.topic).is_some_and(|(generation, _)| *generation == guard.generation) {
            self.remove_handler(&guard.topic);
        }
    }
}

impl Handler<PeerNews> for LinerSystem {
    type Result = ();

    fn handle(&mut self, news: PeerNews, ctx: &mut Self::Context) {
        match news {
            PeerNews::Met { node, topic, addr } => {
                let dial = self.catalogue.met_at(&node) != Some(&addr);
                self.catalogue.met(&node, &topic, addr.clone());
                self.rebuild(ctx, &topic);
                if let Some(peer) = self.peers.get(&node).filter(|p| dial || !p.link.is_up()) {
                    peer.sender.do_send(DialNow);
                }
                self.remember(ctx, node, addr);
            }
            PeerNews::Serves { node, topic, serves } => {
                self.catalogue.serves(&node, &topic, serves);
                self.rebuild(ctx, &topic);
                self.note_tombstone(ctx, node, topic, serves);
            }
        }
    }
}

impl Handler<CatalogueChanged> for LinerSystem {
    type Result = ();

    fn handle(&mut self, _: CatalogueChanged, ctx: &mut Self::Context) {
        self.refresh_all(ctx);
    }
}

impl Handler<WatchEvents> for LinerSystem {
    type Result = ();

    fn handle(&mut self, WatchEvents(watcher): WatchEvents, _: &mut Self::Context) {
        self.watchers.push(watcher);
    }
}

impl Handler<MeshEvent> for LinerSystem {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, ctx: &mut Self::Context) {
        self.watchers.retain(Recipient::connected);
        for watcher in &self.watchers {
            watcher.do_send(event.clone());
        }
        if matches!(event, MeshEvent::Fenced) {
            tracing::error!(node = %self.node.id, "a newer process runs under this node's name: stopping");
            self.stop_fenced(ctx);
        }
    }
}
