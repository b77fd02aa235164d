//! Messages that subscribe and unsubscribe, and the reply handle of a batch.

use super::{BatchNack, Delivery, DeliveryBatch, IntoTopic, Nack};
use crate::error::SubscribeError;
use crate::types::{NameError, Topic};
use actix::prelude::{Arbiter, Message as ActixMessage, Recipient};
use actix_rt::ArbiterHandle;
use futures::channel::oneshot;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The outcome of a batch: the deliveries before `handled` were handled. If there is a nack, the one at `handled` failed. The
/// others were not tried.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    pub(crate) handled: usize,
    pub(crate) nack: Option<Nack>,
}

impl From<Result<(), BatchNack>> for BatchOutcome {
    fn from(result: Result<(), BatchNack>) -> Self {
        match result {
            Ok(()) => BatchOutcome { handled: usize::MAX, nack: None },
            Err(BatchNack { at, nack }) => BatchOutcome { handled: at, nack: Some(nack) },
        }
    }
}

/// The reply handle of a batch that was handed off. It is used once, from any thread. Dropping it nacks the first delivery of
/// the batch.
#[derive(Debug)]
#[must_use = "dropping the reply handle nacks the batch"]
pub struct BatchReply(pub(crate) oneshot::Sender<BatchOutcome>);

impl BatchReply {
    /// Reports that all deliveries were handled.
    pub fn ack(self) {
        self.send(Ok(()).into());
    }

    /// Reports that part of the batch was not handled.
    pub fn nack(self, nack: BatchNack) {
        self.send(Err(nack).into());
    }

    /// Reports that the deliveries before `at` were handled and the others were not tried. These are delivered again without
    /// counting an attempt.
    pub fn give_back(self, at: usize) {
        self.send(BatchOutcome { handled: at, nack: None });
    }

    fn send(self, outcome: BatchOutcome) {
        // A feeder that has ended has no use for it.
        let _ = self.0.send(outcome);
    }
}

/// A function that takes batches and passes them on.
pub(crate) type Handoff = dyn Fn(Vec<Delivery>, BatchReply) + Send + Sync;

/// A function that handles one delivery.
pub(crate) type Callback = dyn Fn(&Delivery) -> Result<(), Nack> + Send + Sync;

/// The subscriber of a topic.
#[derive(Clone)]
pub(crate) enum Sink {
    /// Called by the session, on the thread of the connection.
    Callback(Arc<Callback>),
    /// Fed on a thread of its own choice.
    Fed(FedSink),
}

/// A subscriber that takes messages from a feeder. An actor lives at least as long as its subscription.
#[derive(Clone)]
pub(crate) enum FedSink {
    Actor(Recipient<Delivery>, Option<ArbiterHandle>),
    Batch(Recipient<DeliveryBatch>, Option<ArbiterHandle>),
    Handoff(Arc<Handoff>),
}

impl FedSink {
    /// Returns the arbiter to feed it on, unless that is the one of the connection.
    pub(crate) fn arbiter(&self) -> Option<&ArbiterHandle> {
        match self {
            FedSink::Actor(_, arbiter) | FedSink::Batch(_, arbiter) => arbiter.as_ref(),
            FedSink::Handoff(_) => None,
        }
    }

    /// Returns whether it still takes messages.
    pub(crate) fn connected(&self) -> bool {
        match self {
            FedSink::Actor(recipient, _) => recipient.connected(),
            FedSink::Batch(recipient, _) => recipient.connected(),
            FedSink::Handoff(_) => true,
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sink::Callback(_) => "Callback",
            Sink::Fed(FedSink::Actor(..)) => "Actor",
            Sink::Fed(FedSink::Batch(..)) => "Batch",
            Sink::Fed(FedSink::Handoff(_)) => "Handoff",
        })
    }
}

/// Deliveries one subscription has at a time, per lane, unless it says otherwise: enough to keep an actor's mailbox busy
/// across a thread switch.
const DEFAULT_IN_FLIGHT: u32 = 256;

