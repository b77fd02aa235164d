//! The whole protocol under seeded faults, on virtual time.
//!
//! Two to five nodes run the real machines of `liner::wire`, driven by code as thin as the actors. Connections deliver
//! bytes in slices, late, cut or not at all; processes die between any two steps; media fail, hang, and do not tell whether
//! they did. A history of each run is checked against the guarantees. A seed determines a run.
//!
//! ```text
//! cargo test --test simulator                              the usual number of seeds, and those kept in seeds.txt
//! LINER_SIM_SEEDS=100000 cargo test --test simulator       as many seeds
//! LINER_SIM_FROM=1000000 cargo test --test simulator       starting elsewhere
//! LINER_SIM_SEED=42 cargo test --test simulator -- --nocapture    one run, with its trace
//! ```

mod acks;
mod application;
mod checker;
mod counters;
mod faults;
mod links;
mod mesh;
mod network;
mod node;
mod rng;
mod sends;
mod store;
mod subscribers;
mod world;

use counters::Counters;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use world::World;

/// Seeds of a usual run.
const SEEDS: u64 = 3000;

/// Lines of the trace shown of a failed run.
const TAIL: usize = 150;

/// Runs a seed. The violation, if there was one, and the trace, if it was wanted.
fn run(seed: u64, traced: bool) -> (Counters, Option<String>, Vec<String>) {
    let mut world = World::new(seed, traced);
    let violation = match catch_unwind(AssertUnwindSafe(|| world.run())) {
        Ok(()) => world.checker.violation.take(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    (world.hits, violation, world.trace.unwrap_or_default())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

/// Seeds that found something once: a number and what it found, one per line.
fn kept() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|l| l.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a line starts with a seed"))
        .collect()
}

fn show(seed: u64, violation: &str) -> String {
    let (_, _, trace) = run(seed, true);
    let tail = trace.len().saturating_sub(TAIL);
    format!(
        "{}\nseed {seed}: violation of {violation}\nrun just this: LINER_SIM_SEED={seed} cargo test --test simulator -- --nocapture",
        trace[tail..].join("\n")
    )
}

#[test]
fn the_guarantees_hold_under_every_seed() {
    if let Some(seed) = number("LINER_SIM_SEED") {
        let (_, violation, trace) = run(seed, true);
        println!("{}", trace.join("\n"));
        assert_eq!(violation, None, "seed {seed}");
        return;
    }
    let (from, count) = (number("LINER_SIM_FROM").unwrap_or(1), number("LINER_SIM_SEEDS").unwrap_or(SEEDS));
    let seeds: Vec<u64> = kept().into_iter().chain(from..from + count).collect();
    let (next, hits) = (AtomicU64::new(0), Mutex::new(Counters::new()));
    let failed: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());
    let started = Instant::now();
    let work = || {
        loop {
            let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).expect("few");
            let Some(seed) = seeds.get(at) else { return };
            let (counted, violation, _) = run(*seed, false);
            hits.lock().expect("no panic inside").add(&counted);
            if let Some(violation) = violation {
                let mut failed = failed.lock().expect("no panic inside");
                failed.push((*seed, violation));
                if failed.len() >= 20 {
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (hits, failed) = (hits.into_inner().expect("no panic"), failed.into_inner().expect("no panic"));
    println!("{} seeds in {:?}", seeds.len(), started.elapsed());
    println!("{}", hits.report());
    if let Some((seed, violation)) = failed.first() {
        for (seed, violation) in &failed {
            println!("FAILED seed {seed}: {violation}");
        }
        panic!("{}", show(*seed, violation));
    }
    if count >= SEEDS {
        assert_eq!(hits.missing(), Vec::<&str>::new(), "the batch did not reach everything it is there to test");
    }
}
