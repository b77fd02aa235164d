//! Start and end of a system.

use crate::actors::control::system::{CatalogueChanged, LinerSystem};
use crate::actors::control::threads::Threads;
use crate::actors::messages::{MeshEvent, Shutdown, ShutdownReport};
use crate::actors::node::{Counters, Node};
use crate::actors::receiving::listener::Listener;
use crate::actors::receiving::session::{Close, Drain};
use crate::actors::sending::queue::open_lane;
use crate::actors::sending::sender::Stop;
use crate::actors::storing::ack_tracker::{AckTracker, WaitIdle, WaitSettled};
use crate::actors::storing::link_thread::LinkThreads;
use crate::actors::storing::store::StoreActor;
use crate::config::{Config, Names, StoreConfig};
#[cfg(feature = "redis")]
use crate::config::{Durability, Mode};
use crate::error::{AdminError, SpawnError};
#[cfg(feature = "sqlite")]
use crate::stores::sqlite::{SqliteOptions, SqliteStore};
use crate::stores::{Adopted, Fence, OpenError, SharedStore, StoreError};
use crate::types::{LaneId, NodeId, Topic};
use actix::prelude::*;
use std::future::Future;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout, timeout_at};

/// Renewals per lease. Topics in use are read again as often.
const RENEWALS: u32 = 3;

/// Opens the configured store. Blocks while it does.
pub(crate) fn open_store(config: &Config) -> Result<SharedStore, OpenError> {
    Ok(match &config.store {
        StoreConfig::Memory(store) => Arc::new(store.clone()),
        StoreConfig::Custom(store) => store.clone(),
        #[cfg(feature = "sqlite")]
        StoreConfig::Sqlite(path) => Arc::new(SqliteStore::open(path, SqliteOptions::default())?),
        #[cfg(feature = "postgres")]
        StoreConfig::Postgres(options) => Arc::new(crate::stores::postgres::PostgresStore::open(options)?),
        #[cfg(feature = "redis")]
        StoreConfig::Redis(options) => {
            let synced = config.mode == Mode::AtLeastOnce(Durability::Synced);
            let options = if synced { options.clone().synced() } else { options.clone() };
            Arc::new(crate::stores::redis::RedisStore::open(&options)?)
        }
    })
}

/// Binds the listen address, if the configuration permits it.
fn bind(config: &Config) -> Result<TcpListener, SpawnError> {
    let failed = |source| SpawnError::Bind { addr: config.listen.clone(), source };
    let addrs: Vec<SocketAddr> = config.listen.to_socket_addrs().map_err(failed)?.collect();
    if let Some(open) = addrs.iter().find(|a| !a.ip().is_loopback()).filter(|_| !config.allow_insecure_network) {
        return Err(SpawnError::NotLoopback(*open));
    }
    let socket = TcpListener::bind(&addrs[..]).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok(socket)
}

/// Returns the address to publish: the bound one, or the advertised one with the bound port in place of 0.
fn published(config: &Config, bound: SocketAddr) -> String {
    match config.advertise.as_deref().map(|addr| addr.rsplit_once(':')) {
        Some(Some((host, "0"))) => format!("{host}:{}", bound.port()),
        _ => config.advertise.clone().unwrap_or_else(|| bound.to_string()),
    }
}