macro_rules! subscription {
    ($($topic:ident)?) => {
        /// Delivers to an actor, whose reply is the ack. The subscription keeps the actor alive. If the actor stops all the
        /// same, messages wait at their senders until there is another subscriber.
        ///
        /// Messages are put into the mailbox by a task on the current arbiter, if there is one; nothing is delivered while
        /// that is blocked or not running. For an actor of another arbiter, name that with [`on`](Self::on).
        pub fn new($($topic: impl IntoTopic,)? recipient: Recipient<Delivery>) -> Self {
            let sink = FedSink::Actor(recipient, Arbiter::try_current());
            Self::with($($topic.into_topic(),)? Sink::Fed(sink), DEFAULT_IN_FLIGHT)
        }

        /// Delivers to an actor, in batches of one lane each. Otherwise the same as [`new`](Self::new).
        pub fn batch($($topic: impl IntoTopic,)? recipient: Recipient<DeliveryBatch>) -> Self {
            let sink = FedSink::Batch(recipient, Arbiter::try_current());
            Self::with($($topic.into_topic(),)? Sink::Fed(sink), DEFAULT_IN_FLIGHT)
        }

        /// Delivers to a function, in batches of one lane each. The function passes the batch on, for example to a thread
        /// outside actix, and the reply may follow later. It runs on the thread that drives the connection and must not
        /// block. There is one batch of a lane at a time, so lane order holds even across a nack.
        pub fn handoff(
            $($topic: impl IntoTopic,)?
            handoff: impl Fn(Vec<Delivery>, BatchReply) + Send + Sync + 'static,
        ) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Fed(FedSink::Handoff(Arc::new(handoff))), DEFAULT_IN_FLIGHT)
        }

        /// Delivers to a function, one message of a lane at a time. It runs on the thread that drives the connection and
        /// must not block. A panic is a nack.
        pub fn callback(
            $($topic: impl IntoTopic,)?
            callback: impl Fn(&Delivery) -> Result<(), Nack> + Send + Sync + 'static,
        ) -> Self {
            Self::with($($topic.into_topic(),)? Sink::Callback(Arc::new(callback)), 1)
        }

        /// Sets the arbiter that the actor runs on. The default is the current arbiter at the time of
        /// [`new`](Self::new) or [`batch`](Self::batch).
        ///
        /// Messages are put into the mailbox on this arbiter, many for one switch of threads. Deliveries to an actor of
        /// another arbiter are correct, but slower: each message wakes its thread. Functions are not affected: they run
        /// on the thread of the connection.
        #[must_use]
        pub fn on(mut self, arbiter: &ArbiterHandle) -> Self {
            if let Sink::Fed(FedSink::Actor(_, of) | FedSink::Batch(_, of)) = &mut self.sink {
                *of = Some(arbiter.clone());
            }
            self
        }

        /// Sets how many deliveries of one lane the subscriber has at a time. With 1, lane order holds even across a nack.
        /// At least 1, default 256; a callback always has 1.
        #[must_use]
        pub fn in_flight(mut self, in_flight: u32) -> Self {
            if !matches!(self.sink, Sink::Callback(_)) {
                self.in_flight = in_flight.max(1);
            }
            self
        }

        /// Sets how long the subscriber may take for a delivery before it counts as a nack. Default unlimited.
        #[must_use]
        pub fn timeout(mut self, timeout: Duration) -> Self {
            self.timeout = Some(timeout);
            self
        }
    };
}

/// Subscribes to a topic other than the node's own: publishes the node under the topic and delivers its messages. A topic
/// has one subscriber per node.
///
/// The reply is a [`Subscription`]; dropping it ends the deliveries. If an actor panics in its handler, or stops with
/// deliveries in its mailbox, these count as nacked.
///
/// # Errors
/// Replies with [`SubscribeError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
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
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &MemoryStore::new())).await?;
/// let printer = Printer.start().recipient();
/// let subscription = billing.send(Subscribe::new("invoices", printer)).await??;
/// # drop(subscription);
/// # Ok(()) }
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

/// Subscribes to the node's own topic. The topic is published from the start; its messages wait at their senders until
/// there is a subscriber. Otherwise the same as [`Subscribe`].
///
/// # Errors
/// Replies with [`SubscribeError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// use liner::{Delivery, Nack, Receive};
///
/// let (seen, mut invoices) = tokio::sync::mpsc::unbounded_channel();
/// let receive = Receive::callback(move |delivery: &Delivery| {
///     seen.send(delivery.payload.to_vec()).map_err(|_| Nack::new("the program ends"))
/// });
/// billing.send(receive).await??.detach();
/// # orders.send(liner::SendTo::new("billing", "invoice 7")).await??;
/// // The node orders-1 sends "invoice 7".
/// assert_eq!(invoices.recv().await.as_deref(), Some(&b"invoice 7"[..]));
/// # Ok(()) }
/// ```
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

/// Withdraws a topic: removes its routes and notifies senders. Messages that wait stay with their senders until this node
/// subscribes again.
///
/// Routes that an earlier process or an operator wrote for this node and topic are removed as well.
///
/// # Errors
/// Replies with [`SubscribeError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &MemoryStore::new())).await?;
/// use liner::{ListAddresses, Subscribe, Unsubscribe};
///
/// billing.send(Subscribe::callback("invoices", |_| Ok(()))).await??.detach();
/// billing.send(Unsubscribe::new("invoices")).await??;
/// assert!(billing.send(ListAddresses::new("invoices")).await??.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<(), SubscribeError>")]
pub struct Unsubscribe {
    pub(crate) topic: Result<Topic, NameError>,
}

impl Unsubscribe {
    /// Creates a request to withdraw `topic`.
    pub fn new(topic: impl IntoTopic) -> Self {
        Unsubscribe { topic: topic.into_topic() }
    }
}

/// Notifies the system that a [`Subscription`] was dropped.
#[derive(Debug, ActixMessage)]
#[rtype(result = "()")]
pub(crate) struct SubscriptionGuard {
    pub(crate) topic: Topic,
    pub(crate) generation: u64,
}

/// Handle of a subscription. Dropping it ends the deliveries: messages wait at their senders until the topic has a
/// subscriber again. The route stays; [`Unsubscribe`] withdraws it.
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    pub(crate) guard: Option<SubscriptionGuard>,
    pub(crate) system: Recipient<SubscriptionGuard>,
}

impl Subscription {
    /// Drops the handle without ending the subscription, which then lasts as long as the node.
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
