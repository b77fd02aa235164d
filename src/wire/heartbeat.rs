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
    heard: Instant,
    asked: Option<Instant>,
}

impl Heartbeat {
    /// A connection that was established `now`.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Heartbeat { interval, heard: now, asked: None }
    }

    /// Bytes arrived.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.asked = None;
    }

    /// When to call [`Heartbeat::check`] next.
    pub fn deadline(&self) -> Instant {
        self.asked.unwrap_or(self.heard) + self.interval
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
        let mut beat = Heartbeat::new(second, start);
        assert_eq!(beat.check(start + second / 2), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(start + second), Silence::Fine);
        assert_eq!(beat.check(beat.deadline()), Silence::Ask);
        assert_eq!(beat.check(beat.deadline()), Silence::Dead);
        beat.heard(start + second * 3);
        assert_eq!(beat.check(start + second * 3), Silence::Fine);
    }
}
