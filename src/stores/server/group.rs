//! Batches that wait for a server are committed together, so that one exchange and one sync of its log pay for all; when one
//! of them is refused, each is committed alone, so that it fails nobody else.

use crate::stores::{Batch, Committed, Fence, StoreError};
use futures::channel::oneshot;
use std::future::Future;
use tokio::sync::mpsc::{Receiver, Sender};

/// Batches in one commit: enough to share a sync, few enough to keep the first from waiting long.
const GROUP: usize = 64;

/// A batch on its way to the server and back.
pub(crate) struct Job {
    fence: Fence,
    batch: Batch,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Has a batch committed, and waits for that.
pub(crate) async fn submit(queue: &Sender<Job>, fence: Fence, batch: Batch) -> Result<Committed, StoreError> {
    let (reply, answer) = oneshot::channel();
    let gone = || StoreError::Unavailable("the store's thread has ended".into());
    queue.send(Job { fence, batch, reply }).await.map_err(|_| gone())?;
    answer.await.unwrap_or_else(|_| Err(StoreError::Indeterminate("the store's thread ended".into())))
}

/// Commits on one connection.
pub(crate) trait Writer: Send {
    /// How much of a commit's limit a batch takes; by default there is none.
    fn weight(_: &Batch) -> usize {
        0
    }

    /// The limit. A batch above it is committed alone.
    const LIMIT: usize = usize::MAX;

    /// Commits batches of one process, all or none; answers for each.
    fn commit(
        &mut self,
        fence: &Fence,
        batches: &[&Batch],
    ) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;
}

/// Serves until the last handle is gone and everything queued is done.
pub(crate) async fn serve<W: Writer>(mut writer: W, mut queue: Receiver<Job>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(job) => job,
            None => match queue.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        let mut weight = W::weight(&first.batch);
        let mut jobs = vec![first];
        while jobs.len() < GROUP
            && let Ok(job) = queue.try_recv()
        {
            weight += W::weight(&job.batch);
            if job.fence != jobs[0].fence || weight > W::LIMIT {
                next = Some(job);
                break;
            }
            jobs.push(job);
        }
        run(&mut writer, jobs).await;
    }
}

async fn run<W: Writer>(writer: &mut W, jobs: Vec<Job>) {
    let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
    match writer.commit(&jobs[0].fence, &batches).await {
        Ok(committed) => {
            for (job, committed) in jobs.into_iter().zip(committed) {
                // Nobody waits any more: it happened all the same, which the caller has to expect.
                let _ = job.reply.send(Ok(committed));
            }
        }
        Err(StoreError::NoLane(_) | StoreError::Full(_) | StoreError::Damaged(_)) if jobs.len() > 1 => {
            for job in jobs {
                let alone = writer.commit(&job.fence, &[&job.batch]).await;
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
