//! Waits for a future on any thread: one of the program, a callback thread, or one inside a runtime.

use crate::error::{ErrorCode, Failure};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a call waits for a store that does not respond: the default deadline of a send.
pub(crate) const STORE_PATIENCE: Duration = Duration::from_secs(30);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future, for at most `patience`. Returns `None` and drops the future if it was not ready in time.
///
/// The future must not depend on the timers or sockets of this thread's runtime, which do not run while the thread is
/// blocked. The future is exempt from the runtime's cooperative budget, which would not be refilled before this returns.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>, patience: Option<Duration>) -> Option<T> {
    let mut future = pin!(tokio::task::unconstrained(future));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

/// Waits for an operation of a store or of a system, for at most [`STORE_PATIENCE`].
pub(crate) fn wait<T, E: Into<Failure>>(operation: impl Future<Output = Result<T, E>>) -> Result<T, Failure> {
    let late = || Failure::new(ErrorCode::Store, "the store did not respond in time");
    wait_for(operation, Some(STORE_PATIENCE)).ok_or_else(late)?.map_err(Into::into)
}

/// Sends a message to a system and waits for the reply.
pub(crate) fn ask<M, T, E>(system: &actix::Addr<liner::LinerSystem>, message: M) -> Result<T, Failure>
where
    M: actix::Message<Result = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Into<Failure> + Send + 'static,
    liner::LinerSystem: actix::Handler<M>,
    <liner::LinerSystem as actix::Actor>::Context: actix::dev::ToEnvelope<liner::LinerSystem, M>,
{
    let request = system.send(message);
    wait(async { request.await.map_err(|_| Failure::not_running())?.map_err(Into::into) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_is_waited_for_and_given_up_in_time() {
        assert_eq!(wait_for(async { 7 }, None), Some(7));
        let never = std::future::pending::<()>();
        assert_eq!(wait_for(never, Some(Duration::from_millis(5))), None);
    }

    #[test]
    fn a_future_that_another_thread_wakes_is_ready() {
        let mut thread = None;
        let woken = std::future::poll_fn(|context| match thread.take() {
            Some(_) => Poll::Ready(()),
            None => {
                let waker = context.waker().clone();
                thread = Some(std::thread::spawn(move || waker.wake()));
                Poll::Pending
            }
        });
        assert_eq!(wait_for(woken, Some(Duration::from_secs(60))), Some(()));
    }
}
