//! Recognising the tables and bringing them to the current schema.
//!
//! Migrations are numbered files, run once each in one transaction together with the record of it, under an advisory lock:
//! any number of nodes may start at once. They only add, so that processes of an older version keep working; `min_reader`
//! rises when that is impossible.

use super::error::Failure;
use super::session::{DbSession, Param, int8};
use crate::stores::legacy::LEGACY_TABLES;
use crate::stores::{OpenError, StoreError};
use crate::types::StoreId;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

struct Migration {
    version: u32,
    /// The oldest schema version whose readers understand a store with this migration.
    min_reader: u32,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] =
    &[Migration { version: 1, min_reader: 1, sql: include_str!("../schema/postgres_001.sql") }];

/// The schema version this library writes.
const OURS: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The oldest server with all that is used here.
const SERVER: i32 = 12;

/// Columns of ours that tables made by liner_broker, or by an operator in its shape, lack.
const ADDED_COLUMNS: &[(&str, &str, &str)] = &[
    ("topic_addr", "subscription", "BOOLEAN NOT NULL DEFAULT FALSE"),
    ("topic_addr", "lease_epoch", "BIGINT"),
    ("conn_key_map", "sender", "TEXT"),
    ("conn_key_map", "source_topic", "TEXT"),
    ("conn_key_map", "receiver", "TEXT"),
    ("conn_key_map", "topic", "TEXT"),
    ("conn_key_map", "incarnation", "BIGINT"),
    ("conn_key_map", "predecessor", "BIGINT"),
    ("conn_key_map", "acked", "BIGINT NOT NULL DEFAULT 0"),
    ("conn_key_map", "removed", "BIGINT NOT NULL DEFAULT 0"),
    ("conn_mess_number", "incarnation", "BIGINT"),
    ("conn_messages", "number", "BIGINT"),
    ("sender_listener", "client_name", "TEXT NOT NULL DEFAULT ''"),
];

/// A step of opening: what the caller was doing when the server said no.
struct Opening<'a> {
    session: &'a DbSession,
    server: &'a str,
}

/// Brings the schema up to date and returns the store's id.
pub(super) async fn prepare(session: &DbSession, server: &str, schema: Option<&str>) -> Result<StoreId, OpenError> {
    let opening = Opening { session, server };
    opening.check_server().await?;
    opening.run(session.begin(false).await)?;
    opening.create_schema(schema).await?;
    // Twenty nodes may wait for the one that is first.
    opening.batch("SET LOCAL lock_timeout TO '60s'; SET LOCAL statement_timeout TO '60s'").await?;
    opening.rows("SELECT pg_advisory_xact_lock(hashtext('liner schema'), hashtext(current_schema()))", &[]).await?;
    let from = match opening.version().await? {
        Some(version) => version,
        None => opening.adopt().await.map(|()| 0)?,
    };
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > from) {
        opening.batch(migration.sql).await?;
        opening.record(migration).await?;
    }
    opening.forget_emptied().await?;
    let rows = opening.rows("SELECT store_id FROM liner_schema", &[]).await?;
    let id: i64 = rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| opening.damaged("it has no id"))?;
    opening.batch("COMMIT").await?;
    Ok(StoreId::new(id.cast_unsigned()))
}

