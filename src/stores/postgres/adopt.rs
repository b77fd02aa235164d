//! Taking over a connection key of liner_broker, in one transaction. What becomes of its rows is decided
//! in `adoption`.

use super::dead_letters::Kept;
use super::error::Outcome;
use super::lanes::{self, names, sql_incarnation, sql_seq};
use super::session::{Session, byteas, int8, int8s, text};
use super::{MAX_MESSAGE, inbox, new_lane, outbox};
use crate::stores::legacy::{
    ADOPTED, AdoptedLane, AdoptionContext, LegacyCatalogue, LegacyKey, QueueSplit, RowOutcome,
};
use crate::stores::shared::{naming, row};
use crate::stores::{Adopted, LaneKey};
use crate::types::{LaneName, NodeId, Seq, Topic};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Row;

/// How long one key may take: queues may be long, and nothing else waits for them.
pub(super) const LIMIT: Duration = Duration::from_secs(600);

/// Rows and bytes read, and written, at a time.
const ROWS: i64 = 4096;
const BYTES: usize = 16 * 1024 * 1024;

/// The connection keys that liner_broker left of the sender `$1`, and lanes of it that liner_broker has written to.
pub(super) const KEYS: &str = "SELECT connection_key::int8 FROM conn_key_map
    WHERE sender IS NULL AND left(composite, length($1) + 1) = $1 || ':'
    UNION SELECT connection_key::int8 FROM conn_key_map AS k WHERE sender = $1 AND EXISTS (
        SELECT 1 FROM conn_messages AS m WHERE m.connection_key = k.connection_key AND m.number IS NULL
    ) ORDER BY 1";

/// From the rows of [`KEYS`].
pub(super) fn keys(rows: &[Row]) -> Outcome<Vec<LaneKey>> {
    rows.iter().map(|row| Ok(LaneKey(row.try_get(0)?))).collect()
}

/// `$1` the key, `$2` the row behind which the page starts, `$3` and `$4` how much it may have.
const PAGE: &str = "SELECT id, payload FROM (
        SELECT id, payload, row_number() OVER page AS nth, sum(octet_length(payload)) OVER page AS through
        FROM (
            SELECT id, payload FROM conn_messages WHERE connection_key = $1 AND number IS NULL AND id > $2
            ORDER BY id LIMIT $3
        ) AS found
        WINDOW page AS (ORDER BY id)
    ) AS counted
    WHERE nth = 1 OR through <= $4 ORDER BY id";

const MOVE: &str = "UPDATE conn_messages AS m SET connection_key = a.lane, number = a.number, payload = a.payload
    FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::bytea[]) AS a(id, lane, number, payload) WHERE m.id = a.id";

/// Takes one over. Does nothing with one that is not there any more, or is another node's.
pub(super) async fn adopt(db: &Session, node: &NodeId, key: LaneKey) -> Outcome<Adopted> {
    let (Some(noted), catalogue) = (noted(db, key).await?, catalogue(db, node).await?) else {
        return Ok(Adopted::default());
    };
    let claimed = noted.lane.is_some();
    let Some(left) = noted.connection(node, &catalogue) else { return Ok(Adopted::default()) };
    let split = QueueSplit::new(node, &catalogue, &left, AdoptionContext::new(MAX_MESSAGE)?);
    let mut adoption = Adoption { db, split, key, claimed, targets: BTreeMap::new() };
    for topic in adoption.split.remembered() {
        adoption.target(&topic).await?;
    }
    adoption.rows().await?;
    adoption.received().await?;
    adoption.finish().await
}

