//! The store in an SQLite file, which any number of processes may share.
//!
//! ```text
//!               ┌─ writer thread ── BEGIN IMMEDIATE … COMMIT for all that waits ──┐
//! SqliteStore ──┼─ reader thread ── loads, counts, look-ups ──────────────────────┼──▶ file (WAL)
//!               └─ watcher thread ─ polls while somebody waits in `changed` ──────┘
//! ```
//!
//! Each thread has a connection of its own, so reads do not wait for writes nor writes for reads. The SQL lives in the
//! modules named after the traits; this file only brings operations to their thread. The tables are described in
//! `docs/stores.md` and made by `schema/sqlite_001.sql`.

mod adopt;
mod connections;
mod dead_letters;
mod directory;
mod error;
mod inbox;
mod journal;
mod lanes;
mod options;
mod outbox;
mod schema;
mod thread;
mod watcher;
mod worker;
mod writer;

pub use options::SqliteOptions;

use crate::stores::shared::group::Weight;
use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};
use error::{Outcome, open_error};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use watcher::Watcher;
use worker::{Demand, Worker};
use writer::Writer;

/// The largest row SQLite takes (its `SQLITE_MAX_LENGTH`), less room for the other fields of a row.
const MAX_MESSAGE: usize = 1_000_000_000 - 1024;

/// A handle on an SQLite file. Dropping it lets its threads finish what is queued and end on their own;
/// [`Directory::end`] and [`SqliteStore::close`] wait for them.
pub struct SqliteStore {
    file: PathBuf,
    options: SqliteOptions,
    facts: StoreFacts,
    writer: Worker,
    reader: Worker,
    watcher: Mutex<Watching>,
    /// The catalogue version the last resolved `changed` saw.
    seen: AtomicI64,
}

enum Watching {
    /// The first call of `changed` starts it.
    NotYet,
    Started(Arc<Watcher>),
    /// The handle has ended.
    Ended,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("file", &self.file).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens or creates the file, and brings it to the current schema. Blocks for as long as that takes.
    ///
    /// The path is a path, whatever it starts with. A database made by liner_broker is adopted.
    ///
    /// # Errors
    /// [`OpenError`]: the file is left as it was.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        let file = connections::file(path)?;
        let failed = |error| open_error(&file, error);
        let mut db = connections::writer(&file, &options)?;
        let id = schema::prepare(&mut db, &file, options.busy_timeout)?;
        connections::start_retrying(&db).map_err(failed)?;
        let facts = StoreFacts {
            id,
            description: format!("sqlite {}", file.display()),
            durability: durability(&db).map_err(failed)?,
            max_message: MAX_MESSAGE,
        };
        let seen = directory::version(&db).map_err(|failure| failure.error)?;
        let reading = connections::reader(&file, &options)?;
        let writing = Writer::new(db, options.busy_timeout);
        let started = |worker: std::io::Result<Worker>| worker.map_err(|error| OpenError::Store(no_thread(&error)));
        let writer = started(Worker::start("liner-write", move |queue| writing.serve(&queue)))?;
        let reader = started(Worker::start("liner-read", move |queue| worker::serve_reads(&reading, queue)))?;
        let (watcher, seen) = (Mutex::new(Watching::NotYet), AtomicI64::new(seen));
        Ok(SqliteStore { file, options, facts, writer, reader, watcher, seen })
    }

    /// Finishes what is queued and closes the file. Blocks until that is done.
    pub fn close(self) {
        if let Watching::Started(watcher) = self.watcher.into_inner()
            && let Some(watcher) = Arc::into_inner(watcher)
        {
            watcher.close();
        }
        self.reader.close();
        self.writer.close();
    }

    fn read<T: Send + 'static>(
        &self,
        operation: impl Fn(&Connection) -> Outcome<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        Box::pin(self.reader.run(Demand::OTHER, operation))
    }

    /// A write of `fence.node`, refused when it is fenced.
    fn write<T: Send + 'static>(
        &self,
        fence: &Fence,
        operation: impl Fn(&Connection, &Fence) -> Outcome<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        self.write_with(fence, Demand::OTHER, operation)
    }

    fn write_with<T: Send + 'static>(
        &self,
        fence: &Fence,
        demand: Demand,
        operation: impl Fn(&Connection, &Fence) -> Outcome<T> + Send + 'static,
    ) -> StoreFuture<'_, T> {
        let fence = fence.clone();
        Box::pin(self.writer.run(demand, move |db| {
            directory::check(db, &fence)?;
            operation(db, &fence)
        }))
    }

    /// What a lane has queued, counted in steps between which other reads get their turn.
    async fn amount(&self, lane: LaneKey) -> Result<Amount, StoreError> {
        let mut total = Amount::default();
        let mut after = Some(Seq::ZERO);
        while let Some(from) = after {
            let (part, next) = self.read(move |db| outbox::count(db, lane, from)).await?;
            total += part;
            after = next;
        }
        Ok(total)
    }

    fn watcher(&self) -> Result<Arc<Watcher>, StoreError> {
        // Kept, so that a handle that ends meets a watcher that is started or none.
        let mut watching = self.watcher.lock();
        match &*watching {
            Watching::Started(watcher) => return Ok(watcher.clone()),
            Watching::Ended => return Err(StoreError::Unavailable("store has ended".into())),
            Watching::NotYet => {}
        }
        let db = connections::reader(&self.file, &self.options);
        let db = db.map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let watcher = Arc::new(Watcher::start(db).map_err(|error| no_thread(&error))?);
        *watching = Watching::Started(watcher.clone());
        Ok(watcher)
    }
}

