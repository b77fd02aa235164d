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
//! does not answer at all, an operation ends after `OPERATION`, and whether it happened is reported as unknown.

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

use crate::stores::server::commit_queue::{self, CommitQueue};
use crate::stores::server::runtime::Runtime;
use crate::stores::server::version_watch::VersionWatch;
use crate::stores::{OpenError, StoreError, StoreFacts};
use crate::types::StoreId;
use commit::Known;
use connection::Connection;
use options::Target;
use std::sync::{Arc, OnceLock, mpsc as blocking};
use std::time::Duration;
use tokio::time::timeout;
use writer::Writer;

/// The largest message: a string in Redis has at most 512 MiB, headers and the rest of the row included.
const MAX_MESSAGE: usize = 512 * 1024 * 1024 - 1024;

/// How long an operation may go unanswered before it is given up: longer than a server that is stopped for ten seconds.
const OPERATION: Duration = Duration::from_secs(20);

/// How long an operation waits for a server that is away: a restart takes less, and a caller's own deadline is longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The layout of the keys, and the oldest version that can read it.
const VERSION: u32 = 1;
const MIN_READER: u32 = 1;

/// A handle on a server. Dropping it lets what is queued be finished; [`RedisStore::close`] waits for that.
pub struct RedisStore {
    facts: StoreFacts,
    /// Whether a commit is on the disk when it is answered; `None` if the server does not say.
    syncs: Option<bool>,
    target: Arc<Target>,
    writer: CommitQueue,
    connection: Arc<Connection>,
    known: Arc<Known>,
    /// The catalogue's version; the task that keeps it current is started by the first call of `changed`.
    catalogue: VersionWatch,
    watching: OnceLock<()>,
    runtime: Runtime,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore").field("store", &self.facts.description).finish_non_exhaustive()
    }
}

/// What opening leaves behind for the handle.
struct Opened {
    facts: StoreFacts,
    syncs: Option<bool>,
    version: u64,
}

impl RedisStore {
    /// Connects, checks what the server is and how it persists, and makes the store where there is none. Blocks for as
    /// long as that takes, with a server that does not answer some seconds.
    ///
    /// Keys made by the reference implementation stay as they are until their sender starts.
    ///
    /// # Errors
    /// [`OpenError`]: the server is left as it was. Never contains a password.
    pub fn open(options: &RedisOptions) -> Result<RedisStore, OpenError> {
        let target = Arc::new(Target::parse(options)?);
        let connection = Arc::new(Connection::new(target.clone()));
        let known = Arc::new(Known::default());
        let writing = Writer { connection: Connection::new(target.clone()), known: known.clone() };
        let (report, opened) = blocking::channel();
        let (writer, requests) = CommitQueue::new();
        let (options, opening) = (options.clone(), (target.clone(), connection.clone()));
        let runtime = Runtime::start("liner-redis", async move {
            let opened = open(&opening.0, &opening.1, &options).await;
            drop(opening);
            let works = opened.is_ok();
            // Nobody waits any more: there is no handle to serve.
            if report.send(opened).is_ok() && works {
                commit_queue::serve(writing, requests).await;
            }
        })
        .map_err(|error| unavailable(format!("cannot start a thread: {error}")))?;
        let ended = |_| unavailable("the store's thread ended".to_owned());
        let Opened { facts, syncs, version } = opened.recv().map_err(ended)??;
        let (catalogue, watching) = (VersionWatch::new(version), OnceLock::new());
        Ok(RedisStore { facts, syncs, target, writer, connection, known, catalogue, watching, runtime })
    }

    /// Finishes what is queued and closes the connections. Blocks until that is done.
    pub fn close(self) {
        let RedisStore { writer, runtime, .. } = self;
        drop(writer);
        runtime.join();
    }

    /// Starts the watcher, once.
    fn watch(&self) {
        self.watching.get_or_init(|| {
            let watcher = watcher::watch(self.target.clone(), self.connection.clone(), self.catalogue.sender());
            self.runtime.spawn(watcher);
        });
    }
}

fn unavailable(reason: String) -> OpenError {
    OpenError::Store(StoreError::Unavailable(reason.into()))
}

async fn open(target: &Target, connection: &Connection, options: &RedisOptions) -> Result<Opened, OpenError> {
    let looked = timeout(OPERATION, server::look(connection, options, &target.shown)).await;
    let server = looked.unwrap_or_else(|_| Err(unavailable("no answer from the server".to_owned())))?;
    let (id, version) = prepare(connection, &target.shown).await?;
    let encrypted = if target.encrypted { "TLS" } else { "not encrypted" };
    let description = format!("redis {} at {}, {encrypted}", server.version, target.shown);
    server.warn(target, &description);
    let facts = StoreFacts { id, description, durability: server.durability.clone(), max_message: MAX_MESSAGE };
    Ok(Opened { facts, syncs: server.syncs, version })
}

/// The store's id, and the catalogue's version.
async fn prepare(connection: &Connection, shown: &str) -> Result<(StoreId, u64), OpenError> {
    let id = getrandom::u64().map_err(|error| unavailable(error.to_string()))?;
    let call = script::PREPARE.call().number(id).number(VERSION.into()).number(MIN_READER.into());
    let prepared = async {
        let mut answer = connection.run(&call).await?;
        if answer.text()? == "foreign" {
            let path = format!("key {} of {shown}", answer.text()?);
            return Ok(Err(OpenError::Foreign { path }));
        }
        let (id, min_reader, version) = (answer.number()?, answer.number()?, answer.number()?);
        if min_reader > VERSION.into() {
            let min_reader = u32::try_from(min_reader).unwrap_or(u32::MAX);
            return Ok(Err(OpenError::Newer { min_reader, ours: VERSION }));
        }
        Ok(Ok((StoreId::new(id), version)))
    };
    let failed = |failure: error::Failure| OpenError::Store(failure.error);
    prepared.await.map_err(failed)?
}
