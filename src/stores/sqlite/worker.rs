//! Threads that run operations on a connection: what is asked, and how the answer comes back.
//!
//! ```text
//! future ──room──▶ bounded queue ──▶ thread: operation on its connection ──oneshot──▶ future
//! ```
//!
//! A future waits for room, never for a lock; nothing here needs a runtime. A future dropped before its operation was
//! queued leaves nothing behind; afterwards the operation runs, and the answer is thrown away.

use super::error::Outcome;
use super::thread::Thread;
use crate::stores::StoreError;
use futures::channel::oneshot;
use rusqlite::Connection;
use std::sync::{Arc, mpsc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Operations that may wait at one thread. Each can hold a batch, so this bounds memory; a node has a handful of actors,
/// none of which waits with more than a few.
const QUEUE: usize = 256;

/// An operation on its way to a thread and back.
pub(super) trait Job: Send {
    /// Runs the operation. May be called again when the transaction around it was rolled back.
    fn run(&mut self, db: &Connection) -> Result<(), StoreError>;

    /// Whether its commit must be on the medium.
    fn synced(&self) -> bool;

    /// Reports the result of the last run, or why it does not count.
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Task<T, F> {
    operation: F,
    synced: bool,
    result: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl<T: Send, F: FnMut(&Connection) -> Outcome<T> + Send> Job for Task<T, F> {
    fn run(&mut self, db: &Connection) -> Result<(), StoreError> {
        self.result = Some((self.operation)(db).map_err(|failure| failure.0)?);
        Ok(())
    }

    fn synced(&self) -> bool {
        self.synced
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let unanswered = || StoreError::Unavailable("operation was not run".into());
        let result = match failure {
            Some(failure) => Err(failure),
            None => self.result.ok_or_else(unanswered),
        };
        // Nobody waits any more: the operation happened all the same, which the caller has to expect.
        let _ = self.reply.send(result);
    }
}

/// A thread and the way to it. The thread ends once the worker is dropped and everything queued is done.
pub(super) struct Worker {
    thread: Thread<Box<dyn Job>>,
    room: Arc<Semaphore>,
}

impl Worker {
    /// Starts a thread that runs `serve` over the jobs.
    pub(super) fn start(
        name: &str,
        serve: impl FnOnce(mpsc::Receiver<Box<dyn Job>>) + Send + 'static,
    ) -> std::io::Result<Worker> {
        Ok(Worker { thread: Thread::start(name, serve)?, room: Arc::new(Semaphore::new(QUEUE)) })
    }

    /// Has the thread run `operation` and waits for its result.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        synced: bool,
        operation: impl FnMut(&Connection) -> Outcome<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let gone = || StoreError::Unavailable("store thread has ended".into());
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        let task = Task { operation, synced, result: None, reply, _room: room };
        if !self.thread.send(Box::new(task)) {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::Indeterminate("store thread ended".into())))
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
        let failure = job.run(db).err();
        job.answer(failure);
    }
}
