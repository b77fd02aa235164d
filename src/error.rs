//! Errors of the public interface, one type per operation. Programs match variants; the text is for people.

use crate::config::ConfigError;
use crate::stores::{OpenError, StoreError};
use crate::types::{EmptyPayload, HeadersError, NameError, NodeId, Receipt, Topic};
use std::io;

/// Error of [`LinerSystem::spawn`](crate::LinerSystem::spawn).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The configuration is invalid.
    #[error("invalid configuration: {0}")]
    Config(#[from] ConfigError),
    /// The store could not be opened.
    #[error("store: {0}")]
    Open(#[from] OpenError),
    /// The store failed while the node registered.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The listen address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address as configured.
        addr: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The listen address is reachable from other machines, and links are neither encrypted nor authenticated.
    /// [`Config::allow_insecure_network`](crate::Config::allow_insecure_network) permits that.
    #[error("{0} is not a loopback address; set allow_insecure_network to listen there without TLS")]
    NotLoopback(std::net::SocketAddr),
    /// A thread could not be started, or the system ended while it started.
    #[error("cannot start: {0}")]
    Runtime(String),
}

/// Error of a send: the message was not accepted. Except for [`SendError::Indeterminate`], it will never be delivered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody serves the topic, and this node has no lane to a node that did. For at-most-once messages, nodes that ended
    /// with a shutdown do not count. The error comes at once, whatever the deadline.
    #[error("no route: nobody serves {0:?}")]
    NoRoute(Topic),
    /// The topic is this node's own. A node does not send to itself.
    #[error("{0:?} is this node's own topic")]
    SelfTopic(Topic),
    /// The topic is not a valid name.
    #[error("invalid topic: {0}")]
    Topic(#[from] NameError),
    /// The message has no payload.
    #[error(transparent)]
    Empty(#[from] EmptyPayload),
    /// The headers are invalid.
    #[error("invalid headers: {0}")]
    Headers(#[from] HeadersError),
    /// The message is larger than this node sends, or than its store holds.
    #[error("message of {size} bytes exceeds the limit of {max} bytes")]
    TooLarge {
        /// The size of the message: payload and headers, in bytes.
        size: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// A limit is reached, and the send does not wait for room ([`OnFull`](crate::OnFull)) or cannot.
    #[error("queue is full")]
    QueueFull,
    /// The deadline passed while the message waited for a route, for room or for the store.
    #[error("deadline passed before the message was accepted")]
    Deadline,
    /// The store refused the message, until the deadline or for good.
    #[error("store: {0}")]
    Store(StoreError),
    /// The deadline passed while the store had the message: it may be delivered, or not.
    #[error("outcome unknown: the store did not reply before the deadline")]
    Indeterminate,
    /// The node has ended, or is about to.
    #[error("node is shut down")]
    Closed,
}

impl SendError {
    /// Converts the error of the commit of a message. An unknown outcome stays one.
    pub(crate) fn of_commit(error: StoreError) -> Self {
        if error.is_definite() { SendError::Store(error) } else { SendError::Indeterminate }
    }

    /// Returns whether the same message can be sent again later with a chance of success, and without the risk that it is
    /// delivered twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            SendError::NoRoute(_) | SendError::QueueFull | SendError::Deadline => true,
            SendError::Store(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Error of a [`SendBatch`](crate::SendBatch): only a first part of the batch was accepted.
///
/// Messages after the one that failed may have been passed to the store together with it. They may be delivered, without
/// a receipt here; sending them again may duplicate them.
#[derive(Debug, thiserror::Error)]
#[error("{} messages of the batch were accepted, then: {error}", accepted.len())]
#[non_exhaustive]
pub struct SendBatchError {
    /// The receipts of the messages before the one that failed. They will be delivered.
    pub accepted: Vec<Receipt>,
    /// The error of the next message.
    #[source]
    pub error: SendError,
}

/// Error of [`Receive`](crate::Receive), [`Subscribe`](crate::Subscribe) and [`Unsubscribe`](crate::Unsubscribe).
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic is not a valid name.
    #[error("invalid topic: {0}")]
    Topic(#[from] NameError),
    /// The topic is this node's own. [`Receive`](crate::Receive) takes its messages.
    #[error("{0:?} is this node's own topic")]
    SelfTopic(Topic),
    /// The topic has a subscriber on this node already.
    #[error("{0:?} already has a subscriber")]
    AlreadySubscribed(Topic),
    /// The store could not publish or withdraw the route.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The node has ended, or is about to.
    #[error("node is shut down")]
    Closed,
}

/// Error of the messages that inspect and administer a node.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A topic or a node is not a valid name.
    #[error("invalid name: {0}")]
    Name(#[from] NameError),
    /// The topic has no address.
    #[error("no route: nobody serves {0:?}")]
    NoRoute(Topic),
    /// The node is unknown: this node has no lane to it, and the catalogue no row of it.
    #[error("no lane and no route to {0:?}")]
    UnknownPeer(NodeId),
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The node has ended, or is about to.
    #[error("node is shut down")]
    Closed,
}
