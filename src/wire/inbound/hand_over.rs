//! Messages on their way to a subscriber, and what the subscriber made of them.

use crate::types::{Cursor, Message};
use std::time::Duration;

/// Number of a lane in an [`Inbound`](super::Inbound). It never changes and is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneSlot(pub(super) usize);

/// How the subscriber of a topic takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriberSpec {
    /// Most messages of one lane that the subscriber has at a time. See also
    /// [`Inbound::set_prefetch`](super::Inbound::set_prefetch).
    pub in_flight: u32,
    /// How long the subscriber may take for one message.
    pub timeout: Option<Duration>,
    /// Whether the subscriber borrows messages. Each message is then moved out of the queue instead of being shared with
    /// it, and one that is not handled is brought back with [`Inbound::handle_return`](super::Inbound::handle_return)
    /// before its disposition is reported.
    pub borrows: bool,
}

/// A message to hand over now.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The lane's number.
    pub slot: LaneSlot,
    /// Identifies the message in its lane, and together with `attempt` this hand-over of it. Tokens count up in order of
    /// arrival.
    pub token: u64,
    /// The message's incarnation and number, or `None` if it is at most once.
    pub place: Option<Cursor>,
    /// Number of hand-overs, including this one.
    pub attempt: u32,
    /// Whether the message may have been handed over before.
    pub redelivered: bool,
    /// The message.
    pub message: Message,
}

/// What a subscriber made of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// The message is handled.
    Done,
    /// The message is not handled. It is handed over again after `delay`, or after a backoff.
    Failed {
        /// The delay that the subscriber asked for.
        delay: Option<Duration>,
        /// The reason, for the dead letter.
        reason: String,
    },
    /// The subscriber did not look at the message. It waits as if it had not been handed over.
    Untried,
}
