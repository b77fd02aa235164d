//! The task that commits batches, on a connection of its own.
//!
//! What waits is committed together, so that one exchange, and one sync of the server's log, pays for all; when one of the
//! batches is refused, each is committed alone, so that it fails nobody else.

use super::commit::{self, Known};
use super::connection::Connection;
use crate::stores::{Batch, Committed, Fence, StoreError};
use futures::channel::oneshot;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

/// Batches in one call: enough to share a sync, few enough to keep the first from waiting long.
const GROUP: usize = 64;

/// Bytes in one call, unless a single batch has more: the server does nothing else meanwhile.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// A batch on its way to the server and back.
pub(super) struct Job {
    pub(super) fence: Fence,
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
}

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) known: Arc<Known>,
}

impl Writer {
    /// Serves until the last handle is gone and everything queued is done.
    pub(super) async fn serve(self, mut queue: Receiver<Job>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(job) => job,
                None => match queue.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut bytes = commit::size(&first.batch);
            let mut jobs = vec![first];
            while jobs.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                bytes += commit::size(&job.batch);
                if job.fence != jobs[0].fence || bytes > GROUP_BYTES {
                    next = Some(job);
                    break;
                }
                jobs.push(job);
            }
            self.run(jobs).await;
        }
    }

    async fn run(&self, jobs: Vec<Job>) {
        let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
        match self.commit(&jobs[0].fence, &batches).await {
            Ok(committed) => {
                for (job, committed) in jobs.into_iter().zip(committed) {
                    // Nobody waits any more: it happened all the same, which the caller has to expect.
                    let _ = job.reply.send(Ok(committed));
                }
            }
            Err(StoreError::NoLane(_) | StoreError::Full(_) | StoreError::Damaged(_)) if jobs.len() > 1 => {
                for job in jobs {
                    let alone = self.commit(&job.fence, &[&job.batch]).await;
                    let _ = job.reply.send(alone.map(|mut committed| committed.pop().unwrap_or_default()));
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&self, fence: &Fence, batches: &[&Batch]) -> Result<Vec<Committed>, StoreError> {
        let call = commit::call(fence, batches, &self.known);
        let answer = self.connection.write(&call).await.map_err(|failure| failure.error)?;
        commit::committed(answer, batches.len()).map_err(|failure| failure.error)
    }
}
