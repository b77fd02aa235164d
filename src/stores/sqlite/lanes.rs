//! The rows of `conn_key_map`: finding, naming and creating lanes, and the keys they are known by.
//!
//! Sender and receiver find or create the same row by the same rule, so on a shared file they meet in it.

use super::error::Outcome;
use crate::stores::LaneKey;
use crate::stores::shared::naming;
pub(super) use crate::stores::shared::sql::{incarnation, seq, sql_incarnation, sql_seq};
use crate::types::{LaneId, LaneName, NodeId, Topic};
use rusqlite::{Connection, OptionalExtension as _, Row};

/// The four names at columns `at..at + 4`, in the order sender, source topic, receiver, topic.
pub(super) fn lane_id(row: &Row<'_>, at: usize) -> Outcome<LaneId> {
    let text = |column: usize| row.get_ref(at + column).and_then(|value| Ok(value.as_str()?));
    Ok(LaneId::new(LaneName {
        sender: NodeId::new(text(0)?)?,
        source: Topic::new(text(1)?)?,
        receiver: NodeId::new(text(2)?)?,
        topic: Topic::new(text(3)?)?,
    }))
}

/// The four names as statement parameters.
pub(super) fn names(lane: &LaneName) -> (&str, &str, &str, &str) {
    (lane.sender.as_str(), lane.source.as_str(), lane.receiver.as_str(), lane.topic.as_str())
}

pub(super) fn find(db: &Connection, lane: &LaneName) -> Outcome<Option<LaneKey>> {
    let sql = "SELECT connection_key FROM conn_key_map
        WHERE sender = ?1 AND source_topic = ?2 AND receiver = ?3 AND topic = ?4";
    Ok(db.prepare_cached(sql)?.query_row(names(lane), |row| row.get(0).map(LaneKey)).optional()?)
}

pub(super) fn find_or_create(db: &Connection, lane: &LaneName) -> Outcome<LaneKey> {
    match find(db, lane)? {
        Some(key) => Ok(key),
        None => create(db, lane),
    }
}

fn create(db: &Connection, lane: &LaneName) -> Outcome<LaneKey> {
    let key = new_key(db)?;
    create_under(db, lane, key)?;
    Ok(key)
}

/// Makes a connection key of liner_broker the key of a lane.
pub(super) fn claim(db: &Connection, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    db.prepare_cached("DELETE FROM conn_key_map WHERE connection_key = ?1")?.execute([key.0])?;
    create_under(db, lane, key)
}

fn create_under(db: &Connection, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    let composite = free_composite(db, lane, key)?;
    let (sender, source, receiver, topic) = names(lane);
    let insert = "INSERT INTO conn_key_map (composite, connection_key, sender, source_topic, receiver, topic)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    db.prepare_cached(insert)?.execute((composite, key.0, sender, source, receiver, topic))?;
    let origin = "INSERT OR REPLACE INTO conn_sender (connection_key, sender_topic) VALUES (?1, ?2)";
    db.prepare_cached(origin)?.execute((key.0, source))?;
    // What an emptied store left under a key that is given again.
    db.prepare_cached("DELETE FROM liner_spans WHERE connection_key = ?1")?.execute([key.0])?;
    db.prepare_cached("DELETE FROM liner_attempts WHERE connection_key = ?1")?.execute([key.0])?;
    Ok(())
}

/// A key above every key in any table, whatever an operator or liner_broker left in them.
fn new_key(db: &Connection) -> Outcome<LaneKey> {
    db.prepare_cached("INSERT OR IGNORE INTO seq (id, v) VALUES (1, 0)")?.execute([])?;
    let sql = "UPDATE seq SET v = 1 + max(
            v,
            (SELECT coalesce(max(connection_key), 0) FROM conn_key_map),
            (SELECT coalesce(max(connection_key), 0) FROM conn_sender),
            (SELECT coalesce(max(connection_key), 0) FROM conn_mess_number),
            (SELECT coalesce(max(connection_key), 0) FROM conn_messages)
        ) WHERE id = 1 RETURNING v";
    let key = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    db.prepare_cached("UPDATE liner_state SET last_key = ?1")?.execute([key])?;
    Ok(LaneKey(key))
}

/// The plain form, unless the route is a subscription or another lane has it. The form with the topic can only be taken
/// by a liner_broker composite whose names contain colons; the key then tells the two apart.
fn free_composite(db: &Connection, lane: &LaneName, key: LaneKey) -> Outcome<String> {
    let sql = "SELECT 1 FROM topic_addr WHERE topic = ?1 AND client_name = ?2 AND subscription <> 0 LIMIT 1";
    let subscription = db.prepare_cached(sql)?.exists((lane.topic.as_str(), lane.receiver.as_str()))?;
    let mut taken = db.prepare_cached("SELECT 1 FROM conn_key_map WHERE composite = ?1")?;
    let plain = naming::plain(lane);
    if !subscription && !taken.exists([&plain])? {
        return Ok(plain);
    }
    let with_topic = naming::with_topic(lane);
    Ok(if taken.exists([&with_topic])? { format!("{with_topic}:{}", key.0) } else { with_topic })
}

/// The key of a topic for people and tools that know liner_broker's table; nothing here reads it.
pub(super) fn ensure_topic_key(db: &Connection, topic: &Topic) -> Outcome<()> {
    let known = db.prepare_cached("SELECT 1 FROM topic_key WHERE topic = ?1")?.exists([topic.as_str()])?;
    if !known {
        let key = new_key(db)?;
        db.prepare_cached("INSERT INTO topic_key (topic, k) VALUES (?1, ?2)")?.execute((topic.as_str(), key.0))?;
    }
    Ok(())
}