impl LinerSystem {
    /// Starts a node: opens its store, binds its address, registers its name, and starts its actors on threads of their own.
    ///
    /// Inside an actix system the node uses that system. Elsewhere, for example under `#[tokio::main]`, it starts one on
    /// threads of its own. An older process that runs under the same name on the same store is fenced, and stops by itself.
    ///
    /// Opening the store and resolving the listen address block the thread, usually for milliseconds. If another process is
    /// writing to the store, that may take up to 5 s.
    ///
    /// # Errors
    /// Returns [`SpawnError`] for the first step that fails. Nothing runs then.
    ///
    /// # Cancellation
    /// Not cancellation safe: if the future is dropped before it resolves, the name may stay registered, and the node may run
    /// without a handle on it.
    ///
    /// # Examples
    /// ```
    /// use liner::{Config, LinerSystem, Shutdown, stores::memory::MemoryStore};
    ///
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
    /// orders.send(Shutdown::now()).await??;
    /// # Ok(()) }
    /// ```
    pub async fn spawn(config: Config) -> Result<Addr<LinerSystem>, SpawnError> {
        let names = config.names()?;
        let socket = bind(&config)?;
        let bound = socket.local_addr().map_err(|source| SpawnError::Bind { addr: config.listen.clone(), source })?;
        let store = open_store(&config)?;
        let node = Arc::new(register(config, &names, store, bound).await?);
        // Before a peer can know of this node, so that a reply to it has a route from the first message on.
        let lease = node.config.timing.lease;
        node.store.publish(&node.fence, &node.topic, &node.published, false, lease).await?;
        let prior = prior_state(&node).await?;
        let threads = Threads::start(node.config.link_threads).await?;
        let system = start(node.clone(), threads, socket, prior);
        tracing::info!(node = %node.id, topic = %node.topic, addr = %node.published, "node started");
        Ok(system)
    }
}

async fn register(config: Config, names: &Names, store: SharedStore, bound: SocketAddr) -> Result<Node, SpawnError> {
    let facts = store.facts().await?;
    let registration = store.register(&names.node).await?;
    let fence = Fence { node: names.node.clone(), epoch: registration.epoch };
    // Before the seeds: the routes that liner_broker remembered decide what its numbers mean.
    adopt(&store, &fence).await?;
    for (topic, node, addr) in &names.seeds {
        store.seed(topic, node, addr).await?;
    }
    Ok(Node {
        id: names.node.clone(),
        topic: names.topic.clone(),
        fence,
        unclean: !registration.clean,
        published: published(&config, bound),
        config,
        store,
        facts,
        started: Instant::now(),
        bound,
        counters: Counters::default(),
        uses_catalogue: Notify::new(),
        closing: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        events: OnceLock::new(),
    })
}

/// Takes over the data that liner_broker left in the store. Must run before lanes are read.
async fn adopt(store: &SharedStore, fence: &Fence) -> Result<(), StoreError> {
    let adopted = store.adopt(fence).await?;
    if adopted != Adopted::default() {
        let Adopted { messages, gone, dead_letters } = adopted;
        tracing::info!(node = %fence.node, messages, gone, dead_letters, "adopted data of liner_broker");
    }
    Ok(())
}

fn start(node: Arc<Node>, threads: Threads, socket: TcpListener, prior: PriorState) -> Addr<LinerSystem> {
    let core = threads.core.clone();
    LinerSystem::start_in_arbiter(&core, move |ctx| {
        let _ = node.events.set(ctx.address().recipient());
        let store = StoreActor::new(node.clone()).start();
        let acks = AckTracker::new(store.clone().recipient()).start();
        let links = LinkThreads::new(&threads.links, &node);
        let (shared, system, on) = (node.clone(), ctx.address().recipient(), links.clone());
        let listener = Listener::start_in_arbiter(&threads.links[0], |_| Listener::new(shared, socket, system, on));
        let mut system = LinerSystem::new(node, threads, links, store, acks, listener);
        system.resume(ctx, prior);
        system
    })
}

/// Lanes and peer addresses of an earlier process. Read before the first send, because a lane may be its only route.
struct PriorState {
    lanes: Vec<LaneId>,
    peers: Vec<(NodeId, String)>,
}

async fn prior_state(node: &Node) -> Result<PriorState, StoreError> {
    let lanes = node.store.lanes(&node.id).await?;
    let peers = node.store.peers(&node.id).await?;
    Ok(PriorState { lanes, peers })
}

/// Returns the lanes with queued messages. Counting may take a while, so the start does not wait for it.
async fn queued(node: Arc<Node>) -> Result<Vec<LaneId>, StoreError> {
    Ok(node.store.pending(&node.id).await?.into_iter().map(|p| p.lane).collect())
}