impl Opening<'_> {
    fn run<T>(&self, result: Result<T, tokio_postgres::Error>) -> Result<T, OpenError> {
        result.map_err(|error| {
            let denied = error.code().is_some_and(|code| matches!(code.code(), "42501" | "3F000"));
            let failure = Failure::from(error).error;
            match failure {
                StoreError::Unavailable(reason) if denied => {
                    OpenError::Denied { server: self.server.to_owned(), reason: reason.to_string() }
                }
                other => OpenError::Store(other),
            }
        })
    }

    fn damaged(&self, what: &str) -> OpenError {
        OpenError::Corrupt { path: self.server.to_owned(), reason: format!("the schema record is damaged: {what}") }
    }

    async fn batch(&self, sql: &str) -> Result<(), OpenError> {
        self.run(self.session.batch(sql).await)
    }

    async fn rows(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, OpenError> {
        self.run(self.session.query(sql, params).await)
    }

    async fn check_server(&self) -> Result<(), OpenError> {
        let rows = self.rows("SELECT current_setting('server_version_num')::int8 / 10000", &[]).await?;
        let version = rows.first().and_then(|row| row.try_get::<_, i64>(0).ok()).unwrap_or_default();
        if version >= i64::from(SERVER) {
            return Ok(());
        }
        let reason = format!("the server is PostgreSQL {version}, {SERVER} or later is needed");
        Err(OpenError::Denied { server: self.server.to_owned(), reason })
    }

    /// Looks first: a role that may use its schema need not be allowed to make one.
    async fn create_schema(&self, schema: Option<&str>) -> Result<(), OpenError> {
        if let Some(schema) = schema {
            let present = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
            if self.rows(present, &[(&schema, Type::TEXT)]).await?.is_empty() {
                self.batch(&format!("CREATE SCHEMA IF NOT EXISTS \"{}\"", schema.replace('"', "\"\""))).await?;
            }
        }
        let rows = self.rows("SELECT current_schema()::text", &[]).await?;
        if rows.first().and_then(|row| row.try_get::<_, Option<String>>(0).ok().flatten()).is_some() {
            return Ok(());
        }
        let reason = "no schema of the role's search_path exists; create one or name it with schema=".to_owned();
        Err(OpenError::Denied { server: self.server.to_owned(), reason })
    }

    /// The schema version, if our record is there.
    async fn version(&self) -> Result<Option<u32>, OpenError> {
        if !self.columns(&["liner_schema"]).await?.contains_key("liner_schema") {
            return Ok(None);
        }
        let rows = self.rows("SELECT version::int8, min_reader::int8 FROM liner_schema", &[]).await?;
        let number = |column| {
            let value = rows.first().and_then(|row| row.try_get::<_, i64>(column).ok());
            value.and_then(|value| u32::try_from(value).ok()).ok_or_else(|| self.damaged("it has no version"))
        };
        let (version, min_reader) = (number(0)?, number(1)?);
        if min_reader > OURS {
            return Err(OpenError::Newer { min_reader, ours: OURS });
        }
        Ok(Some(version))
    }

    /// The columns of those of the tables that are there.
    async fn columns(&self, tables: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>, OpenError> {
        let sql = "SELECT c.relname::text, a.attname::text
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_attribute AS a ON a.attrelid = c.oid
            WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND c.relname = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped";
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for row in self.rows(sql, &[(&tables, Type::TEXT_ARRAY)]).await? {
            found.entry(self.run(row.try_get(0))?).or_default().insert(self.run(row.try_get(1))?);
        }
        Ok(found)
    }

    /// Gives existing tables of liner_broker the columns they lack; the migration creates those that are missing. Tables
    /// of the same names that are something else are not ours to touch.
    async fn adopt(&self) -> Result<(), OpenError> {
        let names: Vec<&str> = LEGACY_TABLES.iter().map(|(table, _)| *table).collect();
        let present = self.columns(&names).await?;
        for (table, expected) in LEGACY_TABLES {
            let Some(columns) = present.get(*table) else { continue };
            if !expected.iter().all(|column| columns.contains(*column)) {
                return Err(OpenError::Foreign { path: format!("table {table} of {}", self.server) });
            }
        }
        for (table, column, declaration) in ADDED_COLUMNS {
            if present.get(*table).is_some_and(|columns| !columns.contains(*column)) {
                self.batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {declaration}")).await?;
            }
        }
        Ok(())
    }

    /// Notes in the same transaction that a migration ran. The first makes the record, and with it the store's id.
    async fn record(&self, migration: &Migration) -> Result<(), OpenError> {
        let create = "CREATE TABLE IF NOT EXISTS liner_schema (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            version INTEGER NOT NULL,
            min_reader INTEGER NOT NULL,
            store_id BIGINT NOT NULL
        )";
        self.batch(create).await?;
        let id = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?.cast_signed();
        let upsert = "INSERT INTO liner_schema (id, version, min_reader, store_id) VALUES (1, $1, $2, $3)
            ON CONFLICT (id) DO UPDATE SET version = excluded.version, min_reader = excluded.min_reader";
        let (version, min_reader) = (i64::from(migration.version), i64::from(migration.min_reader));
        self.rows(upsert, &[int8(&version), int8(&min_reader), int8(&id)]).await.map(drop)
    }

    /// After an operator emptied the data tables and set `seq.v` back, nothing in the other tables is true any more. Epochs
    /// and dead letters are: they depend on no lane.
    async fn forget_emptied(&self) -> Result<(), OpenError> {
        // Held, so that nobody hands out a key between the two looks.
        self.rows("SELECT v FROM seq WHERE id = 1 FOR UPDATE", &[]).await?;
        let sql = "UPDATE liner_state SET last_key = keys.v
            FROM (SELECT coalesce(max(v), 0) AS v FROM seq WHERE id = 1) AS keys
            WHERE last_key > keys.v RETURNING 1";
        if self.rows(sql, &[]).await?.is_empty() {
            return Ok(());
        }
        self.batch(
            "DELETE FROM liner_spans; DELETE FROM liner_attempts; DELETE FROM liner_tombstones; DELETE FROM liner_peers",
        )
        .await
    }
}
