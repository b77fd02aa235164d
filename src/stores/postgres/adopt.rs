//! Adopts a legacy connection key in one transaction. `legacy` reads it and decides what each row becomes.

use super::dead_letters::Kept;
use super::error::Outcome;
use super::lanes::{self, names, sql_incarnation, sql_seq};
use super::session::{DbSession, byteas, int8, int8s, text};
use super::{MAX_MESSAGE, inbox, new_lane, outbox};
pub(super) use crate::stores::legacy::postgres::{KEYS, keys};
use crate::stores::legacy::{
    self, ADOPTED, AdoptedLane, AdoptionContext, LegacyCatalogue, LegacyKey, QueueSplit, RowOutcome,
};
use crate::stores::shared::{naming, row};
use crate::stores::{Adopted, LaneKey};
use crate::types::{LaneName, NodeId, Seq, Topic};
use std::collections::BTreeMap;
use std::time::Duration;

/// The deadline for one key. Queues may be long, and no other operation waits for them.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// Limits of a page of rows that is read, and of one that is written.
const ROWS: i64 = 4096;
const BYTES: usize = 16 * 1024 * 1024;

/// Adopts a connection key. Does nothing if the key no longer exists or belongs to another node.
pub(super) async fn adopt(db: &DbSession, node: &NodeId, key: LaneKey) -> Outcome<Adopted> {
    let (Some(legacy_key), catalogue) = (legacy_key(db, key).await?, catalogue(db, node).await?) else {
        return Ok(Adopted::default());
    };
    let claimed = legacy_key.lane.is_some();
    let Some(left) = legacy_key.connection(node, &catalogue) else { return Ok(Adopted::default()) };
    let split = QueueSplit::new(node, &catalogue, &left, AdoptionContext::new(MAX_MESSAGE)?);
    let mut adoption = Adoption { db, split, key, claimed, targets: BTreeMap::new() };
    for topic in adoption.split.remembered() {
        adoption.target(&topic).await?;
    }
    adoption.rows().await?;
    adoption.received().await?;
    adoption.finish().await
}

async fn catalogue(db: &DbSession, node: &NodeId) -> Outcome<LegacyCatalogue> {
    let served = db.query(legacy::postgres::SERVED, &[]).await?;
    let topics = db.query(legacy::postgres::TOPICS, &[]).await?;
    let routes = db.query(legacy::postgres::ROUTES, &[]).await?;
    let others = db.first(legacy::postgres::OTHER_SENDERS, &[text(&node.as_str())]).await?;
    Ok(legacy::postgres::catalogue(node, [&served, &topics, &routes], others.is_some())?)
}

async fn legacy_key(db: &DbSession, key: LaneKey) -> Outcome<Option<LegacyKey>> {
    let row = db.first(legacy::postgres::KEY, &[int8(&key.0)]).await?;
    Ok(row.map(|row| legacy::postgres::key(key, &row)).transpose()?)
}

/// Makes the key the key of a lane. No other process creates this lane meanwhile: a receiver looks for a lane only once its
/// sender has it.
async fn claim(db: &DbSession, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    let [sender, source, receiver, topic] = names(lane);
    let (plain, with_topic) = (naming::plain(lane), naming::with_topic(lane));
    let sql = "UPDATE conn_key_map AS k SET sender = $1, source_topic = $2, receiver = $3, topic = $4, composite = CASE
            WHEN composite = $5 OR NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $5) THEN $5
            WHEN composite = $6 OR NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $6) THEN $6
            ELSE $6 || ':' || connection_key
        END WHERE connection_key = $7";
    let row = [text(&sender), text(&source), text(&receiver), text(&topic), text(&plain), text(&with_topic)];
    let row = [&row[..], &[int8(&key.0)]].concat();
    db.execute(sql, &row).await?;
    let origin = "INSERT INTO conn_sender (connection_key, sender_topic) VALUES ($1, $2)
        ON CONFLICT (connection_key) DO UPDATE SET sender_topic = excluded.sender_topic";
    db.execute(origin, &[int8(&key.0), text(&source)]).await?;
    // Records of an earlier lane with this key, if the store was emptied.
    db.execute("DELETE FROM liner_spans WHERE connection_key = $1", &[int8(&key.0)]).await?;
    db.execute("DELETE FROM liner_attempts WHERE connection_key = $1", &[int8(&key.0)]).await?;
    Ok(())
}

/// Returns the key of a lane. Creates the lane if it does not exist.
async fn find_or_create(db: &DbSession, lane: &LaneName) -> Outcome<LaneKey> {
    if lanes::find(db, lane).await?.is_none() {
        new_lane::create_within(db, lane).await?;
    }
    lanes::made(db, lane).await
}

