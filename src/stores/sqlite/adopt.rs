//! Taking over a connection key of liner_broker, in the writer's transaction. What becomes of its rows is
//! decided in `adoption`.

use super::error::Outcome;
use super::lanes::{sql_incarnation, sql_seq};
use super::{MAX_MESSAGE, dead_letters, journal, lanes, outbox};
use crate::stores::legacy::{
    ADOPTED, AdoptedLane, AdoptionContext, LegacyCatalogue, LegacyKey, QueueSplit, RowOutcome,
};
use crate::stores::shared::row;
use crate::stores::{Adopted, LaneKey};
use crate::types::{NodeId, Seq, Topic};
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::BTreeMap;

/// Rows looked up at a time; they are read one by one.
const ROWS: i64 = 4096;

/// The connection keys that liner_broker left of this sender, and lanes of it that liner_broker has written to.
pub(super) fn keys(db: &Connection, node: &NodeId) -> Outcome<Vec<LaneKey>> {
    let sql = "SELECT connection_key FROM conn_key_map WHERE sender IS NULL AND substr(composite, 1, length(?1) + 1) = ?1 || ':'
        UNION SELECT connection_key FROM conn_key_map AS k WHERE sender = ?1 AND EXISTS (
            SELECT 1 FROM conn_messages AS m WHERE m.connection_key = k.connection_key AND m.number IS NULL
        )";
    let mut statement = db.prepare(sql)?;
    let keys = statement.query_map([node.as_str()], |row| row.get(0).map(LaneKey))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

/// Takes one over. Does nothing with one that is not there any more, or is another node's.
pub(super) fn adopt(db: &Connection, node: &NodeId, key: LaneKey) -> Outcome<Adopted> {
    let (Some(noted), catalogue) = (noted(db, key)?, catalogue(db, node)?) else { return Ok(Adopted::default()) };
    let claimed = noted.lane.is_some();
    let Some(left) = noted.connection(node, &catalogue) else { return Ok(Adopted::default()) };
    let mut adoption = Adoption {
        db,
        split: QueueSplit::new(node, &catalogue, &left, AdoptionContext::new(MAX_MESSAGE)?),
        key,
        claimed,
        targets: BTreeMap::new(),
    };
    for topic in adoption.split.remembered() {
        adoption.target(&topic)?;
    }
    adoption.rows()?;
    adoption.received()?;
    adoption.finish()
}

fn pairs<A: rusqlite::types::FromSql, B: rusqlite::types::FromSql>(db: &Connection, sql: &str) -> Outcome<Vec<(A, B)>> {
    let mut statement = db.prepare_cached(sql)?;
    let pairs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(pairs.collect::<rusqlite::Result<_>>()?)
}

fn catalogue(db: &Connection, node: &NodeId) -> Outcome<LegacyCatalogue> {
    let mut catalogue = LegacyCatalogue {
        served: pairs(db, "SELECT topic, client_name FROM topic_addr")?,
        ..LegacyCatalogue::default()
    };
    for (topic, key) in pairs(db, "SELECT topic, k FROM topic_key")? {
        catalogue.number(topic, key);
    }
    let sql = "SELECT l.sender_key, l.listener_topic,
            CASE WHEN l.client_name <> '' THEN l.client_name ELSE a.client_name END
        FROM sender_listener AS l LEFT JOIN topic_addr AS a ON a.topic = l.listener_topic AND a.addr = l.addr";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        catalogue.remember(node, &row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
    }
    let sql = "SELECT 1 FROM conn_key_map
        WHERE (sender IS NULL AND substr(composite, 1, length(?1) + 1) <> ?1 || ':')
            OR (sender <> ?1 AND incarnation IS NOT NULL) LIMIT 1";
    catalogue.others_send = db.prepare_cached(sql)?.exists([node.as_str()])?;
    Ok(catalogue)
}

fn noted(db: &Connection, key: LaneKey) -> Outcome<Option<LegacyKey>> {
    let sql = "SELECT k.composite, k.sender, k.source_topic, k.receiver, s.sender_topic, coalesce(n.v, 0)
        FROM conn_key_map AS k LEFT JOIN conn_sender AS s ON s.connection_key = k.connection_key
        LEFT JOIN conn_mess_number AS n ON n.connection_key = k.connection_key AND n.incarnation IS NULL
        WHERE k.connection_key = ?1";
    let noted = db.prepare_cached(sql)?.query_row([key.0], |row| {
        let sender: Option<String> = row.get(1)?;
        let lane = sender.map(|sender| Ok::<_, rusqlite::Error>([sender, row.get(2)?, row.get(3)?])).transpose()?;
        Ok(LegacyKey { key: key.0, composite: row.get(0)?, lane, source: row.get(4)?, handled: row.get(5)? })
    });
    Ok(noted.optional()?)
}

