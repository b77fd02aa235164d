//! The messages of a session.

use crate::actors::connection::Connection;
use crate::actors::messages::Sink;
use crate::types::Topic;
use crate::wire::error::LinkError;
use crate::wire::inbound::SubscriberSpec;
use actix::prelude::*;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// A connection of this peer after the handshake.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) connection: Connection,
    /// Its permit among the connections this node accepts.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Sets the subscriber of a topic, or removes it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct SetHandler {
    pub(crate) topic: Topic,
    pub(crate) handler: Option<(SubscriberSpec, Sink)>,
}

/// Announces to the peer that this node serves a topic or no longer does.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Announce {
    pub(crate) topic: Topic,
    pub(crate) serves: bool,
}

/// Stops handing over. Returns when the messages handed over are handled, committed and acked as far as possible.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Closes the connection and stops. Returns when the peer has closed its end, or did not in time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// Whole frames were received.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), LinkError>")]
pub(super) struct Arrived {
    pub(super) generation: u64,
    pub(super) chunk: Bytes,
}

/// The write loop has taken the buffer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Writable;
