//! Appending and trimming batches in the SQLite store, beside the rate at which bare rusqlite inserts the same rows.
//!
//! The raw limit has the same table, index, pragmas and rows per statement, with rows encoded beforehand and no thread in
//! between: what SQLite itself can do here. Run with `cargo bench --bench store`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use liner::stores::{Batch, Directory as _, Fence, Journal as _, LaneKey, Outbox as _, Stored, Write};
use liner::{Headers, Incarnation, LaneName, Message, NodeId, Payload, Seq, Topic};
use rusqlite::{Connection, params_from_iter, types::Value};
use std::time::{Duration, Instant};

/// Messages in a batch: what a busy sender's mailbox holds.
const BATCH: u64 = 512;

/// Rows of one INSERT, as the store uses.
const ROWS: u64 = 32;

/// Bytes of a stored row beside the payload.
const OVERHEAD: usize = 29;

const INCARNATION: Incarnation = Incarnation::new(1);

const CASES: [(usize, bool); 4] = [(100, false), (100, true), (1024, false), (1024, true)];

fn label((size, synced): (usize, bool)) -> String {
    format!("{size} B {}", if synced { "FULL" } else { "NORMAL" })
}

/// The store with one lane, and the last number on it.
struct Lane {
    _dir: tempfile::TempDir,
    store: SqliteStore,
    fence: Fence,
    key: LaneKey,
    last: u64,
}

impl Lane {
    fn open() -> Lane {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = SqliteStore::open(&dir.path().join("mesh.sqlite"), SqliteOptions::default()).expect("opens");
        let node = |name| NodeId::new(name).expect("valid");
        let topic = |name| Topic::new(name).expect("valid");
        let name = LaneName { sender: node("a"), source: topic("s"), receiver: node("b"), topic: topic("t") };
        let epoch = block_on(store.register(&name.sender)).expect("registers").epoch;
        let fence = Fence { node: name.sender.clone(), epoch };
        let key = block_on(store.open_lane(&fence, &name, INCARNATION)).expect("opens the lane").key;
        Lane { _dir: dir, store, fence, key, last: 0 }
    }

    fn commit(&self, write: Write, synced: bool) -> Duration {
        let batch = Batch { writes: vec![write], synced };
        let start = Instant::now();
        block_on(self.store.commit(&self.fence, batch)).expect("commits");
        start.elapsed()
    }

    /// How long appending the next batch and trimming it again took.
    fn append_and_trim(&mut self, payload: &Payload, synced: bool) -> (Duration, Duration) {
        let message = Message { headers: Headers::EMPTY, payload: payload.clone() };
        let stored =
            |n| Stored { seq: Seq::new(n), incarnation: INCARNATION, accepted_ms: n, message: message.clone() };
        let messages = (self.last + 1..=self.last + BATCH).map(stored).collect();
        self.last += BATCH;
        let appended = self.commit(Write::Append { lane: self.key, messages }, synced);
        let trimmed = self.commit(Write::Trim { lane: self.key, through: Seq::new(self.last) }, synced);
        (appended, trimmed)
    }
}

/// Bare SQLite with the table that counts.
struct Raw {
    _dir: tempfile::TempDir,
    db: Connection,
    insert: String,
    last: u64,
}

impl Raw {
    fn open(synced: bool) -> Raw {
        let dir = tempfile::tempdir().expect("temporary directory");
        let db = Connection::open(dir.path().join("raw.sqlite")).expect("opens");
        let level = if synced { "full" } else { "normal" };
        db.execute_batch(&format!(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = {level}; PRAGMA wal_autocheckpoint = 4096;
            CREATE TABLE messages (id INTEGER PRIMARY KEY, lane INTEGER NOT NULL, payload BLOB NOT NULL, number INTEGER);
            CREATE UNIQUE INDEX message_number ON messages (lane, number);"
        ))
        .expect("makes the table");
        let values = vec!["(1, ?, ?)"; ROWS as usize].join(", ");
        Raw { _dir: dir, db, insert: format!("INSERT INTO messages (lane, payload, number) VALUES {values}"), last: 0 }
    }

    /// How long inserting a batch took; it is deleted again outside the measurement.
    fn insert(&mut self, row: &[u8]) -> Duration {
        let values = |n: u64| [Value::Blob(row.to_vec()), Value::Integer(n.cast_signed())];
        let all: Vec<Value> = (self.last + 1..=self.last + BATCH).flat_map(values).collect();
        self.last += BATCH;
        let start = Instant::now();
        self.db.execute_batch("BEGIN IMMEDIATE").expect("begins");
        {
            let mut statement = self.db.prepare_cached(&self.insert).expect("prepares");
            for chunk in all.chunks(2 * ROWS as usize) {
                statement.execute(params_from_iter(chunk)).expect("inserts");
            }
        }
        self.db.execute_batch("COMMIT").expect("commits");
        let elapsed = start.elapsed();
        self.db.execute_batch("DELETE FROM messages").expect("deletes");
        elapsed
    }
}

fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(BATCH)).warm_up_time(Duration::from_secs(1));
    group.measurement_time(Duration::from_secs(4)).sample_size(30);
    for case @ (size, synced) in CASES {
        let payload = Payload::new(vec![0x5a; size]).expect("not empty");
        let row = vec![0x5a; size + OVERHEAD];
        let mut raw = Raw::open(synced);
        group.bench_function(BenchmarkId::new("raw insert", label(case)), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| raw.insert(&row)).sum());
        });
        let mut lane = Lane::open();
        group.bench_function(BenchmarkId::new("append", label(case)), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| lane.append_and_trim(&payload, synced).0).sum());
        });
        group.bench_function(BenchmarkId::new("trim", label(case)), |bencher| {
            bencher.iter_custom(|times| (0..times).map(|_| lane.append_and_trim(&payload, synced).1).sum());
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default();
    targets = batches
}
criterion_main!(benches);
