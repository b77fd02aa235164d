//! Configuration of a node. One value per system; nothing is global to the process.

mod check;
mod limits;
mod mode;
mod store;

pub use crate::types::OnFull;
pub use check::ConfigError;
pub(crate) use check::Names;
pub use limits::{Limits, Timing};
pub use mode::{Durability, Mode};
pub(crate) use store::StoreConfig;

use crate::stores::SharedStore;
use crate::stores::memory::MemoryStore;
#[cfg(feature = "postgres")]
use crate::stores::postgres::PostgresOptions;
#[cfg(feature = "redis")]
use crate::stores::redis::RedisOptions;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;

/// A route that is configured instead of found.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    pub(crate) topic: String,
    pub(crate) node: String,
    pub(crate) addr: String,
}

/// Configuration of a node.
///
/// A constructor takes the node's unique name, its own topic and the store; methods change the defaults of the rest.
/// [`LinerSystem::spawn`](crate::LinerSystem::spawn) starts the node.
///
/// ```
/// use liner::{Config, Durability, Limits, Timing};
/// use std::time::Duration;
///
/// let config = Config::sqlite("orders-1", "orders", "mesh.sqlite")
///     .listen("127.0.0.1:0")
///     .durability(Durability::Synced)
///     .seed("billing", "billing-1", "10.0.0.7:2255")
///     .limits(Limits::default().max_attempts(3))
///     .timing(Timing::default().send_deadline(Duration::from_secs(5)));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) store: StoreConfig,
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
    pub(crate) allow_insecure_network: bool,
    pub(crate) seeds: Vec<Seed>,
    pub(crate) mode: Mode,
    pub(crate) on_full: OnFull,
    pub(crate) link_threads: usize,
    pub(crate) limits: Limits,
    pub(crate) timing: Timing,
}

impl Config {
    /// Creates the configuration of a node on a SQLite file, which is created if it does not exist. Any number of
    /// processes on one machine may share the file.
    #[cfg(feature = "sqlite")]
    pub fn sqlite(name: impl Into<String>, topic: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::on(StoreConfig::Sqlite(path.into()), name, topic)
    }

    /// Creates the configuration of a node on a PostgreSQL database, given by its URL
    /// (`postgresql://user:pass@host:5432/liner`) or by options.
    #[cfg(feature = "postgres")]
    pub fn postgres(name: impl Into<String>, topic: impl Into<String>, server: impl Into<PostgresOptions>) -> Self {
        Self::on(StoreConfig::Postgres(server.into()), name, topic)
    }

    /// Creates the configuration of a node on a Redis server, given by its URL (`redis://user:pass@host:6379/0`) or by
    /// options.
    #[cfg(feature = "redis")]
    pub fn redis(name: impl Into<String>, topic: impl Into<String>, server: impl Into<RedisOptions>) -> Self {
        Self::on(StoreConfig::Redis(server.into()), name, topic)
    }

    /// Creates the configuration of a node on a store in memory, for tests. Nodes that are given clones of one store
    /// share it; its content ends with the last clone.
    ///
    /// ```
    /// use liner::{Config, stores::memory::MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let orders = Config::memory("orders-1", "orders", &store);
    /// let billing = Config::memory("billing-1", "billing", &store);
    /// ```
    pub fn memory(name: impl Into<String>, topic: impl Into<String>, store: &MemoryStore) -> Self {
        Self::on(StoreConfig::Memory(store.clone()), name, topic)
    }

    /// Creates the configuration of a node on a store that is open already: one of this library, a wrapper around one, or
    /// another implementation of [`Store`](crate::stores::Store). The node does not close it.
    pub fn custom(name: impl Into<String>, topic: impl Into<String>, store: SharedStore) -> Self {
        Self::on(StoreConfig::Custom(store), name, topic)
    }

    fn on(store: StoreConfig, name: impl Into<String>, topic: impl Into<String>) -> Self {
        Config {
            name: name.into(),
            topic: topic.into(),
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

    /// Sets the address to bind, `host:port`. Port 0 picks a free port. Default `127.0.0.1:0`.
    #[must_use]
    pub fn listen(mut self, addr: impl Into<String>) -> Self {
        self.listen = addr.into();
        self
    }

    /// Sets the address that peers dial, `host:port`. A host name is published as it is and resolved at each dial; port 0
    /// stands for the bound port. Default: the bound address.
    #[must_use]
    pub fn advertise(mut self, addr: impl Into<String>) -> Self {
        self.advertise = Some(addr.into());
        self
    }

    /// Sets whether the node may bind an address other than loopback, although links are neither encrypted nor
    /// authenticated. Default `false`.
    #[must_use]
    pub fn allow_insecure_network(mut self, allow: bool) -> Self {
        self.allow_insecure_network = allow;
        self
    }

    /// Adds a seed, a route that is known in advance: `node` serves `topic` at `addr`. Nodes with separate stores find
    /// each other by seeds.
    #[must_use]
    pub fn seed(mut self, topic: impl Into<String>, node: impl Into<String>, addr: impl Into<String>) -> Self {
        self.seeds.push(Seed { topic: topic.into(), node: node.into(), addr: addr.into() });
        self
    }

    /// Sets the mode of sends that do not set their own. Default [`Mode::AtLeastOnce`] with [`Durability::Committed`].
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sends at least once, with this durability, unless a send sets its own mode. Short for [`Config::mode`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        self.mode(Mode::AtLeastOnce(durability))
    }

    /// Sends at most once, unless a send sets its own mode. Short for [`Config::mode`].
    #[must_use]
    pub fn at_most_once(self) -> Self {
        self.mode(Mode::AtMostOnce)
    }

    /// Sets the reaction of sends to a limit that is reached. Default [`OnFull::Wait`].
    #[must_use]
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = on_full;
        self
    }

    /// Sets the number of threads that drive connections. Default 1.
    #[must_use]
    pub fn link_threads(mut self, threads: usize) -> Self {
        self.link_threads = threads;
        self
    }

    /// Sets all limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets all intervals.
    #[must_use]
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }
}
