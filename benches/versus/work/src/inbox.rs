//! The receiver's check: every message once and unchanged. The same for all contenders, and cheap beside any of them: a
//! lock that nobody else holds, a comparison of the fill, one bit a message.

use crate::clock::now;
use crate::load::{self, Load};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Where a contender puts what arrives.
#[derive(Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

/// A burst that arrived whole.
#[derive(Debug)]
pub struct Taken {
    /// When the first message came.
    pub first: u64,
    /// When the last message was checked.
    pub last: u64,
    /// Of stamped messages: nanoseconds from send to here.
    pub latencies: Vec<u64>,
}

#[derive(Default)]
struct State {
    first: u64,
    /// A bit for each message of the burst.
    seen: Vec<u64>,
    missing: u64,
    fill: Vec<u8>,
    latencies: Vec<u64>,
    /// When the first and the last message came; 0 before that.
    came: [u64; 2],
    /// The first thing that was wrong, ever.
    fault: Option<String>,
}

impl Inbox {
    /// The burst that comes next.
    pub fn expect(&self, load: &Load) {
        let mut state = self.lock();
        state.first = load.numbers.start;
        state.missing = load.count();
        state.came = [0, 0];
        state.seen = vec![0; load.count().div_ceil(64) as usize];
        state.fill = load::fill(load.size);
        state.latencies = Vec::with_capacity(if load.stamped { load.count() as usize } else { 0 });
    }

    /// A message arrived.
    pub fn take(&self, message: &[u8]) {
        let mut state = self.lock();
        match state.take(message) {
            Ok(()) if state.missing > 0 => return,
            Ok(()) => state.came[1] = now(),
            Err(fault) => drop(state.fault.get_or_insert(fault)),
        }
        self.changed.notify_all();
    }

    /// Waits until the burst is complete.
    ///
    /// # Errors
    /// What is wrong with a message, or how many are missing after `patience`.
    pub fn wait(&self, patience: Duration) -> Result<Taken, String> {
        let busy = |state: &mut State| state.missing > 0 && state.fault.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, busy);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.fault {
            Some(fault) => Err(fault.clone()),
            None if timeout.timed_out() => Err(format!("{} messages are missing after {patience:?}", state.missing)),
            None => {
                let latencies = std::mem::take(&mut state.latencies);
                Ok(Taken { first: state.came[0], last: state.came[1], latencies })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let (number, stamp, fill) = load::parse(message).ok_or("a message is too short")?;
        if fill != self.fill {
            return Err(format!("message {number} was changed"));
        }
        let at = number.wrapping_sub(self.first) as usize;
        let bit = 1u64 << (at % 64);
        let word = self.seen.get_mut(at / 64).ok_or_else(|| format!("message {number} is not of this burst"))?;
        if *word & bit != 0 {
            return Err(format!("message {number} came twice"));
        }
        if self.came[0] == 0 {
            self.came[0] = now();
        }
        *word |= bit;
        self.missing -= 1;
        if stamp != 0 {
            self.latencies.push(now().saturating_sub(stamp));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox(load: &Load) -> (Inbox, Vec<u8>) {
        let inbox = Inbox::default();
        inbox.expect(load);
        (inbox, load.blank())
    }

    const LOAD: Load = Load { numbers: 10..13, size: 100, stamped: false };

    #[test]
    fn a_whole_burst_is_taken_in_any_order() {
        let (inbox, mut message) = inbox(&LOAD);
        for number in [12, 10, 11] {
            LOAD.write(number, &mut message);
            inbox.take(&message);
        }
        assert!(inbox.wait(Duration::ZERO).is_ok());
    }

    #[test]
    fn a_loss_a_duplicate_a_change_and_a_stranger_are_faults() {
        for (numbers, flip, expected) in [
            (vec![10, 11], None, "1 messages are missing"),
            (vec![10, 11, 11], None, "message 11 came twice"),
            (vec![10, 11, 12], Some(99), "was changed"),
            (vec![10, 11, 100], None, "not of this burst"),
        ] {
            let (inbox, mut message) = inbox(&LOAD);
            for number in numbers {
                LOAD.write(number, &mut message);
                flip.into_iter().for_each(|at: usize| message[at] ^= 1);
                inbox.take(&message);
            }
            let fault = inbox.wait(Duration::ZERO).expect_err("something is wrong");
            assert!(fault.contains(expected), "{fault}");
        }
    }
}
