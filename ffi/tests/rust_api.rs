//! The interface for Rust programs: `Client` and `Liner`.

use liner_broker::{Client, ErrorCode, LNR_PEER_CONNECTED, LNR_PEER_SUBSCRIBED, Liner};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

struct Mesh(TempDir);

impl Mesh {
    fn new() -> Self {
        Mesh(TempDir::new().expect("a directory"))
    }

    fn file(&self) -> String {
        self.0.path().join("mesh.sqlite").to_str().expect("a path that is text").to_owned()
    }

    fn client(&self, name: &str) -> Client {
        Client::new_sqlite(name, &format!("{name}-topic"), "localhost:0", &self.file(), "").expect("a client")
    }
}

/// Runs a client and returns what it receives.
fn received(client: &mut Client) -> Receiver<(String, String, Vec<u8>)> {
    let (seen, messages) = channel();
    assert!(client.run(move |to, from, data| {
        seen.send((to.to_owned(), from.to_owned(), data.to_vec())).unwrap_or_default();
    }));
    messages
}

#[test]
fn two_clients_talk_and_what_waits_for_one_is_counted() {
    let mesh = Mesh::new();
    let (mut a, mut b) = (mesh.client("a"), mesh.client("b"));
    let (_answers, questions) = (received(&mut a), received(&mut b));
    assert!(a.send_to("b-topic", b"question", true));
    let question = questions.recv_timeout(PATIENCE).expect("it comes");
    assert_eq!(question, ("b-topic".to_owned(), "a-topic".to_owned(), b"question".to_vec()));
    let addr = b.published_addr().expect("it runs");
    assert_eq!(a.list_addresses("b-topic"), Some(vec![(addr, "b".to_owned())]));
    assert!(b.stop());
    assert_eq!(b.published_addr(), None);
    assert!(a.send_to("b-topic", b"later", true));
    assert_eq!(a.pending_count(), Some(1));
    let rows = a.pending_by_peer().expect("the store responds");
    assert_eq!(
        rows.iter().map(|row| (row.1.as_str(), row.2.as_str(), row.3)).collect::<Vec<_>>(),
        [("b-topic", "b", 1)]
    );
    let questions = received(&mut b);
    assert_eq!(questions.recv_timeout(PATIENCE).expect("it comes").2, b"later");
}

#[test]
fn a_failure_has_a_code_and_a_message() {
    let mesh = Mesh::new();
    let mut client = mesh.client("a");
    assert!(!client.send_to("other", b"x", true));
    assert_eq!(client.last_error(), ErrorCode::NotRunning);
    assert!(!client.last_error_message().is_empty());
    let _messages = received(&mut client);
    assert_eq!(client.last_error(), ErrorCode::Ok);
    assert!(!client.send_all("other", b"x", false));
    assert_eq!(client.last_error(), ErrorCode::NoAddr);
    assert!(!client.subscribe("a-topic"));
    assert_eq!(client.last_error(), ErrorCode::SelfTopic);
    assert!(!client.clear_addresses_of_topic());
    assert_eq!(client.last_error(), ErrorCode::ClearWhileRunning);
    assert!(Client::new_sqlite("", "t", "localhost:0", &mesh.file(), "").is_none());
    assert!(Client::new("n", "t", "localhost:0", "redis://127.0.0.1:1/").is_none());
}

#[test]
fn a_store_that_fails_is_a_store_error() {
    let mesh = Mesh::new();
    let client = mesh.client("a");
    let db = rusqlite::Connection::open(mesh.file()).expect("opens");
    db.execute_batch("DROP TABLE topic_addr; DROP TABLE conn_key_map").expect("drops");
    assert_eq!(client.list_addresses("t"), None);
    assert_eq!(client.last_error(), ErrorCode::Store);
    assert_eq!(client.pending_count(), None);
    assert_eq!(client.last_error(), ErrorCode::Store);
    assert!(!client.unsubscribe("t"));
    assert_eq!(client.last_error(), ErrorCode::Store);
}

#[test]
fn a_panic_in_the_callback_is_a_nack() {
    let mesh = Mesh::new();
    let (mut a, mut b) = (mesh.client("a"), mesh.client("b"));
    let (seen, messages) = channel();
    let mut failures = 2;
    assert!(b.run(move |_, _, data| {
        failures -= 1;
        assert!(failures < 0, "not yet");
        seen.send(data.to_vec()).unwrap_or_default();
    }));
    let _answers = received(&mut a);
    assert!(a.send_to("b-topic", b"stubborn", true));
    assert_eq!(messages.recv_timeout(PATIENCE).expect("it comes"), b"stubborn");
}

