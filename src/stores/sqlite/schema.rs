//! Recognising a database and bringing it to the current schema.
//!
//! Migrations are numbered files, run once each in one transaction together with the record of it. They only add, so
//! that processes of an older version keep working; `min_reader` rises when that is impossible.

use super::error::open_error;
use crate::stores::legacy::LEGACY_TABLES;
use crate::stores::{OpenError, StoreError};
use crate::types::StoreId;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

struct Migration {
    version: u32,
    /// The oldest schema version whose readers understand a store with this migration.
    min_reader: u32,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, min_reader: 1, sql: include_str!("../schema/sqlite_001.sql") }];

/// The schema version this library writes.
const OURS: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Columns of ours that tables made by liner_broker, or by an operator in its shape, lack.
const ADDED_COLUMNS: &[(&str, &str, &str)] = &[
    ("topic_addr", "subscription", "INTEGER NOT NULL DEFAULT 0"),
    ("topic_addr", "lease_epoch", "INTEGER"),
    ("conn_key_map", "sender", "TEXT"),
    ("conn_key_map", "source_topic", "TEXT"),
    ("conn_key_map", "receiver", "TEXT"),
    ("conn_key_map", "topic", "TEXT"),
    ("conn_key_map", "incarnation", "INTEGER"),
    ("conn_key_map", "predecessor", "INTEGER"),
    ("conn_key_map", "acked", "INTEGER NOT NULL DEFAULT 0"),
    ("conn_key_map", "removed", "INTEGER NOT NULL DEFAULT 0"),
    ("conn_mess_number", "incarnation", "INTEGER"),
    ("conn_messages", "number", "INTEGER"),
    ("sender_listener", "client_name", "TEXT NOT NULL DEFAULT ''"),
];

/// Files up to this size are checked whole when opened: it costs a few tens of milliseconds. In larger ones damage shows
/// when a damaged page is read.
const CHECKED_PAGES: i64 = 16 * 1024 * 1024 / 4096;

/// Between two attempts to open a file that another process is opening.
const RETRY: Duration = Duration::from_millis(5);

/// What a file is, before anything in it is changed.
enum Kind {
    Empty,
    Legacy,
    Ours { version: u32 },
}

/// Brings the database to the current schema and returns its id. Several processes may do so at once: switching a new
/// file to its log fails as busy at once instead of waiting, so it is repeated for as long as `patience`.
pub(super) fn prepare(connection: &mut Connection, path: &Path, patience: Duration) -> Result<StoreId, OpenError> {
    let deadline = Instant::now() + patience;
    loop {
        match prepare_once(connection, path) {
            Err(OpenError::Store(StoreError::Busy)) if Instant::now() < deadline => std::thread::sleep(RETRY),
            result => return result,
        }
    }
}

fn prepare_once(connection: &mut Connection, path: &Path) -> Result<StoreId, OpenError> {
    check_pages(connection, path)?;
    recognise(connection, path)?;
    let failed = |error| open_error(path, error);
    // Only now: the switch writes to the file, which must not happen to another application's.
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    let from = match recognise(&transaction, path)? {
        Kind::Empty => 0,
        Kind::Legacy => adopt(&transaction).map_err(failed).map(|()| 0)?,
        Kind::Ours { version } => version,
    };
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        transaction.execute_batch(migration.sql).map_err(failed)?;
        record(&transaction, migration, path)?;
    }
    forget_emptied(&transaction).map_err(failed)?;
    let id: i64 = transaction.query_row("SELECT store_id FROM liner_schema", [], |row| row.get(0)).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    Ok(StoreId::new(id.cast_unsigned()))
}

fn check_pages(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error| open_error(path, error);
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).map_err(failed)?;
    if pages > CHECKED_PAGES {
        return Ok(());
    }
    let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if report == "ok" { Ok(()) } else { Err(OpenError::Corrupt { path: path.display().to_string(), reason: report }) }
}

fn recognise(connection: &Connection, path: &Path) -> Result<Kind, OpenError> {
    let failed = |error| open_error(path, error);
    let foreign = || OpenError::Foreign { path: path.display().to_string() };
    let tables = names(
        connection,
        "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        AND type IN ('table', 'view')",
    )
    .map_err(failed)?;
    if tables.is_empty() {
        return Ok(Kind::Empty);
    }
    if tables.contains("liner_schema") {
        let (version, min_reader) = connection
            .query_row("SELECT version, min_reader FROM liner_schema", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed)?;
        if min_reader > OURS {
            return Err(OpenError::Newer { min_reader, ours: OURS });
        }
        return Ok(Kind::Ours { version });
    }
    let known: BTreeSet<String> = LEGACY_TABLES.iter().map(|(table, _)| (*table).to_owned()).collect();
    if !tables.is_subset(&known) && !tables.is_superset(&known) {
        return Err(foreign());
    }
    for (table, expected) in LEGACY_TABLES.iter().filter(|(table, _)| tables.contains(*table)) {
        let columns = columns(connection, table).map_err(failed)?;
        if !expected.iter().all(|column| columns.contains(*column)) {
            return Err(foreign());
        }
    }
    Ok(Kind::Legacy)
}

fn names(connection: &Connection, sql: &str) -> rusqlite::Result<BTreeSet<String>> {
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// `table` is one of the constants above, so it may stand in the statement.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    names(connection, &format!("SELECT name FROM pragma_table_info('{table}')"))
}

/// Gives existing tables the columns they lack; the migration creates those that are missing.
fn adopt(connection: &Connection) -> rusqlite::Result<()> {
    for (table, column, declaration) in ADDED_COLUMNS {
        let present = columns(connection, table)?;
        if !present.is_empty() && !present.contains(*column) {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {declaration}"))?;
        }
    }
    Ok(())
}

/// Notes in the same transaction that a migration ran. The first makes the record, and with it the store's id.
fn record(connection: &Connection, migration: &Migration, path: &Path) -> Result<(), OpenError> {
    let failed = |error| open_error(path, error);
    let create = "CREATE TABLE IF NOT EXISTS liner_schema (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        version INTEGER NOT NULL,
        min_reader INTEGER NOT NULL,
        store_id INTEGER NOT NULL
    )";
    connection.execute_batch(create).map_err(failed)?;
    let id = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
    let upsert = "INSERT INTO liner_schema (id, version, min_reader, store_id) VALUES (1, ?1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET version = excluded.version, min_reader = excluded.min_reader";
    connection.execute(upsert, (migration.version, migration.min_reader, id.cast_signed())).map_err(failed)?;
    Ok(())
}

/// After an operator emptied the data tables and set `seq.v` back, nothing in the other tables is true any more. Epochs and
/// dead letters are: they depend on no lane.
fn forget_emptied(connection: &Connection) -> rusqlite::Result<()> {
    let keys: i64 =
        connection.query_row("SELECT v FROM seq WHERE id = 1", [], |row| row.get(0)).optional()?.unwrap_or(0);
    let emptied = connection.execute("UPDATE liner_state SET last_key = ?1 WHERE last_key > ?1", [keys])?;
    if emptied > 0 {
        connection.execute_batch(
            "DELETE FROM liner_spans; DELETE FROM liner_attempts; DELETE FROM liner_tombstones; DELETE FROM liner_peers",
        )?;
    }
    Ok(())
}