impl LinerSystem {
    /// Recovers the queues of an earlier process, and keeps the lease and the catalogue current from now on.
    pub(crate) fn begin(&mut self, ctx: &mut Context<Self>) {
        self.recover(ctx);
        let interval = self.node.config.timing.lease / RENEWALS;
        ctx.run_interval(interval, |actor, ctx| {
            actor.renew(ctx);
            // The expiry of a lease changes no row, so no store reports it.
            actor.refresh(ctx);
        });
        let (node, system) = (self.node.clone(), ctx.address());
        let watch = async move {
            node.uses_catalogue.notified().await;
            while !node.is_closing() {
                match node.store.changed().await {
                    Ok(()) => system.do_send(CatalogueChanged),
                    Err(error) => {
                        node.store_failed(&error);
                        sleep(node.config.timing.store_retry).await;
                    }
                }
            }
        };
        ctx.spawn(watch.into_actor(self));
    }

    fn recover(&mut self, ctx: &mut Context<Self>) {
        let queued = queued(self.node.clone()).into_actor(self);
        ctx.spawn(queued.map(|queued, actor, ctx| match queued {
            Ok(queued) => actor.recover_lanes(ctx, queued),
            Err(error) => {
                actor.node.store_failed(&error);
                ctx.run_later(actor.node.config.timing.store_retry, Self::recover);
            }
        }));
    }

    fn resume(&mut self, ctx: &mut Context<Self>, prior: PriorState) {
        for (peer, addr) in prior.peers {
            self.topics.routing.remember(&peer, addr.clone());
            self.link(ctx, &peer, vec![addr]);
        }
        for lane in &prior.lanes {
            self.topics.routing.handle_lane_opened(lane.receiver(), lane.topic());
        }
    }

    fn recover_lanes(&mut self, ctx: &mut Context<Self>, queued: Vec<LaneId>) {
        for lane in queued {
            self.use_topic(ctx, lane.topic());
            let link = self.link(ctx, lane.receiver(), Vec::new());
            let (ix, _) = link.add_lane(lane.source(), lane.topic());
            let (open, opened) = (self.store.clone().recipient(), ctx.address().recipient());
            let node = self.node.clone();
            let opening = async move {
                while let Err(error) = open_lane(&open, &opened, &link, ix).await {
                    node.store_failed(&error);
                    if !error.is_retryable() {
                        return;
                    }
                    sleep(node.config.timing.store_retry).await;
                }
            };
            ctx.spawn(opening.into_actor(self));
        }
        self.refresh(ctx);
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        let node = self.node.clone();
        let renewal = async move {
            if let Err(error) = node.store.renew(&node.fence, node.config.timing.lease).await {
                node.store_failed(&error);
            }
        };
        ctx.spawn(renewal.into_actor(self));
    }

    /// Stores the address of a peer for the next start.
    pub(crate) fn remember(&mut self, ctx: &mut Context<Self>, peer: NodeId, addr: String) {
        if addr.is_empty() {
            return;
        }
        let node = self.node.clone();
        let remembered = async move {
            if let Err(error) = node.store.remember_peer(&node.fence, &peer, &addr).await {
                node.store_failed(&error);
            }
        };
        ctx.spawn(remembered.into_actor(self));
    }

    /// Records in this node's own store that a peer unsubscribed from a topic, or serves it again.
    pub(crate) fn note_tombstone(&mut self, ctx: &mut Context<Self>, peer: NodeId, topic: Topic, serves: bool) {
        self.node.event(match (peer.clone(), topic.clone()) {
            (peer, topic) if serves => MeshEvent::PeerSubscribed { peer, topic },
            (peer, topic) => MeshEvent::PeerUnsubscribed { peer, topic },
        });
        let node = self.node.clone();
        let noted = async move {
            if let Err(error) = node.store.set_tombstone(&node.fence, &topic, &peer, !serves).await {
                node.store_failed(&error);
            }
        };
        ctx.spawn(noted.into_actor(self));
    }

    // ---- the end ----

