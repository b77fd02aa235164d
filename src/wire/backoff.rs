//! Exponential backoff with full jitter. Randomness is an argument.

use std::time::Duration;

/// Delays between attempts, each drawn uniformly between 0 and a bound that doubles from `first` up to `cap`.
///
/// Full jitter keeps peers that failed together from coming back together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// Creates a backoff that starts with the bound `first`.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Backoff { first, cap, attempt: 0 }
    }

    /// Returns the bound of the next delay.
    pub fn bound(&self) -> Duration {
        self.first.saturating_mul(1u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.cap)
    }

    /// Draws the next delay. `random` is any 64 random bits.
    pub fn next_delay(&mut self, random: u64) -> Duration {
        let bound = self.bound();
        self.attempt = self.attempt.saturating_add(1).min(31);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let drawn = (u128::from(random) * u128::from(nanos)) >> 64;
        Duration::from_nanos(u64::try_from(drawn).unwrap_or(nanos))
    }

    /// Starts at the first bound again, after a success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// Draws the delay after so many failures, at least one, for callers that count them themselves. `random` is any 64 random
/// bits.
pub fn delay(first: Duration, cap: Duration, failures: u32, random: u64) -> Duration {
    Backoff { first, cap, attempt: failures.saturating_sub(1).min(31) }.next_delay(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_starts_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        let bounds: Vec<_> = (0..9)
            .map(|_| {
                let bound = backoff.bound().as_millis();
                assert!(backoff.next_delay(u64::MAX).as_millis() <= bound);
                bound
            })
            .collect();
        assert_eq!(bounds, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.bound(), Duration::from_millis(50));
        assert_eq!(backoff.next_delay(0), Duration::ZERO);
    }
}
