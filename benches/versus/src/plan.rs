//! What is measured in which order: every round goes through all rows, every other one backwards, so that a machine that
//! becomes slower or faster does so for all.

use crate::children::Broker;
use crate::measure::{Sample, Task, measure};
use crate::options::Options;
use crate::results::{Key, Results};
use crate::rows::{Group, Processes, Program, ROWS, Row, SIZES};
use crate::table::short;
use std::time::Instant;
use versus_work::Failure;

struct Extent {
    rounds: usize,
    bursts: usize,
    /// Those of rows that store or fan out, which take longer.
    slow: usize,
    lone: u64,
}

const QUICK: Extent = Extent { rounds: 2, bursts: 2, slow: 1, lone: 250 };
const FULL: Extent = Extent { rounds: 5, bursts: 3, slow: 3, lone: 1_000 };

/// The program of the liner_broker rows, or why there is none.
pub fn broker(options: &Options) -> Broker {
    options.broker.clone().ok_or_else(|| "its program was not given with --broker".to_owned())
}

/// Why a row cannot run here.
fn obstacle(row: &Row, options: &Options) -> Option<String> {
    if let Some((_, reason)) = options.missing.iter().find(|(name, _)| row.name.starts_with(name.as_str())) {
        return Some(reason.clone());
    }
    match row.program {
        Program::Broker => broker(options).err(),
        Program::Own if crate::contender::find(row.name).is_none() => Some("built without its feature".to_owned()),
        Program::Own => row.server.and_then(|server| server.version().err()).map(|error| error.to_string()),
    }
}

/// The tasks of one round. Lone messages are sent once a round, among the smaller ones.
fn round(rows: &[Row], options: &Options, extent: &Extent) -> Vec<Task> {
    let mut tasks = Vec::new();
    for row in rows {
        let bursts = if matches!(row.group, Group::FanOut | Group::Stored) { extent.slow } else { extent.bursts };
        for size in SIZES {
            let lone = if row.latency && size == SIZES[0] { extent.lone } else { 0 };
            tasks.push(Task { row: *row, size, burst: row.burst(), bursts, lone, together: false });
        }
        if !options.quick && row.processes == Processes::Two && row.group != Group::FanOut {
            tasks.push(Task { row: *row, size: SIZES[0], burst: row.burst(), bursts, lone: 0, together: true });
        }
    }
    tasks
}

pub fn run(options: &Options, results: &mut Results) {
    let extent = if options.quick { QUICK } else { FULL };
    let wanted = ROWS.iter().filter(|row| options.wants(row.name));
    let mut rows = Vec::new();
    for row in wanted.filter(|row| row.quick || !options.quick || !options.only.is_empty()) {
        match obstacle(row, options) {
            Some(reason) => drop(results.missing.insert(row.name, reason)),
            None => rows.push(*row),
        }
    }
    let mut tasks = round(&rows, options, &extent);
    let rounds = options.rounds.unwrap_or(extent.rounds);
    for round in 1..=rounds {
        for (at, task) in tasks.iter().enumerate() {
            let what = format!("round {round}/{rounds}, {}/{}", at + 1, tasks.len());
            let outcome = announced(&what, task, options);
            match outcome {
                Ok(sample) => results.add(Key::from(task), sample),
                Err(error) => {
                    let Key { row, size, together, .. } = Key::from(task);
                    let place = if together { ", one process" } else { "" };
                    results.failures.push(format!("{row}, {size} B{place}: {error}"));
                }
            }
        }
        tasks.reverse();
    }
}

/// Measures, with a line of progress.
pub fn announced(what: &str, task: &Task, options: &Options) -> Result<Sample, Failure> {
    let place = if task.together { ", one process" } else { "" };
    let start = Instant::now();
    let outcome = measure(task, &broker(options));
    let found = match &outcome {
        Ok(sample) => sample.rates.iter().map(|rate| short(*rate)).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    };
    eprintln!("{what}: {}, {} B{place}: {found} ({:.1?})", task.row.name, task.size, start.elapsed());
    outcome
}
