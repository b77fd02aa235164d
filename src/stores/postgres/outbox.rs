//! Opening, reading and administering the lanes a node sends on.

use super::error::Outcome;
use super::lanes::{self, incarnation, lane_id, names, seq, sql_incarnation, sql_seq};
use super::session::{DbSession, Param, int8, int8s, text};
use crate::stores::shared::chain::Chain;
use crate::stores::shared::{naming, row};
use crate::stores::{Amount, LaneKey, OutboxLane, Page, PageLimit, Span, StoreError};
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq};
use bytes::Bytes;
use tokio_postgres::Row;

/// Messages counted, or deleted, by one statement: a second or so at worst, far below the server's limit for one.
const RANGE: i64 = 200_000;

/// What a lane's row and queue say of its numbers.
struct Numbers {
    acked: Seq,
    next: Seq,
    /// Nothing is queued up to here.
    floor: Seq,
}

/// `$1` is the sender. In the order of bytes, whatever the database's language.
pub(super) const OPENED: &str = "SELECT connection_key::int8, sender, source_topic, receiver, topic FROM conn_key_map
    WHERE sender = $1 AND incarnation IS NOT NULL
    ORDER BY source_topic COLLATE \"C\", receiver COLLATE \"C\", topic COLLATE \"C\"";

/// The lanes opened by their sender, in name order, from the rows of [`OPENED`].
pub(super) fn opened(rows: &[Row]) -> Outcome<Vec<(LaneKey, LaneId)>> {
    rows.iter().map(|row| Ok((LaneKey(row.try_get(0)?), lane_id(row, 1)?))).collect()
}

async fn opened_by(db: &DbSession, sender: &NodeId) -> Outcome<Vec<(LaneKey, LaneId)>> {
    opened(&db.query(OPENED, &[text(&sender.as_str())]).await?)
}

/// Everything of [`OutboxLane`] but what is pending, which needs no transaction.
pub(super) async fn open(db: &DbSession, lane: &LaneName, incarnation: Incarnation) -> Outcome<OutboxLane> {
    let key = lanes::made(db, lane).await?;
    lock(db, key).await?;
    remember_route(db, lane).await?;
    let numbers = numbers(db, key).await?;
    let mut chain = chain(db, key).await?;
    let before = chain.clone();
    chain.open(incarnation, numbers.floor, numbers.next);
    if chain != before {
        store_chain(db, key, &chain).await?;
    }
    Ok(OutboxLane {
        key,
        id: LaneId::new(lane.clone()),
        spans: chain.spans,
        predecessor: chain.predecessor,
        next: numbers.next,
        acked: numbers.acked,
        pending: Amount::default(),
    })
}

/// Keeps appends and trims away until the transaction ends.
async fn lock(db: &DbSession, key: LaneKey) -> Outcome<()> {
    let sql = "SELECT 1 FROM conn_key_map WHERE connection_key = $1 FOR UPDATE";
    db.query(sql, &[int8(&key.0)]).await?;
    Ok(())
}

/// Writes the peer's address to the table where liner_broker kept it, for operators; nothing here reads it.
async fn remember_route(db: &DbSession, lane: &LaneName) -> Outcome<()> {
    let sql = "INSERT INTO sender_listener (sender_key, addr, listener_topic, client_name)
        SELECT $1, addr, topic, client_name FROM topic_addr WHERE topic = $2 AND client_name = $3 ORDER BY addr
        ON CONFLICT (sender_key, addr)
        DO UPDATE SET listener_topic = excluded.listener_topic, client_name = excluded.client_name";
    let key = naming::sender_key(lane);
    let [_, _, receiver, topic] = names(lane);
    db.execute(sql, &[text(&key), text(&topic), text(&receiver)]).await?;
    Ok(())
}