fn no_thread(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot start a thread: {error}").into())
}

/// As the connection reports it, not as it was asked for.
fn durability(db: &Connection) -> rusqlite::Result<String> {
    let journal: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let level = |level: i64| match level {
        0 => "off".to_owned(),
        1 => "normal".to_owned(),
        2 => "full".to_owned(),
        3 => "extra".to_owned(),
        other => other.to_string(),
    };
    let synchronous = level(db.pragma_query_value(None, "synchronous", |row| row.get(0))?);
    Ok(format!("journal_mode={journal} synchronous={synchronous}, full for synced batches"))
}

impl Journal for SqliteStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        let demand = Demand { synced: batch.synced, weight: Weight::of(&batch) };
        self.write_with(fence, demand, move |db, fence| journal::commit(db, &fence.node, &batch))
    }
}

impl Outbox for SqliteStore {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        let node = fence.node.clone();
        Box::pin(async move {
            let mut adopted = Adopted::default();
            for key in self.read(move |db| adopt::keys(db, &node)).await? {
                adopted += self.write(fence, move |db, fence| adopt::adopt(db, &fence.node, key)).await?;
            }
            Ok(adopted)
        })
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        let sender = sender.clone();
        self.read(move |db| outbox::lanes(db, &sender))
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        let name = lane.clone();
        let opening = self.write(fence, move |db, _| outbox::open(db, &name, incarnation));
        Box::pin(async move {
            let mut opened = opening.await?;
            // Counting reads the whole queue, which must not keep others from writing.
            opened.pending = self.amount(opened.key).await?;
            Ok(opened)
        })
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.read(move |db| outbox::load(db, lane, after, limit))
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        let sender = sender.clone();
        Box::pin(async move {
            let mut pending = Vec::new();
            for (key, lane) in self.read(move |db| outbox::opened(db, &sender)).await? {
                let amount = self.amount(key).await?;
                if amount.messages > 0 {
                    let oldest_ms = self.read(move |db| outbox::oldest_ms(db, key)).await?;
                    pending.push(PendingLane { lane, amount, oldest_ms });
                }
            }
            Ok(pending)
        })
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.write(fence, |db, fence| outbox::clear(db, &fence.node))
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        let lane = lane.clone();
        self.write(fence, move |db, fence| outbox::forget(db, &fence.node, &lane))
    }
}

impl Inbox for SqliteStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        let lane = lane.clone();
        self.write(fence, move |db, _| inbox::receive(db, &lane))
    }
}

impl DeadLetters for SqliteStore {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        let (node, filter) = (node.clone(), filter.clone());
        self.read(move |db| dead_letters::list(db, &node, &filter, after, limit))
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        let filter = filter.clone();
        self.write(fence, move |db, fence| dead_letters::purge(db, &fence.node, &filter))
    }
}

impl Directory for SqliteStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        Box::pin(std::future::ready(Ok(self.facts.clone())))
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        let node = node.clone();
        Box::pin(self.writer.run(Demand::OTHER, move |db| directory::register(db, &node)))
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        Box::pin(self.writer.run(Demand::OTHER, {
            let fence = fence.clone();
            move |db| directory::apply(db, &fence, &change)
        }))
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        Box::pin(async move {
            let mut entries = Vec::with_capacity(topics.len());
            // One after the other: other reads get their turn between them.
            for topic in topics {
                let topic = topic.clone();
                entries.push(self.read(move |db| directory::topic(db, &topic)).await?);
            }
            Ok(entries)
        })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let version = self.watcher()?.changed(self.seen.load(Ordering::Relaxed)).await?;
            // Here and not in the watcher, so that a future dropped before this line has seen nothing.
            self.seen.store(version, Ordering::Relaxed);
            Ok(())
        })
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let watching = std::mem::replace(&mut *self.watcher.lock(), Watching::Ended);
            if let Watching::Started(watcher) = watching {
                watcher.end().await;
            }
            // One after the other: of two connections that close at once, neither finds itself the last, and it is the last
            // that brings the log home and removes it.
            self.reader.end().await;
            self.writer.end().await;
        })
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        let node = node.clone();
        self.read(move |db| directory::peers(db, &node))
    }
}
