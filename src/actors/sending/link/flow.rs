//! Flow: wakes the write loop of a link, and lets senders wait for the connection.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The pace of one link.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    /// There is something to transmit.
    transmit: Notify,
    /// As much waits for the connection as should.
    is_behind: AtomicBool,
    /// The connection has caught up.
    progress: Notify,
}

impl Flow {
    /// Wakes the write loop.
    pub(crate) fn wake(&self) {
        self.transmit.notify_one();
    }

    /// Resolves when there may be something to transmit.
    pub(crate) async fn transmit(&self) {
        self.transmit.notified().await;
    }

    /// As much waits for the connection as should.
    pub(crate) fn fall_behind(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// The connection has caught up, or is gone.
    pub(crate) fn caught_up(&self) {
        if self.is_behind.load(Ordering::Acquire) {
            self.is_behind.store(false, Ordering::Release);
            self.progress.notify_waiters();
        }
    }

    /// Resolves when the connection has caught up with those who send, or is gone.
    pub(crate) async fn progress(&self) {
        let progress = self.progress.notified();
        if self.is_behind.load(Ordering::Acquire) {
            progress.await;
        }
    }
}
