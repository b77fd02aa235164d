//! What Redis' errors mean for a caller of the store.

pub(super) use crate::stores::shared::failure::{Failure, Outcome};
use crate::stores::{OpenError, StoreError};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// What a command does, and so what a lost reply means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Reads,
    Writes,
}

/// A command that failed.
pub(super) fn failure(error: &RedisError, access: Access) -> Failure {
    let text = text(error);
    match error.kind() {
        ErrorKind::Server(kind) => Failure {
            again: is_passing(kind) || error.code() == Some("BUSY"),
            error: from_server(error.code().unwrap_or_default(), kind, text),
        },
        ErrorKind::Extension => {
            let code = error.code().unwrap_or_default();
            Failure { again: code == "BUSY", error: from_server(code, ServerErrorKind::ResponseError, text) }
        }
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => {
            Failure { error: StoreError::Unavailable(text.into()), again: true }
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreError::Damaged(text.into()).into(),
        // Nobody was there to be given anything.
        _ if error.is_connection_refusal() || access == Access::Reads => {
            Failure { error: StoreError::Unavailable(text.into()), again: !error.is_timeout() }
        }
        // A server that does not reply is not faster when it is asked again.
        _ => Failure { error: StoreError::Indeterminate(text.into()), again: !error.is_timeout() },
    }
}

/// A state that the server leaves by itself.
fn is_passing(kind: ServerErrorKind) -> bool {
    use ServerErrorKind::*;
    matches!(kind, BusyLoading | NoScript | TryAgain | ClusterDown | MasterDown | ReadOnly)
}

/// What a script was refused with; servers before 7.0 say it inside the text.
const INSIDE: [&str; 6] = ["OOM", "MISCONF", "READONLY", "NOREPLICAS", "NOPERM", "WRONGTYPE"];

/// The server refused, before anything was changed.
fn from_server(code: &str, kind: ServerErrorKind, text: String) -> StoreError {
    let inside = INSIDE.iter().find(|inside| code == "ERR" && text.contains(&format!("-{inside} ")));
    match *inside.unwrap_or(&code) {
        "OOM" => StoreError::Full(text.into()),
        "MISCONF" if text.contains("No space left") => StoreError::Full(text.into()),
        "WRONGTYPE" => StoreError::Damaged(text.into()),
        "BUSY" => StoreError::Busy,
        // What a script of ours does not expect to find.
        "ERR" if text.contains("script") && kind == ServerErrorKind::ResponseError => StoreError::Damaged(text.into()),
        _ => StoreError::Unavailable(text.into()),
    }
}

/// The server's words, or the system's. Never a URL.
pub(super) fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ => error.to_string(),
    }
}

/// Why a connection could not be made.
pub(super) fn refusal(server: &str, error: &RedisError) -> OpenError {
    let (server, reason) = (server.to_owned(), text(error));
    let code = error.code().unwrap_or_default();
    let denied = matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED") || reason.contains("invalid DB index");
    let shown = error.to_string().to_lowercase();
    if error.kind() == ErrorKind::AuthenticationFailed || denied || reason.contains("DB index is out of range") {
        OpenError::Denied { server, reason }
    } else if ["certificate", "tls", "fatal alert"].iter().any(|said| shown.contains(said)) {
        OpenError::Tls { server, reason }
    } else {
        OpenError::Unreachable { server, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(code: &str, text: &str) -> StoreError {
        from_server(code, ServerErrorKind::ResponseError, format!("{code} {text}"))
    }

    #[test]
    fn refusals_of_old_and_new_servers_mean_the_same() {
        let old = |inner: &str| format!("Error running script (call to f_1): @user_script:9: @user_script: 9: {inner}");
        let memory = "command not allowed when used memory > 'maxmemory'.";
        assert!(matches!(meaning("OOM", memory), StoreError::Full(_)));
        assert!(matches!(meaning("ERR", &old(&format!("-OOM {memory}"))), StoreError::Full(_)));
        assert!(matches!(meaning("ERR", &old("-READONLY You can't write")), StoreError::Unavailable(_)));
        assert!(matches!(meaning("ERR", &old("-WRONGTYPE Operation against")), StoreError::Damaged(_)));
        assert!(matches!(meaning("ERR", &old("attempt to index a nil value")), StoreError::Damaged(_)));
        let disk = "Errors writing to the AOF file: No space left on device";
        assert!(matches!(meaning("MISCONF", disk), StoreError::Full(_)));
        assert!(matches!(meaning("BUSY", "Redis is busy running a script"), StoreError::Busy));
    }
}
