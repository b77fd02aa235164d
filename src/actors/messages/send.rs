//! Sending: one, all, many, and the publisher.

use crate::config::{Durability, Mode, OnFull};
use crate::error::{SendBatchError, SendError};
use crate::types::{Headers, Message, MessageId, NameError, Payload, Topic};
use actix::prelude::Message as ActixMessage;
use bytes::Bytes;
use std::time::Duration;

/// Anything that names a topic. A [`Topic`] made once costs nothing per message; text is checked each time.
pub trait IntoTopic {
    /// The topic.
    ///
    /// # Errors
    /// [`NameError`] when the text is not a name.
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

/// Proof that a message was accepted at the level its mode promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message; the receiver's [`Delivery`](crate::Delivery) carries the same. An at-most-once message has number 0.
    pub id: MessageId,
}

/// How a send is to be done where it differs from the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    pub(crate) mode: Option<Mode>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) on_full: Option<OnFull>,
}

macro_rules! options {
    () => {
        /// At most once: dropped if the peer cannot be reached.
        #[must_use]
        pub fn at_most_once(mut self) -> Self {
            self.options.mode = Some(Mode::AtMostOnce);
            self
        }

        /// At least once, accepted at this level.
        #[must_use]
        pub fn durability(mut self, durability: Durability) -> Self {
            self.options.mode = Some(Mode::AtLeastOnce(durability));
            self
        }

        /// How long the look-up of a route may take, and how long to wait for room and for the commit. A topic that nobody
        /// serves is [`SendError::NoRoute`](crate::SendError::NoRoute) at once. Default
        /// [`Timing::send_deadline`](crate::Timing::send_deadline).
        #[must_use]
        pub fn deadline(mut self, deadline: Duration) -> Self {
            self.options.deadline = Some(deadline);
            self
        }

        /// What happens when a bound is reached. Default [`Config::on_full`](crate::Config::on_full).
        #[must_use]
        pub fn on_full(mut self, on_full: OnFull) -> Self {
            self.options.on_full = Some(on_full);
            self
        }
    };
}

/// A message as the application made it, not checked yet.
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

/// Sends a message to one of the nodes that serve a topic, in turn, those with a live link first.
///
/// The reply is a [`Receipt`] once the chosen level holds, and never before. Dropping the future of `send` before the
/// system has taken the message withdraws it; later, the message is accepted or not as if nobody waited.
///
/// `do_send` puts the message into the mailbox of the system, which has no bound of its own, and any error is lost.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Receipt, SendError>")]
pub struct SendTo {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) outgoing: Outgoing,
    pub(crate) options: Options,
}

impl SendTo {
    /// `payload` to `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic, payload: impl Into<Bytes>) -> Self {
        let outgoing = Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        SendTo { topic: topic.into_topic(), outgoing, options: Options::default() }
    }

    /// Adds headers.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.outgoing.headers = headers;
        self
    }

    options!();
}

/// Sends a message to every node that serves a topic, once each. One receipt a node.
///
/// Committed or synced, it is one transaction: all nodes get it, or none. At most once, each node is served for itself, and
/// an error can come after some were.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Vec<Receipt>, SendError>")]
pub struct SendAll {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) outgoing: Outgoing,
    pub(crate) options: Options,
}

impl SendAll {
    /// `payload` to every node of `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic, payload: impl Into<Bytes>) -> Self {
        let outgoing = Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        SendAll { topic: topic.into_topic(), outgoing, options: Options::default() }
    }

    /// Adds headers.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.outgoing.headers = headers;
        self
    }

    options!();
}

/// Sends many messages to one of the nodes that serve a topic, in order on one lane, with as few commits as possible.
/// Receipts come in the order of the messages. It is no transaction: see [`SendBatchError`].
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Vec<Receipt>, SendBatchError>")]
pub struct SendBatch {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) messages: Vec<Outgoing>,
    pub(crate) options: Options,
}

impl SendBatch {
    /// These payloads to `topic`, in the configured mode.
    pub fn new<P: Into<Bytes>>(topic: impl IntoTopic, payloads: impl IntoIterator<Item = P>) -> Self {
        let outgoing = |payload: P| Outgoing { headers: Headers::EMPTY, payload: payload.into() };
        let messages = payloads.into_iter().map(outgoing).collect();
        SendBatch { topic: topic.into_topic(), messages, options: Options::default() }
    }

    /// Adds a message.
    #[must_use]
    pub fn with(mut self, headers: Headers, payload: impl Into<Bytes>) -> Self {
        self.messages.push(Outgoing { headers, payload: payload.into() });
        self
    }

    options!();
}

/// Asks for a [`Publisher`](crate::Publisher): the fast path to a topic for tight loops and for threads outside actix,
/// with the same semantics as [`SendTo`].
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<crate::Publisher, SendError>")]
pub struct GetPublisher {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) options: Options,
}

impl GetPublisher {
    /// A publisher to `topic`, in the configured mode.
    pub fn new(topic: impl IntoTopic) -> Self {
        GetPublisher { topic: topic.into_topic(), options: Options::default() }
    }

    options!();
}
