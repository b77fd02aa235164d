//! One connection: how it is made, what holds on it, and statements on it.
//!
//! The client library splits a connection in two: requests may come from any thread, and the socket is driven by a task on
//! the store's own runtime. Statements of a connection are run in the order in which they were first polled.

use super::error::{self, Failure, Outcome};
use super::options::Endpoint;
use super::tls::Tls;
use crate::stores::{OpenError, StoreError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Row, Statement};

/// Connecting to one host, TLS and login included: the client library bounds only the first of them.
const LOGIN: Duration = Duration::from_secs(15);

/// Longest wait for a lock before a write is [`StoreError::Busy`].
const LOCK_TIMEOUT: &str = "5s";
/// Longest statement. Far longer than any here, shorter than [`super::OPERATION`], so that the server gives up first.
const STATEMENT_TIMEOUT: &str = "15s";
/// How long a transaction may stand still before the server ends it: shorter than [`LOCK_TIMEOUT`], so that a process
/// that was stopped in a transaction does not fail those who wait for it.
const IDLE_TIMEOUT: &str = "4s";

/// A statement's parameter with its type, so that nothing has to be asked beforehand.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) fn text<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::TEXT)
}

pub(super) fn texts<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::TEXT_ARRAY)
}

pub(super) fn int8<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::INT8)
}

pub(super) fn boolean<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::BOOL)
}

pub(super) fn bytea<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::BYTEA)
}

pub(super) fn int8s<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::INT8_ARRAY)
}

pub(super) fn byteas<'a, T: ToSql + Sync>(value: &'a T) -> Param<'a> {
    (value, Type::BYTEA_ARRAY)
}

/// Makes connections.
pub(super) struct Connector {
    target: Endpoint,
    tls: Tls,
    /// Opens every transaction. Behind a pooler it carries what otherwise is set once for the connection.
    begin: String,
    begin_synced: String,
    /// The server's setting for commits is weaker than a synced batch needs.
    weak_commits: AtomicBool,
    /// Connection keys of queued messages have fewer than 64 bits in the table.
    narrow_keys: AtomicBool,
}

impl Connector {
    pub(super) fn new(target: Endpoint) -> Result<Connector, OpenError> {
        let server = target.shown();
        let tls = Tls::new(&target.tls).map_err(|reason| OpenError::Tls { server, reason })?;
        let begin = if target.pgbouncer { format!("BEGIN; {}", settings(&target, true)) } else { "BEGIN".to_owned() };
        let begin_synced = format!("{begin}; SET LOCAL synchronous_commit TO on");
        Ok(Connector { target, tls, begin, begin_synced, weak_commits: false.into(), narrow_keys: false.into() })
    }

    /// For people; no secrets.
    pub(super) fn shown(&self) -> String {
        self.target.shown()
    }

    pub(super) fn target(&self) -> &Endpoint {
        &self.target
    }

    pub(super) fn uses_tls(&self) -> bool {
        self.tls.was_used()
    }

    /// Notes what the server and its tables are like.
    pub(super) fn learn(&self, weak_commits: bool, narrow_keys: bool) {
        self.weak_commits.store(weak_commits, Ordering::Relaxed);
        self.narrow_keys.store(narrow_keys, Ordering::Relaxed);
    }

    fn begin(&self, synced: bool) -> &str {
        if synced && self.weak_commits.load(Ordering::Relaxed) { &self.begin_synced } else { &self.begin }
    }

