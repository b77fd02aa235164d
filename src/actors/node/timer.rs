//! The one timer of an actor that drives a machine.
//!
//! Deadlines mostly move away: each sign of life of a peer moves that of its silence. A timer that is a little early is left
//! alone, and set again when it fires; only an earlier deadline, or one much later, sets it anew. So neither a busy link
//! sets it all the time, nor does an idle one wake up for nothing.

use actix::prelude::*;
use std::time::{Duration, Instant};

/// How early a timer may be.
const EARLY: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<(Instant, SpawnHandle)>);

impl Timer {
    /// Has `due` called at `deadline`, or before: it must arm the timer again.
    pub(crate) fn arm<A: Actor<Context = Context<A>>>(
        &mut self,
        ctx: &mut Context<A>,
        deadline: Option<Instant>,
        due: fn(&mut A, &mut Context<A>),
    ) {
        let Some(deadline) = deadline else { return self.stop(ctx) };
        if self.0.is_some_and(|(at, _)| at <= deadline && deadline - at < EARLY) {
            return;
        }
        self.stop(ctx);
        self.0 = Some((deadline, ctx.run_later(deadline.saturating_duration_since(Instant::now()), due)));
    }

    /// It has fired.
    pub(crate) fn fired(&mut self) {
        self.0 = None;
    }

    pub(crate) fn stop<A: Actor<Context = Context<A>>>(&mut self, ctx: &mut Context<A>) {
        if let Some((_, timer)) = self.0.take() {
            ctx.cancel_future(timer);
        }
    }
}
