//! What SQLite's errors mean for a caller of the store.
//!
//! Operations here return [`Failure`], so that `?` works on both kinds of error and rusqlite stays out of the public
//! interface.

pub(super) use crate::stores::shared::failure::{Failure, Outcome};
use crate::stores::{OpenError, StoreError};
use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use std::path::Path;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string().into();
        let code = match &error {
            // The index of the log could not grow: the one lack of space that SQLite reports as an I/O error.
            rusqlite::Error::SqliteFailure(error, _) if error.extended_code == SQLITE_IOERR_SHMSIZE => {
                return StoreError::Full(text).into();
            }
            rusqlite::Error::SqliteFailure(error, _) => error.code,
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..) => return StoreError::Damaged(text).into(),
            _ => return StoreError::Unavailable(text).into(),
        };
        let error = match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Busy,
            // SQLite reports ENOSPC as DiskFull too. A row above its limit will not fit later either, but the size of a
            // message is checked against `StoreFacts::max_message` long before.
            ErrorCode::DiskFull | ErrorCode::TooBig => StoreError::Full(text),
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch => StoreError::Damaged(text),
            _ => StoreError::Unavailable(text),
        };
        let again = matches!(error, StoreError::Busy);
        Failure { error, again }
    }
}

/// An error met while opening, with the path as configured.
pub(super) fn open_error(path: &Path, error: rusqlite::Error) -> OpenError {
    let shown = path.display().to_string();
    let reason = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => OpenError::Corrupt { path: shown, reason },
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            OpenError::Path { path: shown, reason }
        }
        _ => OpenError::Store(Failure::from(error).error),
    }
}

/// A commit that failed. Only where SQLite says so is it certain that nothing was written: the log may hold the whole
/// commit although syncing it failed.
pub(super) fn commit_error(error: rusqlite::Error) -> Failure {
    let failure = Failure::from(error);
    match failure.error {
        StoreError::Busy | StoreError::Full(_) => failure,
        other => StoreError::Indeterminate(other.to_string().into()).into(),
    }
}