struct Adoption<'a> {
    db: &'a Connection,
    split: QueueSplit<'a>,
    key: LaneKey,
    /// The key is a lane's.
    claimed: bool,
    targets: BTreeMap<Topic, AdoptedLane>,
}

impl Adoption<'_> {
    /// The lane for a topic. The first that is new takes the key over.
    fn target(&mut self, topic: &Topic) -> Outcome<&mut AdoptedLane> {
        if !self.targets.contains_key(topic) {
            let lane = self.split.lane(topic.clone());
            if !self.claimed && lanes::find(self.db, &lane)?.is_none() {
                lanes::claim(self.db, &lane, self.key)?;
                self.claimed = true;
            }
            let key = lanes::find_or_create(self.db, &lane)?;
            let sql =
                "UPDATE conn_key_map SET acked = max(acked, ?2) WHERE connection_key = ?1 AND incarnation IS NULL";
            self.db.prepare_cached(sql)?.execute((key.0, sql_seq(self.split.acked())))?;
            self.stand(key, self.split.handled())?;
            let opened = outbox::open(self.db, &lane, ADOPTED)?;
            self.targets.insert(topic.clone(), AdoptedLane::new(&opened));
        }
        Ok(self.targets.get_mut(topic).expect("it was inserted"))
    }

    /// Notes where the receiver of a lane stands, unless it does.
    fn stand(&self, key: LaneKey, at: Seq) -> Outcome<()> {
        if at > Seq::ZERO && journal::cursor(self.db, key)?.is_none() {
            let sql = "INSERT OR REPLACE INTO conn_mess_number (connection_key, v, incarnation) VALUES (?1, ?2, ?3)";
            self.db.prepare_cached(sql)?.execute((key.0, sql_seq(at), sql_incarnation(ADOPTED)))?;
        }
        Ok(())
    }

    fn rows(&mut self) -> Outcome<()> {
        let sql = "SELECT id FROM conn_messages WHERE connection_key = ?1 AND number IS NULL AND id > ?2 ORDER BY id LIMIT ?3";
        let mut listing = self.db.prepare_cached(sql)?;
        let mut reading = self.db.prepare_cached("SELECT payload FROM conn_messages WHERE id = ?1")?;
        let mut after = 0;
        loop {
            let ids = listing.query_map((self.key.0, after, ROWS), |row| row.get(0))?;
            let ids: Vec<i64> = ids.collect::<rusqlite::Result<_>>()?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = *last;
            for id in ids {
                let row: Vec<u8> = reading.query_row([id], |row| row.get(0))?;
                self.row(id, &row)?;
            }
        }
    }

    fn row(&mut self, id: i64, bytes: &[u8]) -> Outcome<()> {
        let now_ms = self.split.now_ms();
        match self.split.row(bytes) {
            RowOutcome::Move { topic, number, payload } => {
                let db = self.db;
                let target = self.target(&topic)?;
                let (key, stored) = (target.key, target.take(number, payload, now_ms));
                let mut encoded = Vec::new();
                row::encode_into(&mut encoded, &stored);
                let sql = "UPDATE conn_messages SET connection_key = ?2, number = ?3, payload = ?4 WHERE id = ?1";
                db.prepare_cached(sql)?.execute((id, key.0, sql_seq(stored.seq), encoded))?;
                return Ok(());
            }
            RowOutcome::DeadLetter(letter) => dead_letters::keep(self.db, &letter)?,
            RowOutcome::Delete => {}
        }
        self.db.prepare_cached("DELETE FROM conn_messages WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    fn received(&self) -> Outcome<()> {
        for lane in self.split.received() {
            let key = lanes::find_or_create(self.db, &lane)?;
            self.stand(key, self.split.handled())?;
        }
        Ok(())
    }

    /// A key that no lane took is nobody's any more.
    fn finish(self) -> Outcome<Adopted> {
        if !self.claimed {
            for table in ["conn_key_map", "conn_sender", "conn_mess_number"] {
                let sql = format!("DELETE FROM {table} WHERE connection_key = ?1");
                self.db.prepare_cached(&sql)?.execute([self.key.0])?;
            }
        }
        Ok(self.split.adopted)
    }
}
