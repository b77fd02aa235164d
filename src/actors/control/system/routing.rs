//! Routing: news of peers and topics goes into the routing machine, and its events are carried out.

use super::*;
use crate::actors::sending::queue::{LaneOpened, LookUp};
use crate::actors::sending::route_table::LinkTarget;
use crate::actors::sending::topics::catalogue_entry;
use crate::wire::routing::{LookUpId, RoutingEvent, TopicTarget};

/// The catalogue may have changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct CatalogueChanged;

impl LinerSystem {
    /// Returns the route table of a topic that somebody sends to. It holds what is known of the topic from the first time
    /// on.
    pub(super) fn table(&mut self, ctx: &mut Context<Self>, topic: &Topic) -> Arc<RouteTable> {
        if let Some(table) = self.sends.last_table.as_ref().filter(|table| table.topic == *topic) {
            return table.clone();
        }
        self.use_topic(ctx, topic);
        self.sends.last_table.insert(self.topics.table(topic).clone()).clone()
    }

    /// Marks a topic as one that somebody here sends to.
    pub(crate) fn use_topic(&mut self, ctx: &mut Context<Self>, topic: &Topic) {
        if self.topics.routing.use_topic(topic) {
            self.node.uses_catalogue.notify_one();
            self.drive_routing(ctx);
        }
    }

    /// Reports catalogue changes of a topic.
    pub(crate) fn watch_topic(&mut self, topic: &Topic) {
        self.topics.routing.watch_topic(topic);
        self.node.uses_catalogue.notify_one();
    }

    /// Reads what the store says of a topic now.
    pub(crate) fn look_up(
        &mut self,
        ctx: &mut Context<Self>,
        topic: &Topic,
    ) -> ResponseActFuture<Self, Result<(), StoreError>> {
        let looked_up = self.topics.look_up(topic);
        self.drive_routing(ctx);
        let ended = || StoreError::Unavailable("the system ended".into());
        Box::pin(looked_up.into_actor(self).map(move |result, _, _| result.unwrap_or_else(|_| Err(ended()))))
    }

    /// Reads every topic that is used or watched again.
    pub(crate) fn refresh(&mut self, ctx: &mut Context<Self>) {
        self.topics.routing.refresh();
        self.drive_routing(ctx);
    }

    /// Carries out what routing wants done.
    pub(crate) fn drive_routing(&mut self, ctx: &mut Context<Self>) {
        self.act_on_routes(ctx, None);
    }

    /// The same after a look-up that failed with `error`. An error that no caller waits for is reported.
    fn act_on_routes(&mut self, ctx: &mut Context<Self>, error: Option<StoreError>) {
        let mut is_told = false;
        while let Some(event) = self.topics.routing.poll_event() {
            match event {
                RoutingEvent::LookUp { id, topics } => self.read_catalogue(ctx, id, topics),
                RoutingEvent::Targets { topic, targets } => self.set_targets(ctx, &topic, targets),
                RoutingEvent::Changed(topic) => {
                    if let Some(entry) = self.topics.entry(&topic) {
                        self.node.event(MeshEvent::TopicChanged { topic, entry });
                    }
                }
                RoutingEvent::LookedUp { topic, id, read } => {
                    let failed = error.as_ref().filter(|_| !read);
                    is_told |= failed.is_some();
                    self.topics.looked_up(&topic, id, &failed.cloned().map_or(Ok(()), Err));
                }
            }
        }
        if let Some(error) = error.filter(|_| !is_told) {
            self.node.store_failed(&error);
        }
    }

    fn read_catalogue(&mut self, ctx: &mut Context<Self>, id: LookUpId, topics: Vec<Topic>) {
        let node = self.node.clone();
        let read = async move {
            match &topics[..] {
                [topic] => node.store.topic(topic).await.map(|entry| vec![entry]),
                topics => node.store.topics(topics).await,
            }
        };
        ctx.spawn(read.into_actor(self).map(move |read, actor, ctx| {
            let (entries, error) = match read {
                Ok(entries) => (Some(entries.into_iter().map(catalogue_entry).collect()), None),
                Err(error) => (None, Some(error)),
            };
            actor.topics.routing.handle_look_up(id, entries);
            actor.act_on_routes(ctx, error);
        }));
    }

    fn set_targets(&mut self, ctx: &mut Context<Self>, topic: &Topic, targets: Vec<TopicTarget>) {
        let mut routes = Vec::with_capacity(targets.len());
        for TopicTarget { node, state, addrs } in targets {
            let link = self.link(ctx, &node, addrs);
            let (lane, _) = link.add_lane(&self.node.topic, topic);
            routes.push(LinkTarget { link, lane, state });
        }
        self.topics.table(topic).set(routes);
    }
}

impl Handler<LookUp> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<(), StoreError>>;

    fn handle(&mut self, LookUp(topic): LookUp, ctx: &mut Self::Context) -> Self::Result {
        self.look_up(ctx, &topic)
    }
}

impl Handler<LaneOpened> for LinerSystem {
    type Result = ();

    fn handle(&mut self, LaneOpened(lane): LaneOpened, ctx: &mut Self::Context) {
        self.topics.routing.handle_lane_opened(lane.receiver(), lane.topic());
        self.drive_routing(ctx);
    }
}

impl Handler<PeerNews> for LinerSystem {
    type Result = ();

    fn handle(&mut self, news: PeerNews, ctx: &mut Self::Context) {
        match news {
            PeerNews::Met { node, topic, addr, store } => {
                let shares_store = store == self.node.facts.id;
                let has_moved = self.topics.routing.handle_met(&node, &topic, &addr, shares_store);
                self.drive_routing(ctx);
                if has_moved && self.peers.contains_key(&node) {
                    self.link(ctx, &node, vec![addr.clone()]);
                }
                if let Some(peer) = self.peers.get(&node).filter(|p| has_moved || !p.link.is_up()) {
                    peer.sender.do_send(DialNow);
                }
                self.remember(ctx, node, addr);
            }
            PeerNews::Serves { node, topic, serves } => {
                self.topics.routing.handle_serves(&node, &topic, serves);
                self.drive_routing(ctx);
                self.note_tombstone(ctx, node, topic, serves);
            }
        }
    }
}

impl Handler<CatalogueChanged> for LinerSystem {
    type Result = ();

    fn handle(&mut self, _: CatalogueChanged, ctx: &mut Self::Context) {
        self.refresh(ctx);
    }
}
