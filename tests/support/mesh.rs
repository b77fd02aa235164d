//! A store that nodes share, or files of their own.

use liner::Config;
use liner::stores::SharedStore;
use liner::stores::memory::MemoryStore;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// What nodes share.
enum Shared {
    Memory(MemoryStore),
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres(super::postgres::Database),
    #[cfg(feature = "redis")]
    Redis(super::redis::Database),
}

/// One shared store.
pub(crate) struct Mesh {
    dir: TempDir,
    shared: Shared,
}

impl Mesh {
    pub(crate) fn sqlite() -> Self {
        Self::on(Shared::Sqlite)
    }

    pub(crate) fn memory() -> Self {
        Self::on(Shared::Memory(MemoryStore::new()))
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Self {
        Self::on(Shared::Postgres(super::postgres::Database::new()))
    }

    #[cfg(feature = "redis")]
    pub(crate) fn redis() -> Self {
        Self::on(Shared::Redis(super::redis::Database::new()))
    }

    fn on(shared: Shared) -> Self {
        Mesh { dir: tempfile::tempdir().expect("temporary directory"), shared }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The shared file.
    pub(crate) fn file(&self) -> PathBuf {
        self.path("mesh.sqlite")
    }

    /// A node called `{topic}-1` on the shared store.
    pub(crate) fn config(&self, topic: &str) -> Config {
        self.named(&format!("{topic}-1"), topic)
    }

    pub(crate) fn named(&self, name: &str, topic: &str) -> Config {
        match &self.shared {
            Shared::Memory(store) => Config::memory(name, topic, store),
            Shared::Sqlite => Config::sqlite(name, topic, self.file()),
            #[cfg(feature = "postgres")]
            Shared::Postgres(database) => Config::postgres(name, topic, database.url.as_str()),
            #[cfg(feature = "redis")]
            Shared::Redis(database) => Config::redis(name, topic, database.url.as_str()),
        }
    }

    /// A node called `{topic}-1` on a file of its own.
    pub(crate) fn apart(&self, topic: &str) -> Config {
        Config::sqlite(format!("{topic}-1"), topic, self.path(&format!("{topic}.sqlite")))
    }

    /// Another handle on the shared store.
    pub(crate) fn open(&self) -> SharedStore {
        match &self.shared {
            Shared::Memory(store) => Arc::new(store.clone()),
            Shared::Sqlite => Arc::new(SqliteStore::open(&self.file(), SqliteOptions::default()).expect("opens")),
            #[cfg(feature = "postgres")]
            Shared::Postgres(database) => {
                let options = database.url.as_str().into();
                Arc::new(liner::stores::postgres::PostgresStore::open(&options).expect("opens"))
            }
            #[cfg(feature = "redis")]
            Shared::Redis(database) => {
                let options = database.url.as_str().into();
                Arc::new(liner::stores::redis::RedisStore::open(&options).expect("opens"))
            }
        }
    }

    /// One number out of the shared tables, as an operator would look it up.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        #[cfg(feature = "postgres")]
        if let Shared::Postgres(database) = &self.shared {
            return database.psql(sql).parse().expect("is a number");
        }
        self.connection().query_row(sql, [], |row| row.get(0)).expect("answers")
    }

    /// Changes the shared tables, as an operator would.
    pub(crate) fn execute(&self, sql: &str) {
        #[cfg(feature = "postgres")]
        if let Shared::Postgres(database) = &self.shared {
            database.psql(sql);
            return;
        }
        self.connection().execute_batch(sql).expect("executes");
    }

    fn connection(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).expect("opens");
        connection.busy_timeout(super::PATIENCE).expect("settable");
        connection
    }
}
