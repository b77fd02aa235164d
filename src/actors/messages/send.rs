//! Messages that send: to one node, to all, in a batch, and the request for a publisher.

use crate::config::{Durability, Mode, OnFull};
use crate::error::{SendBatchError, SendError};
use crate::types::{Headers, Message, NameError, Payload, Receipt, Topic};
use actix::prelude::Message as ActixMessage;
use bytes::Bytes;
use std::time::Duration;

/// Conversion into a [`Topic`]. Text is validated at each conversion; a [`Topic`] that is kept is only counted.
///
/// The messages take any `impl IntoTopic` and report an invalid name as the error of their operation.
pub trait IntoTopic {
    /// Converts the value into a topic.
    ///
    /// # Errors
    /// Returns [`NameError`] if the text is not a valid name.
    fn into_topic(self) -> Result<Topic, NameError>;
}

impl IntoTopic for Topic {
    fn into_topic(self) -> Result<Topic, NameError> {
        Ok(self)
    }
}

impl IntoTopic for &Topic {
    fn into_topic(self) -> Result<Topic, NameError> {
        Ok(self.clone())
    }
}

impl IntoTopic for &str {
    fn into_topic(self) -> Result<Topic, NameError> {
        Topic::new(self)
    }
}

impl IntoTopic for &String {
    fn into_topic(self) -> Result<Topic, NameError> {
        Topic::new(self)
    }
}

impl IntoTopic for String {
    fn into_topic(self) -> Result<Topic, NameError> {
        Topic::new(&self)
    }
}

/// The settings of a send that override the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mode: Option<Mode>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) on_full: Option<OnFull>,
}

macro_rules! options {
    () => {
        /// Sets the mode. Default [`Config::mode`](crate::Config::mode).
        #[must_use]
        pub fn mode(mut self, mode: Mode) -> Self {
            self.options.mode = Some(mode);
            self
        }

        /// Sends at most once: the message is dropped if no peer can be reached.
        #[must_use]
        pub fn at_most_once(self) -> Self {
            self.mode(Mode::AtMostOnce)
        }

        /// Sends at least once, accepted with this durability.
        #[must_use]
        pub fn durability(self, durability: Durability) -> Self {
            self.mode(Mode::AtLeastOnce(durability))
        }

        /// Sets the deadline for the look-up of a route, for room and for the commit. It is not a time to wait for a
        /// receiver: a topic that nobody serves fails with [`SendError::NoRoute`](crate::SendError::NoRoute) at once.
        /// Default [`Timing::send_deadline`](crate::Timing::send_deadline).
        #[must_use]
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.options.deadline = Some(deadline);
            self
        }

        /// Sets the reaction to a limit that is reached. Default [`Config::on_full`](crate::Config::on_full).
        #[must_use]
        pub fn on_full(mut self, on_full: OnFull) -> Self {
            self.options.on_full = Some(on_full);
            self
        }
    };
}

/// A message as the application made it, not validated yet.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) headers: Headers,
    pub(crate) payload: Bytes,
}

impl Outgoing {
    pub(crate) fn check(self, max: u64) -> Result<Message, SendError> {
        let message = Message { headers: self.headers, payload: Payload::new(self.payload)? };
        let size = message.size() as u64;
        if size > max { Err(SendError::TooLarge { size, max }) } else { Ok(message) }
    }
}

/// Sends a message to one of the nodes that serve a topic. Nodes take turns; those with a live link come first.
///
/// The reply is a [`Receipt`] once the message is accepted with the durability of its mode, and never before.
///
/// `Addr::do_send` works too, but any error is lost, and the mailbox of the node has no limit of its own.
///
/// # Errors
/// Replies with [`SendError`].
///
/// # Cancellation
/// If the future of `Addr::send` is dropped before the node has taken the message from its mailbox, nothing is sent. If it is
/// dropped later, the message is accepted or refused as if the caller still waited.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// use liner::{Durability, SendTo};
/// use std::time::Duration;
///
/// let receipt = orders.send(SendTo::new("billing", "invoice 7")).await??;
/// println!("accepted as {}", receipt.id);
///
/// let urgent = SendTo::new("billing", "invoice 8").durability(Durability::Synced).deadline(Duration::from_secs(2));
/// orders.send(urgent).await??;
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Receipt, SendError>")]
pub struct SendTo {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) outgoing: Outgoing,
    pub(crate) options: Options,
}

