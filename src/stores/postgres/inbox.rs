//! Finding the lanes a node receives on.

use super::error::Outcome;
use super::lanes::{self, incarnation, seq};
use super::session::{DbSession, int8};
use crate::stores::{InboxLane, LaneKey};
use crate::types::{Cursor, LaneName};

pub(super) async fn receive(db: &DbSession, lane: &LaneName) -> Outcome<InboxLane> {
    let key = lanes::made(db, lane).await?;
    let sql = "SELECT incarnation, number, attempts FROM liner_attempts WHERE connection_key = $1
        ORDER BY number, incarnation";
    let mut attempts = Vec::new();
    for row in db.query(sql, &[int8(&key.0)]).await? {
        let times = u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(u32::MAX);
        attempts.push((incarnation(row.try_get(0)?), seq(row.try_get(1)?), times));
    }
    let cursor = cursor(db, key).await?;
    Ok(InboxLane { key, cursor, attempts })
}

/// Returns the cursor of a lane, if this library stored one (liner_broker stores a number without an incarnation).
pub(super) async fn cursor(db: &DbSession, key: LaneKey) -> Outcome<Option<Cursor>> {
    let sql = "SELECT incarnation, v::int8 FROM conn_mess_number WHERE connection_key = $1 AND incarnation IS NOT NULL";
    Ok(match db.first(sql, &[int8(&key.0)]).await? {
        Some(row) => Some(Cursor { incarnation: incarnation(row.try_get(0)?), seq: seq(row.try_get(1)?) }),
        None => None,
    })
}
