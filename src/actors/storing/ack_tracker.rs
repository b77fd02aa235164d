//! AckTracker: how far every lane is acked, who waits for that, and the deletes that follow.
//!
//! Acks arrive far more often than rows need to go. While one delete runs, floors only rise; when it is done, one batch
//! of ranged deletes follows for all lanes that moved. What was acked before it was stored has no rows: its floors are
//! written now and then, or with the next delete.

use crate::actors::storing::store::Commit;
use crate::stores::{LaneKey, Write};
use crate::types::{NodeId, Seq};
use actix::prelude::*;
use futures::channel::oneshot;
use std::collections::HashMap;
use std::time::Duration;

/// A receiver is done with everything up to `through`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub(crate) lane: LaneKey,
    pub(crate) through: Seq,
    /// Whether the store has rows up to there.
    pub(crate) has_rows: bool,
}

/// How long the floor of a lane without rows may wait. If a crash comes first, the next process numbers from an older floor,
/// under an incarnation of its own.
const FLOOR_DELAY: Duration = Duration::from_millis(500);

/// What one link heard at once.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AckedBatch(pub(crate) Vec<Acked>);

/// Answered when everything that is deletable has been deleted.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Settled;

/// A link came to rest: nothing is waiting for its acks any more, or it is lost.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Resting(pub(crate) NodeId);

/// Answered when each of these links has come to rest.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AllResting(pub(crate) Vec<NodeId>);

/// See the [module](self).
pub(crate) struct AckTracker {
    store: Recipient<Commit>,
    /// Floors that are not in the store yet.
    due: HashMap<LaneKey, Seq>,
    /// Rows are to go, or somebody waits: otherwise there is time.
    urgent: bool,
    /// A commit is under way.
    busy: bool,
    delayed: Option<SpawnHandle>,
    settled: Vec<oneshot::Sender<()>>,
    resting: Vec<(Vec<NodeId>, oneshot::Sender<()>)>,
}

impl AckTracker {
    pub(crate) fn new(store: Recipient<Commit>) -> Self {
        AckTracker {
            store,
            due: HashMap::new(),
            urgent: false,
            busy: false,
            delayed: None,
            settled: Vec::new(),
            resting: Vec::new(),
        }
    }

    /// Writes the floors that are due, now or when there is time.
    fn go_on(&mut self, ctx: &mut Context<Self>) {
        if self.urgent || !self.settled.is_empty() {
            self.trim(ctx);
        } else if !self.due.is_empty() && self.delayed.is_none() {
            self.delayed = Some(ctx.run_later(FLOOR_DELAY, |actor, ctx| {
                actor.delayed = None;
                actor.trim(ctx);
            }));
        }
    }

    fn trim(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            return;
        }
        if self.due.is_empty() {
            for waiter in self.settled.drain(..) {
                let _ = waiter.send(());
            }
            return;
        }
        self.busy = true;
        self.urgent = false;
        let writes = self.due.drain().map(|(lane, through)| Write::Trim { lane, through }).collect();
        let done = self.store.send(Commit::persistent(writes)).into_actor(self);
        // A commit that is given up for good concerns a fenced or damaged store: the system ends anyway.
        ctx.spawn(done.map(|_, actor, ctx| {
            actor.busy = false;
            actor.go_on(ctx);
        }));
    }
}

impl Actor for AckTracker {
    type Context = Context<Self>;
}

impl Handler<AckedBatch> for AckTracker {
    type Result = ();

    fn handle(&mut self, AckedBatch(acks): AckedBatch, ctx: &mut Self::Context) {
        for Acked { lane, through, has_rows } in acks {
            let floor = self.due.entry(lane).or_insert(through);
            *floor = (*floor).max(through);
            self.urgent |= has_rows;
        }
        self.go_on(ctx);
    }
}

impl Handler<Settled> for AckTracker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Settled, ctx: &mut Self::Context) -> Self::Result {
        let (waiter, settled) = oneshot::channel();
        self.settled.push(waiter);
        self.trim(ctx);
        Box::pin(async move {
            let _ = settled.await;
        })
    }
}

impl Handler<Resting> for AckTracker {
    type Result = ();

    fn handle(&mut self, Resting(peer): Resting, _: &mut Self::Context) {
        for (peers, _) in &mut self.resting {
            peers.retain(|p| *p != peer);
        }
        for (_, waiter) in self.resting.extract_if(.., |(peers, _)| peers.is_empty()) {
            let _ = waiter.send(());
        }
    }
}

impl Handler<AllResting> for AckTracker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, AllResting(peers): AllResting, _: &mut Self::Context) -> Self::Result {
        let (waiter, rested) = oneshot::channel();
        if peers.is_empty() {
            let _ = waiter.send(());
        } else {
            self.resting.push((peers, waiter));
        }
        Box::pin(async move {
            let _ = rested.await;
        })
    }
}