struct Adoption<'a> {
    db: &'a DbSession,
    split: QueueSplit<'a>,
    key: LaneKey,
    /// Whether the key belongs to a lane.
    claimed: bool,
    targets: BTreeMap<Topic, AdoptedLane>,
}

/// The changes of a page.
#[derive(Default)]
struct Moved {
    ids: Vec<i64>,
    lanes: Vec<i64>,
    numbers: Vec<i64>,
    payloads: Vec<Vec<u8>>,
    gone: Vec<i64>,
}

impl Adoption<'_> {
    /// Returns the lane of a topic. The first lane that does not exist yet takes the key.
    async fn target(&mut self, topic: &Topic) -> Outcome<&mut AdoptedLane> {
        if !self.targets.contains_key(topic) {
            let lane = self.split.lane(topic.clone());
            if !self.claimed && lanes::find(self.db, &lane).await?.is_none() {
                claim(self.db, &lane, self.key).await?;
                self.claimed = true;
            }
            let key = find_or_create(self.db, &lane).await?;
            let sql = "UPDATE conn_key_map SET acked = greatest(acked, $2)
                WHERE connection_key = $1 AND incarnation IS NULL";
            self.db.execute(sql, &[int8(&key.0), int8(&sql_seq(self.split.acked()))]).await?;
            self.set_cursor(key, self.split.handled()).await?;
            let opened = outbox::open(self.db, &lane, ADOPTED).await?;
            self.targets.insert(topic.clone(), AdoptedLane::new(&opened));
        }
        Ok(self.targets.get_mut(topic).expect("it was inserted"))
    }

    /// Sets the cursor of the receiver of a lane, unless it has one.
    async fn set_cursor(&self, key: LaneKey, at: Seq) -> Outcome<()> {
        if at > Seq::ZERO && inbox::cursor(self.db, key).await?.is_none() {
            let sql = "INSERT INTO conn_mess_number (connection_key, v, incarnation) VALUES ($1, $2, $3)
                ON CONFLICT (connection_key) DO UPDATE SET v = excluded.v, incarnation = excluded.incarnation";
            let (number, incarnation) = (sql_seq(at), sql_incarnation(ADOPTED));
            self.db.execute(sql, &[int8(&key.0), int8(&number), int8(&incarnation)]).await?;
        }
        Ok(())
    }

    async fn rows(&mut self) -> Outcome<()> {
        let (mut after, bytes) = (0, BYTES as i64);
        loop {
            let page = self
                .db
                .query(legacy::postgres::PAGE, &[int8(&self.key.0), int8(&after), int8(&ROWS), int8(&bytes)])
                .await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.try_get::<_, i64>(0)?;
            let mut moved = Moved::default();
            for row in &page {
                self.row(row.try_get(0)?, row.try_get(1)?, &mut moved).await?;
                // Decompressed rows may be much larger than the page.
                if moved.payloads.iter().map(Vec::len).sum::<usize>() > BYTES {
                    self.write(std::mem::take(&mut moved)).await?;
                }
            }
            self.write(moved).await?;
        }
    }

    async fn write(&self, moved: Moved) -> Outcome<()> {
        let Moved { ids, lanes, numbers, payloads, gone } = moved;
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        self.db
            .execute(legacy::postgres::MOVE, &[int8s(&ids), int8s(&lanes), int8s(&numbers), byteas(&payloads)])
            .await?;
        self.db.execute("DELETE FROM conn_messages WHERE id = ANY ($1)", &[int8s(&gone)]).await?;
        Ok(())
    }

    async fn row(&mut self, id: i64, bytes: &[u8], moved: &mut Moved) -> Outcome<()> {
        let now_ms = self.split.now_ms();
        match self.split.row(bytes) {
            RowOutcome::Move { topic, number, payload } => {
                let target = self.target(&topic).await?;
                let stored = target.take(number, payload, now_ms);
                let mut encoded = Vec::new();
                row::encode_into(&mut encoded, &stored);
                moved.ids.push(id);
                moved.lanes.push(target.key.0);
                moved.numbers.push(sql_seq(stored.seq));
                moved.payloads.push(encoded);
                return Ok(());
            }
            RowOutcome::DeadLetter(letter) => {
                Kept::new(&letter).keep(self.db).await?;
            }
            RowOutcome::Delete => {}
        }
        moved.gone.push(id);
        Ok(())
    }

    async fn received(&self) -> Outcome<()> {
        for lane in self.split.received() {
            let key = find_or_create(self.db, &lane).await?;
            self.set_cursor(key, self.split.handled()).await?;
        }
        Ok(())
    }

    /// Deletes the key if no lane took it.
    async fn finish(self) -> Outcome<Adopted> {
        if !self.claimed {
            for sql in legacy::postgres::DELETE_KEY {
                self.db.execute(sql, &[int8(&self.key.0)]).await?;
            }
        }
        Ok(self.split.adopted)
    }
}
