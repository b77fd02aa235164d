//! What a handle on a store has, whatever its server: the queue of commits, the catalogue's version, the runtime.

use super::commit_queue::{self, CommitQueue, CommitRequest};
use super::runtime::Runtime;
use super::version_watch::VersionWatch;
use crate::stores::shared::failure::Outcome;
use crate::stores::shared::group::GroupWriter;
use crate::stores::{Batch, Committed, Fence, OpenError, StoreError, StoreFacts, StoreFuture};
use std::future::Future;
use std::sync::{OnceLock, mpsc};
use tokio::sync::watch;

/// The part of a handle that does not depend on the server. Dropping it lets what is queued be finished.
pub(crate) struct ServerHandle {
    pub(crate) facts: StoreFacts,
    commits: CommitQueue,
    /// The task that keeps it current is started by the first call of `changed`.
    catalogue: VersionWatch,
    watching: OnceLock<()>,
    runtime: Runtime,
}

/// A store that was opened: what it says of itself, the catalogue's version, and what belongs to this kind of server.
pub(crate) struct Opened<T> {
    pub(crate) facts: StoreFacts,
    pub(crate) version: u64,
    pub(crate) rest: T,
}

impl ServerHandle {
    /// Starts a thread, opens a store on it, and has `writer` commit there from then on. Blocks until the store is open.
    pub(crate) fn open<T: Send + 'static, W>(
        thread: &str,
        opening: impl Future<Output = Result<Opened<T>, OpenError>> + Send + 'static,
        writer: W,
    ) -> Result<(ServerHandle, T), OpenError>
    where
        W: GroupWriter<Operation = CommitRequest> + 'static,
    {
        let (report, opened) = mpsc::channel();
        let (commits, requests) = CommitQueue::new();
        let runtime = Runtime::start(thread, async move {
            let opened = opening.await;
            let works = opened.is_ok();
            // If the caller is gone, there is no handle to serve.
            if report.send(opened).is_ok() && works {
                commit_queue::serve(writer, requests).await;
            }
        })
        .map_err(|error| unavailable(format!("cannot start a thread: {error}")))?;
        let ended = |_| unavailable("the store's thread ended".to_owned());
        let Opened { facts, version, rest } = opened.recv().map_err(ended)??;
        let (catalogue, watching) = (VersionWatch::new(version), OnceLock::new());
        Ok((ServerHandle { facts, commits, catalogue, watching, runtime }, rest))
    }

    /// Finishes what is queued and closes the connections. Blocks until that is done.
    pub(crate) fn close(self) {
        let ServerHandle { commits, runtime, .. } = self;
        drop(commits);
        runtime.join();
    }

    /// Has an operation polled with the store's timers and sockets, whatever the thread of its caller.
    pub(crate) fn run<'a, T: Send + 'a>(
        &'a self,
        operation: impl Future<Output = Outcome<T>> + Send + 'a,
    ) -> StoreFuture<'a, T> {
        Box::pin(async move { self.runtime.enter(operation).await.map_err(|failure| failure.error) })
    }

    /// Queues a batch, and waits until it is committed.
    pub(crate) fn commit(&self, fence: &Fence, batch: Batch) -> StoreFuture<'_, Committed> {
        Box::pin(self.commits.commit(fence.clone(), batch))
    }

    /// Resolves when the catalogue has changed. The first call starts `watch`, a task that publishes versions.
    pub(crate) fn changed<'a, F: Future<Output = ()> + Send + 'static>(
        &'a self,
        watch: impl FnOnce(watch::Sender<u64>) -> F + Send + 'a,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.watching.get_or_init(|| self.runtime.spawn(watch(self.catalogue.sender())));
            self.catalogue.changed().await
        })
    }
}

/// Returns the error of a store that cannot be opened just now.
pub(crate) fn unavailable(reason: String) -> OpenError {
    OpenError::Store(StoreError::Unavailable(reason.into()))
}