async fn numbers(db: &DbSession, key: LaneKey) -> Outcome<Numbers> {
    let sql = "SELECT acked, removed,
            (SELECT min(number) FROM conn_messages WHERE connection_key = $1 AND number > 0),
            (SELECT max(number) FROM conn_messages WHERE connection_key = $1 AND number > 0)
        FROM conn_key_map WHERE connection_key = $1";
    let row = db.first(sql, &[int8(&key.0)]).await?.ok_or(StoreError::NoLane(key.0))?;
    let (acked, removed): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (lowest, highest): (Option<i64>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    let next = seq(acked.max(removed).max(highest.unwrap_or(0))).next();
    Ok(Numbers { acked: seq(acked), next, floor: lowest.map_or(next, seq).prev() })
}

async fn chain(db: &DbSession, key: LaneKey) -> Outcome<Chain> {
    let sql = "SELECT incarnation, first FROM liner_spans WHERE connection_key = $1 ORDER BY id";
    let mut spans = Vec::new();
    for row in db.query(sql, &[int8(&key.0)]).await? {
        spans.push(Span { incarnation: incarnation(row.try_get(0)?), first: seq(row.try_get(1)?) });
    }
    let sql = "SELECT predecessor FROM conn_key_map WHERE connection_key = $1";
    let row = db.first(sql, &[int8(&key.0)]).await?.ok_or(StoreError::NoLane(key.0))?;
    Ok(Chain { spans, predecessor: row.try_get::<_, Option<i64>>(0)?.map(incarnation) })
}

async fn store_chain(db: &DbSession, key: LaneKey, chain: &Chain) -> Outcome<()> {
    db.execute("DELETE FROM liner_spans WHERE connection_key = $1", &[int8(&key.0)]).await?;
    let (incarnations, firsts): (Vec<i64>, Vec<i64>) =
        chain.spans.iter().map(|span| (sql_incarnation(span.incarnation), sql_seq(span.first))).unzip();
    let insert = "INSERT INTO liner_spans (connection_key, incarnation, first)
        SELECT $1, s.incarnation, s.first FROM unnest($2::int8[], $3::int8[]) WITH ORDINALITY AS s(incarnation, first, nth)
        ORDER BY s.nth";
    db.execute(insert, &[int8(&key.0), int8s(&incarnations), int8s(&firsts)]).await?;
    let newest = incarnations.last().copied();
    let predecessor = chain.predecessor.map(sql_incarnation);
    let sql = "UPDATE conn_key_map SET incarnation = $2, predecessor = $3 WHERE connection_key = $1";
    db.execute(sql, &[int8(&key.0), int8(&newest), int8(&predecessor)]).await?;
    Ok(())
}

/// `$1` the lane, `$2` the number after which the page starts, `$3` one row more than the page may have, `$4` its bytes,
/// `$5` the bytes of a row other than headers and payload. Returns payloads, each with whether it is the last. Rows that
/// do not fit are measured but not read.
pub(super) const LOAD: &str = "SELECT payload, at_end FROM (
        SELECT payload, row_number() OVER page AS nth, lead(number) OVER page IS NULL AS at_end,
            sum(octet_length(payload) - $5) OVER page AS through
        FROM (
            SELECT number, payload FROM conn_messages WHERE connection_key = $1 AND number > $2
            ORDER BY number LIMIT $3
        ) AS found
        WINDOW page AS (ORDER BY number)
    ) AS counted
    WHERE nth < $3 AND (nth = 1 OR through <= $4) ORDER BY nth";

/// The values of [`LOAD`]'s parameters.
pub(super) struct Loading([i64; 5]);

impl Loading {
    pub(super) fn new(lane: LaneKey, after: Seq, limit: PageLimit) -> Self {
        let rows = i64::try_from(limit.messages).unwrap_or(i64::MAX).saturating_add(1);
        let bytes = i64::try_from(limit.bytes).unwrap_or(i64::MAX);
        Loading([lane.0, sql_seq(after), rows, bytes, row::OVERHEAD as i64])
    }

    pub(super) fn params(&self) -> [Param<'_>; 5] {
        self.0.each_ref().map(int8)
    }
}

pub(super) fn page(rows: Vec<Row>) -> Outcome<Page> {
    let mut page = Page { messages: Vec::with_capacity(rows.len()), end: true };
    for found in rows {
        let encoded: &[u8] = found.try_get(0)?;
        page.messages.push(row::decode(Bytes::copy_from_slice(encoded))?);
        page.end = found.try_get(1)?;
    }
    Ok(page)
}

/// `$1` is the lane.
pub(super) const OLDEST: &str =
    "SELECT payload FROM conn_messages WHERE connection_key = $1 AND number > 0 ORDER BY number LIMIT 1";

pub(super) fn oldest_ms(rows: &[Row]) -> Outcome<Option<u64>> {
    let Some(found) = rows.first() else { return Ok(None) };
    let encoded: &[u8] = found.try_get(0)?;
    Ok(Some(row::decode(Bytes::copy_from_slice(encoded))?.accepted_ms))
}

