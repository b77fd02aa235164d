//! The topics of a node: its routing, the route table of each topic, and who waits for a look-up.

use crate::actors::sending::route_table::RouteTable;
use crate::stores::{Route, StoreError, TopicEntry};
use crate::types::{NodeId, Topic};
use crate::wire::routing::{CatalogueEntry, CatalogueRoute, LookUpId, Routing};
use futures::channel::oneshot;
use std::collections::HashMap;
use std::sync::Arc;

/// Resolves when a look-up has ended.
pub(crate) type LookedUp = oneshot::Receiver<Result<(), StoreError>>;

/// A caller that waits for a look-up of a topic.
struct Caller {
    topic: Topic,
    /// It waits for a later look-up than this.
    after: LookUpId,
    reply: oneshot::Sender<Result<(), StoreError>>,
}

/// See the [module](self).
pub(crate) struct Topics {
    pub(crate) routing: Routing,
    tables: HashMap<Topic, Arc<RouteTable>>,
    callers: Vec<Caller>,
}

impl Topics {
    pub(crate) fn new(node: NodeId) -> Self {
        Topics { routing: Routing::new(node), tables: HashMap::new(), callers: Vec::new() }
    }

    /// Returns the route table of a topic. A new one is empty.
    pub(crate) fn table(&mut self, topic: &Topic) -> &Arc<RouteTable> {
        self.tables.entry(topic.clone()).or_insert_with(|| Arc::new(RouteTable::new(topic.clone())))
    }

    /// Returns the number of sends that wait in queues.
    pub(crate) fn waiting_sends(&self) -> usize {
        self.tables.values().map(|table| table.waiting()).sum()
    }

    /// Returns what the catalogue said of a topic last, once it was read.
    pub(crate) fn entry(&self, topic: &Topic) -> Option<TopicEntry> {
        self.routing.entry(topic).map(stored_entry)
    }

    /// Asks for a look-up of a topic.
    pub(crate) fn look_up(&mut self, topic: &Topic) -> LookedUp {
        let (reply, looked_up) = oneshot::channel();
        let after = self.routing.look_up(topic);
        self.callers.push(Caller { topic: topic.clone(), after, reply });
        looked_up
    }

    /// Notifies those who waited for a look-up that it ended.
    pub(crate) fn looked_up(&mut self, topic: &Topic, id: LookUpId, result: &Result<(), StoreError>) {
        for caller in self.callers.extract_if(.., |caller| caller.topic == *topic && caller.after < id) {
            let _ = caller.reply.send(result.clone());
        }
    }
}

/// An entry as routing takes it.
pub(crate) fn catalogue_entry(entry: TopicEntry) -> CatalogueEntry {
    let route = |Route { node, addrs, subscription, live }| CatalogueRoute { node, addrs, subscription, live };
    CatalogueEntry { routes: entry.routes.into_iter().map(route).collect(), tombstones: entry.tombstones }
}

/// An entry as the store has it.
fn stored_entry(entry: &CatalogueEntry) -> TopicEntry {
    let route =
        |CatalogueRoute { node, addrs, subscription, live }: CatalogueRoute| Route { node, addrs, subscription, live };
    let CatalogueEntry { routes, tombstones } = entry.clone();
    TopicEntry { routes: routes.into_iter().map(route).collect(), tombstones }
}
