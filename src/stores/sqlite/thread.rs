//! A thread with a connection of its own, the way to it, and its end.

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;
use parking_lot::Mutex;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

/// A thread and the queue to it. The thread ends after [`Thread::end`] or a drop, once everything queued is done.
pub(super) struct Thread<T> {
    /// `None` once the thread is to end.
    queue: Mutex<Option<Sender<T>>>,
    ended: Shared<oneshot::Receiver<()>>,
    handle: JoinHandle<()>,
}

impl<T: Send + 'static> Thread<T> {
    /// Starts a thread that runs `serve` over what is sent to it.
    pub(super) fn start(name: &str, serve: impl FnOnce(Receiver<T>) + Send + 'static) -> std::io::Result<Self> {
        let (queue, arriving) = mpsc::channel();
        let (report, ended) = oneshot::channel();
        let run = move || {
            // What it holds, its connection, is gone when this returns.
            serve(arriving);
            let _ = report.send(());
        };
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Thread { queue: Mutex::new(Some(queue)), ended: ended.shared(), handle })
    }

    /// Queues an item. Returns whether the thread takes it.
    pub(super) fn send(&self, item: T) -> bool {
        self.queue.lock().as_ref().is_some_and(|queue| queue.send(item).is_ok())
    }

    /// Ends the thread. Resolves when it has closed its connection; a thread that panicked has.
    pub(super) async fn end(&self) {
        drop(self.queue.lock().take());
        let _ = self.ended.clone().await;
    }

    /// The same, blocking.
    pub(super) fn close(self) {
        drop(self.queue);
        if self.handle.join().is_err() {
            tracing::error!("a store thread panicked");
        }
    }
}
