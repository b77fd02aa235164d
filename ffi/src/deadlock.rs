//! Deadlock prevention: records which callback waits for which, so that callbacks never wait for each other.

use crate::callback_thread::current_client;
use parking_lot::Mutex;

/// Pairs of a client whose callback waits and the client it waits for.
static WAITS: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

/// A permit to wait. The wait is recorded until the permit is dropped.
#[must_use]
pub(crate) struct WaitPermit(Option<u64>);

impl Drop for WaitPermit {
    fn drop(&mut self) {
        if let Some(me) = self.0 {
            WAITS.lock().retain(|(waiting, _)| *waiting != me);
        }
    }
}

/// Returns a permit to wait until the callback of `client` has ended.
///
/// Returns `None` if the wait would be a deadlock: the current thread is in that callback, or in one that it waits for,
/// directly or through others.
pub(crate) fn permit_to_wait_for(client: u64) -> Option<WaitPermit> {
    let Some(me) = current_client() else { return Some(WaitPermit(None)) };
    let mut waits = WAITS.lock();
    let mut at = client;
    while at != me {
        match waits.iter().find(|(waiting, _)| *waiting == at) {
            Some((_, next)) => at = *next,
            None => {
                waits.push((me, client));
                return Some(WaitPermit(Some(me)));
            }
        }
    }
    None
}
