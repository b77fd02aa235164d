//! [`Heartbeat`]: detects a silent peer. It asks after one interval of silence and gives up after three.

use std::time::{Duration, Instant};

/// Intervals of silence after which a peer counts as dead.
const DEAD_AFTER: u32 = 3;

/// Number of times in an interval at which the end that dialled asks. They are the same for all its links, so a thread that
/// woke up for one of them serves others, too.
const ROUNDS: u32 = 8;

/// Result of [`Heartbeat::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// There is nothing to do.
    Fine,
    /// Send a `Ping` to the peer.
    Ask,
    /// The peer is dead.
    Dead,
}

/// Liveness of one connection. A `Ping` is sent only if nothing was received for an interval.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    interval: Duration,
    /// Silence before the first `Ping`.
    patience: Duration,
    heard: Instant,
    asked: Option<Instant>,
    /// When the rounds began; `None` at the end that accepted.
    rounds: Option<Instant>,
}

impl Heartbeat {
    /// Creates the heartbeat of a connection established `now`, at the end that dialled. All links of a node should have the
    /// same `rounds`, which is any earlier time.
    pub fn dialled(interval: Duration, rounds: Instant, now: Instant) -> Self {
        Heartbeat { interval, patience: interval, heard: now, asked: None, rounds: Some(rounds) }
    }

    /// Creates the heartbeat of a connection established `now`, at the end that accepted. It sends a `Ping` only if the
    /// other end does not.
    pub fn accepted(interval: Duration, now: Instant) -> Self {
        Heartbeat { interval, patience: interval * 3 / 2, heard: now, asked: None, rounds: None }
    }

    /// Handles that bytes arrived.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// Returns when to call [`Heartbeat::check`] next.
    pub fn deadline(&self) -> Instant {
        let next = self.asked.map_or(self.heard + self.patience, |asked| asked + self.interval);
        let next = self.rounds.map_or(next, |rounds| nearest(rounds, self.interval / ROUNDS, next));
        next.min(self.heard + self.interval * DEAD_AFTER)
    }

    /// Returns what to do at `now`. Returns [`Silence::Ask`] once per interval.
    pub fn check(&mut self, now: Instant) -> Silence {
        if now >= self.heard + self.interval * DEAD_AFTER {
            return Silence::Dead;
        }
        if now < self.deadline() {
            return Silence::Fine;
        }
        self.asked = Some(now);
        Silence::Ask
    }
}

/// Returns the round that is nearest to `at`.
fn nearest(first: Instant, interval: Duration, at: Instant) -> Instant {
    let since = (at + interval / 2).saturating_duration_since(first).as_nanos();
    let whole = since - since.checked_rem(interval.as_nanos()).unwrap_or(0);
    first + u64::try_from(whole).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_twice_and_dead_after_three_intervals() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut beat = Heartbeat::dialled(second, start, start);
        assert_eq!(beat.check(start + second / 2), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(start + second), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(beat.deadline()), Silence::Dead);
        beat.heard(start + second * 3);
        assert_eq!(beat.check(start + second * 3), Silence::Fine);
    }

    #[test]
    fn links_of_one_node_ask_in_rounds() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let asks =
            |milliseconds| Heartbeat::dialled(second, start, start + Duration::from_millis(milliseconds)).deadline();
        assert_eq!(asks(1), start + second);
        assert_eq!(asks(60), asks(1));
        assert_eq!(asks(130), start + second * 9 / 8);
    }

    #[test]
    fn an_end_that_accepted_does_not_ask_while_the_other_does_and_notices_its_death_as_soon() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut beat = Heartbeat::accepted(second, start);
        assert_eq!(beat.check(start + second), Silence::Fine);
        beat.heard(start + second);
        assert_eq!(beat.check(start + second * 2), Silence::Fine);
        assert_eq!(beat.check(start + second * 5 / 2), Silence::Ask);
        assert_eq!(beat.check(start + second * 7 / 2), Silence::Ask);
        assert_eq!(beat.deadline(), start + second * 4);
        assert_eq!(beat.check(start + second * 4), Silence::Dead);
    }
}
