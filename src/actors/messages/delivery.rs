//! Deliveries, and the replies of subscribers that ask for redelivery.

use crate::types::{Headers, MessageId, NodeId, Payload, Topic};
use actix::prelude::Message as ActixMessage;
use std::time::Duration;

/// A message delivered to a subscriber. The result of the handler is the ack: `Ok` means handled, a [`Nack`] requests
/// redelivery.
///
/// The payload shares the buffer it arrived in. Copy it to keep it for long.
///
/// # Examples
/// A handler can be tested without a node:
///
/// ```
/// use liner::{Delivery, Incarnation, LaneId, LaneName, MessageId, Nack, NodeId, Payload, Seq, Topic};
///
/// fn handle(delivery: &Delivery) -> Result<(), Nack> {
///     let text = std::str::from_utf8(&delivery.payload).map_err(|error| Nack::new(error.to_string()))?;
///     println!("{} sends {text:?}; replies go to {}", delivery.sender(), delivery.reply_to());
///     Ok(())
/// }
///
/// let lane = LaneName {
///     sender: NodeId::new("orders-1")?,
///     source: Topic::new("orders")?,
///     receiver: NodeId::new("billing-1")?,
///     topic: Topic::new("billing")?,
/// };
/// let id = MessageId { lane: LaneId::new(lane), incarnation: Incarnation::new(1), seq: Seq::new(7) };
/// assert_eq!(handle(&Delivery::new(id, Payload::new("invoice 7")?)), Ok(()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, ActixMessage)]
#[rtype(result = "Result<(), Nack>")]
#[non_exhaustive]
pub struct Delivery {
    /// The identity of the message. It is the same over redelivery, restarts and replays, and so identifies duplicates.
    pub id: MessageId,
    /// The number of deliveries, including this one. Deliveries to an earlier process count if they were recorded.
    pub attempt: u32,
    /// Whether the message may have been delivered before. Also set on messages that waited in the sender's store.
    pub redelivered: bool,
    /// The headers of the message.
    pub headers: Headers,
    /// The body of the message.
    pub payload: Payload,
}

impl Delivery {
    /// Creates a first delivery without headers, for tests of handlers. Its fields can be assigned.
    pub fn new(id: MessageId, payload: Payload) -> Self {
        Delivery { id, attempt: 1, redelivered: false, headers: Headers::EMPTY, payload }
    }

    /// Returns the topic the message was sent to.
    pub fn topic(&self) -> &Topic {
        self.id.lane.topic()
    }

    /// Returns the node that sent the message.
    pub fn sender(&self) -> &NodeId {
        self.id.lane.sender()
    }

    /// Returns the topic for replies, which is the sender's own topic.
    pub fn reply_to(&self) -> &Topic {
        self.id.lane.source()
    }
}

/// A negative reply to a [`Delivery`]: the message was not handled and is redelivered.
///
/// After [`Limits::max_attempts`](crate::Limits::max_attempts) attempts the message becomes a dead letter.
///
/// # Examples
/// ```
/// use liner::Nack;
/// use std::time::Duration;
///
/// let soon = Nack::new("not a number");
/// let later = Nack::after(Duration::from_secs(60), "the database is down");
/// # assert_eq!((soon.delay, later.delay), (None, Some(Duration::from_secs(60))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Nack {
    /// The wait before the redelivery. `None` stands for a random wait below a bound that doubles with each failure, from
    /// [`Timing::nack_backoff_min`](crate::Timing::nack_backoff_min) to
    /// [`Timing::nack_backoff_max`](crate::Timing::nack_backoff_max).
    pub delay: Option<Duration>,
    /// The reason, for people to read. The dead letter keeps the last one.
    pub reason: String,
}

impl Nack {
    /// Requests redelivery after the backoff.
    pub fn new(reason: impl Into<String>) -> Self {
        Nack { delay: None, reason: reason.into() }
    }

    /// Requests redelivery after `delay`.
    pub fn after(delay: Duration, reason: impl Into<String>) -> Self {
        Nack { delay: Some(delay), reason: reason.into() }
    }
}

/// Deliveries of one lane, in order. A batch is what has arrived when the subscriber is ready for more; it is never empty.
#[derive(Debug, ActixMessage)]
#[rtype(result = "Result<(), BatchNack>")]
pub struct DeliveryBatch(pub Vec<Delivery>);

/// A negative reply to a [`DeliveryBatch`]: the deliveries before `at` were handled, the one at `at` failed, and those after
/// it were not tried.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchNack {
    /// The index of the delivery that failed.
    pub at: usize,
    /// The reason, and the delay of the redelivery.
    pub nack: Nack,
}

impl BatchNack {
    /// Creates the reply for a batch whose delivery at index `at` failed.
    pub fn new(at: usize, nack: Nack) -> Self {
        BatchNack { at, nack }
    }
}
