//! Room in a queue, given out in the order in which it was asked for.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds how many operations are queued, and keeps their order while they wait for room.
///
/// A semaphore alone keeps no order: two operations that are given room at once may be polled the other way round. So an
/// operation first waits for its turn, and has it until it is in the queue.
pub(crate) struct Admission {
    turn: Semaphore,
    room: Arc<Semaphore>,
}

impl Admission {
    /// Makes room for this many operations.
    pub(crate) fn new(room: usize) -> Self {
        Admission { turn: Semaphore::new(1), room: Arc::new(Semaphore::new(room)) }
    }

    /// Waits for room, then calls `put`. Calls of `put` come in the order in which the futures were first polled. The
    /// permit is the room: the operation keeps it for as long as it is queued.
    ///
    /// A future that is dropped before `put` was called leaves nothing.
    pub(crate) async fn enter<T>(&self, put: impl FnOnce(OwnedSemaphorePermit) -> T) -> T {
        let _turn = self.turn.acquire().await.expect("is never closed");
        let room = Arc::clone(&self.room).acquire_owned().await.expect("is never closed");
        put(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use parking_lot::Mutex;

    #[test]
    fn operations_enter_in_the_order_in_which_they_asked() {
        let admission = Admission::new(2);
        let entered = Mutex::new(Vec::new());
        let enter = |n: u32| {
            admission.enter({
                let entered = &entered;
                move |room| {
                    entered.lock().push(n);
                    room
                }
            })
        };
        let mut waiting: Vec<_> = (0..6).map(|n| enter(n).boxed()).collect();
        let poll =
            |waiting: &mut Vec<futures::future::BoxFuture<'_, _>>, at: usize| waiting[at].as_mut().now_or_never();
        let held: Vec<_> = (0..6).filter_map(|at| poll(&mut waiting, at)).collect();
        assert_eq!(held.len(), 2, "there is room for two");
        let mut rooms = held;
        // All room is given back at once, and the last is polled first, again and again.
        for _ in 0..6 {
            rooms.clear();
            let next = entered.lock().len();
            for at in (next..6).rev() {
                rooms.extend(poll(&mut waiting, at));
            }
        }
        assert_eq!(*entered.lock(), [0, 1, 2, 3, 4, 5]);
    }
}
