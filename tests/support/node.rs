//! A node on threads of its own, so that it can be crashed.

use super::{soon, until};
use actix::dev::ToEnvelope;
use actix::prelude::*;
use liner::{
    Config, LinerSystem, PendingCount, Receipt, SendBatch, SendError, SendTo, Shutdown, ShutdownReport, SpawnError,
    Stats, StatsReport,
};
use std::time::Duration;
use tokio::sync::oneshot;

/// A running node. Dropping it crashes it.
pub(crate) struct Node {
    pub(crate) addr: Addr<LinerSystem>,
    threads: System,
}

impl Node {
    pub(crate) async fn start(config: Config) -> Self {
        Self::try_start(config).await.expect("the node starts")
    }

    pub(crate) async fn try_start(config: Config) -> Result<Self, SpawnError> {
        if std::env::var_os("LINER_TEST_TRACE").is_some() {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).try_init();
        }
        let (told, started) = oneshot::channel();
        std::thread::spawn(move || {
            let runner = System::new();
            let spawned = runner.block_on(LinerSystem::spawn(config));
            let runs = spawned.is_ok();
            let _ = told.send(spawned.map(|addr| Node { addr, threads: System::current() }));
            if runs {
                let _ = runner.run();
            }
        });
        soon("a start", started).await.expect("the thread answers")
    }

    /// Ends it the way a killed process ends: nothing is flushed, nothing is said.
    pub(crate) async fn crash(self) {
        let addr = self.addr.clone();
        drop(self);
        until("the threads end", || async { !addr.connected() }).await;
    }

    /// Sends a message of the interface and awaits the reply.
    pub(crate) async fn call<M>(&self, message: M) -> M::Result
    where
        M: Message + Send + 'static,
        M::Result: Send,
        LinerSystem: Handler<M>,
        <LinerSystem as Actor>::Context: ToEnvelope<LinerSystem, M>,
    {
        soon("an answer", self.addr.send(message)).await.expect("the node lives")
    }

    /// Sends a text, committed.
    pub(crate) async fn send(&self, topic: &str, text: &str) -> Receipt {
        self.call(SendTo::new(topic, text.to_owned())).await.expect("accepted")
    }

    pub(crate) async fn send_all(&self, topic: &str, texts: &[String]) {
        let receipts = self.call(SendBatch::new(topic, texts.iter().cloned())).await.expect("accepted");
        assert_eq!(receipts.len(), texts.len());
    }

    /// Asserts that a send is refused because nobody serves the topic.
    pub(crate) async fn has_no_route(&self, topic: &str) {
        let gone = self.call(SendTo::new(topic, "to nobody")).await;
        assert!(matches!(gone, Err(SendError::NoRoute(_))), "{gone:?}");
    }

    pub(crate) async fn pending(&self) -> u64 {
        self.call(PendingCount).await.expect("counts")
    }

    /// Waits until everything is acked.
    pub(crate) async fn settled(&self) {
        until("everything is acked", || async { self.pending().await == 0 }).await;
    }

    pub(crate) async fn stats(&self) -> StatsReport {
        self.call(Stats).await.expect("reports")
    }

    /// Where it can be dialled.
    pub(crate) async fn bound(&self) -> String {
        self.stats().await.bound.to_string()
    }

    pub(crate) async fn shutdown(self) -> ShutdownReport {
        self.call(Shutdown::drain(Duration::from_secs(5))).await.expect("shuts down")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.threads.stop();
    }
}
