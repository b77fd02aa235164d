//! The error of an operation inside a backend, before its caller sees it.

use crate::stores::StoreError;
use crate::stores::shared::row::RowError;
use crate::types::{EmptyPayload, HeadersError, NameError};

/// The error of an operation.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: StoreError,
    /// The store is to blame, not the operation, and another attempt may succeed soon: another writer, a deadlock, a
    /// connection that was lost, a server that is starting.
    pub(crate) again: bool,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure { error, again: false }
    }
}

/// Damage: a stored value that no version of this library wrote.
macro_rules! damaged_by {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                StoreError::Damaged(error.to_string().into()).into()
            }
        }
    )*};
}
damaged_by!(NameError, RowError, HeadersError, EmptyPayload);
