//! LinerSystem: the actor applications talk to. It routes, keeps the topics in use, and knows every other actor.

mod events;
mod routing;
mod send;
mod subscribe;

pub(crate) use routing::CatalogueChanged;

use crate::actors::control::threads::Threads;
use crate::actors::messages::{
    GetPublisher, MeshEvent, ObserveEvents, Options, Outgoing, Receive, SendAll, SendBatch, SendTo, Sink, Subscribe,
    Subscription, SubscriptionGuard, Unsubscribe, WatchEvents,
};
use crate::actors::node::Node;
use crate::actors::node::peer_news::PeerNews;
use crate::actors::receiving::listener::Listener;
use crate::actors::receiving::session::{Announce, SetHandler};
use crate::actors::sending::link::Link;
use crate::actors::sending::pending_send::SendRequest;
use crate::actors::sending::publisher::Publisher;
use crate::actors::sending::queue::{Arrival, Enqueue, SendContext, run};
use crate::actors::sending::route_table::{RouteTable, TrySend, Wake, try_send};
use crate::actors::sending::sender::{DialNow, Sender, SenderPeers};
use crate::actors::sending::topics::Topics;
use crate::actors::storing::ack_tracker::AckTracker;
use crate::actors::storing::link_thread::LinkThreads;
use crate::actors::storing::store::{OpenOutbox, StoreActor};
use crate::error::{SendBatchError, SendError, SubscribeError};
use crate::stores::StoreError;
use crate::types::{NameError, NodeId, Payload, Receipt, Topic};
use crate::wire::inbound::SubscriberSpec;
use crate::wire::outbound::Body;
use actix::dev::{MessageResponse, OneshotSender};
use actix::prelude::*;
use events::Watchers;
use futures::channel::{mpsc, oneshot};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use send::{Flush, Sends};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use subscribe::Subscriptions;

/// Beyond this, every `send` that waits makes an entry in a queue of its own. It is no bound: each has a place in the mailbox.
const MAILBOX: usize = 1024;

/// One link and the actor that drives it.
pub(crate) struct PeerLink {
    pub(crate) link: Arc<Link>,
    pub(crate) sender: Addr<Sender>,
}

/// A running node: the actor that takes the messages of this crate. [`LinerSystem::spawn`] starts one.
///
/// It runs until it gets a [`Shutdown`](crate::Shutdown), or until the actix system it was spawned in ends. The latter is
/// like a crash: accepted messages survive as their mode promises, and are sent again after the next start.
pub struct LinerSystem {
    pub(crate) node: Arc<Node>,
    pub(crate) threads: Threads,
    pub(crate) store: Addr<StoreActor>,
    pub(crate) acks: Addr<AckTracker>,
    pub(crate) listener: Addr<Listener>,
    pub(crate) topics: Topics,
    pub(crate) peers: HashMap<NodeId, PeerLink>,
    queues: HashMap<Topic, mpsc::UnboundedSender<Arrival>>,
    subscriptions: Subscriptions,
    watchers: Watchers,
    /// Threads that senders run on.
    link_threads: LinkThreads,
    sends: Sends,
}

impl LinerSystem {
    pub(crate) fn new(
        node: Arc<Node>,
        threads: Threads,
        link_threads: LinkThreads,
        store: Addr<StoreActor>,
        acks: Addr<AckTracker>,
        listener: Addr<Listener>,
    ) -> Self {
        LinerSystem {
            topics: Topics::new(node.id.clone()),
            node,
            threads,
            link_threads,
            store,
            acks,
            listener,
            peers: HashMap::new(),
            queues: HashMap::new(),
            subscriptions: Subscriptions::default(),
            watchers: Watchers::default(),
            sends: Sends::default(),
        }
    }

    // ---- peers and topics ----

    /// The link to a node, started if there is none, with the addresses it may be dialled at.
    pub(crate) fn link(&mut self, ctx: &Context<Self>, peer: &NodeId, addrs: Vec<String>) -> Arc<Link> {
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
        let thread = self.link_threads.next();
        let talks_to = SenderPeers {
            store: thread.store.clone().recipient(),
            load: thread.store.clone().recipient(),
            acks: self.acks.clone().recipient(),
            idle: self.acks.clone().recipient(),
            system: ctx.address().recipient(),
        };
        let (node, end) = (self.node.clone(), link.clone());
        let sender = Supervisor::start_in_arbiter(&thread.handle, move |_| Sender::new(node, end, talks_to));
        link.attach(Some(sender.clone().recipient()));
        self.peers.insert(peer.clone(), PeerLink { link: link.clone(), sender });
        link
    }

    /// Tells the peers that this node serves a topic, or does not any more.
    fn announce(&self, topic: Topic, serves: bool) {
        for peer in self.peers.values() {
            peer.link.announce(topic.clone(), serves);
        }
        self.listener.do_send(Announce { topic, serves });
    }
}

impl Actor for LinerSystem {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.spawn(Flush);
        self.begin(ctx);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.sends.close();
        self.threads.stop();
    }
}
