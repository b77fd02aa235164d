//! The table on standard output.

use crate::results::{Fact, Results, SampleKey, Summary};
use crate::rows::{Group, ROWS, Row, SIZES};
use crate::targets::{Target, Verdict};

/// Formats a number with three digits and a unit: `1.19 M`, `704 k`.
pub fn short(number: f64) -> String {
    let (scaled, unit) = match number {
        n if n >= 1e6 => (n / 1e6, " M"),
        n if n >= 1e3 => (n / 1e3, " k"),
        n => (n, ""),
    };
    let digits = if scaled >= 100.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}

fn cell(summary: Option<Summary>) -> String {
    let range = |s: Summary| format!("{} – {}", short(s.low), short(s.high));
    summary.map_or("–".to_owned(), |s| format!("{:>7} {:>19}", short(s.median), format!("({})", range(s))))
}

fn line(row: &Row, results: &Results) -> Vec<String> {
    let key = |size, together| SampleKey { row: row.name, size, burst: row.burst(), together };
    let mut cells = vec![row.name.to_owned()];
    if let Some(reason) = results.missing.get(row.name) {
        cells.push(format!("not available: {reason}"));
        return cells;
    }
    cells.extend(SIZES.map(|size| cell(results.rate(&key(size, false)))));
    cells.push(cell(results.rate(&key(SIZES[0], true))));
    let latency = results.latency(&key(SIZES[0], false));
    cells.push(latency.map_or("–".to_owned(), |(median, p99)| format!("{median:.0} / {p99:.0} µs")));
    let peak = SIZES.iter().filter_map(|size| results.peak(&key(*size, false))).reduce(f64::max);
    cells.push(peak.map_or("–".to_owned(), |peak| format!("{peak:.0} MiB")));
    cells
}

fn known(row: &Row, results: &Results) -> bool {
    results.missing.contains_key(row.name) || results.samples.keys().any(|key| key.row == row.name)
}

/// Prints the rows. Rates are medians, with the first and third quartiles of all bursts in parentheses.
pub fn print(results: &Results) {
    if results.samples.is_empty() && results.missing.is_empty() {
        return;
    }
    let heads = ["messages per second", "100 B", "1 KiB", "100 B, one process", "lone: median / p99", "peak memory"];
    let widths = [24, 27, 27, 27, 18, 11];
    let write = |cells: &[String]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    write(&heads.map(str::to_owned));
    for group in [Group::Memory, Group::FanOut, Group::Stored, Group::Limit] {
        let rows = || ROWS.iter().filter(|row| row.group == group && known(row, results));
        if rows().next().is_some() {
            println!("-- {}", group.heading());
        }
        rows().for_each(|row| write(&line(row, results)));
    }
}

pub fn print_facts(facts: &[Fact]) {
    if !facts.is_empty() {
        println!("\n-- growth");
    }
    for fact in facts {
        println!("{:<74}{:>8} {}", fact.about, short(fact.value), fact.unit);
    }
}

pub fn print_rows() {
    for row in &ROWS {
        println!("{:<24}{}", row.name, row.about);
    }
}

pub fn print_targets(targets: &[Target]) {
    println!("\n{:<74}{:>8}{:>8}", "target, as ratios within this run", "goal", "ratio");
    for target in targets {
        let goal = format!("{} {}", if target.at_most { "≤" } else { "≥" }, target.goal);
        let (ratio, verdict) = match target.verdict() {
            Verdict::NotMeasured => continue,
            Verdict::Met(ratio) => (format!("{ratio:.2}"), "met"),
            Verdict::Missed(ratio) => (format!("{ratio:.2}"), "MISSED"),
        };
        println!("{:<74}{goal:>8}{ratio:>8}  {verdict}", target.text);
    }
    let left = targets.iter().filter(|target| target.verdict() == Verdict::NotMeasured).count();
    if left > 0 {
        println!("{left} targets were not measured in this run");
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([1_190_000.0, 704_400.0, 12_345.0, 7.0].map(short), ["1.19 M", "704 k", "12.3 k", "7.00"]);
    }
}
