//! Handlers of the messages that inspect and administer a system.

use crate::actors::control::replay::{FindLane, FindSink, Replay, ReplayLane, replay};
use crate::actors::control::system::LinerSystem;
use crate::actors::messages::{
    Address, ClearAddresses, ClearStoredMessages, ForgetLane, ForgetPeer, Forgotten, GetAddresses, LanePending,
    LinkStats, ListAddresses, ListDeadLetters, NodeAddresses, PendingByLane, PendingCount, PurgeDeadLetters,
    RefreshAddresses, ReplayDeadLetters, Sink, Stats, StatsReport, WatchTopic,
};
use crate::actors::node::{Node, wall_ms};
use crate::actors::sending::link::Link;
use crate::actors::sending::sender::Stop;
use crate::error::AdminError;
use crate::stores::{Amount, PendingLane, StoreError, TopicEntry};
use crate::types::{LaneId, NodeId, Topic};
use actix::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type AdminReply<T> = ResponseActFuture<LinerSystem, Result<T, AdminError>>;

fn refuse<T: 'static>(error: impl Into<AdminError>) -> AdminReply<T> {
    Box::pin(fut::ready(Err(error.into())))
}

fn addresses(entry: TopicEntry) -> Vec<Address> {
    let of = |r: crate::stores::Route| {
        r.addrs.into_iter().map(move |addr| Address { node: r.node.clone(), addr, live: r.live })
    };
    entry.routes.into_iter().flat_map(of).collect()
}

/// Returns the messages that wait, per lane: the counts of the store, corrected by the links, which also count the messages
/// that only memory holds.
async fn pending(node: Arc<Node>, links: Vec<Arc<Link>>) -> Result<BTreeMap<LaneId, PendingLane>, StoreError> {
    let stored = node.store.pending(&node.id).await?;
    let mut lanes: BTreeMap<_, _> = stored.into_iter().map(|p| (p.lane.clone(), p)).collect();
    for link in links {
        for (lane, durable, known) in link.pending() {
            match lanes.get_mut(&lane) {
                Some(entry) if durable => entry.amount = known,
                None if known.messages > 0 => {
                    let entry = PendingLane { lane: lane.clone(), amount: known, oldest_ms: None };
                    lanes.insert(lane, entry);
                }
                _ => {}
            }
        }
    }
    lanes.retain(|_, entry| entry.amount.messages > 0);
    Ok(lanes)
}

impl LinerSystem {
    fn links(&self) -> Vec<Arc<Link>> {
        self.peers.values().map(|p| p.link.clone()).collect()
    }
}

impl Handler<RefreshAddresses> for LinerSystem {
    type Result = AdminReply<Vec<Address>>;

    fn handle(&mut self, RefreshAddresses { topic }: RefreshAddresses, ctx: &mut Self::Context) -> Self::Result {
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => return refuse(error),
        };
        self.use_topic(ctx, &topic);
        Box::pin(self.look_up(ctx, &topic).map(move |result, actor, _| {
            result?;
            match actor.topics.entry(&topic).filter(|entry| !entry.routes.is_empty()) {
                Some(entry) => Ok(addresses(entry)),
                None => Err(AdminError::NoRoute(topic)),
            }
        }))
    }
}

impl Handler<ListAddresses> for LinerSystem {
    type Result = AdminReply<Vec<Address>>;

    fn handle(&mut self, ListAddresses { topic }: ListAddresses, _: &mut Self::Context) -> Self::Result {
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => return refuse(error),
        };
        let node = self.node.clone();
        Box::pin(async move { Ok(addresses(node.store.topic(&topic).await?)) }.into_actor(self))
    }
}

impl Handler<WatchTopic> for LinerSystem {
    type Result = AdminReply<()>;

    fn handle(&mut self, WatchTopic { topic }: WatchTopic, ctx: &mut Self::Context) -> Self::Result {
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => return refuse(error),
        };
        self.watch_topic(&topic);
        Box::pin(self.look_up(ctx, &topic).map(|result, _, _| Ok(result?)))
    }
}

impl Handler<GetAddresses> for LinerSystem {
    type Result = MessageResult<GetAddresses>;

    fn handle(&mut self, _: GetAddresses, _: &mut Self::Context) -> Self::Result {
        MessageResult(NodeAddresses { bound: self.node.bound, published: self.node.published.clone() })
    }
}

impl Handler<PendingCount> for LinerSystem {
    type Result = AdminReply<u64>;

    fn handle(&mut self, _: PendingCount, _: &mut Self::Context) -> Self::Result {
        let lanes = pending(self.node.clone(), self.links()).into_actor(self);
        Box::pin(lanes.map(|lanes, _, _| Ok(lanes?.values().map(|p| p.amount.messages).sum())))
    }
}

