//! StoreActor: passes what changes queues and cursors on to the store, and repeats what must happen.
//!
//! ```text
//!   Sender ─┐                                 ┌─▶ Journal::commit ─┐
//!  Session ─┼─Commit─▶ StoreActor, in order ──┼─▶ Journal::commit ─┼─▶ the store forms groups
//!    acks ──┘              ▲                  └─▶ Journal::commit ─┘
//!                          └── after a pause, what must happen and failed
//! ```
//!
//! Each thread that drives links has a store actor of its own, so a commit goes from that thread to the store's writer and
//! back. An actor passes requests on in the order in which they came, and the store keeps that order. A request that is
//! repeated comes after those that were passed on meanwhile. That is enough: the link of a lane has one append under way
//! and repeats it itself, because it knows the deadline, and trims, appends and cursors of a lane may change places (a number that is acked is never queued
//! again).

use crate::actors::node::Node;
use crate::stores::{Batch, Committed, InboxLane, LaneKey, OutboxLane, Page, PageLimit, StoreError, Write};
use crate::types::{Incarnation, LaneId, Seq};
use actix::prelude::*;
use futures::FutureExt as _;
use futures::channel::oneshot;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Longest pause between two attempts.
const RETRY_CAP: Duration = Duration::from_secs(5);

/// Requests at the store at a time: enough for a group, and as many as a store queues. The others wait here, in order.
const IN_FLIGHT: usize = 256;

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

/// A request and its attempts.
struct PendingCommit {
    /// Empty once it was passed on, unless it may have to be repeated: rows of a busy link are not copied.
    commit: Commit,
    /// It is about what is received.
    of_inbox: bool,
    /// Attempts that failed.
    failed: u32,
    /// An attempt whose outcome is unknown: a refusal of a later one does not undo it.
    unknown: Option<StoreError>,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
}

impl PendingCommit {
    /// Takes the result of an attempt. Returns what to report, or `None` if the request is to be repeated.
    fn judge(&mut self, result: Result<Committed, StoreError>) -> Option<Result<Committed, StoreError>> {
        let error = match result {
            Ok(committed) => return Some(Ok(committed)),
            Err(error) => error,
        };
        self.failed += 1;
        if !error.is_definite() {
            self.unknown = Some(error.clone());
        }
        if self.commit.persistent && error.is_retryable() {
            return None;
        }
        Some(Err(self.unknown.take().unwrap_or(error)))
    }
}

/// See the [module](self).
pub(crate) struct StoreActor {
    node: Arc<Node>,
    /// In the order in which they came.
    waiting: VecDeque<PendingCommit>,
    in_flight: usize,
}

impl StoreActor {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        StoreActor { node, waiting: VecDeque::new(), in_flight: 0 }
    }

    /// Passes on what waits, as far as the bound allows.
    fn pass_on(&mut self, ctx: &mut Context<Self>) {
        while self.in_flight < IN_FLIGHT
            && let Some(pending) = self.waiting.pop_front()
        {
            self.attempt(ctx, pending);
        }
    }

    fn attempt(&mut self, ctx: &mut Context<Self>, mut pending: PendingCommit) {
        let writes = &mut pending.commit.writes;
        let writes = if pending.commit.persistent { writes.clone() } else { std::mem::take(writes) };
        let batch = Batch { writes, synced: pending.commit.synced };
        let node = self.node.clone();
        let mut committing = async move { node.store.commit(&node.fence, batch).await }.boxed();
        // A store keeps the order of first polls, and a context polls its futures in any order.
        if let Some(result) = (&mut committing).now_or_never() {
            return self.ended(ctx, pending, result);
        }
        self.in_flight += 1;
        ctx.spawn(committing.into_actor(self).map(|result, actor, ctx| {
            actor.in_flight -= 1;
            actor.ended(ctx, pending, result);
            actor.pass_on(ctx);
        }));
    }

    /// An attempt ended: replies, or keeps the request for another.
    fn ended(&mut self, ctx: &mut Context<Self>, mut pending: PendingCommit, result: Result<Committed, StoreError>) {
        if let Err(error) = &result {
            if pending.of_inbox {
                self.node.inbox_failed(error);
            } else {
                self.node.store_failed(error);
            }
        }
        if let Some(result) = pending.judge(result) {
            // The requester may be gone; the change stands all the same.
            let _ = pending.reply.send(result);
            return;
        }
        let pause = self.node.config.timing.store_retry * (1 << pending.failed.min(6));
        ctx.run_later(pause.min(RETRY_CAP), |actor, ctx| {
            actor.waiting.push_back(pending);
            actor.pass_on(ctx);
        });
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
        let (reply, result) = oneshot::channel();
        let of_inbox = commit.is_of_inbox();
        self.waiting.push_back(PendingCommit { commit, of_inbox, failed: 0, unknown: None, reply });
        self.pass_on(ctx);
        Box::pin(async move { result.await.unwrap_or(Err(StoreError::Unavailable("store actor ended".into()))) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(persistent: bool) -> PendingCommit {
        let commit = Commit { writes: Vec::new(), synced: false, persistent };
        PendingCommit { commit, of_inbox: false, failed: 0, unknown: None, reply: oneshot::channel().0 }
    }

    fn unknown() -> Result<Committed, StoreError> {
        Err(StoreError::Indeterminate("the reply was lost".into()))
    }

    #[test]
    fn what_must_happen_is_repeated_until_it_has_or_never_can() {
        let mut pending = pending(true);
        for failure in [StoreError::Busy, StoreError::Full("full".into()), StoreError::Unavailable("away".into())] {
            assert!(pending.judge(Err(failure)).is_none());
        }
        assert!(matches!(pending.judge(Ok(Committed::default())), Some(Ok(_))));
        assert!(matches!(pending.judge(Err(StoreError::Fenced)), Some(Err(StoreError::Fenced))));
    }

    #[test]
    fn what_its_sender_repeats_is_reported_at_once() {
        assert!(matches!(pending(false).judge(Err(StoreError::Busy)), Some(Err(StoreError::Busy))));
        assert!(matches!(pending(false).judge(unknown()), Some(Err(StoreError::Indeterminate(_)))));
    }

    #[test]
    fn a_later_refusal_does_not_make_an_unknown_outcome_known() {
        let mut pending = pending(true);
        assert!(pending.judge(unknown()).is_none());
        assert!(matches!(pending.judge(Err(StoreError::Fenced)), Some(Err(StoreError::Indeterminate(_)))));
    }
}
