//! Listener: binds, accepts, performs the handshake, and passes every connection to the session of its peer.

use crate::actors::connection::{Connection, ConnectionError, answer_hello, read_hello};
use crate::actors::node::Node;
use crate::actors::node::peer_news::PeerNews;
use crate::actors::receiving::session::{Announce, Attach, Close, Drain, Session, SessionPeers, SetHandler};
use crate::actors::storing::link_thread::LinkThreads;
use crate::types::{NodeId, Topic};
use crate::wire::frame::Hello;
use crate::wire::handshake::KnownPeer;
use actix::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// The pause after `accept` failed, as it does while the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection has identified its peer.
#[derive(Message)]
#[rtype(result = "()")]
struct Greeted {
    connection: Connection,
    hello: Hello,
    permit: OwnedSemaphorePermit,
}

struct Peer {
    session: Addr<Session>,
    known: KnownPeer,
    connected: Arc<AtomicBool>,
}

/// See the [module](self).
pub(crate) struct Listener {
    node: Arc<Node>,
    system: Recipient<PeerNews>,
    socket: Option<std::net::TcpListener>,
    /// Sessions by the peer's name.
    sessions: HashMap<NodeId, Peer>,
    handlers: HashMap<Topic, SetHandler>,
    slots: Arc<Semaphore>,
    /// Threads that sessions run on.
    threads: LinkThreads,
}

impl Listener {
    pub(crate) fn new(
        node: Arc<Node>,
        socket: std::net::TcpListener,
        system: Recipient<PeerNews>,
        threads: LinkThreads,
    ) -> Self {
        let slots = Arc::new(Semaphore::new(node.config.limits.max_connections));
        Listener {
            node,
            system,
            socket: Some(socket),
            sessions: HashMap::new(),
            handlers: HashMap::new(),
            slots,
            threads,
        }
    }

    fn known(&self, peer: &NodeId) -> Option<KnownPeer> {
        let peer = self.sessions.get(peer)?;
        Some(KnownPeer { live: peer.connected.load(Ordering::Acquire), ..peer.known })
    }

    fn welcome(&mut self, Greeted { connection, hello, permit }: Greeted) {
        if !self.sessions.contains_key(&hello.from) {
            let peer = self.start_session(&hello);
            self.sessions.insert(hello.from.clone(), peer);
        }
        let Some(peer) = self.sessions.get_mut(&hello.from) else { return };
        peer.known = KnownPeer { store: hello.store, epoch: hello.epoch, live: true };
        // A reply to the peer's own topic has a route before the first message is handed over.
        let Hello { from: node, topic, addr, store, .. } = hello;
        self.system.do_send(PeerNews::Met { node, topic, addr, store });
        peer.session.do_send(Attach { connection, permit });
    }

    fn start_session(&mut self, hello: &Hello) -> Peer {
        let connected = Arc::new(AtomicBool::new(false));
        let handlers: Vec<_> = self.handlers.values().cloned().collect();
        let thread = self.threads.next();
        let peers = SessionPeers {
            store: thread.store.clone().recipient(),
            open: thread.store.clone().recipient(),
            system: self.system.clone(),
        };
        let (node, id, flag) = (self.node.clone(), hello.from.clone(), connected.clone());
        let session = Session::start_in_arbiter(&thread.handle, move |ctx| {
            Session::new(node, id, peers, &handlers, flag, ctx.address().recipient())
        });
        let known = KnownPeer { store: hello.store, epoch: hello.epoch, live: true };
        Peer { session, known, connected }
    }
}

/// Accepts until the listener ends. A connection that does not identify itself in time is closed.
async fn accept_loop(node: Arc<Node>, socket: TcpListener, slots: Arc<Semaphore>, listener: Recipient<Greeted>) {
    loop {
        let Ok(permit) = slots.clone().acquire_owned().await else { return };
        match socket.accept().await {
            Ok((stream, from)) => {
                tracing::trace!(node = %node.id, %from, "accepted");
                actix_rt::spawn(greet(node.clone(), stream, permit, listener.clone()));
            }
            Err(error) => {
                tracing::warn!(node = %node.id, %error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn greet(node: Arc<Node>, stream: TcpStream, permit: OwnedSemaphorePermit, listener: Recipient<Greeted>) {
    let limit = node.config.timing.connect_timeout;
    match timeout(limit, read_hello(&node, stream)).await {
        Ok(Ok((connection, hello))) => listener.do_send(Greeted { connection, hello, permit }),
        Ok(Err(error)) => tracing::debug!(node = %node.id, %error, "handshake failed"),
        Err(_) => tracing::debug!(node = %node.id, "no handshake in time"),
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(socket) = self.socket.take() else { return };
        match TcpListener::from_std(socket) {
            Ok(socket) => {
                let accept = accept_loop(self.node.clone(), socket, self.slots.clone(), ctx.address().recipient());
                ctx.spawn(accept.into_actor(self));
            }
            Err(error) => tracing::error!(node = %self.node.id, %error, "cannot listen"),
        }
    }
}

impl Handler<Greeted> for Listener {
    type Result = ();

    fn handle(&mut self, mut greeted: Greeted, ctx: &mut Self::Context) {
        let known = self.known(&greeted.hello.from);
        let node = self.node.clone();
        let limit = node.config.timing.connect_timeout;
        let answer = async move {
            let answer = answer_hello(&node, &mut greeted.connection, &greeted.hello, known.as_ref());
            match timeout(limit, answer).await {
                Ok(Ok(())) => Ok(greeted),
                Ok(Err(error)) => Err((greeted.hello.from, error)),
                Err(_) => Err((greeted.hello.from, ConnectionError::Timeout)),
            }
        };
        ctx.spawn(answer.into_actor(self).map(|result, actor, _| match result {
            Ok(greeted) => actor.welcome(greeted),
            Err((from, error)) => tracing::info!(node = %actor.node.id, %from, %error, "peer turned away"),
        }));
    }
}

impl Handler<SetHandler> for Listener {
    type Result = ();

    fn handle(&mut self, handler: SetHandler, _: &mut Self::Context) {
        for peer in self.sessions.values() {
            peer.session.do_send(handler.clone());
        }
        self.handlers.insert(handler.topic.clone(), handler);
    }
}

impl Handler<Announce> for Listener {
    type Result = ();

    fn handle(&mut self, announce: Announce, _: &mut Self::Context) {
        for peer in self.sessions.values() {
            peer.session.do_send(announce.clone());
        }
    }
}

impl Handler<Drain> for Listener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        let sessions: Vec<_> = self.sessions.values().map(|peer| peer.session.send(Drain)).collect();
        Box::pin(async move {
            futures::future::join_all(sessions).await;
        })
    }
}

impl Handler<Close> for Listener {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Close, ctx: &mut Self::Context) -> Self::Result {
        let sessions: Vec<_> = self.sessions.drain().map(|(_, peer)| peer.session.send(Close)).collect();
        ctx.stop();
        Box::pin(async move {
            futures::future::join_all(sessions).await;
        })
    }
}
