//! The one timer of an actor that drives a machine.
//!
//! Deadlines mostly move away: each sign of life of a peer moves the deadline of its silence. A timer that is a little early
//! stays as it is, and is set again when it fires; only an earlier deadline, or a much later one, replaces it. So a busy link
//! does not set timers all the time, and an idle one does not wake up for nothing.

use actix::prelude::*;
use std::time::{Duration, Instant};

/// How early a timer may be.
const EARLY: Duration = Duration::from_millis(500);

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<(Instant, SpawnHandle)>);

impl Timer {
    /// Calls `due` at `deadline` or before. `due` must arm the timer again.
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

    /// Records that the timer has fired.
    pub(crate) fn fired(&mut self) {
        self.0 = None;
    }

    pub(crate) fn stop<A: Actor<Context = Context<A>>>(&mut self, ctx: &mut Context<A>) {
        if let Some((_, timer)) = self.0.take() {
            ctx.cancel_future(timer);
        }
    }
}
