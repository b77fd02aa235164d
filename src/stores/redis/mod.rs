//! The store in a Redis server, which any number of nodes share.
//!
//! ```text
//!              ┌─ writer ───── one connection: a script call for all batches that wait ────────────┐
//! RedisStore ──┼─ connection ─ one connection: reads, and writes that are rare ────────────────────┼──▶ server
//!              └─ watcher ──── one connection: SUBSCRIBE, once somebody waits in `changed` ────────┘
//! ```
//!
//! Every write is a Lua script, which checks the fence and happens entirely or not at all; the scripts are in `lua/`, and
//! the keys are described in `docs/redis.md`. Sockets and timers belong to a runtime of the store's own, on a thread of its
//! own; callers need none.
//!
//! A connection that is lost is made again, and what was under way on it repeated, for up to `PATIENCE`. Where the server
//! does not reply at all, an operation ends after `OPERATION`, and whether it happened is reported as unknown.

mod adopt;
mod commit;
mod connection;
mod dead_letters;
mod directory;
mod error;
mod facade;
mod lanes;
mod options;
mod script;
mod server;
mod watcher;
mod writer;

pub use options::RedisOptions;

use crate::stores::server::server_handle::{Opened, ServerHandle, unavailable};
use crate::stores::{OpenError, StoreFacts};
use crate::types::StoreId;
use commit::Known;
use connection::RetryingConnection;
use options::Endpoint;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use writer::Writer;

/// The largest message: a string in Redis has at most 512 MiB, headers and the rest of the row included.
const MAX_MESSAGE: usize = 512 * 1024 * 1024 - 1024;

/// Longest time to wait for a reply before an operation is given up: longer than a server that is stopped for ten seconds.
const OPERATION: Duration = Duration::from_secs(20);

/// How long an operation waits for a server that is away: a restart takes less, and a caller's own deadline is longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The layout of the keys, and the oldest version that can read it.
const VERSION: u32 = 1;
const MIN_READER: u32 = 1;

/// A handle on a server. Dropping it lets what is queued be finished; [`RedisStore::close`] waits for that.
pub struct RedisStore {
    handle: ServerHandle,
    /// Whether a commit is on the disk before its reply; `None` if the server does not say.
    syncs: Option<bool>,
    target: Arc<Endpoint>,
    connection: Arc<RetryingConnection>,
    known: Arc<Known>,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("store", &self.handle.facts.description).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects, checks what the server is and how it persists, and makes the store where there is none. Blocks for as
    /// long as that takes, with a server that does not reply some seconds.
    ///
    /// Keys made by liner_broker stay as they are until their sender starts.
    ///
    /// # Errors
    /// [`OpenError`]: the server is left as it was. Never contains a password.
    pub fn open(options: &RedisOptions) -> Result<RedisStore, OpenError> {
        let target = Arc::new(Endpoint::parse(options)?);
        let connection = Arc::new(RetryingConnection::new(target.clone()));
        let known = Arc::new(Known::default());
        let writer = Writer { connection: RetryingConnection::new(target.clone()), known: known.clone() };
        let (at, on, options) = (target.clone(), connection.clone(), options.clone());
        let opening = async move { open(&at, &on, &options).await };
        let (handle, syncs) = ServerHandle::open("liner-redis", opening, writer)?;
        Ok(RedisStore { handle, syncs, target, connection, known })
    }

    /// Finishes what is queued and closes the connections. Blocks until that is done.
    pub fn close(self) {
        self.handle.close();
    }
}

async fn open(
    target: &Endpoint,
    connection: &RetryingConnection,
    options: &RedisOptions,
) -> Result<Opened<Option<bool>>, OpenError> {
    let looked = timeout(OPERATION, server::look(connection, options, &target.shown)).await;
    let server = looked.unwrap_or_else(|_| Err(unavailable("no reply from the server".to_owned())))?;
    let (id, version) = prepare(connection, &target.shown).await?;
    let encrypted = if target.encrypted { "TLS" } else { "not encrypted" };
    let description = format!("redis {} at {}, {encrypted}", server.version, target.shown);
    server.warn(target, &description);
    let facts = StoreFacts { id, description, durability: server.durability.clone(), max_message: MAX_MESSAGE };
    Ok(Opened { facts, version, rest: server.syncs })
}

/// The store's id, and the catalogue's version.
async fn prepare(connection: &RetryingConnection, shown: &str) -> Result<(StoreId, u64), OpenError> {
    let id = getrandom::u64().map_err(|error| unavailable(error.to_string()))?;
    let call = script::PREPARE.call().number(id).number(VERSION.into()).number(MIN_READER.into());
    let prepared = async {
        let mut reply = connection.run(&call).await?;
        if reply.text()? == "foreign" {
            let path = format!("key {} of {shown}", reply.text()?);
            return Ok(Err(OpenError::Foreign { path }));
        }
        let (id, min_reader, version) = (reply.number()?, reply.number()?, reply.number()?);
        if min_reader > VERSION.into() {
            let min_reader = u32::try_from(min_reader).unwrap_or(u32::MAX);
            return Ok(Err(OpenError::Newer { min_reader, ours: VERSION }));
        }
        Ok(Ok((StoreId::new(id), version)))
    };
    let failed = |failure: error::Failure| OpenError::Store(failure.error);
    prepared.await.map_err(failed)?
}
