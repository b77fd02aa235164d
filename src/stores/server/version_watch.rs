//! The catalogue's version, as a server notifies of it: each call of `changed` resolves once for a change.

use crate::stores::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The version, and how far this handle has seen it.
pub(crate) struct VersionWatch {
    version: watch::Sender<u64>,
    seen: AtomicU64,
}

impl VersionWatch {
    /// Starts at a version: what came before it is no change.
    pub(crate) fn new(version: u64) -> Self {
        VersionWatch { version: watch::Sender::new(version), seen: AtomicU64::new(version) }
    }

    /// Returns the sending end, for the task that watches the server.
    pub(crate) fn sender(&self) -> watch::Sender<u64> {
        self.version.clone()
    }

    /// Resolves when the version differs from the one seen last.
    pub(crate) async fn changed(&self) -> Result<(), StoreError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let mut versions = self.version.subscribe();
        let gone = |_| StoreError::Unavailable("the store's thread has ended".into());
        let version = *versions.wait_for(|version| *version != seen).await.map_err(gone)?;
        // Here and not in the watcher, so that a future dropped before this line has seen nothing.
        self.seen.store(version, Ordering::Relaxed);
        Ok(())
    }
}

/// Publishes a version that was read from the server.
pub(crate) fn publish(sender: &watch::Sender<u64>, version: u64) {
    sender.send_if_modified(|published| std::mem::replace(published, version) != version);
}