async fn catalogue(db: &Session, node: &NodeId) -> Outcome<LegacyCatalogue> {
    let mut catalogue = LegacyCatalogue::default();
    for row in db.query("SELECT topic, client_name FROM topic_addr", &[]).await? {
        catalogue.served.push((row.try_get(0)?, row.try_get(1)?));
    }
    for row in db.query("SELECT topic, k::int8 FROM topic_key", &[]).await? {
        catalogue.number(row.try_get(0)?, row.try_get(1)?);
    }
    let sql = "SELECT l.sender_key, l.listener_topic, coalesce(nullif(l.client_name, ''), a.client_name)
        FROM sender_listener AS l LEFT JOIN topic_addr AS a ON a.topic = l.listener_topic AND a.addr = l.addr";
    for row in db.query(sql, &[]).await? {
        catalogue.remember(node, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    }
    let sql = "SELECT 1 FROM conn_key_map
        WHERE (sender IS NULL AND left(composite, length($1) + 1) <> $1 || ':')
            OR (sender <> $1 AND incarnation IS NOT NULL) LIMIT 1";
    catalogue.others_send = db.first(sql, &[text(&node.as_str())]).await?.is_some();
    Ok(catalogue)
}

async fn noted(db: &Session, key: LaneKey) -> Outcome<Option<LegacyKey>> {
    let sql = "SELECT k.composite, k.sender, k.source_topic, k.receiver, s.sender_topic, coalesce(n.v, 0)::int8
        FROM conn_key_map AS k LEFT JOIN conn_sender AS s ON s.connection_key = k.connection_key
        LEFT JOIN conn_mess_number AS n ON n.connection_key = k.connection_key AND n.incarnation IS NULL
        WHERE k.connection_key = $1";
    let Some(row) = db.first(sql, &[int8(&key.0)]).await? else { return Ok(None) };
    let lane = match row.try_get::<_, Option<String>>(1)? {
        Some(sender) => Some([sender, row.try_get(2)?, row.try_get(3)?]),
        None => None,
    };
    let (composite, source, handled) = (row.try_get(0)?, row.try_get(4)?, row.try_get(5)?);
    Ok(Some(LegacyKey { key: key.0, composite, lane, source, handled }))
}

/// Makes the key the key of a lane. Nobody else makes this lane meanwhile: receivers look for a lane once its sender has it.
async fn claim(db: &Session, lane: &LaneName, key: LaneKey) -> Outcome<()> {
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
    // What an emptied store left behind under a key that is given again.
    db.execute("DELETE FROM liner_spans WHERE connection_key = $1", &[int8(&key.0)]).await?;
    db.execute("DELETE FROM liner_attempts WHERE connection_key = $1", &[int8(&key.0)]).await?;
    Ok(())
}

/// The lane's key, after it was made if it was missing.
async fn found(db: &Session, lane: &LaneName) -> Outcome<LaneKey> {
    if lanes::find(db, lane).await?.is_none() {
        new_lane::create_within(db, lane).await?;
    }
    lanes::made(db, lane).await
}

struct Adoption<'a> {
    db: &'a Session,
    split: QueueSplit<'a>,
    key: LaneKey,
    /// The key is a lane's.
    claimed: bool,
    targets: BTreeMap<Topic, AdoptedLane>,
}

/// What a page becomes.
#[derive(Default)]
struct Moved {
    ids: Vec<i64>,
    lanes: Vec<i64>,
    numbers: Vec<i64>,
    payloads: Vec<Vec<u8>>,
    gone: Vec<i64>,
}

impl Adoption<'_> {
    /// The lane for a topic. The first that is new takes the key over.
    async fn target(&mut self, topic: &Topic) -> Outcome<&mut AdoptedLane> {
        if !self.targets.contains_key(topic) {
            let lane = self.split.lane(topic.clone());
            if !self.claimed && lanes::find(self.db, &lane).await?.is_none() {
                claim(self.db, &lane, self.key).await?;
                self.claimed = true;
            }
            let key = found(self.db, &lane).await?;
            let sql = "UPDATE conn_key_map SET acked = greatest(acked, $2)
                WHERE connection_key = $1 AND incarnation IS NULL";
            self.db.execute(sql, &[int8(&key.0), int8(&sql_seq(self.split.acked()))]).await?;
            self.stand(key, self.split.handled()).await?;
            let opened = outbox::open(self.db, &lane, ADOPTED).await?;
            self.targets.insert(topic.clone(), AdoptedLane::new(&opened));
        }
        Ok(self.targets.get_mut(topic).expect("it was inserted"))
    }

    /// Notes where the receiver of a lane stands, unless it does.
    async fn stand(&self, key: LaneKey, at: Seq) -> Outcome<()> {
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
            let page = self.db.query(PAGE, &[int8(&self.key.0), int8(&after), int8(&ROWS), int8(&bytes)]).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.try_get::<_, i64>(0)?;
            let mut moved = Moved::default();
            for row in &page {
                self.row(row.try_get(0)?, row.try_get(1)?, &mut moved).await?;
                // What was compressed may be much larger than what was read.
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
        self.db.execute(MOVE, &[int8s(&ids), int8s(&lanes), int8s(&numbers), byteas(&payloads)]).await?;
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
            let key = found(self.db, &lane).await?;
            self.stand(key, self.split.handled()).await?;
        }
        Ok(())
    }

    /// A key that no lane took is nobody's any more.
    async fn finish(self) -> Outcome<Adopted> {
        if !self.claimed {
            for sql in [
                "DELETE FROM conn_key_map WHERE connection_key = $1",
                "DELETE FROM conn_sender WHERE connection_key = $1",
                "DELETE FROM conn_mess_number WHERE connection_key = $1",
            ] {
                self.db.execute(sql, &[int8(&self.key.0)]).await?;
            }
        }
        Ok(self.split.adopted)
    }
}
