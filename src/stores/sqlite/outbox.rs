//! Opening, reading and administering the lanes a node sends on.

use super::error::Outcome;
use super::lanes::{self, incarnation, lane_id, names, seq, sql_incarnation, sql_seq};
use crate::stores::shared::chain::Chain;
use crate::stores::shared::{naming, row};
use crate::stores::{Amount, LaneKey, OutboxLane, Page, PageLimit, Span};
use crate::types::{Incarnation, LaneId, LaneName, NodeId, Seq};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _};

/// Messages counted in one look, some milliseconds of reading: other reads of the node wait no longer than that.
const COUNTED: i64 = 10_000;

/// What a lane's row and queue say of its numbers.
struct Numbers {
    acked: Seq,
    next: Seq,
    /// Nothing is queued up to here.
    floor: Seq,
}

pub(super) fn lanes(db: &Connection, sender: &NodeId) -> Outcome<Vec<LaneId>> {
    let opened = opened(db, sender)?;
    Ok(opened.into_iter().map(|(_, lane)| lane).collect())
}

/// The lanes opened by their sender, in name order.
pub(super) fn opened(db: &Connection, sender: &NodeId) -> Outcome<Vec<(LaneKey, LaneId)>> {
    let sql = "SELECT connection_key, sender, source_topic, receiver, topic FROM conn_key_map
        WHERE sender = ?1 AND incarnation IS NOT NULL ORDER BY source_topic, receiver, topic";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([sender.as_str()])?;
    let mut opened = Vec::new();
    while let Some(row) = rows.next()? {
        opened.push((LaneKey(row.get(0)?), lane_id(row, 1)?));
    }
    Ok(opened)
}

