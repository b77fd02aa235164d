//! Selection of the store.

use crate::stores::SharedStore;
use crate::stores::memory::MemoryStore;
use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;

/// The store that holds queues, cursors and the catalogue.
#[derive(Clone)]
pub(crate) enum StoreConfig {
    Memory(MemoryStore),
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf),
    #[cfg(feature = "postgres")]
    Postgres(crate::stores::postgres::PostgresOptions),
    #[cfg(feature = "redis")]
    Redis(crate::stores::redis::RedisOptions),
    /// A store that is open already. The node does not close it.
    Custom(SharedStore),
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreConfig::Memory(store) => f.debug_tuple("Memory").field(store).finish(),
            #[cfg(feature = "sqlite")]
            StoreConfig::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            #[cfg(feature = "postgres")]
            StoreConfig::Postgres(options) => f.debug_tuple("Postgres").field(options).finish(),
            #[cfg(feature = "redis")]
            StoreConfig::Redis(options) => f.debug_tuple("Redis").field(options).finish(),
            StoreConfig::Custom(_) => f.write_str("Custom"),
        }
    }
}