/// What is queued above `$2` on lane `$1`, at most `$3` messages. From the lengths of the rows alone.
pub(super) const COUNT: &str = "SELECT count(*), coalesce(sum(size), 0)::int8, coalesce(max(number), 0) FROM (
        SELECT number, octet_length(payload)::int8 AS size FROM conn_messages
        WHERE connection_key = $1 AND number > $2 ORDER BY number LIMIT $3
    ) AS found";

/// One look of [`COUNT`] after the other.
pub(super) struct Counting {
    params: [i64; 3],
    pub(super) total: Amount,
}

impl Counting {
    pub(super) fn new(lane: LaneKey) -> Self {
        Counting { params: [lane.0, 0, RANGE], total: Amount::default() }
    }

    pub(super) fn params(&self) -> [Param<'_>; 3] {
        self.params.each_ref().map(int8)
    }

    /// Adds what a look found; whether there may be more.
    pub(super) fn add(&mut self, rows: &[Row]) -> Outcome<bool> {
        let Some(row) = rows.first() else { return Ok(false) };
        let (found, length, last): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let messages = u64::try_from(found).unwrap_or(0);
        let length = u64::try_from(length).unwrap_or(0);
        self.total += Amount { messages, bytes: length.saturating_sub(messages * row::OVERHEAD as u64) };
        self.params[1] = last;
        Ok(found == RANGE)
    }
}

async fn amount(db: &DbSession, key: LaneKey) -> Outcome<Amount> {
    let mut counting = Counting::new(key);
    while {
        let rows = db.query(COUNT, &counting.params()).await?;
        counting.add(&rows)?
    } {}
    Ok(counting.total)
}

/// In ranges, so that no statement takes longer than the server allows one. Rows of liner_broker have no number.
async fn empty(db: &DbSession, key: LaneKey) -> Outcome<()> {
    let sql = "DELETE FROM conn_messages WHERE connection_key = $1 AND number <= coalesce((
            SELECT number FROM conn_messages WHERE connection_key = $1 ORDER BY number LIMIT 1 OFFSET $2
        ), $3)";
    while i64::try_from(db.execute(sql, &[int8(&key.0), int8(&RANGE), int8(&i64::MAX)]).await?).unwrap_or(0) > RANGE {}
    db.execute("DELETE FROM conn_messages WHERE connection_key = $1 AND number IS NULL", &[int8(&key.0)]).await?;
    Ok(())
}

pub(super) async fn clear(db: &DbSession, sender: &NodeId) -> Outcome<Amount> {
    let mut dropped = Amount::default();
    let mut opened = opened_by(db, sender).await?;
    opened.sort_by_key(|(key, _)| *key);
    for (key, _) in opened {
        lock(db, key).await?;
        dropped += amount(db, key).await?;
        let last = sql_seq(numbers(db, key).await?.next.prev());
        let sql = "UPDATE conn_key_map SET removed = $2 WHERE connection_key = $1";
        db.execute(sql, &[int8(&key.0), int8(&last)]).await?;
        empty(db, key).await?;
    }
    Ok(dropped)
}

pub(super) async fn forget(db: &DbSession, sender: &NodeId, lane: &LaneName) -> Outcome<Amount> {
    let key = if lane.sender == *sender { lanes::find(db, lane).await? } else { None };
    let Some(key) = key else { return Ok(Amount::default()) };
    lock(db, key).await?;
    let dropped = amount(db, key).await?;
    empty(db, key).await?;
    for sql in [
        "DELETE FROM conn_mess_number WHERE connection_key = $1",
        "DELETE FROM conn_sender WHERE connection_key = $1",
        "DELETE FROM conn_key_map WHERE connection_key = $1",
        "DELETE FROM liner_spans WHERE connection_key = $1",
        "DELETE FROM liner_attempts WHERE connection_key = $1",
    ] {
        db.execute(sql, &[int8(&key.0)]).await?;
    }
    let sql = "DELETE FROM sender_listener WHERE sender_key = $1 AND client_name = $2 AND listener_topic = $3";
    let (sender_key, [_, _, receiver, topic]) = (naming::sender_key(lane), names(lane));
    db.execute(sql, &[text(&sender_key), text(&receiver), text(&topic)]).await?;
    Ok(dropped)
}
