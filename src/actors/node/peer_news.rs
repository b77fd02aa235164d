//! Reports of links and sessions about a peer.

use crate::types::{NodeId, StoreId, Topic};
use actix::prelude::*;

/// A report to the system about a peer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum PeerNews {
    /// A handshake, with the peer's address, its own topic and its store.
    Met { node: NodeId, topic: Topic, addr: String, store: StoreId },
    /// The peer serves a topic, or no longer does.
    Serves { node: NodeId, topic: Topic, serves: bool },
}
