//! The traits: each operation brought to its connection.

use super::error::{Failure, Outcome};
use super::pool::{Attempts, NodeRow};
use super::session::{int8, text, texts};
use super::{OPERATION, PostgresStore, adopt, dead_letters, directory, inbox, lanes, outbox, watcher};
use crate::stores::*;
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};

/// Runs a write in a transaction, again when the connection was lost or two writes were in each other's way. `$fence`
/// says who writes, or `None`; `$db` is the connection in `$operation`.
macro_rules! transact {
    ($store:expr, $fence:expr, |$db:ident| $operation:expr) => {
        transact!($store, $fence, OPERATION, |$db| $operation)
    };
    ($store:expr, $fence:expr, $limit:expr, |$db:ident| $operation:expr) => {{
        let mut attempts = Attempts::default();
        loop {
            let attempt = async {
                let transaction = $store.sessions.begin($fence, $limit).await?;
                let $db = &*transaction;
                match transaction.bounded($operation).await {
                    Ok(done) => transaction.commit().await.map(|()| done),
                    Err(failure) => {
                        if !failure.again {
                            transaction.roll_back().await;
                        }
                        Err(failure)
                    }
                }
            };
            match attempt.await {
                Ok(done) => break Ok::<_, Failure>(done),
                Err(failure) => attempts.again(failure)?,
            }
        }
    }};
}

impl PostgresStore {
    /// Makes a lane that is not there yet.
    async fn make(&self, fence: &Fence, lane: &LaneName) -> Outcome<()> {
        let mut attempts = Attempts::default();
        while self.sessions.read(lanes::FIND, &lanes::params(&lanes::names(lane))).await?.is_empty() {
            match self.sessions.create(fence, lane).await {
                Ok(()) => break,
                Err(failure) => attempts.again(failure)?,
            }
        }
        Ok(())
    }

    /// What a lane has queued.
    async fn amount(&self, lane: LaneKey) -> Outcome<Amount> {
        let mut counting = outbox::Counting::new(lane);
        loop {
            let rows = self.sessions.read(outbox::COUNT, &counting.params()).await?;
            if !counting.add(&rows)? {
                return Ok(counting.total);
            }
        }
    }
}

/// The node's row stays as it is.
fn of(fence: &Fence) -> Option<(&Fence, NodeRow)> {
    Some((fence, NodeRow::Reads))
}

impl Journal for PostgresStore {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        self.handle.commit(fence, batch)
    }
}

impl Outbox for PostgresStore {
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        self.handle.run(async move {
            let mut adopted = Adopted::default();
            for key in adopt::keys(&self.sessions.read(adopt::KEYS, &[text(&fence.node.as_str())]).await?)? {
                adopted += transact!(self, of(fence), adopt::LIMIT, |db| adopt::adopt(db, &fence.node, key))?;
            }
            Ok(adopted)
        })
    }

    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>> {
        self.handle.run(async move {
            let rows = self.sessions.read(outbox::OPENED, &[text(&sender.as_str())]).await?;
            Ok(outbox::opened(&rows)?.into_iter().map(|(_, lane)| lane).collect())
        })
    }

    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane> {
        self.handle.run(async move {
            self.make(fence, lane).await?;
            let mut opened = transact!(self, of(fence), |db| outbox::open(db, lane, incarnation))?;
            // Counting reads the whole queue, which must not keep others from writing.
            opened.pending = self.amount(opened.key).await?;
            Ok(opened)
        })
    }

    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page> {
        self.handle.run(async move {
            let at_least_one = PageLimit { messages: limit.messages.max(1), ..limit };
            let loading = outbox::Loading::new(lane, after, at_least_one);
            let page = outbox::page(self.sessions.read(outbox::LOAD, &loading.params()).await?)?;
            // Asked for nothing, the page still says whether there is something.
            Ok(if limit.messages > 0 { page } else { Page { end: page.messages.is_empty(), messages: Vec::new() } })
        })
    }

    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>> {
        self.handle.run(async move {
            let mut pending = Vec::new();
            let rows = self.sessions.read(outbox::OPENED, &[text(&sender.as_str())]).await?;
            for (key, lane) in outbox::opened(&rows)? {
                let amount = self.amount(key).await?;
                if amount.messages > 0 {
                    let oldest = self.sessions.read(outbox::OLDEST, &[int8(&key.0)]).await?;
                    pending.push(PendingLane { lane, amount, oldest_ms: outbox::oldest_ms(&oldest)? });
                }
            }
            Ok(pending)
        })
    }

    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount> {
        self.handle.run(async move { transact!(self, of(fence), |db| outbox::clear(db, &fence.node)) })
    }

    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount> {
        self.handle.run(async move { transact!(self, of(fence), |db| outbox::forget(db, &fence.node, lane)) })
    }
}

impl Inbox for PostgresStore {
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane> {
        self.handle.run(async move {
            self.make(fence, lane).await?;
            transact!(self, of(fence), |db| inbox::receive(db, lane))
        })
    }
}

impl DeadLetters for PostgresStore {
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>> {
        self.handle.run(async move {
            let query = dead_letters::LetterQuery::new(node, filter, after, limit);
            dead_letters::letters(&self.sessions.read(dead_letters::LIST, &query.params()).await?)
        })
    }

    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64> {
        self.handle.run(async move {
            let query = dead_letters::LetterQuery::new(&fence.node, filter, None, 0);
            transact!(self, of(fence), |db| query.purge(db))
        })
    }
}

impl Directory for PostgresStore {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        Box::pin(std::future::ready(Ok(self.handle.facts.clone())))
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.handle.run(async move { transact!(self, None, |db| directory::register(db, node)) })
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        self.handle.run(async move {
            let checked = change.is_fenced().then(|| (fence, directory::node_row(&change)));
            transact!(self, checked, |db| directory::apply(db, fence, &change))
        })
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.handle.run(async move {
            let mut entries = Vec::with_capacity(topics.len());
            for part in topics.chunks(directory::TOPICS_AT_ONCE) {
                let names: Vec<&str> = part.iter().map(Topic::as_str).collect();
                let rows = self.sessions.read(directory::TOPICS, &[texts(&names)]).await?;
                entries.append(&mut directory::topics(part, &rows)?);
            }
            Ok(entries)
        })
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.handle.changed(|versions| watcher::watch(self.connector.clone(), versions))
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.handle
            .run(async move { directory::peers(&self.sessions.read(directory::PEERS, &[text(&node.as_str())]).await?) })
    }
}
