//! One error type per operation. Tests and programs match variants; the text is for people.

use crate::config::ConfigError;
use crate::stores::{OpenError, StoreError};
use crate::types::{EmptyPayload, HeadersError, NameError, NodeId, Topic};
use std::io;

/// Why a system could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The configuration is wrong.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The store cannot be opened.
    #[error("store: {0}")]
    Open(#[from] OpenError),
    /// The store failed while the node registered.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The listen address cannot be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// As configured.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// The listen address is reachable from other machines, and links are neither encrypted nor authenticated.
    #[error("{0} is not a loopback address; set allow_insecure_network to listen there without TLS")]
    NotLoopback(std::net::SocketAddr),
    /// A thread could not be started, or the system ended while it started.
    #[error("cannot start: {0}")]
    Runtime(String),
}

/// Why a message was not accepted. Except for [`SendError::Indeterminate`], it will never be delivered.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody serves the topic, as the store said just now, and this node has no lane to it; at most once, nobody but nodes
    /// that were released. It is answered at once, whatever the deadline: send again later.
    #[error("no route: nobody serves {0:?}")]
    NoRoute(Topic),
    /// The topic is this node's own: it hands itself nothing over.
    #[error("{0:?} is this node's own topic")]
    SelfTopic(Topic),
    /// The topic is not a name.
    #[error("topic: {0}")]
    Topic(#[from] NameError),
    /// The message has no payload.
    #[error(transparent)]
    Empty(#[from] EmptyPayload),
    /// The headers are refused.
    #[error("headers: {0}")]
    Headers(#[from] HeadersError),
    /// The message is larger than this node sends, or its store holds.
    #[error("message of {size} bytes, at most {max} are allowed")]
    TooLarge {
        /// Its payload and headers in bytes.
        size: u64,
        /// What is allowed.
        max: u64,
    },
    /// A bound is reached, and the configuration says not to wait ([`OnFull`](crate::OnFull)), or waiting is not possible.
    #[error("queue is full")]
    QueueFull,
    /// The deadline passed while a route was looked up, or the message waited for room or for the store.
    #[error("deadline passed before the message was accepted")]
    Deadline,
    /// The store refused the message, until the deadline or for good.
    #[error("store: {0}")]
    Store(StoreError),
    /// The deadline passed while the store had the message: it may be delivered, or not.
    #[error("outcome unknown: the store did not answer before the deadline")]
    Indeterminate,
    /// The system has shut down, or is about to.
    #[error("system is shut down")]
    Closed,
}

impl SendError {
    /// Whether sending the same message again later can succeed, without a risk of delivering it twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            SendError::NoRoute(_) | SendError::QueueFull | SendError::Deadline => true,
            SendError::Store(error) => error.is_retryable(),
            _ => false,
        }
    }
}

/// Why part of a batch was not accepted.
///
/// Messages behind the failed one may have been given to the store when it failed. They can be delivered, without a receipt
/// here; sending them again may duplicate them.
#[derive(Debug, thiserror::Error)]
#[error("{} messages of the batch were accepted, then: {error}", accepted.len())]
pub struct SendBatchError {
    /// Receipts of the messages before the one that failed; they will be delivered.
    pub accepted: Vec<crate::Receipt>,
    /// Why the next one was not accepted.
    #[source]
    pub error: SendError,
}

/// Why a subscription was refused.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The topic is not a name.
    #[error("topic: {0}")]
    Topic(#[from] NameError),
    /// The topic is this node's own: use [`Receive`](crate::Receive).
    #[error("{0:?} is this node's own topic")]
    SelfTopic(Topic),
    /// Another subscriber of this node has the topic.
    #[error("{0:?} has a subscriber already")]
    AlreadySubscribed(Topic),
    /// The store could not publish or withdraw the route.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The system has shut down, or is about to.
    #[error("system is shut down")]
    Closed,
}

/// Why an administrative operation failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A topic or node is not a name.
    #[error("name: {0}")]
    Name(#[from] NameError),
    /// The topic has no address.
    #[error("no route: nobody serves {0:?}")]
    NoRoute(Topic),
    /// The node is not known.
    #[error("no lane and no route to {0:?}")]
    UnknownPeer(NodeId),
    /// The store failed.
    #[error("store: {0}")]
    Store(#[from] StoreError),
    /// The system has shut down, or is about to.
    #[error("system is shut down")]
    Closed,
}
