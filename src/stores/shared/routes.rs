//! What the rows of a topic say: routes by node, and tombstones.

use crate::stores::{Route, TopicEntry};
use crate::types::NodeId;

/// A row of a topic. In the order of its fields, rows are as an entry lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RouteRow {
    pub(crate) node: NodeId,
    /// Without a lease; published addresses come first.
    pub(crate) unleased: bool,
    pub(crate) addr: String,
    pub(crate) live: bool,
    pub(crate) subscription: bool,
}

/// Makes the entry of a topic from its rows and tombstones, in whatever order they come.
pub(crate) fn gather(mut rows: Vec<RouteRow>, mut tombstones: Vec<NodeId>) -> TopicEntry {
    tombstones.sort();
    rows.sort();
    let mut routes: Vec<Route> = Vec::new();
    for RouteRow { node, addr, live, subscription, .. } in rows {
        match routes.last_mut().filter(|route| route.node == node) {
            Some(route) => {
                route.addrs.push(addr);
                route.live |= live;
                route.subscription &= subscription;
            }
            None => routes.push(Route { node, addrs: vec![addr], subscription, live }),
        }
    }
    TopicEntry { routes, tombstones }
}
