//! The order of measurements. Every round goes through all rows, every other round backwards, so that a machine that becomes
//! slower or faster affects all rows alike.

use crate::children::BrokerProgram;
use crate::measure::{Sample, Task, measure};
use crate::options::Options;
use crate::results::{Results, SampleKey};
use crate::rows::{Group, Processes, Program, ROWS, Row, SIZES};
use crate::table::short;
use std::time::Instant;
use versus_work::Failure;

struct Repetitions {
    rounds: usize,
    bursts: usize,
    /// Bursts of rows that store or fan out, which take longer.
    slow: usize,
    lone: u64,
}

const QUICK: Repetitions = Repetitions { rounds: 2, bursts: 2, slow: 1, lone: 250 };
const FULL: Repetitions = Repetitions { rounds: 5, bursts: 3, slow: 3, lone: 1_000 };

/// Returns the program of the liner_broker rows, or why there is none.
pub fn broker(options: &Options) -> BrokerProgram {
    options.broker.clone().ok_or_else(|| "its program was not given with --broker".to_owned())
}

/// Returns why a row cannot run here, if it cannot.
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

/// Returns the tasks of one round. Lone messages are sent once per round, and only of the smaller size.
fn round(rows: &[Row], options: &Options, repetitions: &Repetitions) -> Vec<Task> {
    let mut tasks = Vec::new();
    for row in rows {
        let bursts =
            if matches!(row.group, Group::FanOut | Group::Stored) { repetitions.slow } else { repetitions.bursts };
        for size in SIZES {
            let lone = if row.latency && size == SIZES[0] { repetitions.lone } else { 0 };
            tasks.push(Task { row: *row, size, burst: row.burst(), bursts, lone, together: false });
        }
        if !options.quick && row.processes == Processes::Two && row.group != Group::FanOut {
            tasks.push(Task { row: *row, size: SIZES[0], burst: row.burst(), bursts, lone: 0, together: true });
        }
    }
    tasks
}

pub fn run(options: &Options, results: &mut Results) {
    let repetitions = if options.quick { QUICK } else { FULL };
    let wanted = ROWS.iter().filter(|row| options.wants(row.name));
    let mut rows = Vec::new();
    for row in wanted.filter(|row| row.quick || !options.quick || !options.only.is_empty()) {
        match obstacle(row, options) {
            Some(reason) => drop(results.missing.insert(row.name, reason)),
            None => rows.push(*row),
        }
    }
    let mut tasks = round(&rows, options, &repetitions);
    let rounds = options.rounds.unwrap_or(repetitions.rounds);
    for round in 1..=rounds {
        for (at, task) in tasks.iter().enumerate() {
            let progress = format!("round {round}/{rounds}, {}/{}", at + 1, tasks.len());
            let outcome = announced(&progress, task, options);
            match outcome {
                Ok(sample) => results.add(SampleKey::from(task), sample),
                Err(error) => {
                    let SampleKey { row, size, together, .. } = SampleKey::from(task);
                    let placement = if together { ", one process" } else { "" };
                    results.failures.push(format!("{row}, {size} B{placement}: {error}"));
                }
            }
        }
        tasks.reverse();
    }
}

/// Measures, and prints a line of progress.
pub fn announced(what: &str, task: &Task, options: &Options) -> Result<Sample, Failure> {
    let placement = if task.together { ", one process" } else { "" };
    let start = Instant::now();
    let outcome = measure(task, &broker(options));
    let found = match &outcome {
        Ok(sample) => sample.rates.iter().map(|rate| short(*rate)).collect::<Vec<_>>().join(" "),
        Err(error) => error.to_string(),
    };
    eprintln!("{what}: {}, {} B{placement}: {found} ({:.1?})", task.row.name, task.size, start.elapsed());
    outcome
}
