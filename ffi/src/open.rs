//! Creates clients: checks the names, opens the store, and writes the seeds to it.

use crate::admin::unstarted_fence;
use crate::client_state::ClientState;
use crate::error::{ErrorCode, Failure};
use crate::wait::wait;
use liner::stores::SharedStore;
use liner::stores::postgres::PostgresStore;
use liner::stores::redis::RedisStore;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use liner::{NodeId, OpenError, Topic};
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;

/// The identity of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity<'a> {
    pub(crate) name: &'a str,
    pub(crate) topic: &'a str,
    pub(crate) listen: &'a str,
}

/// The location of a store.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreLocation<'a> {
    Redis(&'a str),
    Postgres(&'a str),
    /// The path of a file, and the seeds as JSON.
    Sqlite(&'a str, &'a str),
}

/// An element of `receivers_json`.
#[derive(Debug, Deserialize)]
struct SeedPeer {
    topic: String,
    addr: String,
    client_name: String,
}

/// Creates a client.
///
/// Fails if a name is not valid, or if the store cannot be opened.
pub(crate) fn open(identity: Identity<'_>, place: StoreLocation<'_>) -> Result<Arc<ClientState>, Failure> {
    let named = |what: &str, error: liner::NameError| Failure::argument(format_args!("{what}: {error}"));
    let node = NodeId::new(identity.name).map_err(|error| named("unique name", error))?;
    let topic = Topic::new(identity.topic).map_err(|error| named("topic", error))?;
    let (StoreLocation::Redis(location) | StoreLocation::Postgres(location) | StoreLocation::Sqlite(location, _)) =
        place;
    if identity.listen.is_empty() || location.is_empty() {
        return Err(Failure::argument("the listen address or the location of the store is empty"));
    }
    let store = store(place, &node)?;
    Ok(Arc::new(ClientState::new(node, topic, identity.listen, store)))
}

fn store(place: StoreLocation<'_>, node: &NodeId) -> Result<SharedStore, Failure> {
    let (store, seeds): (SharedStore, _) = match place {
        StoreLocation::Redis(url) => {
            (apart(|| RedisStore::open(&url.into()).map(|s| Arc::new(s) as SharedStore))?, Vec::new())
        }
        StoreLocation::Postgres(url) => {
            (apart(|| PostgresStore::open(&url.into()).map(|s| Arc::new(s) as SharedStore))?, Vec::new())
        }
        StoreLocation::Sqlite(path, receivers) => {
            let seeds = seeds(receivers)?;
            (Arc::new(SqliteStore::open(Path::new(path), SqliteOptions::default())?), seeds)
        }
    };
    // Legacy messages can then be counted and cleared before the client runs. They are read before the seeds are written,
    // because seeds would change what their topic numbers mean.
    wait(store.adopt(&unstarted_fence(node)))?;
    for (topic, node, addr) in seeds {
        wait(store.seed(&topic, &node, &addr))?;
    }
    Ok(store)
}

/// Opens a store on a thread of its own, since the caller may be inside a runtime.
fn apart(open: impl FnOnce() -> Result<SharedStore, OpenError> + Send) -> Result<SharedStore, Failure> {
    let opened = std::thread::scope(|scope| scope.spawn(open).join());
    Ok(opened.map_err(|_| Failure::new(ErrorCode::Store, "the store could not be opened"))??)
}

fn seeds(json: &str) -> Result<Vec<(Topic, NodeId, String)>, Failure> {
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let receivers: Vec<SeedPeer> =
        serde_json::from_str(json).map_err(|error| Failure::argument(format_args!("receivers: {error}")))?;
    receivers.into_iter().map(|r| Ok((Topic::new(&r.topic)?, NodeId::new(&r.client_name)?, r.addr))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_are_an_array_of_peers_or_nothing() {
        for nothing in ["", " \n", "[]"] {
            assert_eq!(seeds(nothing).map(|seeds| seeds.len()), Ok(0), "{nothing:?}");
        }
        let two =
            r#"[{"topic": "a", "addr": "h:1", "client_name": "n"}, {"topic": "b", "addr": "h:2", "client_name": "m"}]"#;
        assert_eq!(seeds(two).map(|seeds| seeds.len()), Ok(2));
        for bad in ["{}", "[1]", "[{}]", "nonsense", r#"[{"topic": "", "addr": "h:1", "client_name": "n"}]"#] {
            assert!(seeds(bad).is_err(), "{bad:?}");
        }
    }
}
