//! Which threads call callbacks, and for which client.

use std::cell::Cell;

thread_local! {
    /// The client whose callbacks this thread calls; 0 on any other thread.
    static CLIENT: Cell<u64> = const { Cell::new(0) };
}

/// Marks the current thread as the one that calls the callbacks of `client`.
pub(crate) fn enter(client: u64) {
    CLIENT.set(client);
}

/// Returns the client whose callbacks the current thread calls; `None` on any other thread.
pub(crate) fn current_client() -> Option<u64> {
    Some(CLIENT.get()).filter(|id| *id > 0)
}
