//! Commits groups of batches, on a connection of its own.

use super::commit::{self, Known};
use super::connection::RetryingConnection;
use super::error::Failure;
use crate::stores::Batch;
use crate::stores::server::commit_queue::CommitRequest;
use crate::stores::shared::group::{GroupWriter, Weight};
use std::sync::Arc;

pub(super) struct Writer {
    pub(super) connection: RetryingConnection,
    pub(super) known: Arc<Known>,
}

impl GroupWriter for Writer {
    type Operation = CommitRequest;

    /// The server does nothing else while a script runs. A batch is one call, whatever its size: a part of it must not be
    /// committed alone.
    const LIMIT: Weight = Weight { rows: 16_384, bytes: 4 * 1024 * 1024 };

    async fn transact(&mut self, group: &mut [CommitRequest]) -> Result<(), Failure> {
        let batches: Vec<&Batch> = group.iter().map(|request| &request.batch).collect();
        let call = commit::call(&group[0].fence, &batches, &self.known);
        let reply = self.connection.write(&call).await?;
        let committed = commit::committed(reply, group.len())?;
        for (request, committed) in group.iter_mut().zip(committed) {
            request.committed = committed;
        }
        Ok(())
    }
}
