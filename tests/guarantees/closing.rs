//! Guarantee 20, what a shutdown leaves of an SQLite file: one file, with everything in it, once it is answered.

use crate::support::*;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use liner::stores::{SharedStore, StoreError};
use liner::{Config, LinerSystem, ListAddresses, MeshEvent, Receive, SendTo, Shutdown};
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// What stands in the directory of the shared file.
fn files(mesh: &Mesh) -> Vec<OsString> {
    let entries = fs::read_dir(mesh.path("")).expect("is a directory");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("reads").file_name()).collect();
    names.sort();
    names
}

/// The messages that wait in a file of which nothing but the file itself is known.
fn waiting_in_a_copy(file: &Path) -> i64 {
    let elsewhere = tempfile::tempdir().expect("temporary directory");
    let copy = elsewhere.path().join("copy.sqlite");
    fs::copy(file, &copy).expect("copies");
    let db = rusqlite::Connection::open(copy).expect("opens");
    db.query_row("SELECT count(*) FROM conn_messages", [], |row| row.get(0)).expect("has the tables")
}

fn sender(mesh: &Mesh) -> Config {
    mesh.config("orders").seed("billing", "billing-1", "127.0.0.1:1")
}

/// The answer is all that a program waits for whose `main` returns next.
#[actix::test]
async fn g20_a_shutdown_is_answered_when_the_file_is_closed() {
    for deadline in [Shutdown::now(), Shutdown::drain(PATIENCE)] {
        let mesh = Mesh::sqlite();
        let orders = Node::start(sender(&mesh)).await;
        orders.send_all("billing", &texts("", 7)).await;
        orders.call(deadline).await.expect("shuts down");
        assert_eq!(files(&mesh), ["mesh.sqlite"]);
        assert_eq!(waiting_in_a_copy(&mesh.file()), 7);
    }
}

#[actix::test]
async fn g20_nodes_that_share_a_file_and_a_process_end_apart_or_at_once() {
    let mesh = Mesh::sqlite();
    let orders = Node::start(mesh.config("orders")).await;
    let billing = Node::start(mesh.config("billing")).await;
    let reports = LinerSystem::spawn(mesh.config("reports")).await.expect("starts");
    let mut inbox = Inbox::at(&billing).await;
    orders.shutdown().await;
    let orders = Node::start(mesh.config("orders")).await;
    orders.send("billing", "x").await;
    assert_eq!(inbox.text().await, "x", "the others go on");
    let (orders, billing, reports) = futures::join!(
        orders.call(Shutdown::drain(PATIENCE)),
        billing.call(Shutdown::drain(PATIENCE)),
        reports.send(Shutdown::drain(PATIENCE)),
    );
    orders.expect("shuts down");
    billing.expect("shuts down");
    reports.expect("lives").expect("shuts down");
    // Of several that close at the same moment, each may have seen another one; what they leave then is empty.
    let log = fs::metadata(mesh.path("mesh.sqlite-wal")).map_or(0, |log| log.len());
    assert_eq!((log, waiting_in_a_copy(&mesh.file())), (0, 0));
}

/// Whoever opened a store closes it.
#[actix::test]
async fn g20_a_store_that_was_given_stays_open_until_its_owner_ends_it() {
    let mesh = Mesh::sqlite();
    let store: SharedStore = Arc::new(SqliteStore::open(&mesh.file(), SqliteOptions::default()).expect("opens"));
    let orders = Node::start(Config::custom("orders-1", "orders", store.clone())).await;
    let billing = Node::start(Config::custom("billing-1", "billing", store.clone())).await;
    let mut inbox = Inbox::at(&billing).await;
    orders.send("billing", "before").await;
    assert_eq!(inbox.text().await, "before");
    orders.shutdown().await;
    assert_eq!(billing.call(ListAddresses::new("orders")).await.expect("lists"), []);
    billing.shutdown().await;
    store.facts().await.expect("is open");
    store.lanes(&name("orders-1")).await.expect("is open");
    futures::join!(store.end(), store.end());
    assert_eq!(files(&mesh), ["mesh.sqlite"]);
    let refused = store.lanes(&name("orders-1")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    let refused = store.changed().await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[actix::test]
async fn g20_a_fenced_process_closes_the_file_too() {
    let mesh = Mesh::sqlite();
    let older = Node::start(sender(&mesh)).await;
    let mut events = Events::of(&older).await;
    let newer = Node::start(sender(&mesh)).await;
    let refused = older.call(SendTo::new("billing", "x")).await;
    assert!(refused.is_err(), "{refused:?}");
    events.wait("fenced", |event| matches!(event, MeshEvent::Fenced)).await;
    until("it ends", || async { !older.addr.connected() }).await;
    newer.send_all("billing", &texts("", 3)).await;
    newer.shutdown().await;
    assert_eq!(files(&mesh), ["mesh.sqlite"]);
    assert_eq!(waiting_in_a_copy(&mesh.file()), 3);
}

/// Not only on threads of its own.
#[test]
fn g20_a_program_on_tokio_finds_the_file_closed() {
    let mesh = Mesh::sqlite();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let orders = LinerSystem::spawn(sender(&mesh)).await.expect("starts");
        orders.send(Receive::callback(|_| Ok(()))).await.expect("lives").expect("receives").detach();
        orders.send(SendTo::new("billing", "x")).await.expect("lives").expect("accepted");
        orders.send(Shutdown::now()).await.expect("lives").expect("shuts down");
        assert_eq!(files(&mesh), ["mesh.sqlite"]);
    });
    assert_eq!(waiting_in_a_copy(&mesh.file()), 1);
}
