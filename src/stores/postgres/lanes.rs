//! The rows of `conn_key_map`: finding, naming and creating lanes, and the keys they are known by.
//!
//! Sender and receiver find or create the same row by the same rule, so they meet in it. Creating takes the lock on `seq`
//! and looks again.

use super::error::Outcome;
use super::session::{Param, Session, int8, text};
use crate::stores::{LaneKey, StoreError, naming};
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq, Topic};
use tokio_postgres::Row;

/// A number as the tables hold it. No lane lives long enough to leave 63 bits, but "everything" may be asked for with the
/// largest number there is.
pub(super) fn sql_seq(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

/// A stored number; negative ones do not occur.
pub(super) fn seq(stored: i64) -> Seq {
    Seq::new(u64::try_from(stored).unwrap_or(0))
}

pub(super) fn sql_incarnation(incarnation: Incarnation) -> i64 {
    incarnation.get().cast_signed()
}

pub(super) fn incarnation(stored: i64) -> Incarnation {
    Incarnation::new(stored.cast_unsigned())
}

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

fn params<'a>(names: &'a [&'a str; 4]) -> [Param<'a>; 4] {
    [text(&names[0]), text(&names[1]), text(&names[2]), text(&names[3])]
}

/// The only column of a row that must be there.
pub(super) fn only(row: Option<Row>) -> Outcome<i64> {
    let row = row.ok_or_else(|| StoreError::Damaged("a row that must be there is missing".into()))?;
    Ok(row.try_get(0)?)
}

pub(super) async fn find(db: &Session, lane: &LaneName) -> Outcome<Option<LaneKey>> {
    let sql = "SELECT connection_key::int8 FROM conn_key_map
        WHERE sender = $1 AND source_topic = $2 AND receiver = $3 AND topic = $4";
    let row = db.first(sql, &params(&names(lane))).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.map(LaneKey))
}

pub(super) async fn find_or_create(db: &Session, lane: &LaneName) -> Outcome<LaneKey> {
    if let Some(key) = find(db, lane).await? {
        return Ok(key);
    }
    lock_keys(db).await?;
    match find(db, lane).await? {
        Some(key) => Ok(key),
        None => create(db, lane).await,
    }
}

async fn create(db: &Session, lane: &LaneName) -> Outcome<LaneKey> {
    let key = new_key(db).await?;
    create_under(db, lane, key).await?;
    Ok(key)
}

/// Makes a connection key of the reference the key of a lane. No lock: receivers look for a lane once its sender has it.
pub(super) async fn claim(db: &Session, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    db.execute("DELETE FROM conn_key_map WHERE connection_key = $1", &[int8(&key.0)]).await?;
    create_under(db, lane, key).await
}

async fn create_under(db: &Session, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    let composite = free_composite(db, lane, key).await?;
    let [sender, source, receiver, topic] = names(lane);
    let insert = "INSERT INTO conn_key_map (composite, connection_key, sender, source_topic, receiver, topic)
        VALUES ($1, $2, $3, $4, $5, $6)";
    let row = [text(&composite), int8(&key.0), text(&sender), text(&source), text(&receiver), text(&topic)];
    db.execute(insert, &row).await?;
    let origin = "INSERT INTO conn_sender (connection_key, sender_topic) VALUES ($1, $2)
        ON CONFLICT (connection_key) DO UPDATE SET sender_topic = excluded.sender_topic";
    db.execute(origin, &[int8(&key.0), text(&source)]).await?;
    // What an emptied store left behind under a key that is given again.
    db.execute("DELETE FROM liner_spans WHERE connection_key = $1", &[int8(&key.0)]).await?;
    db.execute("DELETE FROM liner_attempts WHERE connection_key = $1", &[int8(&key.0)]).await?;
    Ok(())
}

/// One transaction at a time gives out keys.
async fn lock_keys(db: &Session) -> Outcome<()> {
    db.execute("INSERT INTO seq (id, v) VALUES (1, 0) ON CONFLICT (id) DO NOTHING", &[]).await?;
    db.query("SELECT v FROM seq WHERE id = 1 FOR UPDATE", &[]).await?;
    Ok(())
}

/// A key above every key in any table, whatever an operator or the reference left in them.
async fn new_key(db: &Session) -> Outcome<LaneKey> {
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

/// The plain form, unless the route is a subscription or another lane has it. The form with the topic can only be taken
/// by a reference composite whose names contain colons; the key then tells the two apart.
async fn free_composite(db: &Session, lane: &LaneName, key: LaneKey) -> Outcome<String> {
    let sql = "SELECT 1 FROM topic_addr WHERE topic = $1 AND client_name = $2 AND subscription LIMIT 1";
    let [_, _, receiver, topic] = names(lane);
    let subscription = db.first(sql, &[text(&topic), text(&receiver)]).await?.is_some();
    let taken = "SELECT 1 FROM conn_key_map WHERE composite = $1";
    let plain = naming::plain(lane);
    if !subscription && db.first(taken, &[text(&plain)]).await?.is_none() {
        return Ok(plain);
    }
    let with_topic = naming::with_topic(lane);
    let free = db.first(taken, &[text(&with_topic)]).await?.is_none();
    Ok(if free { with_topic } else { format!("{with_topic}:{}", key.0) })
}

/// The key of a topic for people and tools that know the reference's table; nothing here reads it.
pub(super) async fn ensure_topic_key(db: &Session, topic: &Topic) -> Outcome<()> {
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
