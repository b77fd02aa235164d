//! Watching the catalogue: a task with a connection of its own, which the server notifies of changes.
//!
//! A notification only wakes: the version is what counts, and it is read after every connect, so that nothing that
//! happened while there was no connection is missed. Behind a pooler nobody can listen; there the version is polled while
//! somebody waits.

use super::directory::VERSION;
use super::error::Outcome;
use super::lanes::only;
use super::session::{Connector, DbSession, unreachable};
use super::{OPERATION, error};
use crate::stores::server::version_watch::publish;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::time::{sleep, timeout};

/// Half of the 100 ms within which a change is promised to be seen: nobody looks more often, however fast changes come.
const POLL: Duration = Duration::from_millis(50);

/// Between two attempts to connect, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps `versions` at the catalogue's version for as long as the store is open.
pub(super) async fn watch(connector: Arc<Connector>, versions: Sender<u64>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let before = tokio::time::Instant::now();
        if let Err(failure) = watch_once(&connector, &versions).await {
            tracing::debug!(error = %failure.error, "watching the catalogue: the connection is made again");
        }
        // A connection that lasted is made again at once.
        pause = if before.elapsed() > LAST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LAST_PAUSE) };
        sleep(pause).await;
    }
}

async fn watch_once(connector: &Arc<Connector>, versions: &Sender<u64>) -> Outcome<()> {
    let session = connector.connect().await.map_err(|error| unreachable(&error))?;
    // A query without a reply closes the connection.
    session.busy();
    let polls = connector.target().pgbouncer;
    if !polls {
        bounded(async { Ok(session.batch("LISTEN liner_catalogue").await?) }).await?;
    }
    while !session.is_closed() {
        let version = bounded(version(&session)).await?;
        publish(versions, version);
        sleep(POLL).await;
        if !polls {
            session.notified().await;
        }
    }
    Ok(())
}

async fn version(session: &DbSession) -> Outcome<u64> {
    let rows = session.read(VERSION, &[]).await?;
    Ok(only(rows.into_iter().next())?.cast_unsigned())
}

async fn bounded<T>(operation: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    timeout(OPERATION, operation).await.unwrap_or_else(|_| Err(error::overdue()))
}
