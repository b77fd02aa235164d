//! The task that commits batches, on a connection of its own.
//!
//! What waits is committed together, so that one exchange and one flush of the server's log pay for all; when one of the
//! batches is refused, each is committed alone, so that it fails nobody else. After a lost connection the group is simply
//! repeated for a while: batches are idempotent.

use super::error::{Failure, Outcome, overdue};
use super::session::{Connector, Session, unreachable};
use super::{OPERATION, PATIENCE, journal};
use crate::stores::{Batch, Committed, Fence, StoreError};
use futures::channel::oneshot;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout};

/// Batches in one transaction: enough to share a flush, few enough to keep the first from waiting long.
const GROUP: usize = 64;

/// Between two attempts, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// A batch on its way to the server and back.
pub(super) struct Job {
    pub(super) fence: Fence,
    pub(super) batch: Batch,
    pub(super) reply: oneshot::Sender<Result<Committed, StoreError>>,
}

pub(super) struct Writer {
    connector: Arc<Connector>,
    session: Option<Session>,
}

impl Writer {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Writer { connector, session: None }
    }

    /// Serves until the last handle is gone and everything queued is done.
    pub(super) async fn serve(mut self, mut queue: Receiver<Job>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(job) => job,
                None => match queue.recv().await {
                    Some(job) => job,
                    None => return,
                },
            };
            let mut jobs = vec![first];
            while jobs.len() < GROUP
                && let Ok(job) = queue.try_recv()
            {
                if job.fence != jobs[0].fence {
                    next = Some(job);
                    break;
                }
                jobs.push(job);
            }
            self.run(jobs).await;
        }
    }

    async fn run(&mut self, jobs: Vec<Job>) {
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

    /// Commits the batches together, again while the connection is what fails.
    async fn commit(&mut self, fence: &Fence, batches: &[&Batch]) -> Result<Vec<Committed>, StoreError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        let mut unknown: Option<StoreError> = None;
        loop {
            let failure = match self.attempt(fence, batches).await {
                Ok(committed) => return Ok(committed),
                Err(failure) => failure,
            };
            if !failure.error.is_definite() {
                unknown = Some(failure.error.clone());
            }
            if !failure.again || Instant::now() + pause > deadline {
                // What an earlier attempt may have done, a refusal of this one does not undo.
                return Err(unknown.unwrap_or(failure.error));
            }
            tracing::debug!(error = %failure.error, "a commit is repeated");
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    async fn attempt(&mut self, fence: &Fence, batches: &[&Batch]) -> Outcome<Vec<Committed>> {
        let session = match self.session.take().filter(|session| !session.is_broken()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let committed = match timeout(OPERATION, journal::commit(&session, fence, batches)).await {
            Ok(committed) => committed,
            Err(_) => Err(overdue()),
        };
        self.session = Some(session).filter(|session| !session.is_broken());
        committed
    }

    async fn connect(&self) -> Outcome<Session> {
        let session = self.connector.connect().await.map_err(|error| unreachable(&error))?;
        match timeout(OPERATION, journal::prepare(&session)).await {
            Ok(prepared) => prepared?,
            Err(_) => {
                return Err(Failure {
                    error: StoreError::Unavailable("no answer from the server".into()),
                    again: false,
                });
            }
        }
        Ok(session)
    }
}
