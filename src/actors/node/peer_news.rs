//! What links and sessions report to the system about a peer.

use crate::types::{NodeId, StoreId, Topic};
use actix::prelude::*;

/// Reports what a peer said of itself to the system.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) enum PeerNews {
    /// A handshake: where the peer listens, its own topic, and its store.
    Met { node: NodeId, topic: Topic, addr: String, store: StoreId },
    /// It serves the topic, or does not any more.
    Serves { node: NodeId, topic: Topic, serves: bool },
}
