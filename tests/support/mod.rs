//! What the tests of whole nodes share: nodes that can be crashed, subscribers with a script, a network and a store that
//! can fail. Waiting is for conditions, up to [`PATIENCE`].

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses its own part")]

pub(crate) mod events;
pub(crate) mod inbox;
pub(crate) mod mesh;
pub(crate) mod node;
pub(crate) mod outage;
pub(crate) mod proxy;
pub(crate) mod store;

pub(crate) use events::Events;
pub(crate) use inbox::{Inbox, Reply};
pub(crate) use liner_test_servers::{postgres, redis};
pub(crate) use mesh::Mesh;
pub(crate) use node::Node;
pub(crate) use proxy::Proxy;
pub(crate) use store::FaultyStore;

use std::future::Future;
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails: long enough for a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a condition that nothing announces.
const LOOK: Duration = Duration::from_millis(5);

/// Longer than any test: for intervals that must not be what makes it pass.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// Looks until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}

/// Awaits something that must happen.
pub(crate) async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else { panic!("waited in vain: {what}") };
    output
}

/// Runs a test on each kind of shared store.
macro_rules! on_each_store {
    ($($name:ident),* $(,)?) => {
        $(mod $name {
            #[actix::test]
            async fn on_sqlite() {
                super::$name($crate::support::Mesh::sqlite()).await;
            }

            #[actix::test]
            async fn in_memory() {
                super::$name($crate::support::Mesh::memory()).await;
            }

            #[cfg(feature = "postgres")]
            #[actix::test]
            async fn on_postgres() {
                super::$name($crate::support::Mesh::postgres()).await;
            }

            #[cfg(feature = "redis")]
            #[actix::test]
            async fn on_redis() {
                super::$name($crate::support::Mesh::redis()).await;
            }
        })*
    };
}
pub(crate) use on_each_store;

/// The texts "{prefix}0" to "{prefix}{n-1}".
pub(crate) fn texts(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

pub(crate) fn topic(text: &str) -> liner::Topic {
    liner::Topic::new(text).expect("valid")
}

pub(crate) fn name(text: &str) -> liner::NodeId {
    liner::NodeId::new(text).expect("valid")
}
