//! A connection that is made again when it is lost, and calls of scripts on it.
//!
//! The client library's manager connects again by itself but repeats nothing; what was under way is repeated here, for up
//! to `PATIENCE`. Everything the store does may be repeated.

use super::error::{Access, Failure, Outcome, failure};
use super::options::Endpoint;
use super::script::{Call, ScriptReply};
use super::{OPERATION, PATIENCE};
use crate::stores::StoreError;
use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long one attempt to connect may take, TLS and login included.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// Between two attempts, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// One connection.
pub(super) struct RetryingConnection {
    target: Arc<Endpoint>,
    /// `None` until it is needed, and after a failure that the manager would keep for ever.
    manager: Mutex<Option<ConnectionManager>>,
}

impl RetryingConnection {
    pub(super) fn new(target: Arc<Endpoint>) -> Self {
        RetryingConnection { target, manager: Mutex::new(None) }
    }

    fn manager(&self) -> RedisResult<ConnectionManager> {
        let mut held = self.manager.lock();
        if let Some(manager) = &*held {
            return Ok(manager.clone());
        }
        // The pauses are ours, so that each attempt is reported to the caller.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(OPERATION));
        let manager = ConnectionManager::new_lazy_with_config(self.target.client.clone(), config)?;
        *held = Some(manager.clone());
        Ok(manager)
    }

    /// Sends a command once.
    pub(super) async fn send(&self, command: &Cmd) -> RedisResult<Value> {
        let reply = self.manager()?.send_packed_command(command).await;
        let refused = |error: &RedisError| !error.is_io_error() && error.kind() != ErrorKind::Extension;
        if reply.as_ref().is_err_and(|error| refused(error) && !is_of_command(error)) {
            *self.manager.lock() = None;
        }
        match reply {
            Ok(Value::ServerError(error)) => Err(error.into()),
            reply => reply,
        }
    }

    async fn attempt(&self, call: &Call) -> Outcome<Value> {
        let mut reply = self.send(&call.command).await;
        // The server does not have the script: it is new, or was started again.
        if reply.as_ref().is_err_and(|e| e.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            reply = match self.send(redis::cmd("SCRIPT").arg("LOAD").arg(call.script.code)).await {
                Ok(_) => self.send(&call.command).await,
                // Nothing was asked of it yet.
                Err(error) => return Err(failure(&error, Access::Reads)),
            };
        }
        reply.map_err(|error| failure(&error, call.script.access))
    }

    /// Runs a script, again while the connection is what fails.
    pub(super) async fn run(&self, call: &Call) -> Outcome<ScriptReply> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        let mut unknown: Option<StoreError> = None;
        loop {
            let failure = match self.attempt(call).await {
                Ok(value) => return ScriptReply::new(value),
                Err(failure) => failure,
            };
            if !failure.error.is_definite() {
                unknown = Some(failure.error.clone());
            }
            if !failure.again || Instant::now() + pause > deadline {
                // What an earlier attempt may have done, a refusal of this one does not undo.
                return Err(Failure { error: unknown.unwrap_or(failure.error), ..failure });
            }
            tracing::debug!(error = %failure.error, "an operation of the store is repeated");
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Runs a script that says whether it did something, and returns the rest of its reply.
    pub(super) async fn write(&self, call: &Call) -> Outcome<ScriptReply> {
        match self.try_write(call).await? {
            Some(reply) => Ok(reply),
            None => Err(StoreError::Damaged("the store changes all the time".into()).into()),
        }
    }

    /// `None` if something else changed what the script was to change.
    pub(super) async fn try_write(&self, call: &Call) -> Outcome<Option<ScriptReply>> {
        let mut reply = self.run(call).await?;
        match reply.text()?.as_str() {
            "ok" => Ok(Some(reply)),
            "again" => Ok(None),
            "fenced" => Err(StoreError::Fenced.into()),
            "nolane" => Err(StoreError::NoLane(i64::try_from(reply.number()?).unwrap_or(0)).into()),
            other => Err(StoreError::Damaged(format!("a script returned {other:?}").into()).into()),
        }
    }

    /// Sends a command that only reads, again if the connection turns out to be lost.
    pub(super) async fn read(&self, command: &Cmd) -> Outcome<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match self.send(command).await {
                Ok(value) => return Ok(value),
                Err(error) => failure(&error, Access::Reads),
            };
            if !failure.again || Instant::now() + pause > deadline {
                return Err(failure);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}

/// Whether the server said it of a command, on a connection that goes on.
fn is_of_command(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_)) && !matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
