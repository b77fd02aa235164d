//! Finding the lanes a node receives on.

use super::error::Outcome;
use super::journal;
use super::lanes::{self, incarnation, seq};
use crate::stores::InboxLane;
use crate::types::LaneName;
use rusqlite::Connection;

pub(super) fn receive(db: &Connection, lane: &LaneName) -> Outcome<InboxLane> {
    let key = lanes::find_or_create(db, lane)?;
    let sql = "SELECT incarnation, number, attempts FROM liner_attempts WHERE connection_key = ?1
        ORDER BY number, incarnation";
    let mut statement = db.prepare_cached(sql)?;
    let attempts = statement
        .query_map([key.0], |row| Ok((incarnation(row.get(0)?), seq(row.get(1)?), row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(InboxLane { key, cursor: journal::cursor(db, key)?, attempts })
}
