//! Configuration of the sending half, and the limits of the connected peer.

use crate::types::Amount;
use std::time::{Duration, Instant};

/// Configuration of an [`Outbound`](super::Outbound).
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// How long a write-behind message may stay unacked before it is written to the durable queue.
    pub write_behind_delay: Duration,
    /// Limit of at-least-once messages that only memory holds, per link.
    pub memory: Amount,
    /// Limit of at-most-once messages that wait for the connection or for credit, per link.
    pub direct: Amount,
    /// Limit of accepted and unacked messages per lane, in memory and in the durable queue.
    pub lane: Amount,
    /// Bytes in the transmit buffer above which nothing more is encoded until the connection has taken some.
    pub transmit_bytes: usize,
    /// Largest page loaded from the durable queue at once.
    pub page: Amount,
    /// Most rows in one append.
    pub append_messages: usize,
    /// Payloads above this size, in bytes, are compressed.
    pub compress_threshold: usize,
    /// Payloads above this size, in bytes, are sent in parts of this size.
    pub part_bytes: usize,
    /// Interval of the [`Heartbeat`](crate::wire::heartbeat::Heartbeat).
    pub heartbeat: Duration,
    /// Start of the heartbeat rounds, the same for all links of a node. See
    /// [`Heartbeat::dialled`](crate::wire::heartbeat::Heartbeat::dialled).
    pub rounds: Instant,
    /// How long to wait before asking the store again after it failed.
    pub store_retry: Duration,
}

/// Limits that the connected peer announced in its `Welcome`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerLimits {
    /// Largest frame, in bytes.
    pub max_frame: u32,
    /// Largest message, in bytes of payload and headers.
    pub max_message: u64,
}
