//! Receiving: subscriptions, deliveries and their answers.

use super::IntoTopic;
use crate::error::SubscribeError;
use crate::types::{Headers, MessageId, NameError, NodeId, Payload, Topic};
use actix::prelude::{Message as ActixMessage, Recipient};
use futures::channel::oneshot;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A message handed to a subscriber. The handler's result is the ack: `Ok` means handled, a [`Nack`] means again.
///
/// The payload shares the buffer it arrived in; copy it to keep it for long.
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "Result<(), Nack>")]
pub struct Delivery {
    /// The message: the same over redelivery, restarts and replays, so that duplicates can be recognised.
    pub id: MessageId,
    /// How often it was handed over, this time included. Hand-overs of an earlier process count where they were recorded.
    pub attempt: u32,
    /// Whether it may have been handed over before. Also true of messages that waited in the sender's store.
    pub redelivered: bool,
    /// Its headers.
    pub headers: Headers,
    /// Its body.
    pub payload: Payload,
}

impl Delivery {
    /// The topic it was sent to.
    pub fn topic(&self) -> &Topic {
        self.id.lane.topic()
    }

    /// The node that sent it.
    pub fn sender(&self) -> &NodeId {
        self.id.lane.sender()
    }

    /// Where an answer goes: the sender's own topic.
    pub fn reply_to(&self) -> &Topic {
        self.id.lane.source()
    }
}

/// Not handled: deliver it again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nack {
    /// How long to wait; without it, a backoff that doubles from [`Timing::nack_backoff_min`](crate::Timing::nack_backoff_min).
    pub delay: Option<Duration>,
    /// Why, for the dead letter that it becomes after too many.
    pub reason: String,
}

impl Nack {
    /// Again after the backoff.
    pub fn new(reason: impl Into<String>) -> Self {
        Nack { delay: None, reason: reason.into() }
    }

    /// Again after `delay`.
    pub fn after(delay: Duration, reason: impl Into<String>) -> Self {
        Nack { delay: Some(delay), reason: reason.into() }
    }
}

/// Deliveries of one lane, in order, handed over at once.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<(), BatchNack>")]
pub struct DeliveryBatch(pub Vec<Delivery>);

/// Part of a batch was not handled: those before `at` were, the one at `at` failed, those behind it were not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchNack {
    /// Index of the one that failed.
    pub at: usize,
    /// Why, and when again.
    pub nack: Nack,
}

/// What became of a batch: those before `handled` were, the one at `handled` failed if there is a nack, the others were not
/// tried.
#[derive(Debug)]
pub(crate) struct BatchAnswer {
    pub(crate) handled: usize,
    pub(crate) nack: Option<Nack>,
}

impl From<Result<(), BatchNack>> for BatchAnswer {
    fn from(result: Result<(), BatchNack>) -> Self {
        match result {
            Ok(()) => BatchAnswer { handled: usize::MAX, nack: None },
            Err(BatchNack { at, nack }) => BatchAnswer { handled: at, nack: Some(nack) },
        }
    }
}

/// The answer to a batch that was handed off: given once, from any thread. Dropping it is a nack of the first message.
#[derive(Debug)]
#[must_use = "a batch without an answer has failed"]
pub struct BatchReply(pub(crate) oneshot::Sender<BatchAnswer>);

impl BatchReply {
    /// All were handled.
    pub fn ack(self) {
        self.answer(Ok(()).into());
    }

    /// Part of the batch was not handled.
    pub fn nack(self, nack: BatchNack) {
        self.answer(Err(nack).into());
    }

    /// Those before `at` were handled, the others were not tried: they are handed over again, and nothing is counted.
    pub fn give_back(self, at: usize) {
        self.answer(BatchAnswer { handled: at, nack: None });
    }

    fn answer(self, answer: BatchAnswer) {
        // A session that is gone has no use for it.
        let _ = self.0.send(answer);
    }
}

/// What takes batches that are handed off.
pub(crate) type Handoff = dyn Fn(Vec<Delivery>, BatchReply) + Send + Sync;

/// What a callback is.
pub(crate) type Callback = dyn Fn(&Delivery) -> Result<(), Nack> + Send + Sync;

/// Who takes the messages of a topic. An actor lives at least as long as its subscription.
#[derive(Clone)]
pub(crate) enum Sink {
    Actor(Recipient<Delivery>),
    Batch(Recipient<DeliveryBatch>),
    Handoff(Arc<Handoff>),
    Callback(Arc<Callback>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sink::Actor(_) => "Actor",
            Sink::Batch(_) => "Batch",
            Sink::Handoff(_) => "Handoff",
            Sink::Callback(_) => "Callback",
        })
    }
}

/// Deliveries one subscription has at a time, per lane, unless it says otherwise: enough to keep an actor's mailbox busy
/// across a thread switch.
const DEFAULT_IN_FLIGHT: u32 = 256;

