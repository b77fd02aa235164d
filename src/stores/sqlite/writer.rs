//! The writer: the only connection of a handle that changes anything.
//!
//! What waits in the queue is run in one transaction, so that one commit (and one fsync) pays for all. When one of the
//! operations fails, the transaction is rolled back and each is run alone, so that it fails nobody else.

use super::error::{Failure, commit_error};
use super::worker::Job;
use crate::stores::StoreError;
use rusqlite::Connection;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Operations in one transaction: enough to share an fsync, few enough to keep the first from waiting long.
const GROUP: usize = 64;

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

type Jobs = [Box<dyn Job>];

impl Writer {
    /// Takes a connection with `synchronous` at NORMAL.
    pub(super) fn new(db: Connection, patience: Duration) -> Self {
        let jitter = getrandom::u64().unwrap_or(1).max(1);
        Writer { db, patience, full: false, jitter }
    }

    pub(super) fn serve(mut self, queue: &Receiver<Box<dyn Job>>) {
        let mut dirty = false;
        loop {
            let first =
                if dirty { queue.recv_timeout(IDLE) } else { queue.recv().map_err(|_| RecvTimeoutError::Disconnected) };
            match first {
                Ok(job) => {
                    let more = queue.try_iter().take(GROUP - 1);
                    self.run(std::iter::once(job).chain(more).collect());
                    dirty = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint();
                    dirty = false;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if dirty {
            // The last connection to a file does it in closing; where two close at once, neither is the last.
            self.checkpoint();
        }
    }

    fn run(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        let together = self.transact(&mut jobs);
        let alone = match &together {
            Ok(()) | Err(StoreError::Busy | StoreError::Indeterminate(_)) => false,
            Err(_) => jobs.len() > 1,
        };
        for mut job in jobs {
            let result = if alone { self.transact(std::slice::from_mut(&mut job)) } else { together.clone() };
            job.answer(result.err());
        }
    }

    /// Runs the jobs in one transaction, again while another writer is in the way.
    fn transact(&mut self, jobs: &mut Jobs) -> Result<(), StoreError> {
        let deadline = Instant::now() + self.patience;
        loop {
            let result = self.attempt(jobs);
            if !matches!(result, Err(StoreError::Busy)) || Instant::now() >= deadline {
                return result;
            }
            std::thread::sleep(self.pause());
        }
    }

    fn attempt(&mut self, jobs: &mut Jobs) -> Result<(), StoreError> {
        self.set_full(jobs.iter().any(|job| job.synced()))?;
        self.execute("BEGIN IMMEDIATE").map_err(|error| Failure::from(error).0)?;
        for job in jobs {
            if let Err(error) = job.run(&self.db) {
                self.roll_back();
                return Err(error);
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

    fn set_full(&mut self, full: bool) -> Result<(), StoreError> {
        if self.full != full {
            let level = if full { "full" } else { "normal" };
            self.db.pragma_update(None, "synchronous", level).map_err(|error| Failure::from(error).0)?;
            self.full = full;
        }
        Ok(())
    }

    fn checkpoint(&self) {
        // Answers whether readers were in the way; then the next idle moment does it.
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
    use super::*;
    use std::sync::mpsc;

    /// Notes the setting of `PRAGMA synchronous` it ran under, and fails if told to.
    struct Probe {
        synced: bool,
        failure: Option<StoreError>,
        ran_under: Vec<i64>,
        report: mpsc::Sender<(Vec<i64>, Option<StoreError>)>,
    }

    impl Job for Probe {
        fn run(&mut self, db: &Connection) -> Result<(), StoreError> {
            let level = db.pragma_query_value(None, "synchronous", |row| row.get(0));
            self.ran_under.push(level.map_err(|error| Failure::from(error).0)?);
            db.execute_batch("INSERT INTO t VALUES (1)").map_err(|error| Failure::from(error).0)?;
            self.failure.clone().map_or(Ok(()), Err)
        }

        fn synced(&self) -> bool {
            self.synced
        }

        fn answer(self: Box<Self>, failure: Option<StoreError>) {
            self.report.send((self.ran_under, failure)).expect("the test waits");
        }
    }

    fn writer(dir: &tempfile::TempDir) -> Writer {
        let db = Connection::open(dir.path().join("t.sqlite")).expect("opens");
        db.execute_batch("PRAGMA journal_mode = wal; PRAGMA synchronous = normal; CREATE TABLE t (v)").expect("runs");
        Writer::new(db, Duration::from_secs(5))
    }

    /// For each job (synced, fails): the levels it ran under, and whether it failed.
    fn run(writer: &mut Writer, jobs: &[(bool, bool)]) -> Vec<(Vec<i64>, bool)> {
        let (report, reports) = mpsc::channel();
        let probe = |&(synced, fails): &(bool, bool)| -> Box<dyn Job> {
            let failure = fails.then_some(StoreError::Fenced);
            Box::new(Probe { synced, failure, ran_under: Vec::new(), report: report.clone() })
        };
        writer.run(jobs.iter().map(probe).collect());
        reports.try_iter().map(|(levels, failure)| (levels, failure.is_some())).collect()
    }

    const NORMAL: i64 = 1;
    const FULL: i64 = 2;

    #[test]
    fn a_transaction_is_synced_when_one_of_its_operations_asks_for_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut writer = writer(&dir);
        assert_eq!(run(&mut writer, &[(false, false)]), [(vec![NORMAL], false)]);
        assert_eq!(run(&mut writer, &[(false, false), (true, false)]), [(vec![FULL], false), (vec![FULL], false)]);
        assert_eq!(run(&mut writer, &[(false, false)]), [(vec![NORMAL], false)]);
    }

    #[test]
    fn an_operation_that_fails_is_separated_from_the_others() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut writer = writer(&dir);
        let ran = run(&mut writer, &[(false, false), (true, true), (true, false)]);
        assert_eq!(ran, [(vec![FULL, NORMAL], false), (vec![FULL, FULL], true), (vec![FULL], false)]);
        let rows: i64 = writer.db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).expect("counts");
        assert_eq!(rows, 2);
    }

    #[test]
    fn a_checkpoint_empties_the_log() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut writer = writer(&dir);
        run(&mut writer, &[(false, false)]);
        let log = || std::fs::metadata(dir.path().join("t.sqlite-wal")).expect("is there").len();
        assert_ne!(log(), 0);
        writer.checkpoint();
        assert_eq!(log(), 0);
    }
}
