//! What a node is told when it is spawned. One value per system; nothing is global to the process.

use crate::stores::SharedStore;
mod limits;

pub use limits::{Limits, Timing};

use crate::types::{NameError, NodeId, Topic};
use std::fmt;
use std::path::PathBuf;

/// How a message is to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Sent once if the peer can be reached, never twice, never stored.
    AtMostOnce,
    /// Sent until it is handled; see [`Durability`] for what that survives.
    AtLeastOnce(Durability),
}

impl Mode {
    /// The level of an at-least-once message.
    pub(crate) fn durability(self) -> Option<Durability> {
        match self {
            Mode::AtMostOnce => None,
            Mode::AtLeastOnce(durability) => Some(durability),
        }
    }

    /// Whether a message is accepted only when it is committed.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Mode::AtLeastOnce(Durability::Committed | Durability::Synced))
    }
}

/// When an at-least-once message counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// In memory; stored when it is not acked within [`Timing::write_behind_delay`]. Survives network failures, the death of the
    /// receiver and an outage of the store; the death of this process costs at most the last `write_behind_delay`.
    WriteBehind,
    /// Committed to the store: survives the death of any process.
    Committed,
    /// Committed and on the medium: survives a power loss.
    Synced,
}

/// What a send does when a bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Wait for room, up to the deadline of the send. Only the limits of a link are waited for: where
    /// [`Limits::lane_messages`] or [`Limits::lane_bytes`] is reached, room may take days, and the answer is
    /// [`SendError::QueueFull`](crate::SendError::QueueFull) at once.
    Wait,
    /// Answer [`SendError::QueueFull`](crate::SendError::QueueFull) at once.
    Reject,
}

/// Where queues, cursors and the catalogue live.
#[derive(Clone)]
#[non_exhaustive]
pub enum StoreConfig {
    /// In this process only: for tests.
    Memory(crate::stores::memory::MemoryStore),
    /// A SQLite file, made when it does not exist; many processes may share it.
    Sqlite(PathBuf),
    /// A PostgreSQL database, which many nodes share.
    #[cfg(feature = "postgres")]
    Postgres(crate::stores::postgres::PostgresOptions),
    /// A Redis server, which many nodes share.
    #[cfg(feature = "redis")]
    Redis(crate::stores::redis::RedisOptions),
    /// A store that is open already: one of the library's own around which something is wrapped, to measure or to fail.
    Custom(SharedStore),
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreConfig::Memory(store) => f.debug_tuple("Memory").field(store).finish(),
            StoreConfig::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            #[cfg(feature = "postgres")]
            StoreConfig::Postgres(options) => f.debug_tuple("Postgres").field(options).finish(),
            #[cfg(feature = "redis")]
            StoreConfig::Redis(options) => f.debug_tuple("Redis").field(options).finish(),
            StoreConfig::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// A route that is known beforehand: how nodes with separate stores find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// The topic the node serves.
    pub topic: String,
    /// The node's unique name.
    pub node: String,
    /// Where it listens, `host:port`.
    pub addr: String,
}

/// What a node is told when it is spawned.
///
/// ```
/// use liner::{Config, Durability};
///
/// let config = Config::sqlite("orders-1", "orders", "mesh.sqlite")
///     .listen("127.0.0.1:0")
///     .durability(Durability::Synced)
///     .seed("billing", "billing-1", "10.0.0.7:2255");
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's name, unique in the mesh.
    pub name: String,
    /// The node's own topic.
    pub topic: String,
    /// Where queues, cursors and the catalogue live.
    pub store: StoreConfig,
    /// The address to bind, `host:port`; port 0 picks a free one. Default `127.0.0.1:0`.
    pub listen: String,
    /// The address published to peers, when it is not the bound one: a host name is kept and resolved at each dial, port 0
    /// is replaced by the bound port.
    pub advertise: Option<String>,
    /// Allow binding beyond loopback although links are neither encrypted nor authenticated. Default `false`.
    pub allow_insecure_network: bool,
    /// Routes known beforehand.
    pub seeds: Vec<Seed>,
    /// How messages are delivered unless a send says otherwise. Default at least once, committed.
    pub mode: Mode,
    /// What a send does when a bound is reached. Default [`OnFull::Wait`].
    pub on_full: OnFull,
    /// Threads that drive connections. Default 1.
    pub link_threads: usize,
    /// Bounds.
    pub limits: Limits,
    /// Intervals.
    pub timing: Timing,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The node's name is not one.
    #[error("node name: {0}")]
    Name(NameError),
    /// The node's topic is not one.
    #[error("topic: {0}")]
    Topic(NameError),
    /// A seed is not one.
    #[error("seed {topic:?} {node:?} {addr:?}: {reason}")]
    Seed {
        /// As configured.
        topic: String,
        /// As configured.
        node: String,
        /// As configured.
        addr: String,
        /// What is wrong.
        reason: String,
    },
    /// An address is not `host:port`.
    #[error("address {0:?} is not host:port")]
    Address(String),
    /// A limit is zero, or two contradict each other.
    #[error("{0}")]
    Limit(&'static str),
}

/// The names of a checked configuration.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) node: NodeId,
    pub(crate) topic: Topic,
    pub(crate) seeds: Vec<(Topic, NodeId, String)>,
}

impl Config {
    /// A node on a SQLite file.
    pub fn sqlite(name: &str, topic: &str, path: impl Into<PathBuf>) -> Self {
        Self::on(StoreConfig::Sqlite(path.into()), name, topic)
    }

    /// A node on a PostgreSQL database: `postgresql://user:pass@host:5432/liner`, or options that were made of it.
    #[cfg(feature = "postgres")]
    pub fn postgres(name: &str, topic: &str, server: impl Into<crate::stores::postgres::PostgresOptions>) -> Self {
        Self::on(StoreConfig::Postgres(server.into()), name, topic)
    }

