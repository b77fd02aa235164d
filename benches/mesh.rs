//! Two systems over loopback: throughput and latency, per mode, at 100 B and 1 KiB.
//!
//! `cargo bench --bench mesh`
//!
//! A burst is sent through a publisher and counted by a callback; it ends when the last message was handled. Latency is
//! one message at a time, from the call to the callback.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use liner::{Config, Durability, GetPublisher, LinerSystem, Mode, Publisher, Receive, Shutdown};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// Messages in one burst.
const BURST: u64 = 20_000;

const MODES: [(&str, Mode); 4] = [
    ("at_most_once", Mode::AtMostOnce),
    ("write_behind", Mode::AtLeastOnce(Durability::WriteBehind)),
    ("committed", Mode::AtLeastOnce(Durability::Committed)),
    ("synced", Mode::AtLeastOnce(Durability::Synced)),
];

/// Two nodes on separate files, and how many messages the second has handled.
struct Pair {
    sender: actix::Addr<LinerSystem>,
    receiver: actix::Addr<LinerSystem>,
    handled: Arc<AtomicU64>,
    arrived: Arc<Notify>,
    _dir: TempDir,
}

impl Pair {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let receiver = Config::sqlite("receiver", "work", dir.path().join("receiver.sqlite"));
        let receiver = LinerSystem::spawn(receiver).await.expect("receiver starts");
        let addr = receiver.send(liner::Stats).await.expect("alive").expect("stats").published;
        let sender =
            Config::sqlite("sender", "source", dir.path().join("sender.sqlite")).seed("work", "receiver", &addr);
        let sender = LinerSystem::spawn(sender).await.expect("sender starts");
        let (handled, arrived) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
        let (count, notify) = (handled.clone(), arrived.clone());
        let callback = Receive::callback(move |_| {
            count.fetch_add(1, Ordering::Release);
            notify.notify_one();
            Ok(())
        });
        receiver.send(callback).await.expect("alive").expect("subscribes").detach();
        Pair { sender, receiver, handled, arrived, _dir: dir }
    }

    async fn publisher(&self, mode: Mode) -> Publisher {
        let get = match mode {
            Mode::AtMostOnce => GetPublisher::new("work").at_most_once(),
            Mode::AtLeastOnce(durability) => GetPublisher::new("work").durability(durability),
        };
        self.sender.send(get).await.expect("alive").expect("publisher")
    }

    async fn wait_for(&self, count: u64) {
        while self.handled.load(Ordering::Acquire) < count {
            self.arrived.notified().await;
        }
    }

    async fn stop(self) {
        for node in [self.sender, self.receiver] {
            node.send(Shutdown::drain(Duration::from_secs(5))).await.expect("alive").expect("ends");
        }
    }
}

/// Sends a burst and waits until all of it is handled.
async fn burst(pair: &Pair, publisher: &Publisher, payload: &[u8]) {
    let target = pair.handled.load(Ordering::Acquire) + BURST;
    let mut accepted = Vec::with_capacity(512);
    for _ in 0..BURST {
        accepted.push(publisher.send(payload));
        if accepted.len() == 512 {
            for sending in accepted.drain(..) {
                sending.await.expect("accepted");
            }
        }
    }
    for sending in accepted {
        sending.await.expect("accepted");
    }
    pair.wait_for(target).await;
}

fn throughput(c: &mut Criterion) {
    let runtime = Runtime::new().expect("runtime");
    let mut group = c.benchmark_group("throughput");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).throughput(Throughput::Elements(BURST));
    for (name, mode) in MODES {
        let pair = runtime.block_on(Pair::start());
        let publisher = runtime.block_on(pair.publisher(mode));
        for size in [100usize, 1024] {
            let payload = vec![7u8; size];
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| runtime.block_on(burst(&pair, &publisher, &payload)));
            });
        }
        drop(publisher);
        runtime.block_on(pair.stop());
    }
    group.finish();
}

fn latency(c: &mut Criterion) {
    let runtime = Runtime::new().expect("runtime");
    let mut group = c.benchmark_group("latency");
    group.sample_size(20).measurement_time(Duration::from_secs(2));
    for (name, mode) in MODES {
        let pair = runtime.block_on(Pair::start());
        let publisher = runtime.block_on(pair.publisher(mode));
        let payload = [7u8; 100];
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                runtime.block_on(async {
                    let start = Instant::now();
                    for _ in 0..rounds {
                        let target = pair.handled.load(Ordering::Acquire) + 1;
                        publisher.send(payload).await.expect("accepted");
                        pair.wait_for(target).await;
                    }
                    start.elapsed()
                })
            });
        });
        drop(publisher);
        runtime.block_on(pair.stop());
    }
    group.finish();
}

criterion_group!(benches, throughput, latency);
criterion_main!(benches);
