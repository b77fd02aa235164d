//! Watching the catalogue: a thread with a connection of its own that polls while somebody waits, and only then.
//!
//! `PRAGMA data_version` costs a look at shared memory and changes with every commit of any other connection, in whatever
//! process; only then is the catalogue's version read.

use super::directory;
use super::thread::Thread;
use crate::stores::StoreError;
use futures::channel::oneshot;
use rusqlite::Connection;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Half of the 100 ms within which a change is promised to be seen.
const POLL: Duration = Duration::from_millis(50);

struct WatchRequest {
    /// The version its handle has seen.
    since: i64,
    reply: oneshot::Sender<Result<i64, StoreError>>,
}

/// The thread and the way to it; it ends when this is dropped.
pub(super) struct Watcher(Thread<WatchRequest>);

impl Watcher {
    pub(super) fn start(db: Connection) -> std::io::Result<Watcher> {
        let watch = Watch { db, data_version: None, waiters: Vec::new() };
        Ok(Watcher(Thread::start("liner-watch", move |arriving| watch.serve(&arriving))?))
    }

    /// Waits until the catalogue's version is another than `since`, and returns it.
    pub(super) async fn changed(&self, since: i64) -> Result<i64, StoreError> {
        let gone = || StoreError::Unavailable("store thread has ended".into());
        let (reply, version) = oneshot::channel();
        if !self.0.send(WatchRequest { since, reply }) {
            return Err(gone());
        }
        version.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Resolves when the thread has closed its connection.
    pub(super) async fn end(&self) {
        self.0.end().await;
    }

    /// The same, blocking.
    pub(super) fn close(self) {
        self.0.close();
    }
}

struct Watch {
    db: Connection,
    /// As last polled; `None` when the catalogue must be read whatever it is.
    data_version: Option<i64>,
    waiters: Vec<WatchRequest>,
}

impl Watch {
    fn serve(mut self, arriving: &Receiver<WatchRequest>) {
        loop {
            let next = if self.waiters.is_empty() {
                arriving.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                arriving.recv_timeout(POLL)
            };
            match next {
                Ok(waiter) => {
                    self.waiters.push(waiter);
                    self.data_version = None;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.waiters.retain(|waiter| !waiter.reply.is_canceled());
            if !self.waiters.is_empty() {
                self.poll();
            }
        }
    }

    fn poll(&mut self) {
        match self.version() {
            Ok(Some(version)) => self.reply(|waiter| (waiter.since != version).then_some(Ok(version))),
            Ok(None) | Err(StoreError::Busy) => {}
            Err(error) => self.reply(|_| Some(Err(error.clone()))),
        }
    }

    /// The catalogue's version, if anything was committed since the last poll.
    fn version(&mut self) -> Result<Option<i64>, StoreError> {
        let data_version = self.data_version().map_err(|error| super::error::Failure::from(error).error)?;
        if self.data_version == Some(data_version) {
            return Ok(None);
        }
        let version = directory::version(&self.db).map_err(|failure| failure.error)?;
        self.data_version = Some(data_version);
        Ok(Some(version))
    }

    fn data_version(&self) -> rusqlite::Result<i64> {
        self.db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
    }

    fn reply(&mut self, result: impl Fn(&WatchRequest) -> Option<Result<i64, StoreError>>) {
        for waiter in std::mem::take(&mut self.waiters) {
            match result(&waiter) {
                // A future dropped meanwhile has not seen the change, and the handle's next call sees it.
                Some(result) => drop(waiter.reply.send(result)),
                None => self.waiters.push(waiter),
            }
        }
    }
}
