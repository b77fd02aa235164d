//! What goes into routing and what comes out: entries of the catalogue, and targets.

use crate::types::NodeId;

/// A node that the catalogue lists under a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueRoute {
    /// The node.
    pub node: NodeId,
    /// Where it listens.
    pub addrs: Vec<String>,
    /// Whether the topic is not the node's own. Reported, and not used to choose a target.
    pub subscription: bool,
    /// Whether its lease runs, or it has none.
    pub live: bool,
}

/// Everything that the catalogue says of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CatalogueEntry {
    /// The nodes that serve it.
    pub routes: Vec<CatalogueRoute>,
    /// The nodes that unsubscribed from it: a lane to them is no route.
    pub tombstones: Vec<NodeId>,
}

/// The state of a target. Better states come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteState {
    /// The catalogue lists it and its lease runs, or the node said that it serves the topic.
    Live,
    /// The catalogue lists it, but its lease has expired.
    Expired,
    /// It was released, and a lane to it exists: at-least-once messages still go there.
    Released,
}

/// One node that the messages of a topic can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicTarget {
    /// The node.
    pub node: NodeId,
    /// Its state.
    pub state: RouteState,
    /// Where it may be dialled, the best address first.
    pub addrs: Vec<String>,
}

/// Identifies a look-up in the catalogue; later ones are greater. 64 bits never run out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LookUpId(u64);

impl LookUpId {
    pub(super) fn next(self) -> Self {
        LookUpId(self.0 + 1)
    }
}
