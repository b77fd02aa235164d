//! The thread whose runtime owns the sockets and timers of a store on a server.
//!
//! It outlives every actor and runtime of the callers: they poll operations wherever they are, and the sockets are driven
//! here. It ends when its main task does.

use std::future::Future;
use std::pin::pin;
use std::thread::JoinHandle;
use tokio::runtime::{Builder, Handle};

/// The thread and the way to its runtime.
pub(crate) struct Runtime {
    handle: Handle,
    thread: JoinHandle<()>,
}

impl Runtime {
    /// Starts a thread that runs `main`, and everything spawned, until `main` ends.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(name: &str, main: F) -> std::io::Result<Runtime> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(main))?;
        Ok(Runtime { handle, thread })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Polls a future on the caller's thread with this runtime's timers and sockets.
    pub(crate) async fn enter<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| {
            let _context = self.handle.enter();
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until the thread has ended.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}
