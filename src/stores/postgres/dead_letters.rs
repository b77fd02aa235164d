//! The table of messages that could not be handled. Keyed by names, so a letter outlives its lane.

use super::error::Outcome;
use super::lanes::{incarnation, lane_id, names, seq, sql_incarnation, sql_seq};
use super::session::{DbSession, Param, bytea, int8, int8s, text};
use crate::stores::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin};
use crate::types::{Headers, Message, MessageId, NodeId, Payload};
use bytes::Bytes;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

pub(super) const KEEP: &str =
    "INSERT INTO liner_dead_letters (node, origin, sender, source_topic, receiver, topic, incarnation, number,
        headers, payload, reason, attempts, died_ms)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    ON CONFLICT (sender, source_topic, receiver, topic, incarnation, number, origin) DO NOTHING";

pub(super) const KEEP_TYPES: [Type; 13] = [
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
    Type::BYTEA,
    Type::BYTEA,
    Type::TEXT,
    Type::INT8,
    Type::INT8,
];

/// A letter in the form of its row.
pub(super) struct Kept<'a> {
    texts: [&'a str; 6],
    numbers: [i64; 4],
    headers: Bytes,
    payload: &'a [u8],
    reason: String,
}

impl<'a> Kept<'a> {
    pub(super) fn new(letter: &'a DeadLetter) -> Self {
        let [sender, source, receiver, topic] = names(letter.id.lane.name());
        Kept {
            texts: [letter.owner().as_str(), letter.origin.as_str(), sender, source, receiver, topic],
            numbers: [
                sql_incarnation(letter.id.incarnation),
                sql_seq(letter.id.seq),
                i64::from(letter.attempts),
                i64::try_from(letter.died_ms).unwrap_or(i64::MAX),
            ],
            headers: Bytes::copy_from_slice(letter.message.headers.encoded()),
            payload: &letter.message.payload,
            // The one character that PostgreSQL's text cannot hold.
            reason: letter.reason.replace('\0', "\u{fffd}"),
        }
    }

    pub(super) async fn keep(&self, db: &DbSession) -> Result<Vec<Row>, tokio_postgres::Error> {
        let headers = &self.headers[..];
        let [incarnation, number, attempts, died_ms] = self.numbers.each_ref().map(int8);
        let mut params: Vec<Param<'_>> = self.texts.iter().map(text).collect();
        params.extend([
            incarnation,
            number,
            bytea(&headers),
            bytea(&self.payload),
            text(&self.reason),
            attempts,
            died_ms,
        ]);
        db.query(KEEP, &params).await
    }
}

/// `$1` the id, `$2` the owner.
pub(super) const REMOVE: &str = "DELETE FROM liner_dead_letters WHERE id = $1 AND node = $2";

/// `$1` the owner, `$2` the topic or NULL, `$3` the ids or NULL, `$4` the id after which the page starts, `$5` its length.
pub(super) const LIST: &str =
    "SELECT sender, source_topic, receiver, topic, incarnation, number, headers, payload, reason, attempts, died_ms,
        origin, id FROM liner_dead_letters
    WHERE node = $1 AND ($2::text IS NULL OR topic = $2) AND ($3::int8[] IS NULL OR id = ANY ($3)) AND id > $4
    ORDER BY id LIMIT $5";

const PURGE: &str = "DELETE FROM liner_dead_letters
    WHERE node = $1 AND ($2::text IS NULL OR topic = $2) AND ($3::int8[] IS NULL OR id = ANY ($3))";

/// A filter in the form of parameters.
pub(super) struct LetterQuery<'a> {
    node: &'a str,
    topic: Option<&'a str>,
    ids: Option<Vec<i64>>,
    after: i64,
    limit: i64,
}

impl<'a> LetterQuery<'a> {
    pub(super) fn new(
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Self {
        LetterQuery {
            node: node.as_str(),
            topic: filter.topic.as_ref().map(|topic| topic.as_str()),
            ids: (!filter.ids.is_empty()).then(|| filter.ids.iter().map(|id| id.0).collect()),
            after: after.map_or(0, DeadLetterId::get),
            limit: i64::try_from(limit).unwrap_or(i64::MAX),
        }
    }

    fn which(&self) -> [Param<'_>; 3] {
        [(&self.node, Type::TEXT), text(&self.topic), int8s(&self.ids)]
    }

    pub(super) fn params(&self) -> Vec<Param<'_>> {
        let mut params = Vec::from(self.which());
        params.extend([int8(&self.after), int8(&self.limit)]);
        params
    }

    pub(super) async fn purge(&self, db: &DbSession) -> Outcome<u64> {
        db.execute(PURGE, &self.which()).await
    }
}

pub(super) fn letters(rows: &[Row]) -> Outcome<Vec<(DeadLetterId, DeadLetter)>> {
    rows.iter().map(|row| Ok((DeadLetterId(row.try_get(12)?), letter(row)?))).collect()
}

fn letter(row: &Row) -> Outcome<DeadLetter> {
    let id = MessageId { lane: lane_id(row, 0)?, incarnation: incarnation(row.try_get(4)?), seq: seq(row.try_get(5)?) };
    let headers = Headers::decode(Bytes::from(row.try_get::<_, Vec<u8>>(6)?))?;
    let payload = Payload::new(row.try_get::<_, Vec<u8>>(7)?)?;
    let origin = DeadLetterOrigin::parse(row.try_get(11)?)?;
    Ok(DeadLetter {
        id,
        origin,
        message: Message { headers, payload },
        reason: row.try_get(8)?,
        attempts: u32::try_from(row.try_get::<_, i64>(9)?).unwrap_or(u32::MAX),
        died_ms: u64::try_from(row.try_get::<_, i64>(10)?).unwrap_or(0),
    })
}