impl Handler<PendingByLane> for LinerSystem {
    type Result = AdminReply<Vec<LanePending>>;

    fn handle(&mut self, _: PendingByLane, _: &mut Self::Context) -> Self::Result {
        let lanes = pending(self.node.clone(), self.links()).into_actor(self);
        Box::pin(lanes.map(|lanes, actor, _| {
            let row = |p: PendingLane| {
                let link = actor.peers.get(p.lane.receiver());
                let addr = link.and_then(|peer| peer.link.addrs().into_iter().next()).unwrap_or_default();
                LanePending { lane: p.lane, addr, amount: p.amount }
            };
            Ok(lanes?.into_values().map(row).collect())
        }))
    }
}

impl Handler<ClearStoredMessages> for LinerSystem {
    type Result = AdminReply<Amount>;

    fn handle(&mut self, _: ClearStoredMessages, _: &mut Self::Context) -> Self::Result {
        let (node, links) = (self.node.clone(), self.links());
        let clear = async move {
            let before = pending(node.clone(), links.clone()).await?;
            node.store.clear(&node.fence).await?;
            links.iter().for_each(|link| link.clear());
            let mut dropped = Amount::default();
            before.values().for_each(|p| dropped += p.amount);
            Ok(dropped)
        };
        Box::pin(clear.into_actor(self))
    }
}

impl Handler<ClearAddresses> for LinerSystem {
    type Result = AdminReply<u64>;

    fn handle(&mut self, _: ClearAddresses, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        let clear = async move { Ok(node.store.clear_addresses(&node.fence, &node.topic).await?) };
        Box::pin(clear.into_actor(self))
    }
}

impl Handler<ForgetPeer> for LinerSystem {
    type Result = AdminReply<Forgotten>;

    fn handle(&mut self, ForgetPeer { node: peer }: ForgetPeer, ctx: &mut Self::Context) -> Self::Result {
        let peer = match peer {
            Ok(peer) => peer,
            Err(error) => return refuse(error),
        };
        self.forget_peer(ctx, &peer);
        let node = self.node.clone();
        let forgotten = peer.clone();
        let forget = async move {
            let lanes = node.store.lanes(&node.id).await?;
            let mut forgotten = Forgotten::default();
            for lane in lanes.iter().filter(|lane| *lane.receiver() == peer) {
                forgotten.dropped += node.store.forget_lane(&node.fence, lane.name()).await?;
                forgotten.lanes += 1;
            }
            forgotten.routes = node.store.forget_node(&node.fence, &peer).await?;
            if forgotten.lanes + forgotten.routes == 0 {
                return Err(AdminError::UnknownPeer(peer));
            }
            Ok(forgotten)
        };
        Box::pin(forget.into_actor(self).map(move |result, actor, ctx| {
            actor.forget_peer(ctx, &forgotten);
            result
        }))
    }
}

/// Both are called before the store forgets, so that nothing is sent there any more, and again after it, because the catalogue
/// may have been read in between.
impl LinerSystem {
    fn forget_peer(&mut self, ctx: &mut Context<Self>, peer: &NodeId) {
        if let Some(gone) = self.peers.remove(peer) {
            gone.sender.do_send(Stop);
        }
        self.topics.routing.forget(peer);
        self.drive_routing(ctx);
    }

    fn forget_lane(&mut self, ctx: &mut Context<Self>, peer: &NodeId, topic: &Topic) {
        if let Some(link) = self.peers.get(peer).map(|p| p.link.clone()) {
            for (ix, _) in link.lanes().into_iter().filter(|(_, lane)| lane.topic() == topic) {
                link.remove_lane(ix);
            }
        }
        self.topics.routing.forget_lane(peer, topic);
        self.drive_routing(ctx);
    }
}

impl Handler<ForgetLane> for LinerSystem {
    type Result = AdminReply<Forgotten>;

    fn handle(&mut self, ForgetLane { node: peer, topic }: ForgetLane, ctx: &mut Self::Context) -> Self::Result {
        let (peer, topic) = match (peer, topic) {
            (Ok(peer), Ok(topic)) => (peer, topic),
            (Err(error), _) | (_, Err(error)) => return refuse(error),
        };
        self.forget_lane(ctx, &peer, &topic);
        let node = self.node.clone();
        let (of, on) = (peer.clone(), topic.clone());
        let forget = async move {
            let mut forgotten = Forgotten::default();
            let lanes = node.store.lanes(&node.id).await?;
            let routes = node.store.topic(&topic).await?.routes;
            forgotten.routes = routes.iter().filter(|r| r.node == peer).map(|r| r.addrs.len() as u64).sum();
            for lane in lanes.iter().filter(|l| *l.receiver() == peer && *l.topic() == topic) {
                forgotten.dropped += node.store.forget_lane(&node.fence, lane.name()).await?;
                forgotten.lanes += 1;
            }
            if forgotten.lanes + forgotten.routes == 0 {
                return Err(AdminError::UnknownPeer(peer));
            }
            node.store.set_tombstone(&node.fence, &topic, &peer, true).await?;
            Ok(forgotten)
        };
        Box::pin(forget.into_actor(self).map(move |result, actor, ctx| {
            actor.forget_lane(ctx, &of, &on);
            result
        }))
    }
}

