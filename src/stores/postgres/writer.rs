//! Commits batches, on a connection of its own. After a lost connection a commit is simply repeated for a while: batches are
//! idempotent.

use super::error::{Failure, Outcome, overdue};
use super::session::{Connector, DbSession, unreachable};
use super::{OPERATION, PATIENCE, journal};
use crate::stores::server::commit_queue::CommitRequest;
use crate::stores::shared::group::{GroupWriter, Weight};
use crate::stores::{Batch, Committed, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Between two attempts, doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    connector: Arc<Connector>,
    session: Option<DbSession>,
}

impl Writer {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Writer { connector, session: None }
    }

    async fn attempt(&mut self, group: &[CommitRequest]) -> Outcome<Vec<Committed>> {
        let session = match self.session.take().filter(|session| !session.is_broken()) {
            Some(session) => session,
            None => self.connect().await?,
        };
        let batches: Vec<&Batch> = group.iter().map(|request| &request.batch).collect();
        let committed = match timeout(OPERATION, journal::commit(&session, &group[0].fence, &batches)).await {
            Ok(committed) => committed,
            Err(_) => Err(overdue()),
        };
        self.session = Some(session).filter(|session| !session.is_broken());
        committed
    }

    async fn connect(&self) -> Outcome<DbSession> {
        let session = self.connector.connect().await.map_err(|error| unreachable(&error))?;
        match timeout(OPERATION, journal::prepare(&session)).await {
            Ok(prepared) => prepared?,
            Err(_) => {
                return Err(Failure {
                    error: StoreError::Unavailable("no reply from the server".into()),
                    again: false,
                });
            }
        }
        Ok(session)
    }
}

impl GroupWriter for Writer {
    type Operation = CommitRequest;

    /// Twice what one statement takes.
    const LIMIT: Weight = Weight { rows: 16_384, bytes: 32 * 1024 * 1024 };

    /// Repeats the transaction while the connection is what fails.
    async fn transact(&mut self, group: &mut [CommitRequest]) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        let mut unknown: Option<StoreError> = None;
        loop {
            let failure = match self.attempt(group).await {
                Ok(committed) => {
                    for (request, committed) in group.iter_mut().zip(committed) {
                        request.committed = committed;
                    }
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if !failure.error.is_definite() {
                unknown = Some(failure.error.clone());
            }
            if !failure.again || Instant::now() + pause > deadline {
                // What an earlier attempt may have done, a refusal of this one does not undo.
                return Err(Failure { error: unknown.unwrap_or(failure.error), ..failure });
            }
            tracing::debug!(error = %failure.error, "a commit is repeated");
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }
}
