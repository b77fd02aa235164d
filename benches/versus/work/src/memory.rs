//! What a process takes, as the kernel counts it.

use std::fs;
use std::time::Duration;

/// Ticks of the kernel's accounting in a second; fixed at 100 in the interface to user space.
const TICKS: u64 = 100;

/// The most resident memory so far, in KiB. 0 where the kernel does not say.
pub fn peak_rss() -> u64 {
    status("VmHWM:")
}

/// Resident memory now, in KiB.
pub fn rss() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Processor time of all threads so far.
pub fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold blanks; the fields behind it do not.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1_000 / TICKS)
}
