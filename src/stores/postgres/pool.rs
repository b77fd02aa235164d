//! The connections for everything but batches: reads, and writes that are rare.

use super::error::{Failure, Outcome, commit_failed, overdue};
use super::session::{Connector, DbSession, Param, boolean, int8, text};
use super::{FENCE, OPERATION, new_lane};
use crate::stores::{Fence, OpenError, StoreError};
use crate::types::LaneName;
use bb8::{ErrorSink, ManageConnection, Pool, PooledConnection, RunError};
use parking_lot::Mutex;
use std::future::Future;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;

/// Connections at most. Operations here take a millisecond, and hundreds of nodes share a server that pays for each of
/// their connections: with the writer's and the watcher's, a node has three.
const CONNECTIONS: usize = 1;

/// Without work for so long, a connection is given back to the server.
const IDLE: Duration = Duration::from_secs(60);

/// How often an operation that lost its connection, or a deadlock, is tried in all.
const ATTEMPTS: u32 = 4;

/// Makes and judges connections for the pool.
pub(super) struct Manager(Arc<Connector>);

impl ManageConnection for Manager {
    type Connection = DbSession;
    type Error = OpenError;

    async fn connect(&self) -> Result<DbSession, OpenError> {
        self.0.connect().await
    }

    async fn is_valid(&self, _: &mut DbSession) -> Result<(), OpenError> {
        Ok(())
    }

    fn has_broken(&self, session: &mut DbSession) -> bool {
        session.is_broken()
    }
}

/// Remembers why the last connection could not be made: the pool itself only says that it waited in vain.
#[derive(Debug, Clone, Default)]
struct LastError(Arc<Mutex<Option<String>>>);

impl ErrorSink<OpenError> for LastError {
    fn sink(&self, error: OpenError) {
        *self.0.lock() = Some(error.to_string());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<OpenError>> {
        Box::new(self.clone())
    }
}

#[derive(Clone)]
pub(super) struct Sessions {
    pool: Pool<Manager>,
    /// Waiting for one's turn is no outage, and may take longer.
    turns: Arc<Semaphore>,
    last: LastError,
}

/// A connection for as long as an operation takes.
pub(super) struct Held<'a> {
    session: PooledConnection<'a, Manager>,
    _turn: OwnedSemaphorePermit,
}

impl Deref for Held<'_> {
    type Target = DbSession;

    fn deref(&self) -> &DbSession {
        &self.session
    }
}

impl Sessions {
    /// Connections are made when they are needed. Called on the runtime.
    pub(super) fn new(connector: Arc<Connector>) -> Sessions {
        let last = LastError::default();
        let pool = Pool::builder()
            .max_size(CONNECTIONS as u32)
            .test_on_check_out(false)
            .idle_timeout(IDLE)
            .connection_timeout(super::PATIENCE)
            .error_sink(Box::new(last.clone()))
            .build_unchecked(Manager(connector));
        Sessions { pool, turns: Arc::new(Semaphore::new(CONNECTIONS)), last }
    }