    /// A node on a Redis server: `redis://user:pass@host:6379/0`, or options that were made of it.
    #[cfg(feature = "redis")]
    pub fn redis(name: &str, topic: &str, server: impl Into<crate::stores::redis::RedisOptions>) -> Self {
        Self::on(StoreConfig::Redis(server.into()), name, topic)
    }

    /// A node on a store in memory, which ends with its last handle: for tests.
    pub fn memory(name: &str, topic: &str, store: &crate::stores::memory::MemoryStore) -> Self {
        Self::on(StoreConfig::Memory(store.clone()), name, topic)
    }

    /// A node on a store that is open already.
    pub fn custom(name: &str, topic: &str, store: SharedStore) -> Self {
        Self::on(StoreConfig::Custom(store), name, topic)
    }

    fn on(store: StoreConfig, name: &str, topic: &str) -> Self {
        Config {
            name: name.to_owned(),
            topic: topic.to_owned(),
            store,
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            allow_insecure_network: false,
            seeds: Vec::new(),
            mode: Mode::AtLeastOnce(Durability::Committed),
            on_full: OnFull::Wait,
            link_threads: 1,
            limits: Limits::default(),
            timing: Timing::default(),
        }
    }

    /// The address to bind.
    #[must_use]
    pub fn listen(mut self, addr: &str) -> Self {
        self.listen = addr.to_owned();
        self
    }

    /// The address to publish.
    #[must_use]
    pub fn advertise(mut self, addr: &str) -> Self {
        self.advertise = Some(addr.to_owned());
        self
    }

    /// Adds a route known beforehand: `node` serves `topic` at `addr`.
    #[must_use]
    pub fn seed(mut self, topic: &str, node: &str, addr: &str) -> Self {
        self.seeds.push(Seed { topic: topic.to_owned(), node: node.to_owned(), addr: addr.to_owned() });
        self
    }

    /// At least once, with this durability, unless a send says otherwise.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.mode = Mode::AtLeastOnce(durability);
        self
    }

    /// At most once, unless a send says otherwise.
    #[must_use]
    pub fn at_most_once(mut self) -> Self {
        self.mode = Mode::AtMostOnce;
        self
    }

    /// What a send does when a bound is reached.
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Checks everything that can be checked without touching the system.
    ///
    /// # Errors
    /// [`ConfigError`] for the first mistake found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.names().map(|_| ())
    }

    pub(crate) fn names(&self) -> Result<Names, ConfigError> {
        let node = NodeId::new(&self.name).map_err(ConfigError::Name)?;
        let topic = Topic::new(&self.topic).map_err(ConfigError::Topic)?;
        check_addr(&self.listen)?;
        self.advertise.as_deref().map_or(Ok(()), check_addr)?;
        let seeds = self.seeds.iter().map(check_seed).collect::<Result<_, _>>()?;
        self.check_limits()?;
        Ok(Names { node, topic, seeds })
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let l = &self.limits;
        let smallest = [
            l.max_message,
            u64::from(l.max_frame),
            l.link_messages,
            l.link_bytes,
            l.at_most_once_messages,
            l.at_most_once_bytes,
            l.lane_messages,
            l.lane_bytes,
            l.window_messages,
            l.window_bytes,
            l.max_lanes as u64,
            l.max_connections as u64,
            l.waiting_sends as u64,
            u64::from(l.max_attempts),
            self.link_threads as u64,
        ];
        if smallest.contains(&0) {
            return Err(ConfigError::Limit("a limit is zero"));
        }
        if l.max_frame < MIN_FRAME {
            return Err(ConfigError::Limit("max_frame is below 128 KiB, which headers and a part need"));
        }
        if self.timing.heartbeat.is_zero() || self.timing.lease.is_zero() || self.timing.connect_timeout.is_zero() {
            return Err(ConfigError::Limit("heartbeat, lease and connect_timeout must not be zero"));
        }
        Ok(())
    }
}

/// Headers of full size and a part beside them must fit one frame.
const MIN_FRAME: u32 = 128 * 1024;

fn check_addr(addr: &str) -> Result<(), ConfigError> {
    let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(ConfigError::Address(addr.to_owned())),
    }
}

fn check_seed(seed: &Seed) -> Result<(Topic, NodeId, String), ConfigError> {
    let refused = |reason: String| ConfigError::Seed {
        topic: seed.topic.clone(),
        node: seed.node.clone(),
        addr: seed.addr.clone(),
        reason,
    };
    let topic = Topic::new(&seed.topic).map_err(|e| refused(e.to_string()))?;
    let node = NodeId::new(&seed.node).map_err(|e| refused(e.to_string()))?;
    check_addr(&seed.addr).map_err(|e| refused(e.to_string()))?;
    Ok((topic, node, seed.addr.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_found_before_anything_is_touched() {
        let good = Config::sqlite("n", "t", "x.sqlite");
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(Config::sqlite("", "t", "x").validate(), Err(ConfigError::Name(NameError::Empty)));
        assert_eq!(Config::sqlite("n", "__#x", "x").validate(), Err(ConfigError::Topic(NameError::Reserved)));
        for addr in ["", "localhost", ":80", "host:port", "host:70000"] {
            let error = good.clone().listen(addr).validate();
            assert_eq!(error, Err(ConfigError::Address(addr.to_owned())));
        }
        assert!(matches!(good.clone().seed("t", "", "h:1").validate(), Err(ConfigError::Seed { .. })));
        let mut zero = good.clone();
        zero.limits.window_messages = 0;
        assert!(matches!(zero.validate(), Err(ConfigError::Limit(_))));
        assert_eq!(good.listen("[::1]:0").validate(), Ok(()));
    }
}
