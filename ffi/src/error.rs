//! The error codes of the C interface, and conversions from the library's errors.

use liner::{AdminError, ConfigError, NameError, OpenError, SendError, SpawnError, StoreError, SubscribeError};
use std::fmt;

/// The reason why a call failed. The numbers are those of `liner.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(i32)]
pub enum ErrorCode {
    /// The call succeeded.
    #[default]
    Ok = 0,
    /// The client does not run.
    NotRunning = 1,
    /// The setting cannot be changed while the client runs.
    AlreadyRunning = 2,
    /// The topic is the client's own.
    SelfTopic = 3,
    /// The topic is reserved for the library.
    InternalTopic = 4,
    /// No node serves the topic.
    NoAddr = 5,
    /// The client cannot listen on its address.
    Bind = 6,
    /// The store failed.
    Store = 7,
    /// An argument is not valid.
    InvalidArg = 8,
    /// Stored data cannot be cleared while the client runs.
    ClearWhileRunning = 9,
    /// The client could not start its threads.
    Startup = 10,
    /// A queue is full.
    Busy = 11,
}

impl ErrorCode {
    /// Returns the number.
    pub const fn as_i32(self) -> i32 {
        self as i32
    }
}

/// The failure of a call: a code and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: ErrorCode, message: impl fmt::Display) -> Self {
        Failure { code, message: message.to_string() }
    }

    pub(crate) fn not_running() -> Self {
        Failure::new(ErrorCode::NotRunning, "the client is not running")
    }

    pub(crate) fn argument(message: impl fmt::Display) -> Self {
        Failure::new(ErrorCode::InvalidArg, message)
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        let code = if error == NameError::Reserved { ErrorCode::InternalTopic } else { ErrorCode::InvalidArg };
        Failure::new(code, error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::new(ErrorCode::Store, error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        // The source has the details that the error itself leaves out.
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Failure::new(ErrorCode::Store, format!("{error}{source}"))
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let code = match &error {
            SendError::NoRoute(_) => ErrorCode::NoAddr,
            SendError::SelfTopic(_) => ErrorCode::SelfTopic,
            SendError::Topic(error) => return (*error).into(),
            SendError::Empty(_) | SendError::Headers(_) | SendError::TooLarge { .. } => ErrorCode::InvalidArg,
            SendError::QueueFull => ErrorCode::Busy,
            SendError::Closed => return Failure::not_running(),
            // Only a store that does not respond makes a send reach its deadline.
            _ => ErrorCode::Store,
        };
        Failure::new(code, error)
    }
}

impl From<SubscribeError> for Failure {
    fn from(error: SubscribeError) -> Self {
        let code = match &error {
            SubscribeError::Topic(error) => return (*error).into(),
            SubscribeError::SelfTopic(_) => ErrorCode::SelfTopic,
            SubscribeError::Closed => return Failure::not_running(),
            _ => ErrorCode::Store,
        };
        Failure::new(code, error)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        let code = match &error {
            AdminError::Name(error) => return (*error).into(),
            AdminError::NoRoute(_) | AdminError::UnknownPeer(_) => ErrorCode::NoAddr,
            AdminError::Closed => return Failure::not_running(),
            _ => ErrorCode::Store,
        };
        Failure::new(code, error)
    }
}

impl From<SpawnError> for Failure {
    fn from(error: SpawnError) -> Self {
        let code = match error {
            SpawnError::Config(ConfigError::Address(_)) | SpawnError::Bind { .. } | SpawnError::NotLoopback(_) => {
                ErrorCode::Bind
            }
            SpawnError::Config(_) => ErrorCode::InvalidArg,
            SpawnError::Open(_) | SpawnError::Store(_) => ErrorCode::Store,
            _ => ErrorCode::Startup,
        };
        Failure::new(code, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserved_topic_has_a_code_of_its_own() {
        assert_eq!(Failure::from(NameError::Reserved).code, ErrorCode::InternalTopic);
        assert_eq!(Failure::from(SendError::Topic(NameError::Reserved)).code, ErrorCode::InternalTopic);
        assert_eq!(Failure::from(NameError::Empty).code, ErrorCode::InvalidArg);
    }

    #[test]
    fn a_send_that_the_end_of_its_client_refused_says_that_it_does_not_run() {
        assert_eq!(Failure::from(SendError::Closed), Failure::not_running());
        assert_eq!(Failure::from(AdminError::Closed), Failure::not_running());
    }
}