    async fn get(&self) -> Outcome<Held<'_>> {
        let turn = timeout(OPERATION, self.turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(StoreError::Unavailable("operations before this one take too long".into()).into());
        };
        // Those that ended in the pool are thrown away here, and there are no more of them than this.
        for _ in 0..=CONNECTIONS {
            match self.pool.get().await {
                Ok(session) if session.is_broken() => {}
                Ok(session) => {
                    *self.last.0.lock() = None;
                    return Ok(Held { session, _turn: turn });
                }
                Err(RunError::User(error)) => return Err(StoreError::Unavailable(error.to_string().into()).into()),
                Err(RunError::TimedOut) => break,
            }
        }
        let last = self.last.0.lock().clone();
        let reason = last.unwrap_or_else(|| "no connection could be made".to_owned());
        Err(StoreError::Unavailable(reason.into()).into())
    }

    /// Reads with one statement; again if the connection turns out to be lost.
    pub(super) async fn read(&self, sql: &'static str, params: &[Param<'_>]) -> Outcome<Vec<Row>> {
        let mut attempt = 1;
        loop {
            let session = self.get().await?;
            session.busy();
            let reply = timeout(OPERATION, session.read(sql, params)).await;
            let failure = match reply {
                Ok(Ok(rows)) => {
                    session.clean();
                    return Ok(rows);
                }
                Ok(Err(failure)) => failure,
                Err(_) => return Err(StoreError::Unavailable("no reply from the server".into()).into()),
            };
            if !failure.again || attempt == ATTEMPTS {
                return Err(failure);
            }
            attempt += 1;
        }
    }

    /// Makes a lane.
    pub(super) async fn create(&self, fence: &Fence, lane: &LaneName) -> Outcome<()> {
        let session = self.get().await?;
        session.busy();
        match timeout(OPERATION, new_lane::create(&session, fence, lane)).await {
            Ok(Ok(())) => {
                session.clean();
                Ok(())
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(overdue()),
        }
    }

    /// A transaction of `fence.node`, refused when it is fenced, that may take as long as `limit`.
    pub(super) async fn begin(&self, fence: Option<(&Fence, NodeRow)>, limit: Duration) -> Outcome<Transaction<'_>> {
        let session = self.get().await?;
        session.busy();
        let transaction = Transaction { session, deadline: Instant::now() + limit };
        transaction.bounded(async { Ok(transaction.session.begin(false).await?) }).await?;
        if let Some((fence, of)) = fence {
            let (node, epoch, changing) =
                (fence.node.as_str(), fence.epoch.get().cast_signed(), of == NodeRow::Changes);
            let held = [text(&node), int8(&epoch), boolean(&changing)];
            transaction.bounded(async { Ok(transaction.session.query(FENCE, &held).await.map(drop)?) }).await?;
        }
        Ok(transaction)
    }
}

/// What a transaction does with the row of its node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeRow {
    Reads,
    Changes,
}

/// A transaction on a connection of the pool. Dropped before its end, it takes the connection along, and with it
/// everything it did.
pub(super) struct Transaction<'a> {
    session: Held<'a>,
    deadline: Instant,
}

impl Deref for Transaction<'_> {
    type Target = DbSession;

    fn deref(&self) -> &DbSession {
        &self.session
    }
}

impl Transaction<'_> {
    /// Waits for a reply no longer than a transaction may take.
    pub(super) async fn bounded<T>(&self, operation: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let late = |_| Err(StoreError::Unavailable("no reply from the server".into()).into());
        timeout_at(self.deadline, operation).await.unwrap_or_else(late)
    }

    pub(super) async fn commit(self) -> Outcome<()> {
        match timeout_at(self.deadline, self.session.batch("COMMIT")).await {
            Ok(Ok(())) => {
                self.session.clean();
                Ok(())
            }
            Ok(Err(error)) => Err(commit_failed(&error)),
            Err(_) => Err(overdue()),
        }
    }

    /// After something was refused: gives the connection back if the server agrees.
    pub(super) async fn roll_back(self) {
        if let Ok(Ok(())) = timeout_at(self.deadline, self.session.batch("ROLLBACK")).await {
            self.session.clean();
        }
    }
}

/// Counts attempts of an operation, and remembers that one of them may have happened.
#[derive(Default)]
pub(super) struct Attempts {
    made: u32,
    unknown: Option<StoreError>,
}

impl Attempts {
    /// Whether to try again after this failure; otherwise, what to report.
    pub(super) fn again(&mut self, failure: Failure) -> Outcome<()> {
        self.made += 1;
        if !failure.error.is_definite() {
            self.unknown = Some(failure.error.clone());
        }
        if failure.again && self.made < ATTEMPTS {
            return Ok(());
        }
        Err(Failure { error: self.unknown.take().unwrap_or(failure.error), again: false })
    }
}
