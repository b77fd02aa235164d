//! Opening connections: flags and pragmas, and what a path may be.

use super::SqliteOptions;
use super::error::open_error;
use super::writer::ATTEMPT;
use crate::stores::OpenError;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};

/// Statements kept prepared; more than this module has.
const STATEMENTS: usize = 128;

/// The log is cut back to this size when it is written back. Large enough for bursts, small compared to the data.
const LOG_BYTES: i64 = 64 * 1024 * 1024;

/// Pages in the log after which a commit writes it back (16 MiB). SQLite's default of 4 MiB would be reached by every
/// eighth batch of 1 KiB messages.
const CHECKPOINT_PAGES: i64 = 4096;

/// Returns the file that a configured path names. Absolute, because SQLite gives a meaning to `:memory:`, to the empty name
/// and, as it is built here, to names starting with `file:`.
pub(super) fn file(path: &Path) -> Result<PathBuf, OpenError> {
    let refused = |reason: String| OpenError::Path { path: path.display().to_string(), reason };
    let file = std::path::absolute(path).map_err(|error| refused(error.to_string()))?;
    if file.is_dir() {
        return Err(refused("is a directory".to_owned()));
    }
    Ok(file)
}

/// The connection that writes. Nothing in the file is changed by opening it.
pub(super) fn writer(file: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let failed = |error| open_error(file, error);
    let db = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    if db.is_readonly("main").map_err(failed)? {
        let reason = "file is read-only".to_owned();
        return Err(OpenError::Path { path: file.display().to_string(), reason });
    }
    db.busy_timeout(options.busy_timeout).map_err(failed)?;
    if let Some(pages) = options.max_pages {
        // Returns the limit in force, which is never below the pages there are.
        db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).map_err(failed)?;
    }
    db.pragma_update(None, "synchronous", "normal").map_err(failed)?;
    db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(failed)?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(failed)?;
    Ok(db)
}

/// Once the schema is in place, the writer waits in short attempts of its own.
pub(super) fn start_retrying(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(ATTEMPT)
}

/// A connection that only reads.
pub(super) fn reader(file: &Path, options: &SqliteOptions) -> Result<Connection, OpenError> {
    let failed = |error| open_error(file, error);
    let db = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    db.busy_timeout(options.busy_timeout).map_err(failed)?;
    db.pragma_update(None, "query_only", true).map_err(failed)?;
    Ok(db)
}

fn connect(file: &Path, access: OpenFlags) -> Result<Connection, OpenError> {
    // Each connection stays on one thread, so SQLite need not lock it.
    let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags).map_err(|error| open_error(file, error))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}
