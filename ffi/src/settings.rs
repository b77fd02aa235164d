//! The limits of the process: set by the program at any time, read when a client runs.

use std::sync::atomic::{AtomicUsize, Ordering};

static MAX_MESSAGE_SIZE: AtomicUsize = AtomicUsize::new(1 << 30);
static COMPRESS_THRESHOLD: AtomicUsize = AtomicUsize::new(1 << 20);
/// 0: no limit of this kind.
static MAX_SEND_QUEUE: AtomicUsize = AtomicUsize::new(0);

fn set_positive(setting: &AtomicUsize, value: usize) -> bool {
    if value > 0 {
        setting.store(value, Ordering::Relaxed);
    }
    value > 0
}

/// Sets the largest message sent or taken, in bytes; answers `false` for 0.
pub fn set_max_message_size(bytes: usize) -> bool {
    set_positive(&MAX_MESSAGE_SIZE, bytes)
}

/// The largest message sent or taken, in bytes.
pub fn max_message_size() -> usize {
    MAX_MESSAGE_SIZE.load(Ordering::Relaxed)
}

/// Sets the size above which messages are compressed, in bytes; answers `false` for 0.
pub fn set_compress_threshold(bytes: usize) -> bool {
    set_positive(&COMPRESS_THRESHOLD, bytes)
}

/// The size above which messages are compressed, in bytes.
pub fn compress_threshold() -> usize {
    COMPRESS_THRESHOLD.load(Ordering::Relaxed)
}

/// Sets how many messages a peer memory holds before a send is busy; 0 for no such limit.
pub fn set_max_send_queue(messages: usize) -> bool {
    MAX_SEND_QUEUE.store(messages, Ordering::Relaxed);
    true
}

/// How many messages a peer memory holds before a send is busy; 0: no such limit.
pub fn max_send_queue() -> usize {
    MAX_SEND_QUEUE.load(Ordering::Relaxed)
}
