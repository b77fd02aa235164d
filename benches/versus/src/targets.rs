//! The targets: ratios of figures of the same run. A missed target stays.

use crate::results::{Results, SampleKey};
use crate::rows::{ROWS, Row, SIZES};

#[derive(Debug, Clone)]
pub struct Target {
    pub text: String,
    /// None when a figure was not measured.
    pub ratio: Option<f64>,
    pub goal: f64,
    /// Whether the goal is an upper bound; otherwise it is a lower bound.
    pub at_most: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    NotMeasured,
    Met(f64),
    Missed(f64),
}

impl Target {
    pub fn verdict(&self) -> Verdict {
        match self.ratio {
            None => Verdict::NotMeasured,
            Some(ratio) if self.at_most == (ratio <= self.goal) || ratio == self.goal => Verdict::Met(ratio),
            Some(ratio) => Verdict::Missed(ratio),
        }
    }
}

struct Figures<'a>(&'a Results);

impl Figures<'_> {
    fn key(row: &'static str, size: usize) -> SampleKey {
        let burst = ROWS.iter().find(|of| of.name == row).map_or(0, Row::burst);
        SampleKey { row, size, burst, together: false }
    }

    fn rate(&self, row: &'static str, size: usize) -> Option<f64> {
        Some(self.0.rate(&Self::key(row, size))?.median)
    }

    /// Returns the target for the rate of `row`, divided by the best rate measured of `others`.
    fn at_least(&self, row: &'static str, others: &[&'static str], size: usize, goal: f64) -> Target {
        let best = others.iter().filter_map(|other| self.rate(other, size)).reduce(f64::max);
        let ratio = self.rate(row, size).zip(best).map(|(rate, best)| rate / best);
        let text = format!("{row} to {}, {size} B", others.join(" or "));
        Target { text, ratio, goal, at_most: false }
    }

    fn latencies(&self, row: &'static str, other: &'static str) -> [Target; 2] {
        let of = |row| self.0.latency(&Self::key(row, SIZES[0]));
        let pair = of(row).zip(of(other));
        let target = |what: &str, ratio, goal| {
            let text = format!("lone message, {what}: {row} to {other}");
            Target { text, ratio, goal, at_most: true }
        };
        [
            target("median", pair.map(|(own, other)| own.0 / other.0), 1.2),
            target("p99", pair.map(|(own, other)| own.1 / other.1), 1.5),
        ]
    }

    fn fact(&self, text: &str, name: &str, goal: f64, at_most: bool) -> Target {
        Target { text: text.to_owned(), ratio: self.0.fact(name), goal, at_most }
    }

    fn fact_ratio(&self, text: &str, name: &str, to: &str, goal: f64) -> Target {
        let ratio = self.0.fact(name).zip(self.0.fact(to)).map(|(fact, to)| fact / to);
        Target { text: text.to_owned(), ratio, goal, at_most: false }
    }
}

pub fn all(results: &Results) -> Vec<Target> {
    let figures = Figures(results);
    let [small, large] = SIZES;
    let mut targets = Vec::new();
    let others = ["zenoh", "libzmq"];
    let broker = ["broker", "broker-stored"];
    for row in ["liner-amo", "liner-wb"] {
        targets.push(figures.at_least(row, &others, small, 2.0));
        targets.push(figures.at_least(row, &others, large, 1.5));
        targets.push(figures.at_least(row, &broker, small, 4.0));
    }
    for size in SIZES {
        targets.push(figures.at_least("liner-wb", &["liner-amo"], size, 0.7));
    }
    for size in SIZES {
        targets.push(figures.at_least("liner-wb-dosend", &["actix-dosend"], size, 1.0));
        targets.push(figures.at_least("liner-wb-send", &["actix-send"], size, 1.0));
    }
    for size in SIZES {
        // A target for each system: if one was not measured, its target is not met by the other.
        targets.push(figures.at_least("liner-amo-fanout", &["libzmq-fanout"], size, 1.0));
        targets.push(figures.at_least("liner-amo-fanout", &["nats-fanout"], size, 1.0));
    }
    targets.push(figures.at_least("liner-committed", &["jetstream"], small, 3.0));
    targets.push(figures.at_least("liner-committed", &["jetstream"], large, 1.5));
    targets.push(figures.at_least("liner-committed", &["redis"], small, 1.5));
    for size in SIZES {
        targets.push(figures.at_least("liner-committed", &["sqlite"], size, 0.35));
        targets.push(figures.at_least("liner-committed-shared", &["liner-committed"], size, 0.5));
        targets.push(figures.at_least("liner-synced", &["liner-committed"], size, 0.5));
        targets.push(figures.at_least("liner-synced-shared", &["liner-committed-shared"], size, 0.5));
    }
    for size in SIZES {
        targets.push(figures.at_least("liner-committed-postgres", &["postgres"], size, 0.4));
        targets.push(figures.at_least("liner-committed-redis", &["redis-push"], size, 0.4));
        targets.push(figures.at_least("liner-committed-redis", &["redis"], size, 1.0));
        targets.push(figures.at_least("liner-wb-postgres", &["liner-wb"], size, 0.9));
        targets.push(figures.at_least("liner-wb-redis", &["liner-wb"], size, 0.9));
    }
    targets.extend(figures.latencies("liner-wb", "zenoh"));
    targets.extend(growth(&figures));
    targets
}

fn growth(figures: &Figures<'_>) -> Vec<Target> {
    vec![
        figures.fact_ratio("rate of 1,000,000 to that of 100,000, liner-wb", "million.wb", "base.wb", 0.8),
        figures.fact_ratio(
            "rate of 1,000,000 to that of 100,000, liner-committed",
            "million.committed",
            "base.committed",
            0.8,
        ),
        figures.fact("1,000,000, liner-wb: peak memory, MiB", "million.wb.peak", 256.0, true),
        figures.fact("1,000,000, liner-committed: peak memory, MiB", "million.committed.peak", 256.0, true),
        figures.fact_ratio("accepting for an absent peer to Committed", "absent.accepted", "base.committed", 1.0),
        figures.fact_ratio("draining on its return to accepting", "absent.drained", "absent.accepted", 0.5),
        figures.fact("1,000,000 waiting: peak memory, MiB", "absent.peak", 256.0, true),
        figures.fact("1,000 idle links: KiB each at the sender", "idle.sender", 50.0, true),
        figures.fact("1,000 idle links: KiB each at the receivers", "idle.receivers", 50.0, true),
        figures.fact("1,000 idle links: share of a core, both sides, %", "idle.cpu", 2.0, true),
        figures.fact_ratio("rate with 100,000 topics known to that without", "topics.many", "topics.none", 0.9),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_in_the_direction_of_its_goal() {
        let target = |ratio, at_most| Target { text: String::new(), ratio, goal: 2.0, at_most };
        assert_eq!(target(Some(3.0), false).verdict(), Verdict::Met(3.0));
        assert_eq!(target(Some(3.0), true).verdict(), Verdict::Missed(3.0));
        assert_eq!(target(Some(1.0), true).verdict(), Verdict::Met(1.0));
        assert_eq!(target(Some(2.0), true).verdict(), Verdict::Met(2.0));
        assert_eq!(target(None, true).verdict(), Verdict::NotMeasured);
    }
}
