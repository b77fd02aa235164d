//! State that all actors of a system share: the identity of the node, its configuration, store and counters. Set up once.

pub(crate) mod peer_news;
pub(crate) mod timer;

use crate::actors::messages::MeshEvent;
use crate::config::{Config, Durability};
use crate::stores::{Fence, SharedStore, StoreError, StoreFacts};
use crate::types::{Amount, NodeId, Topic};
use crate::wire::inbound::InboundConfig;
use crate::wire::outbound::OutboundConfig;
use actix::Recipient;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;

/// Size of a link's transmit buffer: enough to keep the socket busy while the next buffer is filled.
const TRANSMIT_BYTES: usize = 1 << 20;
/// Size of the parts of large payloads. Parts this small delay neither other lanes nor heartbeats.
const PART_BYTES: usize = 1 << 20;
/// How long an ack may wait for others. A fraction of the default `write_behind_delay`, because the sender stores what is not
/// acked after half of that.
const ACK_DELAY: Duration = Duration::from_millis(5);
/// Rows of one append, and size of one load. Larger ones gain little and occupy the store for longer.
const APPEND_MESSAGES: usize = 4096;
const PAGE_MESSAGES: u64 = 2048;
const PAGE_BYTES: u64 = 4 << 20;

/// The counters of [`Stats`](crate::Stats).
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) bytes_accepted: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) bytes_delivered: AtomicU64,
    pub(crate) handled: AtomicU64,
    pub(crate) nacked: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) dead_lettered: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) duplicates: AtomicU64,
}

/// Adds to a counter. No decision depends on it, so no ordering is needed.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// The shared state of one system.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) topic: Topic,
    pub(crate) config: Config,
    pub(crate) store: SharedStore,
    pub(crate) fence: Fence,
    pub(crate) facts: StoreFacts,
    /// Whether the process before this one died. If so, attempts are recorded.
    pub(crate) unclean: bool,
    pub(crate) started: Instant,
    pub(crate) bound: SocketAddr,
    pub(crate) published: String,
    pub(crate) counters: Counters,
    /// Notified when this node first sends to a topic or watches one: from then on the catalogue matters.
    pub(crate) uses_catalogue: Notify,
    /// Whether new sends are refused.
    pub(crate) closing: AtomicBool,
    /// Whether the store is closed or about to be. Later failures are not reported.
    pub(crate) ended: AtomicBool,
    /// The recipient of events: the system, which forwards them to watchers and observers.
    pub(crate) events: OnceLock<Recipient<MeshEvent>>,
}

impl Node {
    /// Logs an event and reports it to the watchers.
    pub(crate) fn event(&self, event: MeshEvent) {
        tracing::debug!(node = %self.id, ?event);
        if let Some(recipient) = self.events.get() {
            recipient.do_send(event);
        }
    }

    /// Reports a failure of the store.
    pub(crate) fn store_failed(&self, error: &StoreError) {
        if self.has_ended() {
            return;
        }
        tracing::warn!(node = %self.id, %error, "store operation failed");
        match error {
            StoreError::Fenced => self.event(MeshEvent::Fenced),
            error => self.event(MeshEvent::StoreError { error: error.clone() }),
        }
    }

    /// Reports a failure of the store on the receiving side.
    pub(crate) fn inbox_failed(&self, error: &StoreError) {
        if self.has_ended() {
            return;
        }
        tracing::warn!(node = %self.id, %error, "store operation failed while receiving");
        match error {
            StoreError::Fenced => self.event(MeshEvent::Fenced),
            error => self.event(MeshEvent::InboxError { error: error.clone() }),
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Returns the size of the largest message that can be sent with this durability, in bytes.
    pub(crate) fn max_message(&self, durability: Option<Durability>) -> u64 {
        let configured = self.config.limits.max_message;
        durability.map_or(configured, |_| configured.min(self.facts.max_message as u64))
    }

    pub(crate) fn outbound(&self) -> OutboundConfig {
        let limits = &self.config.limits;
        let amount = |messages, bytes| Amount { messages, bytes };
        OutboundConfig {
            // Half of it to wait for the ack, half to commit: on disk within the whole.
            write_behind_delay: self.config.timing.write_behind_delay / 2,
            memory: amount(limits.link_messages, limits.link_bytes),
            direct: amount(limits.at_most_once_messages, limits.at_most_once_bytes),
            lane: amount(limits.lane_messages, limits.lane_bytes),
            transmit_bytes: TRANSMIT_BYTES,
            page: amount(PAGE_MESSAGES, PAGE_BYTES),
            append_messages: APPEND_MESSAGES,
            compress_threshold: limits.compress_threshold,
            part_bytes: self.part_bytes(),
            heartbeat: self.config.timing.heartbeat,
            rounds: self.started,
            store_retry: self.config.timing.store_retry,
        }
    }

    pub(crate) fn inbound(&self) -> InboundConfig {
        let (limits, timing) = (&self.config.limits, &self.config.timing);
        InboundConfig {
            window_messages: limits.window_messages,
            window_bytes: limits.window_bytes,
            max_message: limits.max_message,
            max_part: limits.max_frame as usize,
            max_lanes: limits.max_lanes,
            max_attempts: limits.max_attempts,
            nack_backoff_min: timing.nack_backoff_min,
            nack_backoff_max: timing.nack_backoff_max,
            write_behind_delay: timing.write_behind_delay,
            ack_delay: ACK_DELAY.min(timing.write_behind_delay / 10),
            heartbeat: timing.heartbeat,
            record_attempts: self.unclean,
        }
    }

    /// Returns the size of parts, such that a part with headers and frame fits the largest frame.
    fn part_bytes(&self) -> usize {
        PART_BYTES.min(self.config.limits.max_frame as usize / 2)
    }
}

/// Returns the wall clock in milliseconds since 1970, for people to read.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns 64 random bits.
///
/// Without a random source of the system, it falls back to the randomness of the hasher: the numbers must be unlikely to
/// repeat, but need not be secret.
pub(crate) fn random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one(wall_ms())
    })
}
