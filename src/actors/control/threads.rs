//! The threads a system runs on: one for the system, and some that drive connections.

use crate::error::SpawnError;
use actix_rt::{Arbiter, ArbiterHandle, System};
use futures::channel::oneshot;
use std::thread;

/// The threads of one system. Dropping it does not stop them; [`Threads::stop`] does.
pub(crate) struct Threads {
    pub(crate) core: ArbiterHandle,
    pub(crate) links: Vec<ArbiterHandle>,
    /// The actix system that was started because there was none.
    own: Option<System>,
}

fn arbiters(links: usize) -> (ArbiterHandle, Vec<ArbiterHandle>) {
    let core = Arbiter::new().handle();
    (core, (0..links).map(|_| Arbiter::new().handle()).collect())
}

impl Threads {
    /// Starts the threads, in the current actix system or in one of their own.
    pub(crate) async fn start(links: usize) -> Result<Self, SpawnError> {
        if System::try_current().is_some() {
            let (core, links) = arbiters(links);
            return Ok(Threads { core, links, own: None });
        }
        let (ready, started) = oneshot::channel();
        let run = move || {
            let runner = System::new();
            let (core, links) = runner.block_on(async { arbiters(links) });
            // If the caller is gone, the system ends at once.
            if ready.send((core, links, System::current())).is_ok()
                && let Err(error) = runner.run()
            {
                tracing::error!(%error, "actix system failed");
            }
        };
        let failed = |reason: String| SpawnError::Runtime(reason);
        thread::Builder::new().name("liner-system".to_owned()).spawn(run).map_err(|e| failed(e.to_string()))?;
        let (core, links, own) = started.await.map_err(|_| failed("the actix system did not start".to_owned()))?;
        Ok(Threads { core, links, own: Some(own) })
    }

    /// Stops the threads after their current work.
    pub(crate) fn stop(&self) {
        for thread in &self.links {
            thread.stop();
        }
        self.core.stop();
        if let Some(system) = &self.own {
            system.stop();
        }
    }
}
