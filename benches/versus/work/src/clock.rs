//! The clock of all measurements: CLOCK_MONOTONIC, which all processes of a machine share.

use nix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds since the machine started.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    time.tv_sec().unsigned_abs() * 1_000_000_000 + time.tv_nsec().unsigned_abs()
}
