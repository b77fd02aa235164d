//! What the examples share: the store they run on, and waiting for what must come.

#![allow(dead_code, reason = "each example uses its own part")]

use liner::Config;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

/// More than anything in an example takes.
const LIMIT: Duration = Duration::from_secs(10);

/// The next thing, or an error when it is missing.
pub(crate) async fn next<T>(from: &mut UnboundedReceiver<T>) -> Result<T, Box<dyn Error>> {
    let next = timeout(LIMIT, from.recv()).await.map_err(|_| format!("nothing came for {LIMIT:?}"))?;
    next.ok_or_else(|| "nothing can come any more".into())
}

/// The store an example's nodes share: a SQLite file of its own, or what `--store` names.
///
/// `--store mesh.sqlite`; with the feature `postgres` `--store postgresql://user:pass@host/database`, with the feature
/// `redis` `--store redis://user:pass@host/0`
pub(crate) enum Store {
    Sqlite {
        file: PathBuf,
        _dir: Option<TempDir>,
    },
    #[cfg(feature = "postgres")]
    Postgres {
        url: String,
    },
    #[cfg(feature = "redis")]
    Redis {
        url: String,
    },
}

impl Store {
    pub(crate) fn from_args() -> Result<Store, Box<dyn Error>> {
        let mut words = std::env::args().skip_while(|word| word != "--store").skip(1);
        let Some(named) = words.next() else {
            let dir = tempfile::tempdir()?;
            return Ok(Store::Sqlite { file: dir.path().join("mesh.sqlite"), _dir: Some(dir) });
        };
        if named.starts_with("postgres") {
            return Self::postgres(named);
        }
        if named.starts_with("redis") || named.starts_with("unix:") {
            return Self::redis(named);
        }
        Ok(Store::Sqlite { file: named.into(), _dir: None })
    }

    #[cfg(feature = "postgres")]
    fn postgres(url: String) -> Result<Store, Box<dyn Error>> {
        Ok(Store::Postgres { url })
    }

    #[cfg(not(feature = "postgres"))]
    fn postgres(_: String) -> Result<Store, Box<dyn Error>> {
        Err("built without PostgreSQL: add --features postgres".into())
    }

    #[cfg(feature = "redis")]
    fn redis(url: String) -> Result<Store, Box<dyn Error>> {
        Ok(Store::Redis { url })
    }

    #[cfg(not(feature = "redis"))]
    fn redis(_: String) -> Result<Store, Box<dyn Error>> {
        Err("built without Redis: add --features redis".into())
    }

    /// A node on it.
    pub(crate) fn config(&self, name: &str, topic: &str) -> Config {
        match self {
            Store::Sqlite { file, .. } => Config::sqlite(name, topic, file),
            #[cfg(feature = "postgres")]
            Store::Postgres { url } => Config::postgres(name, topic, url.as_str()),
            #[cfg(feature = "redis")]
            Store::Redis { url } => Config::redis(name, topic, url.as_str()),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Sqlite { file, .. } => write!(f, "SQLite file: {}", file.display()),
            #[cfg(feature = "postgres")]
            Store::Postgres { .. } => f.write_str("PostgreSQL database"),
            #[cfg(feature = "redis")]
            Store::Redis { .. } => f.write_str("Redis server"),
        }
    }
}
