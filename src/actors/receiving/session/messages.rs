//! What a session is told, and the outlet of its write loop.

use crate::actors::connection::Connection;
use crate::actors::messages::Sink;
use crate::types::Topic;
use crate::wire::error::LinkError;
use crate::wire::inbound::SubscriberSpec;
use actix::prelude::*;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// A connection of this peer, its handshake done.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Attach {
    pub(crate) connection: Connection,
    /// Its place among the connections this node takes.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Who takes the messages of a topic, or nobody any more.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct SetHandler {
    pub(crate) topic: Topic,
    pub(crate) handler: Option<(SubscriberSpec, Sink)>,
}

/// Tell the peer that this node serves a topic, or does not any more.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Announce {
    pub(crate) topic: Topic,
    pub(crate) serves: bool,
}

/// Hand nothing over any more; answered when all is handled, committed and acked as far as it goes.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain;

/// Say goodbye, close the connection and stop; answered when the peer has seen it, or does not answer.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// Whole frames that arrived.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), LinkError>")]
pub(super) struct Arrived {
    pub(super) generation: u64,
    pub(super) chunk: Bytes,
}

/// The write loop has taken what was there.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Writable;

/// A connection ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Ended {
    pub(super) generation: u64,
    pub(super) reason: String,
}

/// What goes to the write loop: one buffer at a time, so that acks gather in the machine while the socket is busy.
#[derive(Default)]
pub(super) struct WriteSlot {
    pub(super) bytes: RefCell<Option<Bytes>>,
    pub(super) ready: Notify,
    /// The session had more.
    pub(super) starved: Cell<bool>,
}
