//! Compares liner with other messaging systems on the same work.
//!
//! `scripts/bench` builds and runs this program; `docs/benchmarks.md` describes what is measured. Every contender implements
//! `versus_work::Contender` in a file of `contender/`, and has a row in `rows.rs`. It runs in child processes of this
//! program. The parent process, which is everything outside `contender/`, controls them.

mod chart;
mod children;
mod contender;
mod growth;
mod measure;
mod options;
mod plan;
mod report;
mod results;
mod rows;
mod server;
mod table;
mod targets;

use options::Options;
use results::Results;
use std::env::args;
use std::process::ExitCode;
use versus_work::{Environment, Failure, role};

fn main() -> ExitCode {
    let words: Vec<String> = args().skip(1).collect();
    let done = match &words[..] {
        [child, row, roles, dir, server @ ..] if child == "child" => play(row, roles, dir, server.first()),
        _ => Options::parse(words.into_iter()).and_then(|options| compare(&options)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("liner-versus: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a child process.
fn play(row: &str, roles: &str, dir: &str, server: Option<&String>) -> Result<(), Failure> {
    contender::find(row).ok_or("there is no such row")?;
    let environment = Environment { dir: dir.into(), server: server.cloned() };
    role::play(|| contender::find(row).expect("it was found before"), roles, &environment);
    Ok(())
}

/// Runs the parent process. A missed target is no error; a lost, repeated or changed message is.
fn compare(options: &Options) -> Result<(), Failure> {
    if options.help {
        println!("{}", options::USAGE);
        return Ok(());
    }
    if options.list {
        table::print_rows();
        return Ok(());
    }
    if let Some(file) = &options.from {
        let chart = options.chart.as_ref().ok_or("--from needs --chart")?;
        return chart::draw(chart, &report::read_rates(file)?);
    }
    let mut results = Results::default();
    plan::run(options, &mut results);
    if !options.quick {
        growth::run(options, &mut results);
    }
    let targets = targets::all(&results);
    table::print(&results);
    table::print_facts(&results.facts);
    table::print_targets(&targets);
    if let Some(file) = &options.json {
        report::write(file, &report::json(&results, &targets, options.quick))?;
    }
    if let Some(file) = &options.chart {
        chart::draw(file, &results)?;
    }
    if results.failures.is_empty() { Ok(()) } else { Err(results.failures.join("\n").into()) }
}
