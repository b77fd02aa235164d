//! Threads that run operations on a connection: the way of an operation to its thread, and of the result back.
//!
//! ```text
//! future ──room──▶ bounded queue ──▶ thread: operation on its connection ──oneshot──▶ future
//! ```
//!
//! A future waits for room, never for a lock; nothing here needs a runtime. A future dropped before its operation was
//! queued leaves nothing; after that the operation runs, and its result is dropped.

use super::error::Outcome;
use super::thread::Thread;
use crate::stores::StoreError;
use crate::stores::shared::admission::Admission;
use crate::stores::shared::group::Weight;
use futures::channel::oneshot;
use rusqlite::Connection;
use std::sync::mpsc;
use tokio::sync::OwnedSemaphorePermit;

/// Operations that may wait at one thread. Each can hold a batch, so this bounds memory; a node has a handful of actors,
/// none of which waits with more than a few.
const QUEUE: usize = 256;

/// An operation on its way to a thread and back.
pub(super) trait Job: Send {
    /// Runs the operation. May be called again when the transaction around it was rolled back.
    fn run(&mut self, db: &Connection) -> Outcome<()>;

    /// Returns what the operation asks of its transaction.
    fn demand(&self) -> Demand;

    /// Reports the result of the last run, or why it does not count.
    fn finish(self: Box<Self>, result: Result<(), StoreError>);
}

/// What an operation asks of its transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand {
    /// The commit must be on the medium.
    pub(super) synced: bool,
    /// How much is written.
    pub(super) weight: Weight,
}

impl Demand {
    /// An operation other than a batch. It counts as many rows: 64 of them fill a group, so that the first does not wait
    /// long.
    pub(super) const OTHER: Demand = Demand { synced: false, weight: Weight { rows: 256, bytes: 0 } };
}

struct Task<T, F> {
    operation: F,
    demand: Demand,
    returned: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T: Send, F: FnMut(&Connection) -> Outcome<T> + Send> Job for Task<T, F> {
    fn run(&mut self, db: &Connection) -> Outcome<()> {
        self.returned = Some((self.operation)(db)?);
        Ok(())
    }

    fn demand(&self) -> Demand {
        self.demand
    }

    fn finish(self: Box<Self>, result: Result<(), StoreError>) {
        let Task { returned, reply, .. } = *self;
        let not_run = || StoreError::Unavailable("operation was not run".into());
        // The caller may have dropped its future. The operation stands, which the caller has to expect.
        let _ = reply.send(result.and_then(|()| returned.ok_or_else(not_run)));
    }
}

/// A thread and the way to it. The thread ends once the worker is dropped and everything queued is done.
pub(super) struct Worker {
    thread: Thread<Box<dyn Job>>,
    admission: Admission,
}

impl Worker {
    /// Starts a thread that runs `serve` over the jobs.
    pub(super) fn start(
        name: &str,
        serve: impl FnOnce(mpsc::Receiver<Box<dyn Job>>) + Send + 'static,
    ) -> std::io::Result<Worker> {
        Ok(Worker { thread: Thread::start(name, serve)?, admission: Admission::new(QUEUE) })
    }

    /// Has the thread run `operation` and waits for its result. Operations are queued in the order in which these futures
    /// were first polled.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        demand: Demand,
        operation: impl FnMut(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, result) = oneshot::channel();
        let put = |room| self.thread.send(Box::new(Task { operation, demand, returned: None, reply, _room: room }));
        if !self.admission.enter(put).await {
            return Err(StoreError::Unavailable("store thread has ended".into()));
        }
        result.await.unwrap_or_else(|_| Err(StoreError::Indeterminate("store thread ended".into())))
    }

    /// Resolves when everything queued is done and the thread has closed its connection.
    pub(super) async fn end(&self) {
        self.thread.end().await;
    }

    /// The same, blocking.
    pub(super) fn close(self) {
        self.thread.close();
    }
}

/// Serves reads, one after the other, each in a transaction of its own statement.
pub(super) fn serve_reads(db: &Connection, jobs: mpsc::Receiver<Box<dyn Job>>) {
    for mut job in jobs {
        let result = job.run(db).map_err(|failure| failure.error);
        job.finish(result);
    }
}
