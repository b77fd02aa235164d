//! Commits batches, on a connection of its own.

use super::commit::{self, Known};
use super::connection::Connection;
use crate::stores::server::group;
use crate::stores::{Batch, Committed, Fence, StoreError};
use std::sync::Arc;

pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) known: Arc<Known>,
}

impl group::Writer for Writer {
    fn weight(batch: &Batch) -> usize {
        commit::size(batch)
    }

    /// In bytes: the server does nothing else meanwhile.
    const LIMIT: usize = 4 * 1024 * 1024;

    async fn commit(&mut self, fence: &Fence, batches: &[&Batch]) -> Result<Vec<Committed>, StoreError> {
        let call = commit::call(fence, batches, &self.known);
        let answer = self.connection.write(&call).await.map_err(|failure| failure.error)?;
        commit::committed(answer, batches.len()).map_err(|failure| failure.error)
    }
}
