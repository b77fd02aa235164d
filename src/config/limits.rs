//! Bounds and intervals, with their defaults.

use std::time::Duration;

/// Bounds in messages and bytes. None may be zero, [`Limits::compress_threshold`] excepted.
///
/// A bound in bytes never holds up a single message: one that is larger passes where nothing else is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest message sent or taken, in bytes of payload and headers. Default 1 GiB. At least once, the limit of the
    /// store ([`StoreFacts::max_message`](crate::StoreFacts::max_message)) counts too, if it is lower.
    pub max_message: u64,
    /// Largest frame taken, in bytes. Default 16 MiB. Larger payloads travel in parts.
    pub max_frame: u32,
    /// Payloads above this are compressed on the wire, in bytes. Default 1 MiB.
    pub compress_threshold: usize,
    /// Messages per link that memory holds because the store does not have them yet. Default 65,536.
    pub link_messages: u64,
    /// The same in bytes. Default 64 MiB.
    pub link_bytes: u64,
    /// At-most-once messages per link that wait for the connection or for the receiver. Default 65,536.
    pub at_most_once_messages: u64,
    /// The same in bytes. Default 64 MiB.
    pub at_most_once_bytes: u64,
    /// Accepted and unacked messages per lane, in memory and in the store; beyond it sends answer
    /// [`SendError::QueueFull`](crate::SendError::QueueFull) and other lanes go on. Default unlimited.
    pub lane_messages: u64,
    /// The same in bytes. Default 10 GiB.
    pub lane_bytes: u64,
    /// Messages per lane that this node takes before they are handled. Default 65,536.
    pub window_messages: u64,
    /// The same in bytes; one message may exceed it. Default 8 MiB.
    pub window_bytes: u64,
    /// Lanes one peer may open here. Default 16,384.
    pub max_lanes: usize,
    /// Connections accepted at a time. Default 4,096.
    pub max_connections: usize,
    /// Sends of one topic that wait for a route, a lane or room. Above it they are rejected, whatever
    /// [`Config::on_full`](crate::Config::on_full) says. Counted, not weighed. Default 65,536.
    pub waiting_sends: usize,
    /// Failed hand-overs after which a message becomes a dead letter. Default 10.
    pub max_attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_message: 1 << 30,
            max_frame: 16 << 20,
            compress_threshold: 1 << 20,
            link_messages: 65_536,
            link_bytes: 64 << 20,
            at_most_once_messages: 65_536,
            at_most_once_bytes: 64 << 20,
            lane_messages: u64::MAX,
            lane_bytes: 10 << 30,
            window_messages: 65_536,
            window_bytes: 8 << 20,
            max_lanes: 16_384,
            max_connections: 4_096,
            waiting_sends: 65_536,
            max_attempts: 10,
        }
    }
}

/// Intervals. All are measured on the monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How long a write-behind message may be in memory only: it is appended after half of it, so that the other half is left
    /// for the commit. Also how far the cursor of such messages may be behind at their receiver. Default 50 ms.
    pub write_behind_delay: Duration,
    /// How long a send waits for the look-up of a route, for room and for its commit. Default 30 s.
    pub send_deadline: Duration,
    /// Silence after which a peer is asked; after three it counts as dead. Default 2 s.
    pub heartbeat: Duration,
    /// For a connection and its handshake. Default 5 s.
    pub connect_timeout: Duration,
    /// The first wait before a peer is dialled again. Default 50 ms.
    pub redial_backoff_min: Duration,
    /// The longest such wait. Default 5 s.
    pub redial_backoff_max: Duration,
    /// The first wait after a nack that names none. Default 100 ms.
    pub nack_backoff_min: Duration,
    /// The longest such wait. Default 5 s.
    pub nack_backoff_max: Duration,
    /// How long the store is left alone after it failed. Default 100 ms.
    pub store_retry: Duration,
    /// How long this node's routes stay without renewal; renewed after a third. Default 15 s.
    pub lease: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            write_behind_delay: Duration::from_millis(50),
            send_deadline: Duration::from_secs(30),
            heartbeat: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(5),
            redial_backoff_min: Duration::from_millis(50),
            redial_backoff_max: Duration::from_secs(5),
            nack_backoff_min: Duration::from_millis(100),
            nack_backoff_max: Duration::from_secs(5),
            store_retry: Duration::from_millis(100),
            lease: Duration::from_secs(15),
        }
    }
}
