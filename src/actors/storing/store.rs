//! StoreActor: everything that changes queues and cursors goes through here, in one transaction for all that waits.
//!
//! While a transaction runs, requests gather; when it ends, all of them become the next one. No timer delays a lone
//! request. What must happen sooner or later ([`Commit::persistent`]) is repeated until it has.

use crate::actors::node::Node;
use crate::stores::{Batch, Committed, InboxLane, LaneKey, OutboxLane, Page, PageLimit, StoreError, Write};
use crate::types::{Incarnation, LaneId, Seq};
use actix::prelude::*;
use futures::channel::oneshot;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait between two attempts of something persistent.
const RETRY_CAP: Duration = Duration::from_secs(5);

/// Apply these changes, all or none.
#[derive(Debug, Message)]
#[rtype(result = "Result<Committed, StoreError>")]
pub(crate) struct Commit {
    pub(crate) writes: Vec<Write>,
    pub(crate) synced: bool,
    /// Repeat until it is done, unless the store is fenced or damaged.
    pub(crate) persistent: bool,
}

impl Commit {
    pub(crate) fn persistent(writes: Vec<Write>) -> Self {
        Commit { writes, synced: false, persistent: true }
    }

    /// Whether it is about what is received.
    fn is_of_inbox(&self) -> bool {
        self.writes.iter().any(|write| matches!(write, Write::Advance { .. } | Write::Attempt { .. }))
    }
}

/// The error of a request that the store actor can no longer take: the system is ending.
pub(crate) fn store_gone(error: &MailboxError) -> StoreError {
    StoreError::Unavailable(error.to_string().into())
}

/// Read a page of a lane's queue.
#[derive(Debug, Message)]
#[rtype(result = "Result<Page, StoreError>")]
pub(crate) struct Load {
    pub(crate) lane: LaneKey,
    pub(crate) after: Seq,
    pub(crate) limit: PageLimit,
}

/// Find or make a lane this node sends on.
#[derive(Debug, Message)]
#[rtype(result = "Result<OutboxLane, StoreError>")]
pub(crate) struct OpenOutbox {
    pub(crate) lane: LaneId,
    pub(crate) incarnation: Incarnation,
}

/// Find or make a lane this node receives on.
#[derive(Debug, Message)]
#[rtype(result = "Result<InboxLane, StoreError>")]
pub(crate) struct OpenInbox {
    pub(crate) lane: LaneId,
}

/// Start the next transaction. Sent to oneself, so that what is in the mailbox already comes along.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Flush;

struct Job {
    commit: Commit,
    attempt: u32,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

/// See the [module](self).
pub(crate) struct StoreActor {
    node: Arc<Node>,
    waiting: Vec<Job>,
    /// A transaction runs, or is about to.
    busy: bool,
}

impl StoreActor {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        StoreActor { node, waiting: Vec::new(), busy: false }
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        if !self.busy && !self.waiting.is_empty() {
            self.busy = true;
            ctx.notify(Flush);
        }
    }

    /// Answers a job, or keeps it for another attempt.
    fn finish(&mut self, ctx: &mut Context<Self>, mut job: Job, result: Result<Committed, StoreError>) {
        if let Err(error) = &result {
            if job.commit.is_of_inbox() {
                self.node.inbox_failed(error);
            } else {
                self.node.store_failed(error);
            }
            if job.commit.persistent && error.is_retryable() {
                job.attempt += 1;
                let wait = self.node.config.timing.store_retry * (1 << job.attempt.min(6));
                ctx.run_later(wait.min(RETRY_CAP), |actor, ctx| {
                    actor.waiting.push(job);
                    actor.wake(ctx);
                });
                return;
            }
        }
        // Whoever asked may be gone; the change stands all the same.
        let _ = job.reply.send(result);
    }
}

impl Actor for StoreActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The bounds of links and windows hold the number of messages here; the mailbox itself is no bound.
        ctx.set_mailbox_capacity(1024);
    }
}

impl Handler<Commit> for StoreActor {
    type Result = ResponseFuture<Result<Committed, StoreError>>;

    fn handle(&mut self, commit: Commit, ctx: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        self.waiting.push(Job { commit, attempt: 0, reply });
        self.wake(ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(StoreError::Unavailable("store actor ended".into()))) })
    }
}

impl Handler<Flush> for StoreActor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let jobs = std::mem::take(&mut self.waiting);
        let node = self.node.clone();
        Box::pin(run(node, jobs).into_actor(self).map(|done, actor, ctx| {
            actor.busy = false;
            for (job, result) in done {
                actor.finish(ctx, job, result);
            }
            actor.wake(ctx);
        }))
    }
}

/// Runs all jobs in one transaction. If that fails, each on its own: a batch too large for a full store must not take
/// those along that would make room.
async fn run(node: Arc<Node>, jobs: Vec<Job>) -> Vec<(Job, Result<Committed, StoreError>)> {
    let together = match jobs.len() {
        1 => None,
        _ => {
            let synced = jobs.iter().any(|j| j.commit.synced);
            let writes = jobs.iter().flat_map(|j| j.commit.writes.iter().cloned()).collect();
            Some(node.store.commit(&node.fence, Batch { writes, synced }).await)
        }
    };
    match together {
        Some(Ok(committed)) => jobs.into_iter().map(|job| (job, Ok(committed.clone()))).collect(),
        Some(Err(error @ (StoreError::Indeterminate(_) | StoreError::Fenced))) => {
            jobs.into_iter().map(|job| (job, Err(error.clone()))).collect()
        }
        Some(Err(_)) | None => {
            let mut done = Vec::with_capacity(jobs.len());
            for job in jobs {
                let batch = Batch { writes: job.commit.writes.clone(), synced: job.commit.synced };
                let result = node.store.commit(&node.fence, batch).await;
                done.push((job, result));
            }
            done
        }
    }
}

impl Handler<Load> for StoreActor {
    type Result = ResponseFuture<Result<Page, StoreError>>;

    fn handle(&mut self, load: Load, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        Box::pin(async move { node.store.load(load.lane, load.after, load.limit).await })
    }
}

impl Handler<OpenOutbox> for StoreActor {
    type Result = ResponseFuture<Result<OutboxLane, StoreError>>;

    fn handle(&mut self, open: OpenOutbox, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        Box::pin(async move { node.store.open_lane(&node.fence, open.lane.name(), open.incarnation).await })
    }
}

impl Handler<OpenInbox> for StoreActor {
    type Result = ResponseFuture<Result<InboxLane, StoreError>>;

    fn handle(&mut self, open: OpenInbox, _: &mut Self::Context) -> Self::Result {
        let node = self.node.clone();
        Box::pin(async move { node.store.receive_lane(&node.fence, open.lane.name()).await })
    }
}
