//! The table of messages that could not be handled. Keyed by names, so a letter outlives its lane.

use super::error::Outcome;
use super::lanes::{incarnation, lane_id, names, seq, sql_incarnation, sql_seq};
use crate::stores::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin};
use crate::types::{Headers, Message, MessageId, NodeId, Payload};
use bytes::Bytes;
use rusqlite::{Connection, Row, params};

pub(super) fn keep(db: &Connection, letter: &DeadLetter) -> Outcome<()> {
    let (sender, source, receiver, topic) = names(letter.id.lane.name());
    let sql =
        "INSERT INTO liner_dead_letters (node, origin, sender, source_topic, receiver, topic, incarnation, number,
            headers, payload, reason, attempts, died_ms)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
        ON CONFLICT (sender, source_topic, receiver, topic, incarnation, number, origin) DO NOTHING";
    db.prepare_cached(sql)?.execute(params![
        letter.owner().as_str(),
        letter.origin.as_str(),
        sender,
        source,
        receiver,
        topic,
        sql_incarnation(letter.id.incarnation),
        sql_seq(letter.id.seq),
        &letter.message.headers.encoded()[..],
        &letter.message.payload[..],
        letter.reason,
        letter.attempts,
        i64::try_from(letter.died_ms).unwrap_or(i64::MAX),
    ])?;
    Ok(())
}

pub(super) fn remove(db: &Connection, node: &NodeId, id: DeadLetterId) -> Outcome<()> {
    let sql = "DELETE FROM liner_dead_letters WHERE id = ?1 AND node = ?2";
    db.prepare_cached(sql)?.execute((id.0, node.as_str()))?;
    Ok(())
}

/// `?1` the owner, `?2` the topic or NULL, `?3` and `?4` the ids between which (`?3` excluded) letters lie.
const MATCHING: &str = "node = ?1 AND (?2 IS NULL OR topic = ?2) AND id > ?3 AND id <= ?4";

pub(super) fn list(
    db: &Connection,
    node: &NodeId,
    filter: &DeadLetterFilter,
    after: Option<DeadLetterId>,
    limit: usize,
) -> Outcome<Vec<(DeadLetterId, DeadLetter)>> {
    let sql = format!(
        "SELECT sender, source_topic, receiver, topic, incarnation, number, headers, payload, reason, attempts, died_ms,
            origin, id FROM liner_dead_letters WHERE {MATCHING} ORDER BY id LIMIT ?5"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut letters = Vec::new();
    for (above, through) in ranges(filter, after) {
        let left = i64::try_from(limit - letters.len()).unwrap_or(i64::MAX);
        let mut rows = statement.query((node.as_str(), topic(filter), above, through, left))?;
        while let Some(row) = rows.next()? {
            letters.push((DeadLetterId(row.get(12)?), letter(row)?));
        }
    }
    Ok(letters)
}

pub(super) fn purge(db: &Connection, node: &NodeId, filter: &DeadLetterFilter) -> Outcome<u64> {
    let mut statement = db.prepare_cached(&format!("DELETE FROM liner_dead_letters WHERE {MATCHING}"))?;
    let mut purged = 0;
    for (above, through) in ranges(filter, None) {
        purged += statement.execute((node.as_str(), topic(filter), above, through))? as u64;
    }
    Ok(purged)
}

fn topic(filter: &DeadLetterFilter) -> Option<&str> {
    filter.topic.as_ref().map(|topic| topic.as_str())
}

/// Where the letters may lie: one range of ids, or one range of a single id for each that is named.
fn ranges(filter: &DeadLetterFilter, after: Option<DeadLetterId>) -> Vec<(i64, i64)> {
    let after = after.map_or(0, DeadLetterId::get);
    if filter.ids.is_empty() {
        return vec![(after, i64::MAX)];
    }
    let mut ids: Vec<i64> = filter.ids.iter().map(|id| id.0).filter(|id| *id > after).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().map(|id| (id - 1, id)).collect()
}

fn letter(row: &Row<'_>) -> Outcome<DeadLetter> {
    let id = MessageId { lane: lane_id(row, 0)?, incarnation: incarnation(row.get(4)?), seq: seq(row.get(5)?) };
    let headers = Headers::decode(Bytes::from(row.get::<_, Vec<u8>>(6)?))?;
    let payload = Payload::new(row.get::<_, Vec<u8>>(7)?)?;
    let origin = DeadLetterOrigin::parse(&row.get::<_, String>(11)?)?;
    Ok(DeadLetter {
        id,
        origin,
        message: Message { headers, payload },
        reason: row.get(8)?,
        attempts: row.get(9)?,
        died_ms: u64::try_from(row.get::<_, i64>(10)?).unwrap_or(0),
    })
}
