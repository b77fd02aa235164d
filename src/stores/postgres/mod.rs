//! The store in a PostgreSQL database, which any number of nodes share.
//!
//! ```text
//!                 ┌─ writer ── one connection: BEGIN … COMMIT for all that waits, sent in one go ─┐
//! PostgresStore ──┼─ pool ──── a few connections: reads, and writes that are rare ────────────────┼──▶ server
//!                 └─ watcher ─ one connection: LISTEN, once somebody waits in `changed` ──────────┘
//! ```
//!
//! Sockets and timers belong to a runtime of the store's own, on a thread of its own; callers need none. The SQL lives in
//! the modules named after the traits; `facade.rs` brings operations to their connections. The tables are described in
//! `docs/postgres.md` and made by `schema/postgres_001.sql`.
//!
//! A connection that is lost is made again, and what was under way on it repeated, for up to `PATIENCE`. Nothing hangs:
//! the server has time limits of its own, and where it does not reply at all, an operation ends after `OPERATION` and
//! takes its connection along.

mod adopt;
mod dead_letters;
mod directory;
mod error;
mod facade;
mod inbox;
mod journal;
mod lanes;
mod new_lane;
mod options;
mod outbox;
mod plan;
mod pool;
mod schema;
mod session;
mod tls;
mod watcher;
mod writer;

pub use options::PostgresOptions;

use crate::stores::server::server_handle::{Opened, ServerHandle, unavailable};
use crate::stores::{OpenError, StoreError, StoreFacts};
use error::Failure;
use options::Endpoint;
use pool::Sessions;
use session::{Connector, DbSession};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use writer::Writer;

/// The largest row, as in SQLite: PostgreSQL's own limit for a value, and for a message of its protocol, is 1 GiB.
const MAX_MESSAGE: usize = 1_000_000_000 - 1024;

/// Longest time to wait for a reply before an operation is given up: longer than a server that is stopped for ten seconds,
/// and than what the server itself allows a statement.
const OPERATION: Duration = Duration::from_secs(20);

/// How long an operation waits for a server that is away: a restart takes less, and a caller's own deadline is longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `$1` the node, `$2` its epoch, `$3` whether its row is going to change.
const FENCE: &str = "SELECT liner_fence($1, $2, $3)";

/// A handle on a database. Dropping it lets what is queued be finished; [`PostgresStore::close`] waits for that.
pub struct PostgresStore {
    handle: ServerHandle,
    connector: Arc<Connector>,
    sessions: Sessions,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").field("store", &self.handle.facts.description).finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Connects and brings the tables to the current schema. Blocks for as long as that takes: with a server that does not
    /// reply, 10 s for each address of each host, or `connect_timeout`.
    ///
    /// Tables made by liner_broker are adopted.
    ///
    /// # Errors
    /// [`OpenError`]: the database is left as it was. Never contains a password.
    pub fn open(options: &PostgresOptions) -> Result<PostgresStore, OpenError> {
        let connector = Arc::new(Connector::new(Endpoint::parse(options)?)?);
        let writer = Writer::new(connector.clone());
        let (handle, sessions) = ServerHandle::open("liner-postgres", open(connector.clone()), writer)?;
        Ok(PostgresStore { handle, connector, sessions })
    }

    /// Finishes what is queued and closes the connections. Blocks until that is done.
    pub fn close(self) {
        self.handle.close();
    }
}

async fn open(connector: Arc<Connector>) -> Result<Opened<Sessions>, OpenError> {
    let server = connector.shown();
    let session = connector.connect().await?;
    let schema = connector.target().schema.clone();
    // Twenty nodes that start at once wait for each other here.
    let id = within(3 * OPERATION, schema::prepare(&session, &server, schema.as_deref())).await?;
    let (facts, version) = within(OPERATION, facts(&connector, &session, id)).await?;
    Ok(Opened { facts, version, rest: Sessions::new(connector) })
}

async fn within<T>(limit: Duration, step: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
    timeout(limit, step).await.unwrap_or_else(|_| Err(unavailable("no reply from the server".to_owned())))
}

/// What the server says of itself, and the catalogue's version.
async fn facts(
    connector: &Connector,
    session: &DbSession,
    id: crate::types::StoreId,
) -> Result<(StoreFacts, u64), OpenError> {
    let sql = "SELECT current_setting('synchronous_commit'), current_setting('fsync'),
        current_setting('full_page_writes'), current_setting('synchronous_standby_names'),
        current_setting('server_version'), current_schema()::text,
        (SELECT atttypid = 'int8'::regtype FROM pg_attribute
            WHERE attrelid = 'conn_messages'::regclass AND attname = 'connection_key'),
        (SELECT catalogue FROM liner_state)";
    let read = async {
        let rows = session.read(sql, &[]).await?;
        let row = rows.first().ok_or_else(|| Failure::from(StoreError::Damaged("its settings have no row".into())))?;
        let mut texts = Vec::new();
        for column in 0..6 {
            texts.push(row.try_get::<_, String>(column)?);
        }
        Ok::<_, Failure>((texts, row.try_get::<_, bool>(6)?, row.try_get::<_, i64>(7)?))
    };
    let (texts, wide_keys, version) = read.await.map_err(|failure| OpenError::Store(failure.error))?;
    let [commit, fsync, full_pages, standbys, server, schema] = &texts[..] else {
        return Err(unavailable("the server's settings cannot be read".to_owned()));
    };
    connector.learn(commit == "off", !wide_keys);
    let durability = format!(
        "synchronous_commit={commit} fsync={fsync} full_page_writes={full_pages} synchronous_standby_names='{standbys}', \
         synced batches with synchronous_commit={}",
        if commit == "off" { "on" } else { commit }
    );
    let encrypted = if connector.uses_tls() { "TLS" } else { "not encrypted" };
    let description = format!("postgres {server} at {}, schema {schema}, {encrypted}", connector.shown());
    warn(connector, &description, &durability, commit == "off" || fsync == "off" || full_pages == "off");
    Ok((StoreFacts { id, description, durability, max_message: MAX_MESSAGE }, version.cast_unsigned()))
}

/// Once, at the start, what is weaker than somebody may think.
fn warn(connector: &Connector, description: &str, durability: &str, weak: bool) {
    if weak {
        tracing::warn!(store = description, durability, "the server may lose commits that it reported when it crashes");
    }
    let target = connector.target();
    if target.tls.mode == tokio_postgres::config::SslMode::Prefer && !connector.uses_tls() && target.leaves_machine() {
        tracing::warn!(store = description, "sslmode=prefer, and the server has no TLS: nothing is encrypted");
    }
}