    /// Connects to the first host that replies and can be written to. Otherwise reports what was wrong with each.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<DbSession, OpenError> {
        let mut failures: Vec<OpenError> = Vec::new();
        for (server, config) in &self.target.hosts {
            let server = format!("{server}/{}", self.target.database);
            let late = || OpenError::Unreachable { server: server.clone(), reason: format!("no reply for {LOGIN:?}") };
            match timeout(LOGIN, self.connect_one(config)).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(error)) => failures.push(error::refusal(&server, &error)),
                Err(_) => failures.push(late()),
            }
        }
        Err(worst(failures))
    }

    async fn connect_one(
        self: &Arc<Self>,
        config: &tokio_postgres::Config,
    ) -> Result<DbSession, tokio_postgres::Error> {
        let (client, mut connection) = config.connect(self.tls.clone()).await?;
        let notifications = Arc::new(Notify::new());
        let listener = notifications.clone();
        let driver = tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                    Some(Ok(AsyncMessage::Notification(_))) => listener.notify_one(),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => {
                        tracing::debug!(error = %error::text(&error), "connection to the store ended");
                        break;
                    }
                    None => break,
                }
            }
            drop(connection);
            listener.notify_one();
        });
        let session = DbSession {
            client,
            connector: self.clone(),
            statements: Mutex::default(),
            driver: driver.abort_handle(),
            notifications,
            unclean: AtomicBool::new(false),
        };
        if !self.target.pgbouncer {
            session.client.batch_execute(&settings(&self.target, false)).await?;
        }
        Ok(session)
    }
}

/// What holds for a connection, or for one transaction.
fn settings(target: &Endpoint, local: bool) -> String {
    let set = if local { "SET LOCAL" } else { "SET" };
    let path =
        target.schema.as_ref().map(|schema| format!("{set} search_path TO \"{}\"; ", schema.replace('"', "\"\"")));
    let timeouts = format!(
        "{set} lock_timeout TO '{LOCK_TIMEOUT}'; {set} statement_timeout TO '{STATEMENT_TIMEOUT}'; \
         {set} idle_in_transaction_session_timeout TO '{IDLE_TIMEOUT}'"
    );
    // Every statement here reads by key. Plans of prepared statements are made while tables are empty, when to read
    // them whole looks cheapest, and kept while they fill.
    // Where a table has to be read whole after all, the plan counts as so expensive that the server would compile it, which
    // takes it a hundred times as long as to run it.
    let plans = format!(
        "; {set} enable_seqscan TO off; {set} enable_hashjoin TO off; {set} enable_mergejoin TO off; {set} jit TO off"
    );
    format!("{}{timeouts}{plans}", path.unwrap_or_default())
}

/// Of several hosts' failures, the one that says most, with what the others said.
fn worst(mut failures: Vec<OpenError>) -> OpenError {
    let rank = |failure: &OpenError| match failure {
        OpenError::Denied { .. } => 2,
        OpenError::Tls { .. } => 1,
        _ => 0,
    };
    let Some(at) = (0..failures.len()).max_by_key(|at| (rank(&failures[*at]), usize::MAX - at)) else {
        return OpenError::Url { reason: "it names no host".to_owned() };
    };
    let mut first = failures.remove(at);
    if let OpenError::Denied { reason, .. } | OpenError::Tls { reason, .. } | OpenError::Unreachable { reason, .. } =
        &mut first
    {
        for other in failures {
            reason.push_str(&format!("; {other}"));
        }
    }
    first
}

/// A connection.
pub(super) struct DbSession {
    client: Client,
    connector: Arc<Connector>,
    /// By their text. The pool keeps none, so they stay with the connection.
    statements: Mutex<HashMap<&'static str, Statement>>,
    driver: AbortHandle,
    notifications: Arc<Notify>,
    /// In a transaction, or left in one: not to be used by anybody else.
    unclean: AtomicBool,
}