impl SendTo {
    /// Creates a send of `payload` to `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic, payload: impl Into<Bytes>) -> Self {
        let outgoing = Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        SendTo { topic: topic.into_topic(), outgoing, options: Options::default() }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.outgoing.headers = headers;
        self
    }

    options!();
}

/// Sends a message to every node that serves a topic, once each. The reply has one [`Receipt`] per node.
///
/// A committed or synced message is stored for all nodes in one transaction: all nodes get it, or none. At-most-once
/// messages are sent to each node separately, and an error may come after some of them were sent.
///
/// # Errors
/// Replies with [`SendError`]; a topic without nodes is [`SendError::NoRoute`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _first = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// # let _second = LinerSystem::spawn(Config::memory("billing-2", "billing", &store)).await?;
/// use liner::SendAll;
///
/// let receipts = orders.send(SendAll::new("billing", "closing time")).await??;
/// assert_eq!(receipts.len(), 2);
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Vec<Receipt>, SendError>")]
pub struct SendAll {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) outgoing: Outgoing,
    pub(crate) options: Options,
}

impl SendAll {
    /// Creates a send of `payload` to every node of `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic, payload: impl Into<Bytes>) -> Self {
        let outgoing = Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        SendAll { topic: topic.into_topic(), outgoing, options: Options::default() }
    }

    /// Sets the headers.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.outgoing.headers = headers;
        self
    }

    options!();
}

/// Sends many messages to one of the nodes that serve a topic, in order on one lane, with as few commits as possible.
///
/// The reply has the receipts in the order of the messages.
///
/// # Errors
/// Replies with [`SendBatchError`]. A batch is not a transaction: messages before the one that failed are accepted.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// use liner::{Headers, SendBatch};
///
/// let express = Headers::builder().with("priority", "express").build()?;
/// let batch = SendBatch::new("billing", ["invoice 7", "invoice 8"]).with(express, "invoice 9");
/// let receipts = orders.send(batch).await??;
/// assert_eq!(receipts.len(), 3);
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Vec<Receipt>, SendBatchError>")]
pub struct SendBatch {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) options: Options,
}

impl SendBatch {
    /// Creates a send of these payloads to `topic`, in the configured mode.
    pub fn new<P: Into<Bytes>>(topic: impl IntoTopic, payloads: impl IntoIterator<Item = P>) -> Self {
        let outgoing = |payload: P| Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        let messages = payloads.into_iter().map(outgoing).collect();
        SendBatch { topic: topic.into_topic(), messages, options: Options::default() }
    }

    /// Appends a message with headers.
    #[must_use]
    pub fn with(mut self, headers: Headers, payload: impl Into<Bytes>) -> Self {
        self.messages.push(Outgoing { headers, payload: payload.into() });
        self
    }

    options!();
}

/// Requests a [`Publisher`](crate::Publisher), the fast path to a topic for tight loops and for threads outside actix. It
/// has the same semantics as [`SendTo`].
///
/// A publisher may be requested before anybody serves the topic. The options set here apply to each of its sends.
///
/// # Errors
/// Replies with [`SendError`] if the topic is invalid or the node's own, or if the look-up of its nodes fails.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// use liner::{Durability, GetPublisher};
///
/// let billing = orders.send(GetPublisher::new("billing").durability(Durability::WriteBehind)).await??;
/// for n in 0..100 {
///     billing.send(format!("reading {n}")).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<crate::Publisher, SendError>")]
pub struct GetPublisher {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) options: Options,
}

impl GetPublisher {
    /// Creates a request for a publisher to `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic) -> Self {
        GetPublisher { topic: topic.into_topic(), options: Options::default() }
    }

    options!();
}
