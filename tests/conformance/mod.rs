//! The suite's harness: media, and short words for what the behaviours talk about.

pub(crate) mod dead_letters;
pub(crate) mod directory;
pub(crate) mod inbox;
pub(crate) mod journal;
pub(crate) mod outbox;

use liner::stores::memory::MemoryStore;
#[cfg(feature = "postgres")]
use liner::stores::postgres::PostgresStore;
#[cfg(feature = "redis")]
use liner::stores::redis::RedisStore;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use liner::stores::*;
use liner::{Cursor, Headers, Incarnation, LaneName, Message, NodeId, Payload, Seq, Topic};
#[cfg(feature = "postgres")]
use liner_test_servers::postgres;
#[cfg(feature = "redis")]
use liner_test_servers::redis;
use std::sync::Arc;

/// Where a store keeps its data. Dropping all handles and opening another is a crash and a restart; two handles are two
/// processes.
pub(crate) trait Medium {
    /// An empty medium of its own.
    fn fresh() -> Self
    where
        Self: Sized;

    /// Another handle on it.
    fn open(&self) -> SharedStore;
}

pub(crate) struct MemoryMedium(MemoryStore);

impl Medium for MemoryMedium {
    fn fresh() -> Self {
        MemoryMedium(MemoryStore::new())
    }

    fn open(&self) -> SharedStore {
        Arc::new(self.0.clone())
    }
}

pub(crate) struct SqliteMedium(tempfile::TempDir);

impl Medium for SqliteMedium {
    fn fresh() -> Self {
        SqliteMedium(tempfile::tempdir().expect("temporary directory"))
    }

    fn open(&self) -> SharedStore {
        let path = self.0.path().join("mesh.sqlite");
        Arc::new(SqliteStore::open(&path, SqliteOptions::default()).expect("opens"))
    }
}

#[cfg(feature = "postgres")]
pub(crate) struct PostgresMedium(pub(crate) postgres::Database);

#[cfg(feature = "postgres")]
impl Medium for PostgresMedium {
    fn fresh() -> Self {
        PostgresMedium(postgres::Database::new())
    }

    fn open(&self) -> SharedStore {
        Arc::new(PostgresStore::open(&self.0.url.as_str().into()).expect("opens"))
    }
}

#[cfg(feature = "redis")]
pub(crate) struct RedisMedium(pub(crate) redis::Database);

#[cfg(feature = "redis")]
impl Medium for RedisMedium {
    fn fresh() -> Self {
        RedisMedium(redis::Database::new())
    }

    fn open(&self) -> SharedStore {
        Arc::new(RedisStore::open(&self.0.url.as_str().into()).expect("opens"))
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("valid name")
}

pub(crate) fn topic(name: &str) -> Topic {
    Topic::new(name).expect("valid name")
}

/// The lane from node `a`, whose topic is `a-topic`, to node `b` on `topic`.
pub(crate) fn lane_on(name: &str) -> LaneName {
    LaneName { sender: node("a"), source: topic("a-topic"), receiver: node("b"), topic: topic(name) }
}

pub(crate) fn lane() -> LaneName {
    lane_on("b-topic")
}

pub(crate) const fn inc(n: u64) -> Incarnation {
    // Top bit set: incarnations are random, and half of them are.
    Incarnation::new(0x8000_0000_0000_0000 | n)
}

pub(crate) fn message(text: &str) -> Message {
    Message { headers: Headers::EMPTY, payload: Payload::new(text.as_bytes().to_vec()).expect("not empty") }
}

/// Message `n` of incarnation `incarnation`, whose text is its number.
pub(crate) fn stored(incarnation: u64, n: u64) -> Stored {
    Stored { seq: Seq::new(n), incarnation: inc(incarnation), accepted_ms: 1_000 + n, message: message(&n.to_string()) }
}

pub(crate) fn append(lane: LaneKey, incarnation: u64, numbers: impl IntoIterator<Item = u64>) -> Write {
    Write::Append { lane, messages: numbers.into_iter().map(|n| stored(incarnation, n)).collect() }
}

pub(crate) fn trim(lane: LaneKey, through: u64) -> Write {
    Write::Trim { lane, through: Seq::new(through) }
}

pub(crate) fn cursor(incarnation: u64, n: u64) -> Cursor {
    Cursor { incarnation: inc(incarnation), seq: Seq::new(n) }
}

pub(crate) fn advance(lane: LaneKey, expected: Option<u64>, to: Cursor) -> Write {
    Write::Advance { lane, expected: expected.map(inc), cursor: to }
}

pub(crate) fn batch(writes: impl Into<Vec<Write>>) -> Batch {
    Batch { writes: writes.into(), synced: false }
}

pub(crate) const ALL: PageLimit = PageLimit { messages: usize::MAX, bytes: usize::MAX };

/// A node that has started on a handle.
pub(crate) struct Process {
    pub(crate) store: SharedStore,
    pub(crate) fence: Fence,
}

impl Process {
    pub(crate) async fn start(store: SharedStore, name: &str) -> Process {
        let node = node(name);
        let epoch = store.register(&node).await.expect("registers").epoch;
        Process { store, fence: Fence { node, epoch } }
    }

    pub(crate) async fn commit(&self, writes: impl Into<Vec<Write>>) -> Committed {
        self.store.commit(&self.fence, batch(writes)).await.expect("commits")
    }

    pub(crate) async fn open(&self, lane: &LaneName, incarnation: u64) -> OutboxLane {
        self.store.open_lane(&self.fence, lane, inc(incarnation)).await.expect("opens the lane")
    }

    pub(crate) async fn receive(&self, lane: &LaneName) -> InboxLane {
        self.store.receive_lane(&self.fence, lane).await.expect("finds the lane")
    }

    /// The numbers queued on a lane.
    pub(crate) async fn queued(&self, lane: LaneKey) -> Vec<u64> {
        let page = self.store.load(lane, Seq::ZERO, ALL).await.expect("loads");
        assert!(page.end, "a page without a limit is the last");
        page.messages.iter().map(|stored| stored.seq.get()).collect()
    }
}

/// Node `a` on a fresh handle, with its lane to `b` opened as incarnation 1.
pub(crate) async fn sender(medium: &dyn Medium) -> (Process, LaneKey) {
    let process = Process::start(medium.open(), "a").await;
    let key = process.open(&lane(), 1).await.key;
    (process, key)
}

/// Node `b` on a fresh handle, with the lane from `a`.
pub(crate) async fn receiver(medium: &dyn Medium) -> (Process, LaneKey) {
    let process = Process::start(medium.open(), "b").await;
    let key = process.receive(&lane()).await.key;
    (process, key)
}
