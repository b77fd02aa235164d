//! Memory and processor time of this process, as the kernel counts them.

use std::fs;
use std::time::Duration;

/// Ticks per second in the kernel's accounting, fixed at 100 in the interface to user space.
const TICKS: u64 = 100;

/// Returns the peak resident memory in KiB, or 0 if the kernel does not report it.
pub fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Returns the resident memory in KiB, or 0 if the kernel does not report it.
pub fn rss() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Returns the processor time of all threads so far.
pub fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may contain blanks; the fields after it do not.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}
