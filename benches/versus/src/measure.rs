//! One measurement: a contender in new processes, a warm-up, some bursts, and lone messages if the task has them.
//!
//! A burst starts before the first send. It ends when the receivers have checked the last message and the sender keeps no
//! message for repetition. All processes use one clock, CLOCK_MONOTONIC.

use crate::children::{BrokerProgram, ChildConfig, Children};
use crate::rows::{Processes, Row};
use crate::server::Server;
use versus_work::Failure;

/// Messages of the warm-up. It opens links and lanes, prepares statements and grows buffers.
const WARM_UP: u64 = 2_000;
/// Microseconds between lone messages: long enough for each to be alone, short enough for many.
const GAP: u64 = 1_000;

/// A measurement to be made.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub row: Row,
    pub size: usize,
    /// Messages of a burst.
    pub burst: u64,
    pub bursts: usize,
    /// Lone messages.
    pub lone: u64,
    /// Both roles in one process, although the row has two.
    pub together: bool,
}

/// The figures of a measurement.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Messages per second, for each burst.
    pub rates: Vec<f64>,
    /// Nanoseconds from send to check, of each lone message.
    pub latencies: Vec<u64>,
    /// Peak memory of the largest process, in KiB.
    pub peak: u64,
}

impl Sample {
    pub fn add(&mut self, other: Sample) {
        self.rates.extend(other.rates);
        self.latencies.extend(other.latencies);
        self.peak = self.peak.max(other.peak);
    }
}

pub fn measure(task: &Task, broker: &BrokerProgram) -> Result<Sample, Failure> {
    let dir = tempfile::tempdir()?;
    let server = task.row.server.map(|kind| kind.start(dir.path())).transpose()?;
    let addr = server.as_ref().map(|server: &Server| server.addr.as_str());
    let roles: &[&str] = match (task.row.processes, task.together) {
        (Processes::SenderOnly, _) => &["s"],
        (Processes::One, _) | (Processes::Two, true) => &["rs"],
        (Processes::Two, false) => &["r", "s"],
    };
    let children = Children::start(
        &ChildConfig { row: task.row.name, program: task.row.program, dir: dir.path(), server: addr, broker },
        roles,
    )?;
    Measurement { task, children, next: 0, sample: Sample::default() }.all()
}

struct Measurement<'a> {
    task: &'a Task,
    children: Children,
    /// The number of the next message.
    next: u64,
    sample: Sample,
}

impl Measurement<'_> {
    fn sender_only(&self) -> bool {
        self.task.row.processes == Processes::SenderOnly
    }

    fn all(mut self) -> Result<Sample, Failure> {
        let sender_only = self.sender_only();
        self.children.connect(sender_only)?;
        self.burst(WARM_UP.min(self.task.burst), 0)?;
        for _ in 0..self.task.bursts {
            let nanoseconds = self.burst(self.task.burst, 0)?;
            self.sample.rates.push(self.task.burst as f64 * 1e9 / nanoseconds as f64);
        }
        if self.task.lone > 0 {
            self.burst(self.task.lone, GAP)?;
        }
        self.end()
    }

    /// Sends one burst. Returns how long it took, in nanoseconds.
    fn burst(&mut self, count: u64, gap: u64) -> Result<u64, Failure> {
        let load = format!("{} {} {}", self.next, self.next + count, self.task.size);
        self.next += count;
        if !self.sender_only() {
            self.children.write('r', &format!("expect {load} {gap}"))?;
            self.children.read('r', "expecting")?;
        }
        self.children.write('s', &format!("send {load} {gap}"))?;
        let sent = self.children.read('s', "sent")?;
        let (start, mut end) = (sent.number(0)?, sent.number(1)?);
        if !self.sender_only() {
            let received = self.children.read('r', "received")?;
            end = end.max(received.number(1)?);
            self.sample.latencies.extend(received.numbers_from(2)?);
        }
        Ok(end - start)
    }

    fn end(mut self) -> Result<Sample, Failure> {
        self.sample.peak = self.children.end()?;
        Ok(self.sample)
    }
}
