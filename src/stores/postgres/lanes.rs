//! The rows of `conn_key_map`: finding lanes, and the keys they are known by.
//!
//! Sender and receiver find or create the same row by the same rule, so they meet in it.

use super::error::Outcome;
use super::session::{DbSession, Param, int8, text};
pub(super) use crate::stores::shared::sql::{incarnation, seq, sql_incarnation, sql_seq};
use crate::stores::{LaneKey, StoreError};
use crate::types::{LaneId, LaneName, NodeId, Topic};
use tokio_postgres::Row;

/// The four names at columns `at..at + 4`, in the order sender, source topic, receiver, topic.
pub(super) fn lane_id(row: &Row, at: usize) -> Outcome<LaneId> {
    Ok(LaneId::new(LaneName {
        sender: NodeId::new(row.try_get::<_, &str>(at)?)?,
        source: Topic::new(row.try_get::<_, &str>(at + 1)?)?,
        receiver: NodeId::new(row.try_get::<_, &str>(at + 2)?)?,
        topic: Topic::new(row.try_get::<_, &str>(at + 3)?)?,
    }))
}

/// The four names.
pub(super) fn names(lane: &LaneName) -> [&str; 4] {
    [lane.sender.as_str(), lane.source.as_str(), lane.receiver.as_str(), lane.topic.as_str()]
}

pub(super) fn params<'a>(names: &'a [&'a str; 4]) -> [Param<'a>; 4] {
    [text(&names[0]), text(&names[1]), text(&names[2]), text(&names[3])]
}

/// The only column of a row that must be there.
pub(super) fn only(row: Option<Row>) -> Outcome<i64> {
    let row = row.ok_or_else(|| StoreError::Damaged("a row that must be there is missing".into()))?;
    Ok(row.try_get(0)?)
}

/// The parameters are the four names.
pub(super) const FIND: &str = "SELECT connection_key::int8 FROM conn_key_map
    WHERE sender = $1 AND source_topic = $2 AND receiver = $3 AND topic = $4";

pub(super) async fn find(db: &DbSession, lane: &LaneName) -> Outcome<Option<LaneKey>> {
    let row = db.first(FIND, &params(&names(lane))).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(LaneKey))
}

/// The lane's key, which its transaction has made before if it was missing.
pub(super) async fn made(db: &DbSession, lane: &LaneName) -> Outcome<LaneKey> {
    // An operator, or its sender, may have forgotten it since.
    find(db, lane).await?.ok_or_else(|| StoreError::Busy.into())
}

/// One transaction at a time gives out keys.
async fn lock_keys(db: &DbSession) -> Outcome<()> {
    db.execute("INSERT INTO seq (id, v) VALUES (1, 0) ON CONFLICT (id) DO NOTHING", &[]).await?;
    db.query("SELECT v FROM seq WHERE id = 1 FOR UPDATE", &[]).await?;
    Ok(())
}

/// A key above every key in any table, whatever an operator or liner_broker left in them.
async fn new_key(db: &DbSession) -> Outcome<LaneKey> {
    let sql = "UPDATE seq SET v = 1 + greatest(
            v::int8,
            (SELECT max(connection_key) FROM conn_key_map),
            (SELECT max(connection_key) FROM conn_sender),
            (SELECT max(connection_key) FROM conn_mess_number),
            (SELECT max(connection_key) FROM conn_messages)
        ) WHERE id = 1 RETURNING v::int8";
    let key = only(db.first(sql, &[]).await?)?;
    db.execute("UPDATE liner_state SET last_key = $1", &[int8(&key)]).await?;
    Ok(LaneKey(key))
}

/// The key of a topic for people and tools that know liner_broker's table; nothing here reads it.
pub(super) async fn ensure_topic_key(db: &DbSession, topic: &Topic) -> Outcome<()> {
    let (known, topic) = ("SELECT 1 FROM topic_key WHERE topic = $1", topic.as_str());
    if db.first(known, &[text(&topic)]).await?.is_some() {
        return Ok(());
    }
    lock_keys(db).await?;
    if db.first(known, &[text(&topic)]).await?.is_none() {
        let key = new_key(db).await?;
        db.execute("INSERT INTO topic_key (topic, k) VALUES ($1, $2)", &[text(&topic), int8(&key.0)]).await?;
    }
    Ok(())
}
