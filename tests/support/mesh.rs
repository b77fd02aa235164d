//! A store that nodes share, or files of their own.

use liner::Config;
use liner::stores::SharedStore;
use liner::stores::memory::MemoryStore;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// One shared store.
pub(crate) struct Mesh {
    dir: TempDir,
    memory: Option<MemoryStore>,
}

impl Mesh {
    pub(crate) fn sqlite() -> Self {
        Mesh { dir: tempfile::tempdir().expect("temporary directory"), memory: None }
    }

    pub(crate) fn memory() -> Self {
        Mesh { memory: Some(MemoryStore::new()), ..Self::sqlite() }
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
        match &self.memory {
            Some(store) => Config::memory(name, topic, store),
            None => Config::sqlite(name, topic, self.file()),
        }
    }

    /// A node called `{topic}-1` on a file of its own.
    pub(crate) fn apart(&self, topic: &str) -> Config {
        Config::sqlite(&format!("{topic}-1"), topic, self.path(&format!("{topic}.sqlite")))
    }

    /// Another handle on the shared store.
    pub(crate) fn open(&self) -> SharedStore {
        match &self.memory {
            Some(store) => Arc::new(store.clone()),
            None => Arc::new(SqliteStore::open(&self.file(), SqliteOptions::default()).expect("opens")),
        }
    }

    /// One number out of the shared file, as an operator would look it up.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        let connection = rusqlite::Connection::open(self.file()).expect("opens");
        connection.busy_timeout(super::PATIENCE).expect("settable");
        connection.query_row(sql, [], |row| row.get(0)).expect("answers")
    }

    /// Changes the shared file, as an operator would.
    pub(crate) fn execute(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.file()).expect("opens");
        connection.busy_timeout(super::PATIENCE).expect("settable");
        connection.execute_batch(sql).expect("executes");
    }
}
