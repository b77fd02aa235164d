//! The writer: the only connection of a handle that changes anything, and the group commit on it.

use super::error::{Failure, Outcome, commit_error};
use super::worker::Job;
use crate::stores::StoreError;
use crate::stores::shared::group::{GroupCommit, GroupWriter, Operation, Weight};
use futures::executor::block_on;
use rusqlite::Connection;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Without work for so long, the log is written back into the database, so that it neither grows nor has to be read when
/// the file is opened next.
const IDLE: Duration = Duration::from_secs(1);

/// How long one attempt waits inside SQLite for another writer; retries between attempts are jittered, which SQLite's own
/// waiting is not.
pub(super) const ATTEMPT: Duration = Duration::from_millis(20);

pub(super) struct Writer {
    db: Connection,
    /// How long to wait for other writers before [`StoreError::Busy`].
    patience: Duration,
    /// The setting of `PRAGMA synchronous`, switched only when it changes.
    full: bool,
    /// State of the jitter; any number but zero.
    jitter: u64,
}

impl Operation for Box<dyn Job> {
    fn weight(&self) -> Weight {
        self.demand().weight
    }

    fn finish(self, result: Result<(), StoreError>) {
        Job::finish(self, result);
    }
}

impl GroupWriter for Writer {
    type Operation = Box<dyn Job>;

    /// A fifth of a second at most, which the first of a group waits for the last.
    const LIMIT: Weight = Weight { rows: 16_384, bytes: 32 * 1024 * 1024 };

    /// Repeats the transaction while another writer is in the way.
    async fn transact(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let deadline = Instant::now() + self.patience;
        loop {
            let result = self.attempt(group);
            let busy = result.as_ref().is_err_and(|failure| matches!(failure.error, StoreError::Busy));
            if !busy || Instant::now() >= deadline {
                return result;
            }
            std::thread::sleep(self.pause());
        }
    }
}

impl Writer {
    /// Takes a connection with `synchronous` at NORMAL.
    pub(super) fn new(db: Connection, patience: Duration) -> Self {
        let jitter = getrandom::u64().unwrap_or(1).max(1);
        Writer { db, patience, full: false, jitter }
    }

    pub(super) fn serve(self, queue: &Receiver<Box<dyn Job>>) {
        let mut groups = GroupCommit::new(self);
        let mut dirty = false;
        loop {
            let first = match groups.next() {
                Some(job) => Ok(job),
                None if dirty => queue.recv_timeout(IDLE),
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match first {
                Ok(job) => {
                    block_on(groups.commit(job, || queue.try_recv().ok()));
                    dirty = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    groups.writer.checkpoint();
                    dirty = false;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if dirty {
            // The last connection to a file does it in closing; where two close at once, neither is the last.
            groups.writer.checkpoint();
        }
    }

    fn attempt(&mut self, group: &mut [Box<dyn Job>]) -> Outcome<()> {
        self.set_full(group.iter().any(|job| job.demand().synced))?;
        self.execute("BEGIN IMMEDIATE")?;
        for job in group {
            if let Err(failure) = job.run(&self.db) {
                self.roll_back();
                return Err(failure);
            }
        }
        self.execute("COMMIT").map_err(|error| {
            self.roll_back();
            commit_error(error)
        })
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// After some errors SQLite has rolled back already.
    fn roll_back(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
    }

    fn set_full(&mut self, full: bool) -> Outcome<()> {
        if self.full != full {
            let level = if full { "full" } else { "normal" };
            self.db.pragma_update(None, "synchronous", level)?;
            self.full = full;
        }
        Ok(())
    }

    fn checkpoint(&self) {
        // Returns whether readers were in the way; then the next idle moment does it.
        let done = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        if let Err(error) = done {
            tracing::debug!(%error, "checkpoint failed");
        }
    }

    /// 1 to 16 ms, from an xorshift generator: processes that wait for each other must not stay in step.
    fn pause(&mut self) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        Duration::from_millis(1 + self.jitter % 16)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::Demand;
    use super::*;
    use std::sync::mpsc;

    /// Notes the setting of `PRAGMA synchronous` it ran under, and may be made to fail.
    struct Probe {
        synced: bool,
        failure: Option<StoreError>,
        ran_under: Vec<i64>,
        report: mpsc::Sender<(Vec<i64>, Option<StoreError>)>,
    }

    impl Job for Probe {
        fn run(&mut self, db: &Connection) -> Outcome<()> {
            self.ran_under.push(db.pragma_query_value(None, "synchronous", |row| row.get(0))?);
            db.execute_batch("INSERT INTO t VALUES (1)")?;
            self.failure.clone().map_or(Ok(()), |error| Err(error.into()))
        }

        fn demand(&self) -> Demand {
            Demand { synced: self.synced, ..Demand::OTHER }
        }

        fn finish(self: Box<Self>, result: Result<(), StoreError>) {
            self.report.send((self.ran_under, result.err())).expect("the test waits");
        }
    }

    fn writer(dir: &tempfile::TempDir) -> GroupCommit<Writer> {
        let db = Connection::open(dir.path().join("t.sqlite")).expect("opens");
        db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = normal; CREATE TABLE t (v)").expect("runs");
        GroupCommit::new(Writer::new(db, Duration::from_secs(5)))
    }

    /// Runs jobs that are queued at once. For each (synced, fails): the levels it ran under, and whether it failed.
    fn run(groups: &mut GroupCommit<Writer>, jobs: &[(bool, bool)]) -> Vec<(Vec<i64>, bool)> {
        let (report, reports) = mpsc::channel();
        let probe = |&(synced, fails): &(bool, bool)| -> Box<dyn Job> {
            let failure = fails.then_some(StoreError::Fenced);
            Box::new(Probe { synced, failure, ran_under: Vec::new(), report: report.clone() })
        };
        let mut jobs = jobs.iter().map(probe);
        let first = jobs.next().expect("there is one at least");
        block_on(groups.commit(first, || jobs.next()));
        reports.try_iter().map(|(levels, failure)| (levels, failure.is_some())).collect()
    }

    const NORMAL: i64 = 1;
    const FULL: i64 = 2;

    #[test]
    fn a_transaction_is_synced_when_one_of_its_operations_asks_for_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut groups = writer(&dir);
        assert_eq!(run(&mut groups, &[(false, false)]), [(vec![NORMAL], false)]);
        assert_eq!(run(&mut groups, &[(false, false), (true, false)]), [(vec![FULL], false), (vec![FULL], false)]);
        assert_eq!(run(&mut groups, &[(false, false)]), [(vec![NORMAL], false)]);
    }

    #[test]
    fn an_operation_that_fails_is_separated_from_the_others() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut groups = writer(&dir);
        let ran = run(&mut groups, &[(false, false), (true, true), (true, false)]);
        assert_eq!(ran, [(vec![FULL, NORMAL], false), (vec![FULL, FULL], true), (vec![FULL], false)]);
        let rows: i64 = groups.writer.db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_checkpoint_empties_the_log() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut groups = writer(&dir);
        run(&mut groups, &[(false, false)]);
        let log = || std::fs::metadata(dir.path().join("t.sqlite-wal")).expect("is there").len();
        assert_ne!(log(), 0);
        groups.writer.checkpoint();
        assert_eq!(log(), 0);
    }
}
