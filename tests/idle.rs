//! Guarantee 18: what a node at rest does. The test is alone in its process, for it counts how often threads wake.

mod support;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use liner::stores::*;
use liner::{Config, NodeId, Timing, Topic};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{Inbox, Mesh, Node, soon};
use tokio::sync::Notify;

/// The lease is renewed once a second.
const LEASE: Duration = Duration::from_secs(3);

/// Renewals from the start of the measurement to its end.
const RENEWALS: u64 = 3;

/// Wake-ups of all threads between two renewals. Two nodes that have sent need about 57: 20 reads of shared memory each, and
/// some for the lease. A timer of 5 ms in one node adds 200.
const MAX_WAKE_UPS: u64 = 150;

/// Counts what the node asks of its store, and reports renewals.
struct Counting {
    inner: SharedStore,
    commits: AtomicU64,
    changes: AtomicU64,
    renewals: AtomicU64,
    renewed: Notify,
}

impl Counting {
    fn around(inner: SharedStore) -> (Arc<Counting>, SharedStore) {
        let (commits, changes, renewals) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let counting = Arc::new(Counting { inner: inner.clone(), commits, changes, renewals, renewed: Notify::new() });
        let store = Composite { journal: counting.clone(), directory: counting.clone(), ..Composite::of(inner) };
        (counting, Arc::new(store))
    }

    /// Waits until the lease was renewed `times` times.
    async fn renewals(&self, times: u64) {
        let last = self.renewals.load(Ordering::Acquire) + times;
        while self.renewals.load(Ordering::Acquire) < last {
            soon("a renewal", self.renewed.notified()).await;
        }
    }

    /// Returns the number of commits, and of changes of the catalogue apart from renewals.
    fn writes(&self) -> (u64, u64) {
        (self.commits.load(Ordering::Acquire), self.changes.load(Ordering::Acquire))
    }
}

impl Journal for Counting {
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed> {
        self.commits.fetch_add(1, Ordering::AcqRel);
        self.inner.commit(fence, batch)
    }
}

impl Directory for Counting {
    fn facts(&self) -> StoreFuture<'_, StoreFacts> {
        self.inner.facts()
    }

    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration> {
        self.inner.register(node)
    }

    fn apply<'a>(&'a self, fence: &'a Fence, change: CatalogueChange) -> StoreFuture<'a, u64> {
        let is_renewal = matches!(change, CatalogueChange::Renew { .. });
        if !is_renewal {
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
        async move {
            let result = self.inner.apply(fence, change).await;
            if is_renewal {
                self.renewals.fetch_add(1, Ordering::AcqRel);
                self.renewed.notify_one();
            }
            result
        }
        .boxed()
    }

    fn topics<'a>(&'a self, topics: &'a [Topic]) -> StoreFuture<'a, Vec<TopicEntry>> {
        self.inner.topics(topics)
    }

    fn changed(&self) -> StoreFuture<'_, ()> {
        self.inner.changed()
    }

    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>> {
        self.inner.peers(node)
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        self.inner.end()
    }
}

/// Returns how often the threads of this process have blocked, that is woken, so far.
fn wake_ups() -> u64 {
    let of_thread = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse::<u64>().expect("is a number"))
    };
    let tasks = fs::read_dir("/proc/self/task").expect("Linux counts context switches");
    tasks.map(|task| of_thread(task.expect("reads"))).sum()
}

#[actix::test]
async fn g18_a_node_at_rest_renews_its_lease_and_does_nothing_else() {
    let mesh = Mesh::sqlite();
    let timing = || Timing::default().lease(LEASE);
    let (counting, store) = Counting::around(mesh.open());
    let orders = Node::start(Config::custom("orders-1", "orders", store).timing(timing())).await;
    let billing = Node::start(mesh.config("billing").timing(timing())).await;
    let (mut at_billing, mut at_orders) = (Inbox::at(&billing).await, Inbox::at(&orders).await);
    orders.send("billing", "question").await;
    assert_eq!(at_billing.text().await, "question");
    billing.send("orders", "reply").await;
    assert_eq!(at_orders.text().await, "reply");
    orders.settled().await;
    billing.settled().await;
    // The ack floors of lanes without rows are written by then.
    counting.renewals(2).await;
    let (writes, woken) = (counting.writes(), wake_ups());
    counting.renewals(RENEWALS).await;
    let woken = wake_ups() - woken;
    assert_eq!(counting.writes(), writes, "no commit, and no change of the catalogue");
    println!("{woken} wake-ups of two nodes in {RENEWALS} thirds of {LEASE:?}");
    assert!(woken <= MAX_WAKE_UPS * RENEWALS, "{woken} wake-ups");
}