impl Handler<ListDeadLetters> for LinerSystem {
    type Result = AdminReply<Vec<(crate::stores::DeadLetterId, crate::stores::DeadLetter)>>;

    fn handle(&mut self, list: ListDeadLetters, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        let list = async move {
            let ListDeadLetters { filter, after, limit } = list;
            Ok(node.store.dead_letters(&node.id, &filter, after, limit).await?)
        };
        Box::pin(list.into_actor(self))
    }
}

impl Handler<PurgeDeadLetters> for LinerSystem {
    type Result = AdminReply<u64>;

    fn handle(&mut self, PurgeDeadLetters { filter }: PurgeDeadLetters, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        let purge = async move { Ok(node.store.purge_dead_letters(&node.fence, &filter).await?) };
        Box::pin(purge.into_actor(self))
    }
}

impl Handler<ReplayDeadLetters> for LinerSystem {
    type Result = AdminReply<crate::actors::messages::Replayed>;

    fn handle(&mut self, ReplayDeadLetters { filter }: ReplayDeadLetters, ctx: &mut Self::Context) -> Self::Result {
        let context = Replay {
            node: self.node.clone(),
            store: self.store.clone().recipient(),
            open: self.store.clone().recipient(),
            opened: ctx.address().recipient(),
            system: ctx.address(),
        };
        Box::pin(replay(context, filter).into_actor(self))
    }
}

impl Handler<FindSink> for LinerSystem {
    type Result = Option<Sink>;

    fn handle(&mut self, FindSink(topic): FindSink, _: &mut Self::Context) -> Self::Result {
        self.sink(&topic).cloned()
    }
}

impl Handler<FindLane> for LinerSystem {
    type Result = MessageResult<FindLane>;

    fn handle(&mut self, FindLane(lane): FindLane, ctx: &mut Self::Context) -> Self::Result {
        let link = self.link(ctx, lane.receiver(), Vec::new());
        let (lane, _) = link.add_lane(lane.source(), lane.topic());
        MessageResult(ReplayLane { link, lane })
    }
}

impl Handler<Stats> for LinerSystem {
    type Result = AdminReply<StatsReport>;

    fn handle(&mut self, _: Stats, _: &mut Self::Context) -> Self::Result {
        let lanes = pending(self.node.clone(), self.links()).into_actor(self);
        Box::pin(lanes.map(|lanes, actor, _| {
            let lanes = lanes?;
            actor.peers.values().for_each(|p| p.link.count_now());
            let links = actor.peers.iter().map(|(peer, p)| link_stats(peer.clone(), &p.link)).collect();
            let redelivered = actor.peers.values().map(|p| p.link.redelivered()).sum();
            Ok(report(&actor.node, &lanes, links, redelivered, actor.waiting_sends()))
        }))
    }
}

fn link_stats(peer: crate::types::NodeId, link: &Link) -> LinkStats {
    let mut pending = Amount::default();
    link.pending().into_iter().for_each(|(_, _, known)| pending += known);
    LinkStats { peer, up: link.is_up(), pending, memory: link.memory() }
}

fn report(
    node: &Node,
    lanes: &BTreeMap<LaneId, PendingLane>,
    links: Vec<LinkStats>,
    redelivered: u64,
    waiting_sends: usize,
) -> StatsReport {
    let counters = &node.counters;
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let oldest = lanes.values().filter_map(|p| p.oldest_ms).min();
    StatsReport {
        node: node.id.clone(),
        bound: node.bound,
        published: node.published.clone(),
        store: node.facts.clone(),
        accepted: read(&counters.accepted),
        delivered: read(&counters.delivered),
        handled: read(&counters.handled),
        acked: read(&counters.acked),
        redelivered,
        nacked: read(&counters.nacked),
        dead_lettered: read(&counters.dead_lettered),
        dropped: read(&counters.dropped),
        duplicates: read(&counters.duplicates),
        bytes_accepted: read(&counters.bytes_accepted),
        bytes_delivered: read(&counters.bytes_delivered),
        pending: lanes.values().map(|p| p.amount.messages).sum(),
        oldest_pending: oldest.map(|ms| Duration::from_millis(wall_ms().saturating_sub(ms))),
        waiting_sends,
        links,
    }
}
