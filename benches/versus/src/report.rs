//! All figures as JSON, with the versions and the machine they depend on.

use crate::measure::Sample;
use crate::results::{Results, SampleKey};
use crate::rows::{FAN_OUT, Group, ROWS, ServerKind};
use crate::targets::{Target, Verdict};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use versus_work::Failure;

pub fn json(results: &Results, targets: &[Target], quick: bool) -> Value {
    let rows = results.samples.iter().map(|(key, sample)| {
        let about = ROWS.iter().find(|row| row.name == key.row).map(|row| row.about);
        let rate = results.rate(key).map(|rate| json!({"median": rate.median, "low": rate.low, "high": rate.high}));
        let lone = results.latency(key).map(|(median, p99)| json!({"median_us": median, "p99_us": p99}));
        json!({
            "row": key.row, "about": about, "receivers": receivers(key.row), "bytes": key.size, "burst": key.burst, "one_process": key.together,
            "rate": rate, "rates": sample.rates, "lone": lone, "peak_mib": results.peak(key),
        })
    });
    let judged = targets.iter().filter_map(|target| {
        let (ratio, met) = match target.verdict() {
            Verdict::NotMeasured => return None,
            Verdict::Met(ratio) => (ratio, true),
            Verdict::Missed(ratio) => (ratio, false),
        };
        let at = if target.at_most { "at_most" } else { "at_least" };
        Some(json!({"target": target.text, at: target.goal, "ratio": ratio, "met": met}))
    });
    let facts =
        results.facts.iter().map(|fact| (fact.name.to_owned(), json!({"value": fact.value, "unit": fact.unit})));
    json!({
        "quick": quick,
        "rows": rows.collect::<Vec<_>>(),
        "not_available": results.missing,
        "failures": results.failures,
        "facts": facts.collect::<serde_json::Map<_, _>>(),
        "targets": judged.collect::<Vec<_>>(),
        "versions": versions(),
        "machine": machine(),
    })
}

/// Returns how many receivers each message of a row goes to.
fn receivers(row: &str) -> usize {
    let fan_out = ROWS.iter().any(|of| of.name == row && of.group == Group::FanOut);
    if fan_out { FAN_OUT } else { 1 }
}

fn versions() -> Value {
    let mut versions: serde_json::Map<String, Value> =
        crate::contender::versions().into_iter().map(|(name, version)| (name.to_owned(), version.into())).collect();
    for (name, server) in [("nats-server", ServerKind::Nats), ("redis-server", ServerKind::Redis)] {
        versions.insert(name.to_owned(), server.version().unwrap_or_else(|error| error.to_string()).into());
    }
    versions.insert("rustc".to_owned(), output("rustc", &["--version"]).into());
    versions.insert("commit".to_owned(), output("git", &["rev-parse", "--short", "HEAD"]).into());
    versions.into()
}

/// Returns the properties of the machine that may explain a figure.
pub fn machine() -> Value {
    let field = |file: &str, field: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default().to_owned();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    json!({
        "cpu": field("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": field("/proc/meminfo", "MemTotal"),
        "kernel": output("uname", &["-sr"]),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}

fn output(program: &str, words: &[&str]) -> String {
    let said = Command::new(program).args(words).output();
    said.map_or("unknown".to_owned(), |said| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

/// Reads the rates of an earlier run from the file it wrote.
pub fn read_rates(file: &Path) -> Result<Results, Failure> {
    let value: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    let mut results = Results::default();
    for found in value["rows"].as_array().ok_or("there are no rows in the file")? {
        let Some(row) = ROWS.iter().find(|row| found["row"] == row.name) else { continue };
        let number = |field: &str| found[field].as_u64().unwrap_or_default();
        let together = found["one_process"] == true;
        let key = SampleKey { row: row.name, size: number("bytes") as usize, burst: number("burst"), together };
        let rates = found["rates"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        results.add(key, Sample { rates, ..Sample::default() });
    }
    Ok(results)
}

pub fn write(file: &Path, value: &Value) -> Result<(), Failure> {
    Ok(fs::write(file, format!("{value:#}\n"))?)
}