macro_rules! subscription {
    ($($topic:ident)?) => {
        /// An actor takes the messages, and its reply is the ack. The subscription keeps the actor alive; once it has
        /// stopped all the same, messages wait at their senders until there is another subscriber.
        pub fn new($($topic: impl IntoTopic,)? recipient: Recipient<Delivery>) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Actor(recipient), DEFAULT_IN_FLIGHT)
        }

        /// An actor takes the messages of each lane in batches.
        pub fn batch($($topic: impl IntoTopic,)? recipient: Recipient<DeliveryBatch>) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Batch(recipient), DEFAULT_IN_FLIGHT)
        }

        /// A function takes the messages of each lane in batches and passes them on, to a thread outside actix for example. It
        /// runs on the thread that drives the connection: it must not block. The answer may be given later. There is one
        /// batch of a lane at a time, so lane order holds even across a nack.
        pub fn handoff(
            $($topic: impl IntoTopic,)?
            handoff: impl Fn(Vec<Delivery>, BatchReply) + Send + Sync + 'static,
        ) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Handoff(Arc::new(handoff)), DEFAULT_IN_FLIGHT)
        }

        /// A function takes the messages, on the thread that drives the connection: it must not block. It gets one message
        /// of a lane at a time. A panic is a nack.
        pub fn callback(
            $($topic: impl IntoTopic,)?
            callback: impl Fn(&Delivery) -> Result<(), Nack> + Send + Sync + 'static,
        ) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Callback(Arc::new(callback)), 1)
        }

        /// Deliveries of one lane the subscriber has at a time. With 1, lane order holds even across a nack. At least 1;
        /// default 256, for a callback always 1.
        #[must_use]
        pub fn in_flight(mut self, in_flight: u32) -> Self {
            if !matches!(self.sink, Sink::Callback(_)) {
                self.in_flight = in_flight.max(1);
            }
            self
        }

        /// How long the subscriber may take for a message before that counts as a nack. Default: as long as it likes.
        #[must_use]
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.timeout = Some(timeout);
            self
        }
    };
}

/// Serves a further topic: publishes this node under it and hands its messages over. One subscriber a topic.
///
/// An actor that panics in its handler, or stops with messages in its mailbox, has failed these messages.
///
/// ```no_run
/// use actix::prelude::*;
/// use liner::{Delivery, Nack, Subscribe};
///
/// struct Printer;
///
/// impl Actor for Printer {
///     type Context = Context<Self>;
/// }
///
/// impl Handler<Delivery> for Printer {
///     type Result = Result<(), Nack>;
///
///     fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
///         println!("{}: {} bytes", delivery.id, delivery.payload.len());
///         Ok(())
///     }
/// }
///
/// # async fn run(system: Addr<liner::LinerSystem>) -> Result<(), Box<dyn std::error::Error>> {
/// let printer = Printer.start().recipient();
/// let subscription = system.send(Subscribe::new("invoices", printer)).await??;
/// # drop(subscription);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Subscription, SubscribeError>")]
pub struct Subscribe {
    pub(crate) topic: Result<Topic, NameError>,
    pub(crate) sink: Sink,
    pub(crate) in_flight: u32,
    pub(crate) timeout: Option<Duration>,
}

impl Subscribe {
    fn with(topic: Result<Topic, NameError>, sink: Sink, in_flight: u32) -> Self {
        Subscribe { topic, sink, in_flight, timeout: None }
    }

    subscription!(topic);
}

/// Hands the messages of the node's own topic over. The topic is published from the start; until there is a subscriber, its
/// messages wait at their senders. Otherwise as [`Subscribe`].
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<Subscription, SubscribeError>")]
pub struct Receive {
    pub(crate) sink: Sink,
    pub(crate) in_flight: u32,
    pub(crate) timeout: Option<Duration>,
}

impl Receive {
    fn with(sink: Sink, in_flight: u32) -> Self {
        Receive { sink, in_flight, timeout: None }
    }

    subscription!();
}

/// Withdraws a topic: its routes go, senders are told, and messages that already wait stay with their senders until this
/// node subscribes again. Routes that an earlier process or an operator wrote for this node and topic go, too.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<(), SubscribeError>")]
pub struct Unsubscribe {
    pub(crate) topic: Result<Topic, NameError>,
}

impl Unsubscribe {
    /// Withdraws `topic`.
    pub fn new(topic: impl IntoTopic) -> Self {
        Unsubscribe { topic: topic.into_topic() }
    }
}

/// Told to the system when a [`Subscription`] is dropped.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub(crate) struct SubscriptionGuard {
    pub(crate) topic: Topic,
    pub(crate) generation: u64,
}

/// A subscription in force. Dropping it ends the hand-over: messages wait at their senders until the topic has a
/// subscriber again. The route stays; [`Unsubscribe`] withdraws it.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    pub(crate) guard: Option<SubscriptionGuard>,
    pub(crate) system: Recipient<SubscriptionGuard>,
}

impl Subscription {
    /// Lets the subscription stand for the life of the system.
    pub fn detach(mut self) {
        self.guard = None;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(guard) = self.guard.take() {
            self.system.do_send(guard);
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscription").field(&self.guard).finish()
    }
}
