//! One measurement: a contender in fresh processes, a warm-up, some bursts, and lone messages if asked.
//!
//! A burst lasts from the sender's clock before the first send to whichever is later: the receiver has checked the last
//! message, or the sender knows that nothing of it is kept any more. All use one clock, CLOCK_MONOTONIC.

use crate::children::{Broker, Children, Stage};
use crate::rows::{Processes, Row};
use crate::server::Server;
use versus_work::Failure;

/// Messages of the warm-up: links, lanes and statements are there, and buffers have grown.
const WARM_UP: u64 = 2_000;
/// Microseconds between lone messages: long enough for each to be alone, short enough for many.
const GAP: u64 = 1_000;

/// What is to be measured.
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

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Messages a second, of each burst.
    pub rates: Vec<f64>,
    /// Nanoseconds from send to check, of each lone message.
    pub latencies: Vec<u64>,
    /// The most memory a process took, in KiB.
    pub peak: u64,
}

impl Sample {
    pub fn add(&mut self, other: Sample) {
        self.rates.extend(other.rates);
        self.latencies.extend(other.latencies);
        self.peak = self.peak.max(other.peak);
    }
}

pub fn measure(task: &Task, broker: &Broker) -> Result<Sample, Failure> {
    let dir = tempfile::tempdir()?;
    let server = task.row.server.map(|kind| kind.start(dir.path())).transpose()?;
    let addr = server.as_ref().map(|server: &Server| server.addr.as_str());
    let roles: &[&str] = match (task.row.processes, task.together) {
        (Processes::SenderOnly, _) => &["s"],
        (Processes::One, _) | (Processes::Two, true) => &["rs"],
        (Processes::Two, false) => &["r", "s"],
    };
    let children = Children::start(
        &Stage { row: task.row.name, program: task.row.program, dir: dir.path(), server: addr, broker },
        roles,
    )?;
    Run { task, children, next: 0, sample: Sample::default() }.all()
}

struct Run<'a> {
    task: &'a Task,
    children: Children,
    /// The number of the next message.
    next: u64,
    sample: Sample,
}

impl Run<'_> {
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

    /// How long a burst took.
    fn burst(&mut self, count: u64, gap: u64) -> Result<u64, Failure> {
        let load = format!("{} {} {}", self.next, self.next + count, self.task.size);
        self.next += count;
        if !self.sender_only() {
            self.children.say('r', &format!("expect {load} {gap}"))?;
            self.children.hear('r', "expecting")?;
        }
        self.children.say('s', &format!("send {load} {gap}"))?;
        let sent = self.children.hear('s', "sent")?;
        let (start, mut end) = (sent.number(0)?, sent.number(1)?);
        if !self.sender_only() {
            let received = self.children.hear('r', "received")?;
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
