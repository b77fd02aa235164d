//! What PostgreSQL's errors mean for a caller of the store.
//!
//! Texts are the server's message and code. Its details are left out: they quote rows.

pub(super) use crate::stores::shared::failure::{Failure, Outcome};
use crate::stores::{OpenError, StoreError};
use tokio_postgres::error::{DbError, Severity};

/// Raised by `liner_fence` and `liner_lanes`.
const FENCED: &str = "LN001";
const NO_LANE: &str = "LN002";

impl From<tokio_postgres::Error> for Failure {
    /// For a statement that is not a commit: nothing has changed.
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return from_server(db);
        }
        // The one kind that is neither the server's nor the connection's: a value of another type than expected.
        if is_conversion(&error) {
            return StoreError::Damaged(text(&error).into()).into();
        }
        Failure { error: StoreError::Unavailable(text(&error).into()), again: true }
    }
}

fn is_conversion(error: &tokio_postgres::Error) -> bool {
    let shown = error.to_string();
    shown.starts_with("error deserializing column") || shown.starts_with("invalid column")
}

fn from_server(db: &DbError) -> Failure {
    let text = shown(db);
    let code = db.code().code();
    let error = match code {
        FENCED => StoreError::Fenced,
        NO_LANE => StoreError::NoLane(db.message().parse().unwrap_or(0)),
        // A lock was held for too long, deadlocks, conflicts.
        "55P03" | "40P01" | "40001" => StoreError::Busy,
        // No space, and what is too large for the server.
        "53100" | "54000" => StoreError::Full(text.into()),
        "XX001" | "XX002" | "42P01" | "42703" | "42883" => StoreError::Damaged(text.into()),
        _ => StoreError::Unavailable(text.into()),
    };
    let lost = is_fatal(db) || code == "25006";
    Failure { error, again: lost || code == "40P01" || code == "40001" }
}

/// Whether the server ended the connection with it.
pub(super) fn is_fatal(db: &DbError) -> bool {
    matches!(db.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

/// A commit that failed. Only where the server goes on after refusing it is it certain that nothing was written.
pub(super) fn commit_failed(error: &tokio_postgres::Error) -> Failure {
    match error.as_db_error().filter(|db| !is_fatal(db)) {
        Some(db) => from_server(db),
        None => Failure { error: StoreError::Indeterminate(text(error).into()), again: true },
    }
}

/// No reply for too long: the operation may still happen.
pub(super) fn overdue() -> Failure {
    Failure { error: StoreError::Indeterminate("no reply from the server".into()), again: false }
}

fn shown(db: &DbError) -> String {
    format!("{} (SQLSTATE {})", db.message(), db.code().code())
}

/// Returns the error with its causes. Of what the server says, only the message.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return shown(db);
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Why a connection could not be made.
pub(super) fn refusal(server: &str, error: &tokio_postgres::Error) -> OpenError {
    let (server, reason) = (server.to_owned(), text(error));
    let class = error.code().map(|code| code.code().to_owned()).unwrap_or_default();
    let shown = error.to_string();
    if class.starts_with("28") || class.starts_with("3D") || class == "42501" || shown.contains("authentication") {
        OpenError::Denied { server, reason }
    } else if shown.contains("TLS") || is_tls(error) {
        OpenError::Tls { server, reason }
    } else {
        OpenError::Unreachable { server, reason }
    }
}

/// Whether the two could not agree on who they are: a server may refuse a certificate after the handshake.
fn is_tls(error: &tokio_postgres::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let wrapped = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if inner.is::<rustls::Error>() || wrapped.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = inner.source();
    }
    false
}
