//! Limits and intervals of a node, with their defaults.

use std::time::Duration;

/// Declares a struct of settings: one line per setting with its type and default, and a method of the same name that sets
/// it. The documentation stands on the method.
macro_rules! settings {
    ($(#[$attr:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$attr])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(pub(crate) $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }

        impl $name {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

settings! {
    /// Limits of a node, in messages and bytes.
    ///
    /// [`Limits::default`] has a value for each; a method changes one. No limit may be zero, except
    /// [`compress_threshold`](Limits::compress_threshold). A limit in bytes never stops a single message: a message that
    /// is larger passes when nothing else is held.
    ///
    /// ```
    /// use liner::{Config, Limits};
    ///
    /// let limits = Limits::default().max_attempts(3).lane_messages(1_000_000);
    /// let config = Config::sqlite("orders-1", "orders", "mesh.sqlite").limits(limits);
    /// # assert!(config.validate().is_ok());
    /// ```
    Limits {
        /// Sets the size of the largest message sent or received, in bytes of payload and headers. For at-least-once
        /// messages the limit of the store ([`StoreFacts::max_message`](crate::StoreFacts::max_message)) applies as
        /// well, if it is lower. Default 1 GiB.
        max_message: u64 = 1 << 30,
        /// Sets the size of the largest frame received, in bytes. Larger payloads travel in parts. At least 128 KiB,
        /// default 16 MiB.
        max_frame: u32 = 16 << 20,
        /// Sets the payload size in bytes above which payloads are compressed on the wire. Default 1 MiB.
        compress_threshold: usize = 1 << 20,
        /// Sets how many at-least-once messages per link only memory may hold, because the store does not have them
        /// yet. Default 65,536.
        link_messages: u64 = 65_536,
        /// Sets how many bytes of such messages memory may hold per link. Default 64 MiB.
        link_bytes: u64 = 64 << 20,
        /// Sets how many at-most-once messages per link may wait for the connection or the receiver. Default 65,536.
        at_most_once_messages: u64 = 65_536,
        /// Sets how many bytes of at-most-once messages may wait per link. Default 64 MiB.
        at_most_once_bytes: u64 = 64 << 20,
        /// Sets how many accepted messages per lane may be unacked, in memory and in the store together. Above it, sends
        /// fail with [`SendError::QueueFull`](crate::SendError::QueueFull); other lanes are not affected. Default
        /// unlimited.
        lane_messages: u64 = u64::MAX,
        /// Sets how many bytes of accepted messages per lane may be unacked. Default 10 GiB.
        lane_bytes: u64 = 10 << 30,
        /// Sets how many messages per lane this node receives before they are handled. Default 65,536.
        window_messages: u64 = 65_536,
        /// Sets how many bytes per lane this node receives before they are handled. Default 8 MiB.
        window_bytes: u64 = 8 << 20,
        /// Sets how many lanes one peer may open to this node. Default 16,384.
        max_lanes: usize = 16_384,
        /// Sets how many accepted connections may be open at a time. Default 4,096.
        max_connections: usize = 4_096,
        /// Sets how many sends per topic may wait for a route, a lane or room. Further sends fail with
        /// [`SendError::QueueFull`](crate::SendError::QueueFull), even with [`OnFull::Wait`](crate::OnFull::Wait). Sends
        /// are counted, whatever their size. Default 65,536.
        waiting_sends: usize = 65_536,
        /// Sets after how many failed attempts a message becomes a dead letter. Default 10.
        max_attempts: u32 = 10,
    }
}

settings! {
    /// Intervals of a node, measured on the monotonic clock.
    ///
    /// [`Timing::default`] has a value for each; a method changes one.
    ///
    /// ```
    /// use liner::{Config, Timing};
    /// use std::time::Duration;
    ///
    /// let timing = Timing::default().heartbeat(Duration::from_millis(500)).send_deadline(Duration::from_secs(5));
    /// let config = Config::sqlite("orders-1", "orders", "mesh.sqlite").timing(timing);
    /// # assert!(config.validate().is_ok());
    /// ```
    Timing {
        /// Sets how long a write-behind message may be in memory only. It is appended to the store after half of this
        /// time, which leaves the other half for the commit. The receiver's cursor of such messages lags by at most the
        /// same time. Default 50 ms.
        write_behind_delay: Duration = Duration::from_millis(50),
        /// Sets how long a send waits for the look-up of a route, for room and for its commit. Default 30 s.
        send_deadline: Duration = Duration::from_secs(30),
        /// Sets the silence after which a peer is pinged. After three times this silence it counts as dead. Default 2 s.
        heartbeat: Duration = Duration::from_secs(2),
        /// Sets how long a connection and its handshake may take. Default 5 s.
        connect_timeout: Duration = Duration::from_secs(5),
        /// Sets the upper bound of the first random wait before a peer is dialled again. It doubles with each failure.
        /// Default 50 ms.
        redial_backoff_min: Duration = Duration::from_millis(50),
        /// Sets the limit of that bound. Default 5 s.
        redial_backoff_max: Duration = Duration::from_secs(5),
        /// Sets the upper bound of the first random wait before a message is redelivered after a [`Nack`](crate::Nack)
        /// without a delay. It doubles with each failure. Default 100 ms.
        nack_backoff_min: Duration = Duration::from_millis(100),
        /// Sets the limit of that bound. Default 5 s.
        nack_backoff_max: Duration = Duration::from_secs(5),
        /// Sets the pause after a failure of the store. Default 100 ms.
        store_retry: Duration = Duration::from_millis(100),
        /// Sets how long this node's routes stay valid without renewal. They are renewed after a third of it. Default
        /// 15 s.
        lease: Duration = Duration::from_secs(15),
    }
}
