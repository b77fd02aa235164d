//! AckTracker: carries out what [`AckTracking`] decides. It gets the acks of all links, deletes rows through the store
//! actor, and replies to those who wait for links to be idle or for the store to have every ack floor.

use crate::actors::node::timer::Timer;
use crate::actors::storing::store::Commit;
use crate::stores::{LaneKey, Write};
use crate::types::{NodeId, Seq};
use crate::wire::ack_tracking::{AckEvent, AckTracking, WaiterId};
use actix::prelude::*;
use futures::channel::oneshot;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the floor of a lane without rows may wait. If a crash comes first, the next process numbers from an older floor,
/// under an incarnation of its own.
const FLOOR_DELAY: Duration = Duration::from_millis(500);

/// The receiver is done with everything on a lane up to `through`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acked {
    pub(crate) lane: LaneKey,
    pub(crate) through: Seq,
    /// Whether the store has rows up to there.
    pub(crate) has_rows: bool,
}

/// The acks that one link got together.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AckedBatch(pub(crate) Vec<Acked>);

/// Resolves when the store has every ack floor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WaitSettled;

/// A link is idle: nothing waits for its acks any more, or it is lost.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LinkIdle(pub(crate) NodeId);

/// Resolves when each of these links has been idle.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct WaitIdle(pub(crate) Vec<NodeId>);

/// See the [module](self).
pub(crate) struct AckTracker {
    store: Recipient<Commit>,
    acks: AckTracking<LaneKey>,
    timer: Timer,
    waiters: HashMap<WaiterId, oneshot::Sender<()>>,
}

impl AckTracker {
    pub(crate) fn new(store: Recipient<Commit>) -> Self {
        AckTracker { store, acks: AckTracking::new(FLOOR_DELAY), timer: Timer::default(), waiters: HashMap::new() }
    }

    /// Carries out what the machine wants done.
    fn drive(&mut self, ctx: &mut Context<Self>) {
        while let Some(event) = self.acks.poll_event() {
            match event {
                AckEvent::Trim(floors) => self.trim(ctx, floors),
                AckEvent::Resolved(waiter) => {
                    if let Some(waiter) = self.waiters.remove(&waiter) {
                        let _ = waiter.send(());
                    }
                }
            }
        }
        self.timer.arm(ctx, self.acks.poll_timeout(), |actor, ctx| {
            actor.timer.fired();
            actor.acks.handle_timeout(Instant::now());
            actor.drive(ctx);
        });
    }

    fn trim(&mut self, ctx: &mut Context<Self>, floors: Vec<(LaneKey, Seq)>) {
        let writes = floors.into_iter().map(|(lane, through)| Write::Trim { lane, through }).collect();
        let done = self.store.send(Commit::persistent(writes)).into_actor(self);
        // A commit that is given up for good concerns a fenced or damaged store: the system ends anyway.
        ctx.spawn(done.map(|_, actor, ctx| {
            actor.acks.handle_trimmed();
            actor.drive(ctx);
        }));
    }

    fn wait(&mut self, ctx: &mut Context<Self>, waiter: WaiterId) -> ResponseFuture<()> {
        let (resolve, resolved) = oneshot::channel();
        self.waiters.insert(waiter, resolve);
        self.drive(ctx);
        Box::pin(async move {
            let _ = resolved.await;
        })
    }
}

impl Actor for AckTracker {
    type Context = Context<Self>;
}

impl Handler<AckedBatch> for AckTracker {
    type Result = ();

    fn handle(&mut self, AckedBatch(acks): AckedBatch, ctx: &mut Self::Context) {
        let now = Instant::now();
        for Acked { lane, through, has_rows } in acks {
            self.acks.handle_acked(now, lane, through, has_rows);
        }
        self.drive(ctx);
    }
}

impl Handler<WaitSettled> for AckTracker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: WaitSettled, ctx: &mut Self::Context) -> Self::Result {
        let waiter = self.acks.wait_settled();
        self.wait(ctx, waiter)
    }
}

impl Handler<LinkIdle> for AckTracker {
    type Result = ();

    fn handle(&mut self, LinkIdle(peer): LinkIdle, ctx: &mut Self::Context) {
        self.acks.handle_idle(&peer);
        self.drive(ctx);
    }
}

impl Handler<WaitIdle> for AckTracker {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, WaitIdle(peers): WaitIdle, ctx: &mut Self::Context) -> Self::Result {
        let waiter = self.acks.wait_idle(peers);
        self.wait(ctx, waiter)
    }
}