/// Everything of [`OutboxLane`] but what is pending, which needs no write transaction.
pub(super) fn open(db: &Connection, lane: &LaneName, incarnation: Incarnation) -> Outcome<OutboxLane> {
    let key = lanes::find_or_create(db, lane)?;
    remember_route(db, lane)?;
    let numbers = numbers(db, key)?;
    let mut chain = chain(db, key)?;
    let before = chain.clone();
    chain.open(incarnation, numbers.floor, numbers.next);
    if chain != before {
        store_chain(db, key, &chain)?;
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

/// Writes the peer's address to the table where liner_broker kept it, for operators; nothing here reads it.
fn remember_route(db: &Connection, lane: &LaneName) -> Outcome<()> {
    let sql = "INSERT INTO sender_listener (sender_key, addr, listener_topic, client_name)
        SELECT ?1, addr, topic, client_name FROM topic_addr WHERE topic = ?2 AND client_name = ?3
        ON CONFLICT (sender_key, addr)
        DO UPDATE SET listener_topic = excluded.listener_topic, client_name = excluded.client_name";
    let key = naming::sender_key(lane);
    db.prepare_cached(sql)?.execute((key, lane.topic.as_str(), lane.receiver.as_str()))?;
    Ok(())
}

fn numbers(db: &Connection, key: LaneKey) -> Outcome<Numbers> {
    let sql = "SELECT acked, removed,
            (SELECT min(number) FROM conn_messages WHERE connection_key = ?1 AND number > 0),
            (SELECT max(number) FROM conn_messages WHERE connection_key = ?1 AND number > 0)
        FROM conn_key_map WHERE connection_key = ?1";
    let (acked, removed, lowest, highest): (i64, i64, Option<i64>, Option<i64>) =
        db.prepare_cached(sql)?.query_row([key.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let next = seq(acked.max(removed).max(highest.unwrap_or(0))).next();
    Ok(Numbers { acked: seq(acked), next, floor: lowest.map_or(next, seq).prev() })
}

fn chain(db: &Connection, key: LaneKey) -> Outcome<Chain> {
    let sql = "SELECT incarnation, first FROM liner_spans WHERE connection_key = ?1 ORDER BY id";
    let mut statement = db.prepare_cached(sql)?;
    let spans = statement
        .query_map([key.0], |row| Ok(Span { incarnation: incarnation(row.get(0)?), first: seq(row.get(1)?) }))?
        .collect::<rusqlite::Result<_>>()?;
    let sql = "SELECT predecessor FROM conn_key_map WHERE connection_key = ?1";
    let predecessor: Option<i64> = db.prepare_cached(sql)?.query_row([key.0], |row| row.get(0))?;
    Ok(Chain { spans, predecessor: predecessor.map(incarnation) })
}

fn store_chain(db: &Connection, key: LaneKey, chain: &Chain) -> Outcome<()> {
    db.prepare_cached("DELETE FROM liner_spans WHERE connection_key = ?1")?.execute([key.0])?;
    let mut insert =
        db.prepare_cached("INSERT INTO liner_spans (connection_key, incarnation, first) VALUES (?1, ?2, ?3)")?;
    for span in &chain.spans {
        insert.execute((key.0, sql_incarnation(span.incarnation), sql_seq(span.first)))?;
    }
    let newest = chain.spans.last().map(|span| sql_incarnation(span.incarnation));
    let sql = "UPDATE conn_key_map SET incarnation = ?2, predecessor = ?3 WHERE connection_key = ?1";
    db.prepare_cached(sql)?.execute((key.0, newest, chain.predecessor.map(sql_incarnation)))?;
    Ok(())
}

pub(super) fn load(db: &Connection, lane: LaneKey, after: Seq, limit: PageLimit) -> Outcome<Page> {
    let sql = "SELECT payload FROM conn_messages WHERE connection_key = ?1 AND number > ?2 ORDER BY number";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query((lane.0, sql_seq(after)))?;
    let mut page = Page { messages: Vec::new(), end: true };
    let mut bytes = 0;
    while let Some(found) = rows.next()? {
        if page.messages.len() >= limit.messages {
            page.end = false;
            break;
        }
        let encoded = found.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
        bytes += encoded.len().saturating_sub(row::OVERHEAD);
        if bytes > limit.bytes && !page.messages.is_empty() {
            page.end = false;
            break;
        }
        page.messages.push(row::decode(Bytes::copy_from_slice(encoded))?);
    }
    Ok(page)
}

pub(super) fn oldest_ms(db: &Connection, key: LaneKey) -> Outcome<Option<u64>> {
    let sql = "SELECT payload FROM conn_messages WHERE connection_key = ?1 AND number > 0 ORDER BY number LIMIT 1";
    let oldest: Option<Vec<u8>> = db.prepare_cached(sql)?.query_row([key.0], |row| row.get(0)).optional()?;
    Ok(oldest.map(|encoded| row::decode(encoded.into())).transpose()?.map(|stored| stored.accepted_ms))
}

/// What is queued above `after`, as far as one look counts, and from where to go on if there may be more. From the
/// lengths of the rows alone; their contents are not read.
pub(super) fn count(db: &Connection, key: LaneKey, after: Seq) -> Outcome<(Amount, Option<Seq>)> {
    let sql = "SELECT count(*), coalesce(sum(size), 0), coalesce(max(number), 0) FROM (
            SELECT number, length(payload) AS size FROM conn_messages
            WHERE connection_key = ?1 AND number > ?2 ORDER BY number LIMIT ?3
        )";
    let (rows, length, last): (i64, i64, i64) = db
        .prepare_cached(sql)?
        .query_row((key.0, sql_seq(after), COUNTED), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let messages = u64::try_from(rows).unwrap_or(0);
    let length = u64::try_from(length).unwrap_or(0);
    let amount = Amount { messages, bytes: length.saturating_sub(messages * row::OVERHEAD as u64) };
    Ok((amount, (rows == COUNTED).then_some(seq(last))))
}

/// What is queued, counted in one go.
fn amount(db: &Connection, key: LaneKey) -> Outcome<Amount> {
    let (mut total, mut next) = count(db, key, Seq::ZERO)?;
    while let Some(after) = next {
        let (part, rest) = count(db, key, after)?;
        total += part;
        next = rest;
    }
    Ok(total)
}

pub(super) fn clear(db: &Connection, sender: &NodeId) -> Outcome<Amount> {
    let mut dropped = Amount::default();
    for (key, _) in opened(db, sender)? {
        dropped += amount(db, key)?;
        let last = numbers(db, key)?.next.prev();
        db.prepare_cached("UPDATE conn_key_map SET removed = ?2 WHERE connection_key = ?1")?
            .execute((key.0, sql_seq(last)))?;
        db.prepare_cached("DELETE FROM conn_messages WHERE connection_key = ?1")?.execute([key.0])?;
    }
    Ok(dropped)
}

pub(super) fn forget(db: &Connection, sender: &NodeId, lane: &LaneName) -> Outcome<Amount> {
    let key = if lane.sender == *sender { lanes::find(db, lane)? } else { None };
    let Some(key) = key else { return Ok(Amount::default()) };
    let dropped = amount(db, key)?;
    for table in ["conn_messages", "conn_mess_number", "conn_sender", "conn_key_map", "liner_spans", "liner_attempts"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE connection_key = ?1"))?.execute([key.0])?;
    }
    let sql = "DELETE FROM sender_listener WHERE sender_key = ?1 AND client_name = ?2 AND listener_topic = ?3";
    let (_, _, receiver, topic) = names(lane);
    db.prepare_cached(sql)?.execute((naming::sender_key(lane), receiver, topic))?;
    Ok(dropped)
}
