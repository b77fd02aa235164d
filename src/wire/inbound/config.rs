//! Configuration of the receiving half.

use crate::types::Amount;
use std::time::Duration;

/// Configuration of an [`Inbound`](super::Inbound).
#[derive(Debug, Clone)]
pub struct InboundConfig {
    /// Messages of one lane that may be sent here and not handled.
    pub window_messages: u64,
    /// Bytes of payload and headers of one lane that may be sent here and not handled. The last message may exceed it.
    pub window_bytes: u64,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
    /// Largest part of a message after decompression, in bytes.
    pub max_part: usize,
    /// Lanes one peer may open.
    pub max_lanes: usize,
    /// Failures after which a message becomes a dead letter.
    pub max_attempts: u32,
    /// Shortest upper bound of the wait after a failure that names no delay.
    pub nack_backoff_min: Duration,
    /// Longest upper bound of the wait after a failure that names no delay.
    pub nack_backoff_max: Duration,
    /// How long the commit of a write-behind lane's cursor may be delayed.
    pub write_behind_delay: Duration,
    /// How long an ack may wait for others to be sent with it.
    pub ack_delay: Duration,
    /// Interval of the [`Heartbeat`](crate::wire::heartbeat::Heartbeat).
    pub heartbeat: Duration,
    /// Whether attempts are recorded before redelivered messages are handed over. Set it if the last process of this node
    /// did not end cleanly.
    pub record_attempts: bool,
}

impl InboundConfig {
    /// The window of one lane.
    pub(super) fn window(&self) -> Amount {
        Amount { messages: self.window_messages, bytes: self.window_bytes }
    }
}
