//! Reads legacy data of a SQLite database, in the transaction of the caller.

use super::{LegacyCatalogue, LegacyKey};
use crate::stores::LaneKey;
use crate::types::NodeId;
use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension as _, Result};

/// Returns the legacy connection keys of a sender, and its lanes that hold legacy rows.
pub(in crate::stores) fn keys(db: &Connection, node: &NodeId) -> Result<Vec<LaneKey>> {
    let sql = "SELECT connection_key FROM conn_key_map WHERE sender IS NULL AND substr(composite, 1, length(?1) + 1) = ?1 || ':'
        UNION SELECT connection_key FROM conn_key_map AS k WHERE sender = ?1 AND EXISTS (
            SELECT 1 FROM conn_messages AS m WHERE m.connection_key = k.connection_key AND m.number IS NULL
        )";
    let mut statement = db.prepare(sql)?;
    let keys = statement.query_map([node.as_str()], |row| row.get(0).map(LaneKey))?;
    keys.collect()
}

fn pairs<A: FromSql, B: FromSql>(db: &Connection, sql: &str) -> Result<Vec<(A, B)>> {
    let mut statement = db.prepare_cached(sql)?;
    let pairs = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    pairs.collect()
}

/// Returns the catalogue as `node` sees it.
pub(in crate::stores) fn catalogue(db: &Connection, node: &NodeId) -> Result<LegacyCatalogue> {
    let mut catalogue = LegacyCatalogue {
        served: pairs(db, "SELECT topic, client_name FROM topic_addr")?,
        ..LegacyCatalogue::default()
    };
    for (topic, key) in pairs(db, "SELECT topic, k FROM topic_key")? {
        catalogue.number(topic, key);
    }
    let sql = "SELECT l.sender_key, l.listener_topic,
            CASE WHEN l.client_name <> '' THEN l.client_name ELSE a.client_name END
        FROM sender_listener AS l LEFT JOIN topic_addr AS a ON a.topic = l.listener_topic AND a.addr = l.addr";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        catalogue.remember(node, &row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
    }
    let sql = "SELECT 1 FROM conn_key_map
        WHERE (sender IS NULL AND substr(composite, 1, length(?1) + 1) <> ?1 || ':')
            OR (sender <> ?1 AND incarnation IS NOT NULL) LIMIT 1";
    catalogue.others_send = db.prepare_cached(sql)?.exists([node.as_str()])?;
    Ok(catalogue)
}

/// Returns a connection key and its records, or `None` if it does not exist.
pub(in crate::stores) fn key(db: &Connection, key: LaneKey) -> Result<Option<LegacyKey>> {
    let sql = "SELECT k.composite, k.sender, k.source_topic, k.receiver, s.sender_topic, coalesce(n.v, 0)
        FROM conn_key_map AS k LEFT JOIN conn_sender AS s ON s.connection_key = k.connection_key
        LEFT JOIN conn_mess_number AS n ON n.connection_key = k.connection_key AND n.incarnation IS NULL
        WHERE k.connection_key = ?1";
    let found = db.prepare_cached(sql)?.query_row([key.0], |row| {
        let sender: Option<String> = row.get(1)?;
        let lane = sender.map(|sender| Ok::<_, rusqlite::Error>([sender, row.get(2)?, row.get(3)?])).transpose()?;
        Ok(LegacyKey { key: key.0, composite: row.get(0)?, lane, source: row.get(4)?, handled: row.get(5)? })
    });
    found.optional()
}

/// Returns the ids of at most `limit` legacy rows of a key after the row `after`, in ascending order.
pub(in crate::stores) fn row_ids(db: &Connection, key: LaneKey, after: i64, limit: i64) -> Result<Vec<i64>> {
    let sql =
        "SELECT id FROM conn_messages WHERE connection_key = ?1 AND number IS NULL AND id > ?2 ORDER BY id LIMIT ?3";
    let mut statement = db.prepare_cached(sql)?;
    let ids = statement.query_map((key.0, after, limit), |row| row.get(0))?;
    ids.collect()
}

/// Returns the bytes of a row.
pub(in crate::stores) fn row(db: &Connection, id: i64) -> Result<Vec<u8>> {
    db.prepare_cached("SELECT payload FROM conn_messages WHERE id = ?1")?.query_row([id], |row| row.get(0))
}

/// Deletes a connection key and its records.
pub(in crate::stores) fn delete_key(db: &Connection, key: LaneKey) -> Result<()> {
    for table in ["conn_key_map", "conn_sender", "conn_mess_number"] {
        db.prepare_cached(&format!("DELETE FROM {table} WHERE connection_key = ?1"))?.execute([key.0])?;
    }
    Ok(())
}
