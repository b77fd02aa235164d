//! Options of a store in an SQLite file.

use std::time::Duration;

/// Options of a store in an SQLite file.
///
/// ```
/// use liner::stores::sqlite::SqliteOptions;
/// use std::time::Duration;
///
/// let options = SqliteOptions::default().busy_timeout(Duration::from_secs(1)).max_pages(1_000_000);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteOptions {
    pub(super) busy_timeout: Duration,
    pub(super) max_pages: Option<u32>,
}

impl SqliteOptions {
    /// Sets how long a write waits for the writes of other processes before it fails with [`StoreError::Busy`](crate::stores::StoreError::Busy). Default
    /// 5 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Sets the maximum size of the file in pages of 4 KiB. Above it, writes fail with [`StoreError::Full`](crate::stores::StoreError::Full). Default
    /// unlimited.
    #[must_use]
    pub fn max_pages(mut self, pages: u32) -> Self {
        self.max_pages = Some(pages);
        self
    }
}

impl Default for SqliteOptions {
    fn default() -> Self {
        SqliteOptions { busy_timeout: Duration::from_secs(5), max_pages: None }
    }
}