#[test]
fn events_are_reported_until_the_callback_is_removed() {
    let mesh = Mesh::new();
    let (mut a, mut b) = (mesh.client("a"), mesh.client("b"));
    let (seen, events) = channel();
    a.set_status_callback(Some(Box::new(move |kind, topic, peer, _| {
        seen.send((kind, topic.to_owned(), peer.to_owned())).unwrap_or_default();
    })));
    let (_a, _b) = (received(&mut a), received(&mut b));
    assert!(a.refresh_address_topic("b-topic"));
    let connected = events.recv_timeout(PATIENCE).expect("it comes");
    assert_eq!(connected, (LNR_PEER_CONNECTED, "b-topic".to_owned(), "b".to_owned()));
    a.set_status_callback(None);
    assert!(b.stop() && a.stop());
    assert_eq!(events.recv().ok(), None);
}

#[test]
fn a_client_that_only_receives_is_notified_of_subscriptions() {
    let mesh = Mesh::new();
    let (mut a, mut b) = (mesh.client("a"), mesh.client("b"));
    let (_a, _b) = (received(&mut a), received(&mut b));
    assert!(a.subscribe("news"));
    // Only now does it want to know.
    let (seen, events) = channel();
    a.set_status_callback(Some(Box::new(move |kind, topic, peer, _| {
        seen.send((kind, topic.to_owned(), peer.to_owned())).unwrap_or_default();
    })));
    assert!(b.subscribe("news"));
    let subscribed = events.recv_timeout(PATIENCE).expect("it comes");
    assert_eq!(subscribed, (LNR_PEER_SUBSCRIBED, "news".to_owned(), "b".to_owned()));
}

#[test]
fn liner_panics_if_it_cannot_be_created() {
    let mesh = Mesh::new();
    let mut liner = Liner::new_sqlite("liner", "t", "localhost:0", &mesh.file(), "");
    assert!(liner.run(Box::new(|_, _, _| {})));
    assert!(liner.is_running());
    assert_eq!(liner.last_error_code(), 0);
    assert!(liner.bound_listen_addr().is_some_and(|addr| addr.starts_with("127.0.0.1:")));
    assert!(liner.stop());
    assert!(std::panic::catch_unwind(|| Liner::new("liner", "t", "localhost:0", "redis://127.0.0.1:1/")).is_err());
}

#[test]
fn a_newer_process_of_the_name_ends_the_older() {
    let mesh = Mesh::new();
    let (mut old, mut new) = (mesh.client("same"), mesh.client("same"));
    let mut peer = mesh.client("peer");
    let (_old, messages, _peer) = (received(&mut old), received(&mut new), received(&mut peer));
    assert!(peer.send_to("same-topic", b"x", true));
    assert_eq!(messages.recv_timeout(PATIENCE).expect("it comes").2, b"x");
    assert!(new.is_running());
    // It finds out when it next writes.
    assert!(!old.subscribe("more"));
    assert!(matches!(old.last_error(), ErrorCode::Store | ErrorCode::NotRunning));
    let until = Instant::now() + PATIENCE;
    while old.is_running() {
        assert!(Instant::now() < until, "it does not notice");
        std::thread::yield_now();
    }
    assert!(!old.unsubscribe("more"));
    assert_eq!((old.last_error(), old.published_addr()), (ErrorCode::NotRunning, None));
    assert!(old.stop());
    assert!(new.is_running());
}

#[test]
fn legacy_messages_are_counted_and_cleared_before_a_client_runs() {
    let mesh = Mesh::new();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/legacy/fixtures/shared.db");
    std::fs::copy(fixture, mesh.file()).expect("copies");
    let open = || Client::new_sqlite("orders-1", "orders", "localhost:0", &mesh.file(), "").expect("a client");
    assert_eq!(open().pending_count(), Some(6));
    let mut orders = open();
    assert!(orders.clear_stored_messages());
    assert_eq!(orders.pending_count(), Some(0));
    let _nothing = received(&mut orders);
    assert_eq!(orders.pending_count(), Some(0));
}
