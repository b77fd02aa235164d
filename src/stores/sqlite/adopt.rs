//! Adopts a legacy connection key in one transaction. `legacy` reads it and decides what each row becomes.

use super::error::Outcome;
use super::lanes::{sql_incarnation, sql_seq};
use super::{MAX_MESSAGE, dead_letters, journal, lanes, outbox};
use crate::stores::legacy::{self, ADOPTED, AdoptedLane, AdoptionContext, QueueSplit, RowOutcome};
use crate::stores::shared::row;
use crate::stores::{Adopted, LaneKey};
use crate::types::{NodeId, Seq, Topic};
use rusqlite::Connection;
use std::collections::BTreeMap;

/// The number of row ids read at a time. Rows are read one by one.
const ROWS: i64 = 4096;

/// Returns the connection keys that may have to be adopted for a sender.
pub(super) fn keys(db: &Connection, node: &NodeId) -> Outcome<Vec<LaneKey>> {
    Ok(legacy::sqlite::keys(db, node)?)
}

/// Adopts a connection key. Does nothing if the key no longer exists or belongs to another node.
pub(super) fn adopt(db: &Connection, node: &NodeId, key: LaneKey) -> Outcome<Adopted> {
    let (Some(legacy_key), catalogue) = (legacy::sqlite::key(db, key)?, legacy::sqlite::catalogue(db, node)?) else {
        return Ok(Adopted::default());
    };
    let claimed = legacy_key.lane.is_some();
    let Some(left) = legacy_key.connection(node, &catalogue) else { return Ok(Adopted::default()) };
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

struct Adoption<'a> {
    db: &'a Connection,
    split: QueueSplit<'a>,
    key: LaneKey,
    /// Whether the key belongs to a lane.
    claimed: bool,
    targets: BTreeMap<Topic, AdoptedLane>,
}

impl Adoption<'_> {
    /// Returns the lane of a topic. The first lane that does not exist yet takes the key.
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
            self.set_cursor(key, self.split.handled())?;
            let opened = outbox::open(self.db, &lane, ADOPTED)?;
            self.targets.insert(topic.clone(), AdoptedLane::new(&opened));
        }
        Ok(self.targets.get_mut(topic).expect("it was inserted"))
    }

    /// Sets the cursor of the receiver of a lane, unless it has one.
    fn set_cursor(&self, key: LaneKey, at: Seq) -> Outcome<()> {
        if at > Seq::ZERO && journal::cursor(self.db, key)?.is_none() {
            let sql = "INSERT OR REPLACE INTO conn_mess_number (connection_key, v, incarnation) VALUES (?1, ?2, ?3)";
            self.db.prepare_cached(sql)?.execute((key.0, sql_seq(at), sql_incarnation(ADOPTED)))?;
        }
        Ok(())
    }

    fn rows(&mut self) -> Outcome<()> {
        let mut after = 0;
        loop {
            let ids = legacy::sqlite::row_ids(self.db, self.key, after, ROWS)?;
            let Some(last) = ids.last() else { return Ok(()) };
            after = *last;
            for id in ids {
                let row = legacy::sqlite::row(self.db, id)?;
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
            self.set_cursor(key, self.split.handled())?;
        }
        Ok(())
    }

    /// Deletes the key if no lane took it.
    fn finish(self) -> Outcome<Adopted> {
        if !self.claimed {
            legacy::sqlite::delete_key(self.db, self.key)?;
        }
        Ok(self.split.adopted)
    }
}
