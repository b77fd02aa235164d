//! The catalogue's version, as a server tells it: whoever waits for a change sees each once.

use crate::stores::StoreError;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The version, and how far it was seen on this handle.
pub(crate) struct Told {
    version: watch::Sender<u64>,
    seen: AtomicU64,
}

impl Told {
    /// What happened before this version is not news.
    pub(crate) fn new(version: u64) -> Self {
        Told { version: watch::Sender::new(version), seen: AtomicU64::new(version) }
    }

    /// For the task that watches the server.
    pub(crate) fn teller(&self) -> watch::Sender<u64> {
        self.version.clone()
    }

    /// Resolves when the version is another than the last time.
    pub(crate) async fn changed(&self) -> Result<(), StoreError> {
        let seen = self.seen.load(Ordering::Relaxed);
        let mut told = self.version.subscribe();
        let gone = |_| StoreError::Unavailable("the store's thread has ended".into());
        let version = *told.wait_for(|version| *version != seen).await.map_err(gone)?;
        // Here and not in the watcher, so that a future dropped before this line has seen nothing.
        self.seen.store(version, Ordering::Relaxed);
        Ok(())
    }
}

/// Notes a version that was read.
pub(crate) fn tell(teller: &watch::Sender<u64>, version: u64) {
    teller.send_if_modified(|told| std::mem::replace(told, version) != version);
}