impl DbSession {
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.is_closed() || self.unclean.load(Ordering::Relaxed)
    }

    /// From here to [`DbSession::clean`], a future that is dropped takes the connection along.
    pub(super) fn busy(&self) {
        self.unclean.store(true, Ordering::Relaxed);
    }

    pub(super) fn clean(&self) {
        self.unclean.store(false, Ordering::Relaxed);
    }

    fn pooled(&self) -> bool {
        self.connector.target.pgbouncer
    }

    /// What opens a transaction here.
    pub(super) fn opening(&self, synced: bool) -> &str {
        self.connector.begin(synced)
    }

    /// Whether rows may be copied: with a pooler, a statement needs a name, which may be another client's; and tables of
    /// liner_broker have narrower keys.
    pub(super) fn copies(&self) -> bool {
        !self.pooled() && !self.connector.narrow_keys.load(Ordering::Relaxed)
    }

    /// Resolves on a notification, or when the connection has ended.
    pub(super) async fn notified(&self) {
        self.notifications.notified().await;
    }

    /// Runs statements that return nothing.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client.batch_execute(sql).await
    }

    /// Opens a transaction.
    pub(super) async fn begin(&self, synced: bool) -> Result<(), tokio_postgres::Error> {
        self.batch(self.connector.begin(synced)).await
    }

    /// Runs a statement. Once it is prepared on this connection, the first poll sends it.
    pub(super) async fn query(
        &self,
        sql: &'static str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if self.pooled() {
            return self.client.query_typed(sql, params).await;
        }
        let statement = self.prepared(sql, params).await?;
        let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
        self.client.query(&statement, &values).await
    }

    /// Reads outside a transaction. Behind a pooler it takes one, to have the settings.
    pub(super) async fn read(&self, sql: &'static str, params: &[Param<'_>]) -> Outcome<Vec<Row>> {
        if !self.pooled() {
            return Ok(self.query(sql, params).await?);
        }
        let step = |sql| async move { self.batch(sql).await.map(|()| Vec::new()) }.boxed();
        let steps = vec![step(self.opening(false)), self.query(sql, params).boxed(), step("COMMIT")];
        let replies = in_order(steps).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(replies.into_iter().nth(1).unwrap_or_default())
    }

    /// Runs a statement and returns how many rows it changed.
    pub(super) async fn execute(&self, sql: &'static str, params: &[Param<'_>]) -> Outcome<u64> {
        if self.pooled() {
            return Ok(self.client.execute_typed(sql, params).await?);
        }
        let statement = self.prepared(sql, params).await?;
        let values: Vec<_> = params.iter().map(|(value, _)| *value).collect();
        Ok(self.client.execute(&statement, &values).await?)
    }

    /// The first row, if there is one.
    pub(super) async fn first(&self, sql: &'static str, params: &[Param<'_>]) -> Outcome<Option<Row>> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Prepares a statement, so that running it later takes one step.
    pub(super) async fn prepare(&self, sql: &'static str, types: &[Type]) -> Result<(), tokio_postgres::Error> {
        if self.pooled() || self.statements.lock().contains_key(sql) {
            return Ok(());
        }
        let statement = self.client.prepare_typed(sql, types).await?;
        self.statements.lock().insert(sql, statement);
        Ok(())
    }

    async fn prepared(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Statement, tokio_postgres::Error> {
        let known = self.statements.lock().get(sql).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let types: Vec<Type> = params.iter().map(|(_, of)| of.clone()).collect();
        let statement = self.client.prepare_typed(sql, &types).await?;
        self.statements.lock().insert(sql, statement.clone());
        Ok(statement)
    }

    /// For rows in the binary format of COPY.
    pub(super) async fn copy_in(
        &self,
        sql: &str,
    ) -> Result<tokio_postgres::CopyInSink<bytes::Bytes>, tokio_postgres::Error> {
        self.client.copy_in(sql).await
    }
}

impl Drop for DbSession {
    fn drop(&mut self) {
        // A server that does not reply would keep the task and its socket for ever. Otherwise the task says good-bye.
        if self.unclean.load(Ordering::Relaxed) {
            self.driver.abort();
        }
    }
}

/// Polls all futures in order until all are done, so that what each sends first goes out in that order.
pub(super) async fn in_order<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let Poll::Ready(value) = Pin::new(future).poll(cx)
            {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// How an error while connecting looks to an operation.
pub(super) fn unreachable(error: &OpenError) -> Failure {
    Failure { error: StoreError::Unavailable(error.to_string().into()), again: true }
}
