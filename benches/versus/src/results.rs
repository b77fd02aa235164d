//! Samples by row, size, burst and placement, and the statistics over them.

use crate::measure::{Sample, Task};
use std::collections::BTreeMap;

/// Identifies what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampleKey {
    pub row: &'static str,
    pub size: usize,
    pub burst: u64,
    pub together: bool,
}

impl From<&Task> for SampleKey {
    fn from(task: &Task) -> SampleKey {
        SampleKey { row: task.row.name, size: task.size, burst: task.burst, together: task.together }
    }
}

/// A figure of a growth scenario.
#[derive(Debug, Clone)]
pub struct Fact {
    pub name: &'static str,
    pub about: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

#[derive(Debug, Default)]
pub struct Results {
    pub samples: BTreeMap<SampleKey, Sample>,
    /// Rows that cannot run, and why.
    pub missing: BTreeMap<&'static str, String>,
    /// Measurements in which a message was lost, repeated or changed, or which did not finish.
    pub failures: Vec<String>,
    pub facts: Vec<Fact>,
}

/// The median of some figures, and their first and third quartiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

/// Returns a quantile of sorted values, interpolated between neighbours. There must be at least one value.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let position = (sorted.len() - 1) as f64 * share;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    below + (above - below) * position.fract()
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

impl Summary {
    pub fn of(values: &[f64]) -> Option<Summary> {
        let sorted = sorted(values.iter().copied());
        let at = |share| quantile(&sorted, share);
        (!sorted.is_empty()).then(|| Summary { median: at(0.5), low: at(0.25), high: at(0.75) })
    }
}

impl Results {
    pub fn add(&mut self, key: SampleKey, sample: Sample) {
        self.samples.entry(key).or_default().add(sample);
    }

    /// Returns the rate in messages per second.
    pub fn rate(&self, key: &SampleKey) -> Option<Summary> {
        Summary::of(&self.samples.get(key)?.rates)
    }

    /// Returns the latency of a lone message in microseconds: median and 99th percentile.
    pub fn latency(&self, key: &SampleKey) -> Option<(f64, f64)> {
        let latencies = &self.samples.get(key)?.latencies;
        let sorted = sorted(latencies.iter().map(|nanoseconds| *nanoseconds as f64 / 1e3));
        (!sorted.is_empty()).then(|| (quantile(&sorted, 0.5), quantile(&sorted, 0.99)))
    }

    /// Returns the peak memory of the largest process, in MiB.
    pub fn peak(&self, key: &SampleKey) -> Option<f64> {
        Some(self.samples.get(key)?.peak as f64 / 1024.0)
    }

    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_the_middle_and_the_middle_half() {
        let summary = Summary::of(&[5.0, 1.0, 3.0, 2.0, 4.0]);
        assert_eq!(summary, Some(Summary { median: 3.0, low: 2.0, high: 4.0 }));
        let summary = Summary::of(&[2.0, 1.0]);
        assert_eq!(summary, Some(Summary { median: 1.5, low: 1.25, high: 1.75 }));
        assert_eq!(Summary::of(&[]), None);
    }
}
