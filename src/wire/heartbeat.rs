//! Notices a peer that went silent: asks after one interval of silence, gives up after three.

use std::time::{Duration, Instant};

/// Intervals of silence after which a peer counts as dead.
const DEAD_AFTER: u32 = 3;

/// What silence calls for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Nothing yet.
    Fine,
    /// Send a `Ping`.
    Ask,
    /// The peer is dead.
    Dead,
}

/// Liveness of one connection. A `Ping` is sent only where nothing was heard for an interval.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    interval: Duration,
    /// Silence after which it asks for the first time.
    patience: Duration,
    heard: Instant,
    asked: Option<Instant>,
}

impl Heartbeat {
    /// A connection that was established `now`, at the end that dialled.
    pub fn dialled(interval: Duration, now: Instant) -> Self {
        Heartbeat { interval, patience: interval, heard: now, asked: None }
    }

    /// The same at the end that accepted: it leaves the asking to the other end as long as that does ask.
    pub fn accepted(interval: Duration, now: Instant) -> Self {
        Heartbeat { interval, patience: interval * 3 / 2, heard: now, asked: None }
    }

    /// Bytes arrived.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When to call [`Heartbeat::check`] next.
    pub fn deadline(&self) -> Instant {
        let next = self.asked.map_or(self.heard + self.patience, |asked| asked + self.interval);
        next.min(self.heard + self.interval * DEAD_AFTER)
    }

    /// What to do at `now`. `Ask` is answered once per interval.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_peer_is_asked_twice_and_dead_after_three_intervals() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut beat = Heartbeat::dialled(second, start);
        assert_eq!(beat.check(start + second / 2), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(start + second), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(beat.deadline()), Silence::Dead);
        beat.heard(start + second * 3);
        assert_eq!(beat.check(start + second * 3), Silence::Fine);
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