    /// Ends the other actors, then closes the store, then ends this actor.
    fn close(&mut self) -> impl ActorFuture<Self, Output = ()> + use<> {
        self.close_queues();
        for peer in self.peers.values() {
            peer.sender.do_send(Stop);
        }
        let closed = self.listener.send(Close);
        let node = self.node.clone();
        let ending = async move {
            // A listener that has stopped already has nothing to close.
            let _ = closed.await;
            node.ended.store(true, Ordering::Release);
            // A store that was given to the node is closed by its owner.
            if !matches!(node.config.store, StoreConfig::Custom(_)) {
                // A store that hangs must not keep the node from ending.
                if timeout(PERSIST_PATIENCE, node.store.end()).await.is_err() {
                    tracing::warn!(node = %node.id, "store did not close in time");
                }
            }
        };
        ending.into_actor(self).map(|(), _, ctx: &mut Context<Self>| ctx.stop())
    }

    /// Ends the system after a newer process took the name. Nothing may be written any more.
    pub(crate) fn stop_fenced(&mut self, ctx: &mut Context<Self>) {
        if !self.node.closing.swap(true, Ordering::AcqRel) {
            let closed = self.close();
            ctx.spawn(closed);
        }
    }

    /// Waits until the links that are up have their acks, or until the deadline.
    fn wait_for_acks(&self, deadline: Instant) -> impl Future<Output = ()> + use<> {
        let busy = self.peers.iter().filter(|(_, p)| p.link.is_up() && p.link.has_work());
        let idle = self.acks.send(WaitIdle(busy.map(|(peer, _)| peer.clone()).collect()));
        async move {
            let _ = timeout_at(deadline.into(), idle).await;
        }
    }

    fn pending(&self) -> u64 {
        let lanes = self.peers.values().flat_map(|p| p.link.pending());
        lanes.map(|(_, _, amount)| amount.messages).sum()
    }

    /// Stores the messages that only memory holds. Returns how many the store did not take.
    fn persist(&self) -> impl Future<Output = u64> + use<> {
        let links: Vec<_> = self.peers.values().map(|p| p.link.clone()).collect();
        let deadline = Instant::now() + PERSIST_PATIENCE;
        async move {
            let mut lost = 0;
            for link in links {
                if timeout_at(deadline.into(), link.flush()).await.is_err() {
                    lost += link.memory().messages;
                }
            }
            lost
        }
    }
}

/// How long a shutdown waits for the store to take the messages that only memory holds.
const PERSIST_PATIENCE: Duration = Duration::from_secs(5);

impl Handler<Shutdown> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<ShutdownReport, AdminError>>;

    fn handle(&mut self, Shutdown { deadline }: Shutdown, _: &mut Self::Context) -> Self::Result {
        if self.node.closing.swap(true, Ordering::AcqRel) {
            return Box::pin(fut::ready(Err(AdminError::Closed)));
        }
        let deadline = Instant::now() + deadline;
        let before = self.pending();
        let drained = self.listener.send(Drain);
        let handlers = async move {
            let _ = timeout_at(deadline.into(), drained).await;
        };
        let ended = handlers
            .into_actor(self)
            .then(move |(), actor, _| actor.wait_for_acks(deadline).into_actor(actor))
            .then(|(), actor, _| actor.persist().into_actor(actor))
            .then(|lost, actor, _| {
                let settled = actor.acks.send(WaitSettled);
                let node = actor.node.clone();
                let release = async move {
                    let _ = timeout_at((Instant::now() + PERSIST_PATIENCE).into(), settled).await;
                    (lost, node.store.release(&node.fence).await)
                };
                release.into_actor(actor)
            })
            .then(move |(dropped, released), actor, _| {
                let persisted = actor.pending().saturating_sub(dropped);
                let drained = before.saturating_sub(persisted + dropped);
                let report = ShutdownReport { drained, persisted, dropped };
                actor.close().map(move |(), _, _| Ok(released.map(|()| report)?))
            });
        Box::pin(ended)
    }
}
