//! The limits of the process. The program sets them at any time; a client reads them when it starts.

use std::sync::atomic::{AtomicUsize, Ordering};

static MAX_MESSAGE_SIZE: AtomicUsize = AtomicUsize::new(1 << 30);
static COMPRESS_THRESHOLD: AtomicUsize = AtomicUsize::new(1 << 20);
/// 0 for no limit.
static MAX_SEND_QUEUE: AtomicUsize = AtomicUsize::new(0);

fn set_positive(setting: &AtomicUsize, value: usize) -> bool {
    if value > 0 {
        setting.store(value, Ordering::Relaxed);
    }
    value > 0
}

/// Sets the maximum message size, in bytes. Returns `false` for 0.
pub fn set_max_message_size(bytes: usize) -> bool {
    set_positive(&MAX_MESSAGE_SIZE, bytes)
}

/// Returns the maximum message size, in bytes.
pub fn max_message_size() -> usize {
    MAX_MESSAGE_SIZE.load(Ordering::Relaxed)
}

/// Sets the size above which messages are compressed, in bytes. Returns `false` for 0.
pub fn set_compress_threshold(bytes: usize) -> bool {
    set_positive(&COMPRESS_THRESHOLD, bytes)
}

/// Returns the size above which messages are compressed, in bytes.
pub fn compress_threshold() -> usize {
    COMPRESS_THRESHOLD.load(Ordering::Relaxed)
}

/// Sets how many messages per receiver are held in memory; further sends fail with [`Busy`](crate::ErrorCode::Busy). 0 is no
/// limit.
pub fn set_max_send_queue(messages: usize) -> bool {
    MAX_SEND_QUEUE.store(messages, Ordering::Relaxed);
    true
}

/// Returns how many messages per receiver are held in memory; 0 for no limit.
pub fn max_send_queue() -> usize {
    MAX_SEND_QUEUE.load(Ordering::Relaxed)
}
