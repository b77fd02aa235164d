//! Why a store could not be opened, and why an operation on it failed: the same for every backend.

use std::sync::Arc;

/// Why a store operation failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer held the store for longer than the busy timeout. Nothing was changed.
    #[error("store is busy")]
    Busy,
    /// The medium is full or a quota is reached. Nothing was changed.
    #[error("store is full: {0}")]
    Full(Arc<str>),
    /// A newer process of this node's name has registered. Nothing was changed, and nothing ever will be.
    #[error("fenced: a newer process runs under this node's name")]
    Fenced,
    /// The store cannot be reached or read just now. Nothing was changed.
    #[error("store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The reply was lost: the operation happened entirely or not at all. Repeat it.
    #[error("outcome unknown: {0}")]
    Indeterminate(Arc<str>),
    /// What is stored is not what this library writes, or is damaged.
    #[error("store is damaged: {0}")]
    Damaged(Arc<str>),
    /// The lane was forgotten, was never opened, or belongs to another sender. Nothing was changed; open it again.
    #[error("no lane {0} of this sender")]
    NoLane(i64),
    /// The commit was to be on the medium before it is reported, and the store does not do that. Nothing was changed.
    #[error("store does not sync its commits: {0}")]
    NotSynced(Arc<str>),
    /// The store does not know this kind of write or change. Nothing was changed.
    #[error("store does not support {0}")]
    Unsupported(Arc<str>),
}

impl StoreError {
    /// Whether repeating the operation later can succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Fenced | Self::Damaged(_) | Self::NoLane(_) | Self::NotSynced(_) | Self::Unsupported(_))
    }

    /// Whether it is certain that nothing was changed.
    pub fn is_definite(&self) -> bool {
        !matches!(self, StoreError::Indeterminate(_))
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path is a directory, or cannot be created or read.
    #[error("cannot open {path}: {reason}")]
    Path {
        /// The path as configured.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not a database, or a damaged one.
    #[error("{path} is corrupt or not a database: {reason}")]
    Corrupt {
        /// The path as configured.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The file is a database of something else.
    #[error("{path} belongs to another application")]
    Foreign {
        /// The path as configured.
        path: String,
    },
    /// The store was written by a newer version that says this one must not read it.
    #[error("store needs a reader of schema version {min_reader} or later, this is {ours}")]
    Newer {
        /// The oldest schema version that may read the store.
        min_reader: u32,
        /// The schema version of this library.
        ours: u32,
    },
    /// The connection string is not one. What is wrong with it is said without quoting it: it holds a password.
    #[error("connection string: {reason}")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// No server replies there, or it cannot be written to.
    #[error("cannot reach {server}: {reason}")]
    Unreachable {
        /// Hosts and database.
        server: String,
        /// What the system or the server said.
        reason: String,
    },
    /// The server refuses: password, role, database, or a right that is missing.
    #[error("{server} refuses: {reason}")]
    Denied {
        /// Hosts and database.
        server: String,
        /// What the server said.
        reason: String,
    },
    /// The connection could not be encrypted as asked for, or the certificate is not to be trusted.
    #[error("no TLS with {server}: {reason}")]
    Tls {
        /// Hosts and database.
        server: String,
        /// What is wrong.
        reason: String,
    },
    /// The server does not persist commits as safely as was asked for, or may evict them.
    #[error("{server} is too weak for synced messages: {settings}")]
    Weak {
        /// Address and database.
        server: String,
        /// Its settings.
        settings: String,
    },
    /// The store failed while it was opened or migrated.
    #[error("opening the store failed")]
    Store(#[from] StoreError),
}
