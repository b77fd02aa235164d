//! Watching the catalogue: a task with a connection of its own, which the server notifies of changes.
//!
//! A message only wakes: the version is what counts. It is read after every subscription, so that nothing that happened
//! while there was none is missed, and now and then, because a server may drop messages and a dead connection says nothing.

use super::connection::{CONNECT, RetryingConnection};
use super::error::{Access, Outcome, failure};
use super::options::Endpoint;
use crate::stores::StoreError;
use crate::stores::server::version_watch::publish;
use futures::{FutureExt as _, StreamExt as _};
use redis::{RedisError, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch::Sender;
use tokio::time::{sleep, timeout};

/// The channel, and the counter of the same name.
pub(super) const CATALOGUE: &str = "lnr_catalogue";

/// Between two looks, however fast messages come: half of the 100 ms within which a change is promised to be seen.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two looks without a message.
const RESCAN: Duration = Duration::from_secs(5);

/// Between two attempts to subscribe, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Keeps `versions` at the catalogue's version for as long as the store is open.
pub(super) async fn watch(target: Arc<Endpoint>, connection: Arc<RetryingConnection>, versions: Sender<u64>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let before = tokio::time::Instant::now();
        if let Err(failure) = watch_once(&target, &connection, &versions).await {
            tracing::debug!(error = %failure.error, "watching the catalogue: the connection is made again");
        }
        // A connection that lasted is made again at once.
        pause = if before.elapsed() > LAST_PAUSE { FIRST_PAUSE } else { (pause * 2).min(LAST_PAUSE) };
        sleep(pause).await;
    }
}

async fn watch_once(target: &Endpoint, connection: &RetryingConnection, versions: &Sender<u64>) -> Outcome<()> {
    let subscribed = async {
        let mut listening = target.client.get_async_pubsub().await?;
        listening.subscribe(CATALOGUE).await?;
        Ok::<_, RedisError>(listening)
    };
    let late = |_| StoreError::Unavailable("no reply from the server".into());
    let mut listening = timeout(CONNECT, subscribed).await.map_err(late)?.map_err(|e| failure(&e, Access::Reads))?;
    let mut messages = listening.on_message();
    loop {
        let version = version(connection).await?;
        publish(versions, version);
        sleep(PAUSE).await;
        match timeout(RESCAN, messages.next()).await {
            Ok(None) => return Ok(()),
            // The look that follows tells what all of them tell.
            Ok(Some(_)) => while let Some(Some(_)) = messages.next().now_or_never() {},
            Err(_) => {}
        }
    }
}

async fn version(connection: &RetryingConnection) -> Outcome<u64> {
    match connection.read(redis::cmd("GET").arg(CATALOGUE)).await? {
        Value::Nil => Ok(0),
        value => {
            let damaged = |error: redis::ParsingError| StoreError::Damaged(error.to_string().into());
            Ok(redis::from_redis_value(value).map_err(damaged)?)
        }
    }
}
