//! How liner scales: messages of a burst, messages that wait, idle links, topics.

use crate::children::{ChildConfig, Children};
use crate::measure::{Sample, Task};
use crate::options::Options;
use crate::plan::{announced, broker};
use crate::results::{Fact, Results, Summary};
use crate::rows::{BURST, GROWTH, Program, ROWS, Row};
use std::thread::sleep;
use std::time::Duration;
use versus_work::Failure;

const MILLION: u64 = 1_000_000;
const LINKS: u64 = 1_000;
/// How long idle links are observed.
const OBSERVED: Duration = Duration::from_secs(10);
/// The pause before idle links are observed, until the work of opening them is over.
const SETTLED: Duration = Duration::from_secs(5);
const SIZE: usize = 100;
/// How often each of two compared figures is measured, alternately.
const ROUNDS: usize = 3;

type Facts = Result<Vec<Fact>, Failure>;
type Scenario = fn(&Options) -> Facts;

/// The functions of [`GROWTH`], in the same order.
const SCENARIOS: [Scenario; GROWTH.len()] = [million, absent, idle, topics];

pub fn run(options: &Options, results: &mut Results) {
    for (name, scenario) in GROWTH.into_iter().zip(SCENARIOS) {
        if !options.wants(name) {
            continue;
        }
        eprintln!("{name}");
        match scenario(options) {
            Ok(facts) => results.facts.extend(facts),
            Err(error) => results.failures.push(format!("{name}: {error}")),
        }
    }
}

fn fact(name: &'static str, about: &'static str, value: f64, unit: &'static str) -> Fact {
    Fact { name, about, value, unit }
}

/// Returns a copy of a row of the table under another name.
fn like(name: &'static str, of: &str) -> Result<Row, Failure> {
    let row = ROWS.iter().find(|row| row.name == of).ok_or("there is no such row")?;
    Ok(Row { name, ..*row })
}

fn task(row: Row, burst: u64, bursts: usize) -> Task {
    Task { row, size: SIZE, burst, bursts, lone: 0, together: false }
}

/// Measures both tasks alternately.
fn in_turn(options: &Options, tasks: [Task; 2]) -> Result<[Sample; 2], Failure> {
    let mut samples = [Sample::default(), Sample::default()];
    for round in 0..ROUNDS {
        for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            samples[at].add(announced("growth", &tasks[at], options)?);
        }
    }
    Ok(samples)
}

fn median(sample: &Sample) -> f64 {
    Summary::of(&sample.rates).map_or(0.0, |rates| rates.median)
}

fn million(options: &Options) -> Facts {
    let both = |name| {
        let row = like(name, name)?;
        in_turn(options, [task(row, BURST, 3), task(row, MILLION, 1)])
    };
    let [wb, many_wb] = both("liner-wb")?;
    let [committed, many_committed] = both("liner-committed")?;
    Ok(vec![
        fact("base.wb", "bursts of 100,000, liner-wb", median(&wb), "/s"),
        fact("million.wb", "bursts of 1,000,000, liner-wb", median(&many_wb), "/s"),
        fact("million.wb.peak", "  peak memory", many_wb.peak as f64 / 1024.0, "MiB"),
        fact("base.committed", "bursts of 100,000, liner-committed", median(&committed), "/s"),
        fact("million.committed", "bursts of 1,000,000, liner-committed", median(&many_committed), "/s"),
        fact("million.committed.peak", "  peak memory", many_committed.peak as f64 / 1024.0, "MiB"),
    ])
}

fn child_config<'a>(
    row: &'a str,
    dir: &'a std::path::Path,
    broker: &'a crate::children::BrokerProgram,
) -> ChildConfig<'a> {
    ChildConfig { row, program: Program::Own, dir, server: None, broker }
}

/// Measures how a million messages are accepted for a receiver that starts later, and then drained.
fn absent(options: &Options) -> Facts {
    let (dir, broker) = (tempfile::tempdir()?, broker(options));
    let child_config = child_config("liner-absent", dir.path(), &broker);
    let mut sender = Children::start(&child_config, &["s"])?;
    sender.connect(true)?;
    sender.write('s', &format!("send 0 {MILLION} {SIZE} 0"))?;
    let sent = sender.read('s', "sent")?;
    let accepting = sent.number(1)? - sent.number(0)?;
    let mut receiver = Children::start(&child_config, &["r"])?;
    receiver.write('r', &format!("start 0 {MILLION} {SIZE} 0"))?;
    receiver.read('r', "ready")?;
    let received = receiver.read('r', "received")?;
    let draining = received.number(1)? - received.number(0)?;
    let peak = receiver.end()?.max(sender.end()?);
    let rate = |nanoseconds: u64| MILLION as f64 * 1e9 / nanoseconds as f64;
    Ok(vec![
        fact("absent.accepted", "1,000,000 for an absent peer: accepted (committed)", rate(accepting), "/s"),
        fact("absent.drained", "  handled on its return, from the first to the last", rate(draining), "/s"),
        fact("absent.peak", "  peak memory", peak as f64 / 1024.0, "MiB"),
    ])
}

fn topics(options: &Options) -> Facts {
    let none = task(like("liner-wb", "liner-wb")?, BURST, 3);
    let many = task(like("liner-topics", "liner-wb")?, BURST, 3);
    let [none, many] = in_turn(options, [none, many])?;
    Ok(vec![
        fact("topics.none", "rate with one topic known, liner-wb", median(&none), "/s"),
        fact("topics.many", "rate with 100,000 topics known", median(&many), "/s"),
    ])
}

/// Returns memory in KiB and processor time in milliseconds of receiver and sender.
fn usage(children: &mut Children) -> Result<[[f64; 2]; 2], Failure> {
    let mut of = |role| {
        children.write(role, "usage")?;
        let usage = children.read(role, "usage")?;
        Ok::<_, Failure>([usage.number(0)? as f64, usage.number(1)? as f64])
    };
    Ok([of('r')?, of('s')?])
}

fn idle(options: &Options) -> Facts {
    let (dir, broker) = (tempfile::tempdir()?, broker(options));
    let mut children = Children::start(&child_config("liner-idle", dir.path(), &broker), &["r", "s"])?;
    children.connect(false)?;
    let alone = usage(&mut children)?;
    sleep(OBSERVED);
    let before = usage(&mut children)?;
    children.write('r', &format!("expect 0 {LINKS} {SIZE} 0"))?;
    children.read('r', "expecting")?;
    children.write('s', &format!("send 0 {LINKS} {SIZE} 0"))?;
    children.read('s', "sent")?;
    children.read('r', "received")?;
    sleep(SETTLED);
    let opened = usage(&mut children)?;
    sleep(OBSERVED);
    let later = usage(&mut children)?;
    children.end()?;
    // The processor time of a thousand nodes without links does not count for the links.
    let each = |side: usize| (opened[side][0] - before[side][0]) / LINKS as f64;
    let share = |milliseconds: f64| milliseconds / OBSERVED.as_millis() as f64 * 100.0;
    let nodes = |side: usize| share(before[side][1] - alone[side][1]);
    let links = |side: usize| share(later[side][1] - opened[side][1]) - nodes(side);
    Ok(vec![
        fact("idle.sender", "1,000 idle links: memory of each at the sender", each(1), "KiB"),
        fact("idle.receivers", "  memory of each at the receivers", each(0), "KiB"),
        fact("idle.cpu", "  share of a core, both sides", links(0) + links(1), "%"),
        fact("idle.cpu.sender", "  of it the sender's", links(1), "%"),
        fact("idle.cpu.nodes", "  1,000 nodes without links, not included", nodes(0), "%"),
    ])
}
