//! The receivers' check: every message once and unchanged, at each receiver. It is the same for all contenders, and cheap
//! compared with any of them: an uncontended lock, a comparison of the fill, one bit per message.

use crate::clock::now;
use crate::load::{self, Load};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where a contender puts what arrives.
pub struct Inbox {
    /// One per receiver, each with a lock of its own.
    receivers: Box<[Check]>,
}

#[derive(Default)]
struct Check {
    burst: Mutex<Burst>,
    changed: Condvar,
}

/// A complete burst.
#[derive(Debug)]
pub struct Received {
    /// When the first message arrived.
    pub first: u64,
    /// When the last message was checked.
    pub last: u64,
    /// Nanoseconds from send to check, of stamped messages.
    pub latencies: Vec<u64>,
}

#[derive(Default)]
struct Burst {
    first: u64,
    /// One bit per message of the burst.
    seen: Vec<u64>,
    missing: u64,
    fill: Vec<u8>,
    latencies: Vec<u64>,
    /// When the first and the last message arrived; 0 before that.
    times: [u64; 2],
    /// The first fault, of any burst.
    fault: Option<String>,
}

impl Inbox {
    /// Creates an inbox for this number of receivers.
    pub fn new(receivers: usize) -> Inbox {
        Inbox { receivers: (0..receivers).map(|_| Check::default()).collect() }
    }

    /// Sets the burst that comes next. Every receiver must get all of it.
    pub fn expect(&self, load: &Load) {
        self.receivers.iter().for_each(|check| check.expect(load));
    }

    /// Takes a message that arrived, where there is one receiver.
    pub fn take(&self, message: &[u8]) {
        self.take_at(0, message);
    }

    /// Takes a message that arrived at this receiver.
    pub fn take_at(&self, receiver: usize, message: &[u8]) {
        self.receivers[receiver].take(message);
    }

    /// Waits until the burst is complete at every receiver.
    ///
    /// # Errors
    /// Returns what is wrong with a message, or how many are missing after `patience`.
    pub fn wait(&self, patience: Duration) -> Result<Received, String> {
        let deadline = Instant::now() + patience;
        let mut all = Received { first: u64::MAX, last: 0, latencies: Vec::new() };
        for (at, check) in self.receivers.iter().enumerate() {
            let taken = check.wait(deadline.saturating_duration_since(Instant::now()));
            let taken = taken.map_err(|fault| match self.receivers.len() {
                1 => fault,
                _ => format!("receiver {at}: {fault}"),
            })?;
            all.first = all.first.min(taken.first);
            all.last = all.last.max(taken.last);
            all.latencies.extend(taken.latencies);
        }
        Ok(all)
    }
}

impl Check {
    fn expect(&self, load: &Load) {
        let mut burst = self.lock();
        burst.first = load.numbers.start;
        burst.missing = load.count();
        burst.times = [0, 0];
        burst.seen = vec![0; load.count().div_ceil(64) as usize];
        burst.fill = load::fill(load.size);
        burst.latencies = Vec::with_capacity(if load.stamped { load.count() as usize } else { 0 });
    }

    fn take(&self, message: &[u8]) {
        let mut burst = self.lock();
        match burst.take(message) {
            Ok(()) if burst.missing > 0 => return,
            Ok(()) => burst.times[1] = now(),
            Err(fault) => drop(burst.fault.get_or_insert(fault)),
        }
        self.changed.notify_all();
    }

    fn wait(&self, patience: Duration) -> Result<Received, String> {
        let busy = |burst: &mut Burst| burst.missing > 0 && burst.fault.is_none();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, busy);
        let (mut burst, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match &burst.fault {
            Some(fault) => Err(fault.clone()),
            None if timeout.timed_out() => Err(format!("{} messages are missing", burst.missing)),
            None => {
                let latencies = std::mem::take(&mut burst.latencies);
                Ok(Received { first: burst.times[0], last: burst.times[1], latencies })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Burst> {
        self.burst.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Burst {
    fn take(&mut self, message: &[u8]) -> Result<(), String> {
        let (number, stamp, fill) = load::parse(message).ok_or("a message is too short")?;
        if fill != self.fill {
            return Err(format!("message {number} was changed"));
        }
        let at = number.wrapping_sub(self.first) as usize;
        let bit = 1u64 << (at % 64);
        let word = self.seen.get_mut(at / 64).ok_or_else(|| format!("message {number} is not of this burst"))?;
        if *word & bit != 0 {
            return Err(format!("message {number} times twice"));
        }
        if self.times[0] == 0 {
            self.times[0] = now();
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
        let inbox = Inbox::new(1);
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
    fn a_burst_is_complete_when_every_receiver_has_all_of_it() {
        let (inbox, mut message) = (Inbox::new(2), LOAD.blank());
        inbox.expect(&LOAD);
        for (receiver, numbers) in [(0, 10..13), (1, 10..12)] {
            for number in numbers {
                LOAD.write(number, &mut message);
                inbox.take_at(receiver, &message);
            }
        }
        let fault = inbox.wait(Duration::ZERO).expect_err("the second receiver lacks one");
        assert!(fault.contains("receiver 1: 1 messages are missing"), "{fault}");
        LOAD.write(12, &mut message);
        inbox.take_at(1, &message);
        assert!(inbox.wait(Duration::ZERO).is_ok());
    }

    #[test]
    fn a_loss_a_duplicate_a_change_and_a_stranger_are_faults() {
        for (numbers, flip, expected) in [
            (vec![10, 11], None, "1 messages are missing"),
            (vec![10, 11, 11], None, "message 11 times twice"),
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
