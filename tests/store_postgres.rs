//! What only the PostgreSQL backend promises: the real reason at the start, operators, roles, TLS, outages.
#![cfg(feature = "postgres")]

// Part of the suite's harness is for the suite alone.
#[allow(dead_code)]
mod conformance;

use conformance::*;
use futures::executor::block_on;
use liner::stores::postgres::{PostgresOptions, PostgresStore};
use liner::stores::*;
use liner::{LaneName, Seq};
use liner_test_servers::certificates::Certificates;
use liner_test_servers::postgres::{Database, PASSWORD, Server, psql};
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// The tables as the liner_broker makes them.
const REFERENCE_TABLES: &str = "
    CREATE TABLE seq (id INTEGER PRIMARY KEY CHECK (id = 1), v INTEGER NOT NULL);
    INSERT INTO seq VALUES (1, 3);
    CREATE TABLE topic_addr (topic TEXT NOT NULL, addr TEXT NOT NULL, client_name TEXT NOT NULL,
        PRIMARY KEY (topic, addr));
    CREATE TABLE sender_listener (sender_key TEXT NOT NULL, addr TEXT NOT NULL, listener_topic TEXT NOT NULL,
        client_name TEXT NOT NULL DEFAULT '', PRIMARY KEY (sender_key, addr));
    CREATE TABLE conn_key_map (composite TEXT PRIMARY KEY, connection_key INTEGER NOT NULL UNIQUE);
    CREATE TABLE topic_key (topic TEXT PRIMARY KEY, k INTEGER NOT NULL);
    CREATE TABLE conn_sender (connection_key INTEGER PRIMARY KEY, sender_topic TEXT NOT NULL);
    CREATE TABLE conn_mess_number (connection_key INTEGER PRIMARY KEY, v BIGINT NOT NULL);
    CREATE TABLE conn_messages (id BIGSERIAL PRIMARY KEY, connection_key INTEGER NOT NULL, payload BYTEA NOT NULL);
    CREATE INDEX idx_conn_messages_ck ON conn_messages(connection_key, id);";

/// A store that is there already, as a medium of the suite.
struct At(String);

impl Medium for At {
    fn fresh() -> Self {
        unreachable!("stands for a database that is there")
    }

    fn open(&self) -> SharedStore {
        Arc::new(try_open(&self.0).expect("opens"))
    }
}

fn try_open(url: &str) -> Result<PostgresStore, OpenError> {
    let opened = PostgresStore::open(&PostgresOptions::new(url));
    let shown = format!("{opened:?}");
    assert!(!shown.contains(PASSWORD) && !shown.contains("s%40cret"), "a secret is shown: {shown}");
    opened
}

fn database() -> (Database, At) {
    let database = Database::new();
    let at = At(database.url.clone());
    (database, at)
}

fn on(receiver: &str, to: &str) -> LaneName {
    LaneName { receiver: node(receiver), topic: topic(to), ..lane() }
}

// ---- the start ----

#[test]
fn what_is_wrong_is_said_at_once() {
    let server = Server::start(&[]);
    let url = server.url("postgres");
    let started = Instant::now();
    let password = try_open(&url.replace("%2F1", "%2F2"));
    assert!(matches!(password, Err(OpenError::Denied { .. })), "{password:?}");
    let role = try_open(&url.replace("liner:", "nobody:"));
    assert!(matches!(role, Err(OpenError::Denied { .. })), "{role:?}");
    let missing = try_open(&server.url("missing"));
    assert!(matches!(missing, Err(OpenError::Denied { .. })), "{missing:?}");
    let port = try_open(&url.replace(&server.port().to_string(), "1"));
    assert!(matches!(port, Err(OpenError::Unreachable { .. })), "{port:?}");
    let host = try_open(&url.replace("127.0.0.1", "no-such-host.invalid"));
    assert!(matches!(host, Err(OpenError::Unreachable { .. })), "{host:?}");
    let tls = try_open(&format!("{url}?sslmode=require"));
    assert!(matches!(tls, Err(OpenError::Tls { .. })), "{tls:?}");
    let unknown = try_open(&format!("{url}?nonsense=1"));
    assert!(matches!(unknown, Err(OpenError::Url { .. })), "{unknown:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn of_several_hosts_the_one_that_can_be_written_is_taken() {
    let server = Server::start(&[]);
    let (port, second) = (server.port(), Server::start(&["default_transaction_read_only=on"]));
    let url = server
        .url("postgres")
        .replace(&format!(":{port}/"), &format!(":1,127.0.0.1:{},127.0.0.1:{port}/", second.port()));
    let store = try_open(&url).expect("the third is what is asked for");
    assert_eq!(block_on(store.register(&node("a"))).expect("registers").epoch.get(), 1);
    let none = try_open(&second.url("postgres"));
    assert!(matches!(none, Err(OpenError::Unreachable { .. })), "{none:?}");
}

/// A server that encrypts, with a certificate for `localhost`.
fn encrypting(certificates: &Certificates) -> Server {
    certificates.make("localhost", None);
    let mut server = Server::start(&[]);
    for (file, made) in [("server.crt", "localhost.crt"), ("server.key", "localhost.key")] {
        server.give(file, &fs::read_to_string(certificates.file(made)).expect("reads"));
    }
    psql(&server.url("postgres"), "ALTER SYSTEM SET ssl = on");
    server.stop();
    server.start_again();
    server
}

#[test]
fn certificates_are_checked_as_sslmode_says() {
    let certificates = Certificates::new();
    let server = encrypting(&certificates);
    certificates.make("stranger", None);
    let by_address = server.url("postgres");
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let (right, wrong) = (certificates.file("localhost.crt"), certificates.file("stranger.crt"));
    let shown = |url: String| block_on(try_open(&url).expect(&url).facts()).expect("answers").description;
    assert!(shown(format!("{by_name}?sslmode=verify-full&sslrootcert={right}")).contains(", TLS"));
    assert!(shown(format!("{by_address}?sslmode=verify-ca&sslrootcert={right}")).contains(", TLS"));
    assert!(shown(format!("{by_address}?sslmode=require")).contains(", TLS"));
    assert!(shown(by_address.clone()).contains(", TLS"), "prefer takes what the server has");
    assert!(shown(format!("{by_address}?sslmode=disable")).contains("not encrypted"));
    let refused = [
        format!("{by_address}?sslmode=verify-full&sslrootcert={right}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={wrong}"),
        format!("{by_name}?sslmode=verify-ca&sslrootcert={wrong}"),
        format!("{by_name}?sslmode=require&sslrootcert={wrong}"),
        format!("{by_name}?sslmode=verify-full&sslrootcert=system"),
        format!("{by_name}?sslmode=verify-full"),
        format!("{by_name}?sslmode=verify-full&sslrootcert={right}.missing"),
    ];
    for url in refused {
        let opened = try_open(&url);
        assert!(matches!(opened, Err(OpenError::Tls { .. })), "{url}: {opened:?}");
    }
}

#[test]
fn a_certificate_of_the_clients_is_shown_to_a_server_that_wants_one() {
    let certificates = Certificates::new();
    let mut server = encrypting(&certificates);
    certificates.authority("ca");
    for name in ["liner", "other"] {
        certificates.make(name, Some("ca"));
    }
    certificates.make("stranger", None);
    server.give("root.crt", &fs::read_to_string(certificates.file("ca.crt")).expect("reads"));
    psql(&server.url("postgres"), "ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    server.give("pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-full\n");
    server.stop();
    server.start_again();
    let root = certificates.file("localhost.crt");
    let base = server.url("postgres").replace("127.0.0.1", "localhost");
    let base = format!("{base}?hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={root}");
    let with =
        |cert: &str, key: &str| format!("{base}&sslcert={}&sslkey={}", certificates.file(cert), certificates.file(key));
    let started = Instant::now();
    let store = try_open(&with("liner.crt", "liner.key")).expect("it is the role's");
    assert!(block_on(store.facts()).expect("answers").description.contains(", TLS"));
    let none = try_open(&base);
    assert!(matches!(&none, Err(OpenError::Denied { reason, .. }) if reason.contains("certificate")), "{none:?}");
    let others = try_open(&with("other.crt", "other.key"));
    assert!(matches!(others, Err(OpenError::Denied { .. })), "the server says no more: {others:?}");
    let wrong = [("stranger.crt", "stranger.key"), ("liner.crt", "other.key"), ("liner.crt", "missing.key")];
    for (cert, key) in wrong {
        let refused = try_open(&with(cert, key));
        assert!(matches!(refused, Err(OpenError::Tls { .. })), "{cert} and {key}: {refused:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

// ---- tables ----

#[test]
fn twenty_nodes_may_start_on_an_empty_database_at_once() {
    let (_database, at) = database();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> =
            (0..20).map(|_| scope.spawn(|| block_on(at.open().facts()).expect("answers").id)).collect();
        opening.into_iter().map(|thread| thread.join().expect("opens")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn a_role_needs_no_more_than_its_schema() {
    let server = Server::start(&[]);
    let url = server.database("mesh");
    psql(&url, "CREATE ROLE modest LOGIN PASSWORD 'modest'; REVOKE ALL ON SCHEMA public FROM PUBLIC");
    let modest = url.replace("liner:s%40cret%2F1", "modest:modest");
    let none = try_open(&modest);
    assert!(matches!(none, Err(OpenError::Denied { .. })), "{none:?}");
    let forbidden = try_open(&format!("{modest}?schema=theirs"));
    assert!(matches!(forbidden, Err(OpenError::Denied { .. })), "{forbidden:?}");
    psql(&url, "CREATE SCHEMA \"its \"\"own\" AUTHORIZATION modest");
    let at = At(format!("{modest}?schema=its%20%22own"));
    let (a, key) = block_on(sender(&at));
    block_on(a.commit([append(key, 1, 1..=3)]));
    assert_eq!(psql(&url, "SELECT count(*) FROM \"its \"\"own\".conn_messages"), "3");
    // An operator's search path is another, and the nodes are told all the same.
    psql(&url, "INSERT INTO \"its \"\"own\".topic_addr (topic, addr, client_name) VALUES ('t', 'host:1', 'b')");
    block_on(a.store.changed()).expect("sees it");
    assert_eq!(block_on(a.store.topic(&topic("t"))).expect("looks up").routes.len(), 1);
}

#[test]
fn schemas_are_stores_of_their_own() {
    let (database, _) = database();
    let open = |schema: &str| -> SharedStore {
        Arc::new(PostgresStore::open(&PostgresOptions::new(&*database.url).schema(schema)).expect("opens"))
    };
    let (one, two) = (open("one"), open("two"));
    assert_ne!(block_on(one.facts()).expect("answers").id, block_on(two.facts()).expect("answers").id);
    block_on(one.seed(&topic("t"), &node("b"), "host:1")).expect("seeds");
    assert_eq!(block_on(two.topic(&topic("t"))).expect("looks up"), TopicEntry::default());
}

#[test]
fn tables_of_something_else_are_left_alone() {
    let (database, at) = database();
    database.psql("CREATE TABLE people (name TEXT); CREATE TABLE seq (name TEXT, next INTEGER)");
    let opened = try_open(&at.0);
    assert!(matches!(opened, Err(OpenError::Foreign { .. })), "{opened:?}");
    assert_eq!(database.psql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "2");
    database.psql("DROP TABLE seq");
    try_open(&at.0).expect("other tables are no hindrance").close();
}

#[test]
fn a_newer_store_is_refused_only_when_it_says_so() {
    let (database, at) = database();
    try_open(&at.0).expect("opens").close();
    database.psql("UPDATE liner_schema SET version = 99");
    try_open(&at.0).expect("a newer schema with an old reader opens").close();
    database.psql("UPDATE liner_schema SET min_reader = 98");
    let opened = try_open(&at.0);
    assert!(matches!(opened, Err(OpenError::Newer { min_reader: 98, ours: 1 })), "{opened:?}");
}

#[test]
fn a_database_of_the_reference_is_adopted_with_its_rows() {
    let (database, at) = database();
    database.psql(REFERENCE_TABLES);
    database.psql("INSERT INTO topic_addr VALUES ('b-topic', 'localhost:2', 'b')");
    database.psql("INSERT INTO conn_key_map VALUES ('a:a-topic:b', 3)");
    database.psql("INSERT INTO conn_messages (connection_key, payload) VALUES (3, '\\x00'), (3, '\\x00')");
    let store = at.open();
    let routes = block_on(store.topic(&topic("b-topic"))).expect("looks up").routes;
    assert_eq!(routes, [Route::new(node("b"), vec!["localhost:2".to_owned()])]);
    let a = block_on(Process::start(store, "a"));
    let opened = block_on(a.open(&lane(), 1));
    assert!(opened.key.get() > 3, "keys continue");
    // More than are copied where the keys are as wide as ours.
    block_on(a.commit([append(opened.key, 1, 1..=3000), trim(opened.key, 2998)]));
    assert_eq!(block_on(a.queued(opened.key)), [2999, 3000]);
    block_on(a.commit([trim(opened.key, 3000)]));
    let waiting = "SELECT COUNT(*) FROM conn_messages WHERE connection_key = 3";
    assert_eq!(database.psql(waiting), "2", "rows of liner_broker stay until migrated");
}

// ---- operators ----

#[test]
fn operators_find_what_they_know() {
    let (database, at) = database();
    let store = at.open();
    let a = block_on(Process::start(Arc::clone(&store), "a"));
    let b = block_on(Process::start(store, "b"));
    block_on(b.store.publish(&b.fence, &topic("b-topic"), "127.0.0.1:2", false, HOUR)).expect("publishes");
    let key = block_on(a.open(&lane(), 1)).key;
    block_on(a.commit([append(key, 1, 1..=3)]));
    block_on(b.commit([advance(key, None, cursor(1, 2))]));
    let found = database.psql("SELECT * FROM topic_addr WHERE topic = 'b-topic'");
    assert!(found.starts_with("b-topic|127.0.0.1:2|b|"), "{found}");
    let map = "SELECT connection_key FROM conn_key_map WHERE composite = 'a:a-topic:b'";
    let key_of = database.psql(map);
    assert_eq!(key_of, key.get().to_string());
    assert_eq!(database.psql(&format!("SELECT COUNT(*) FROM conn_messages WHERE connection_key = {key_of}")), "3");
    assert_eq!(database.psql(&format!("SELECT v FROM conn_mess_number WHERE connection_key = {key_of}")), "2");
    assert_eq!(database.psql("SELECT sender_topic FROM conn_sender"), "a-topic");
    assert_eq!(database.psql("SELECT * FROM sender_listener"), "a:a-topic|127.0.0.1:2|b-topic|b");
    assert_eq!(database.psql("SELECT count(*) FROM topic_key WHERE topic = 'b-topic' AND k > 0"), "1");
    assert_eq!(database.psql("SELECT v FROM seq WHERE id = 1"), key_of);
    block_on(a.commit([trim(key, 3)]));
    assert_eq!(database.psql("SELECT COUNT(*) FROM conn_messages"), "0", "nothing is left once everything is acked");
}

#[test]
fn the_queries_of_the_operators_page_work() {
    let (database, at) = database();
    let (a, key) = block_on(sender(&at));
    block_on(a.commit([append(key, 1, 1..=3)]));
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/postgres.md")).expect("is there");
    let blocks: Vec<&str> = page.split("```sql\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(blocks.len() >= 2, "the page shows queries");
    for block in blocks {
        database.psql(block);
    }
}

#[test]
fn after_an_operator_emptied_the_tables_everything_works_as_new() {
    let (database, at) = database();
    let (a, key) = block_on(sender(&at));
    block_on(a.commit([append(key, 1, 1..=5), trim(key, 3)]));
    block_on(a.open(&lane(), 2));
    let (b, _) = block_on(receiver(&at));
    let attempt = Write::Attempt { lane: key, incarnation: inc(2), seq: Seq::new(6), attempts: 3 };
    block_on(b.commit([advance(key, None, cursor(1, 5)), attempt]));
    drop((a, b));
    database.psql(
        "TRUNCATE conn_messages, conn_mess_number, conn_sender, topic_key, conn_key_map, sender_listener, topic_addr;
        UPDATE seq SET v = 0 WHERE id = 1",
    );
    let (a, key) = block_on(sender(&at));
    assert_eq!(key.get(), 1, "keys start again");
    let opened = block_on(a.open(&lane(), 3));
    assert_eq!((opened.next, opened.acked, opened.predecessor), (Seq::new(1), Seq::ZERO, None));
    let (b, _) = block_on(receiver(&at));
    let found = block_on(b.receive(&lane()));
    assert_eq!((found.cursor, found.attempts), (None, vec![]));
    block_on(a.commit([append(key, 3, 1..=1)]));
    assert_eq!(block_on(a.queued(key)), [1]);
}

// ---- batches ----

#[test]
fn large_appends_are_copied_and_what_is_there_or_acked_is_left_out() {
    let (_database, at) = database();
    let (a, key) = block_on(sender(&at));
    let other = block_on(a.open(&on("c", "c-topic"), 1)).key;
    block_on(a.commit([append(key, 1, 1..=5000), append(other, 1, 1..=5000)]));
    block_on(a.commit([append(key, 1, 1..=9000), trim(key, 100)]));
    block_on(a.commit([append(key, 1, 1..=2000), append(key, 1, 9001..=9002)]));
    assert_eq!(block_on(a.queued(key)), (101..=9002).collect::<Vec<_>>());
    assert_eq!(block_on(a.queued(other)).len(), 5000);
}

#[test]
fn a_lock_that_is_held_too_long_is_busy_and_nothing_changed() {
    let (database, at) = database();
    let (a, key) = block_on(sender(&at));
    let hold = format!(
        "BEGIN; SELECT 1 FROM conn_key_map WHERE connection_key = {} FOR UPDATE; SELECT pg_sleep(8)",
        key.get()
    );
    std::thread::scope(|scope| {
        let held = scope.spawn(|| database.psql(&hold));
        let locked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'";
        while database.psql(locked) == "0" {}
        let refused = block_on(a.store.commit(&a.fence, batch([append(key, 1, 1..=1)])));
        assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
        assert_eq!(block_on(a.queued(key)), [], "reads go on");
        held.join().expect("lets go");
    });
    block_on(a.commit([append(key, 1, 1..=1)]));
    assert_eq!(block_on(a.queued(key)), [1]);
}

#[test]
fn two_handles_may_hammer_one_lane() {
    let (database, at) = database();
    let (a, key) = block_on(sender(&at));
    let (b, _) = block_on(receiver(&at));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..200 {
                block_on(a.commit([append(key, 1, n * 4 + 1..=n * 4 + 4)]));
            }
        });
        scope.spawn(|| {
            // Acks overtake the appends, as those of write-behind messages do.
            for n in 1..=200 {
                block_on(b.commit([advance(key, None, cursor(1, n * 4)), trim(key, n * 4)]));
            }
        });
    });
    assert_eq!(database.psql("SELECT count(*) FROM conn_messages"), "0");
}

// ---- outages ----

/// Commits messages one by one while `outage` happens, and checks that what was accepted is there, in order, once.
fn nothing_is_lost_while(server: &mut Server, outage: impl FnOnce(&mut Server)) {
    let at = At(server.database("mesh"));
    let (a, key) = block_on(sender(&at));
    let (told, reached) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel();
    let committed = std::thread::scope(|scope| {
        let a = &a;
        let sending = scope.spawn(move || {
            let (mut n, mut until) = (0, u64::MAX);
            while n < until {
                match block_on(a.store.commit(&a.fence, batch([append(key, 1, [n + 1])]))) {
                    Ok(_) => {
                        n += 1;
                        let _ = told.send(n);
                    }
                    Err(error) => assert!(error.is_retryable(), "{error:?}"),
                }
                if stopped.try_recv().is_ok() {
                    until = n + 20;
                }
            }
            n
        });
        reached.iter().find(|n| *n >= 50).expect("sends");
        outage(server);
        stop.send(()).expect("still sends");
        sending.join().expect("ends")
    });
    assert_eq!(block_on(a.queued(key)), (1..=committed).collect::<Vec<_>>());
    assert_eq!(block_on(a.open(&lane(), 2)).next, Seq::new(committed + 1));
}

#[test]
fn nothing_is_lost_when_every_connection_is_terminated() {
    let mut server = Server::start(&[]);
    nothing_is_lost_while(&mut server, |server| {
        for _ in 0..5 {
            let all = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                WHERE pid <> pg_backend_pid() AND datname = 'mesh'";
            psql(&server.url("postgres"), all);
        }
    });
}

#[test]
fn nothing_is_lost_when_the_server_is_restarted_or_killed() {
    let mut server = Server::start(&[]);
    nothing_is_lost_while(&mut server, |server| {
        server.stop();
        server.start_again();
        server.kill();
        server.start_again();
    });
}

#[test]
fn a_change_while_nobody_could_listen_is_seen() {
    let mut server = Server::start(&[]);
    let url = server.database("mesh");
    let watching = At(url.clone()).open();
    block_on(watching.seed(&topic("t"), &node("b"), "host:1")).expect("seeds");
    block_on(watching.changed()).expect("watches");
    server.kill();
    server.start_again();
    psql(&url, "INSERT INTO topic_addr (topic, addr, client_name) VALUES ('t', 'host:2', 'b')");
    block_on(watching.changed()).expect("watches again");
    assert_eq!(block_on(watching.topic(&topic("t"))).expect("looks up").routes[0].addrs.len(), 2);
}

#[test]
fn without_a_server_operations_end_with_the_reason() {
    let mut server = Server::start(&[]);
    let at = At(server.database("mesh"));
    let (a, key) = block_on(sender(&at));
    server.stop();
    let started = Instant::now();
    let read = block_on(a.store.load(key, Seq::ZERO, ALL));
    assert!(matches!(&read, Err(StoreError::Unavailable(reason)) if reason.contains("refused")), "{read:?}");
    let write = block_on(a.store.commit(&a.fence, batch([append(key, 1, 1..=1)])));
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "it never got there: {write:?}");
    assert!(started.elapsed() < Duration::from_secs(25), "{:?}", started.elapsed());
    server.start_again();
    block_on(a.commit([append(key, 1, 1..=1)]));
    assert_eq!(block_on(a.queued(key)), [1]);
}

// ---- pgbouncer ----

/// pgbouncer in transaction mode before a server.
struct Pooler {
    process: std::process::Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Pooler {
    fn before(server: &Server) -> Pooler {
        use std::io::{BufRead as _, BufReader};
        let dir = tempfile::tempdir().expect("temporary directory");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("binds").local_addr().expect("is bound").port();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\n\
             unix_socket_dir=\nauth_type=plain\nauth_file=users\npool_mode=transaction\ndefault_pool_size=3\n\
             ignore_startup_parameters=extra_float_digits\n",
            server.port()
        );
        fs::write(dir.path().join("pgbouncer.ini"), settings).expect("writes");
        fs::write(dir.path().join("users"), format!("\"liner\" \"{PASSWORD}\"\n")).expect("writes");
        let mut process = liner_test_servers::postgres::unprivileged("pgbouncer", dir.path())
            .arg("pgbouncer.ini")
            .current_dir(dir.path())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("pgbouncer runs: scripts/test installs it");
        let mut log = BufReader::new(process.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = String::new();
        while !said.contains("process up") {
            said += &log.next().unwrap_or_else(|| panic!("pgbouncer did not start: {said}"));
        }
        std::thread::spawn(move || log.for_each(drop));
        Pooler { process, port, _dir: dir }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs behaviours of the suite, each on a schema of its own behind the pooler.
macro_rules! behind_pooler {
    ($url:expr; $($area:ident::$behaviour:ident,)*) => {$(
        block_on(conformance::$area::$behaviour(&At(format!("{}?pgbouncer=true&schema={}", $url, stringify!($behaviour)))));
    )*};
}

#[test]
fn it_works_behind_pgbouncer_in_transaction_mode() {
    let server = Server::start(&[]);
    let direct = server.database("mesh");
    let pooler = Pooler::before(&server);
    let url = direct.replace(&format!(":{}/", server.port()), &format!(":{}/", pooler.port));
    behind_pooler! { url;
        journal::a_committed_batch_survives_a_crash,
        journal::a_batch_happens_entirely_or_not_at_all,
        journal::a_repeated_batch_changes_nothing,
        journal::a_synced_batch_is_committed,
        journal::batches_committed_at_once_do_not_fail_each_other,
        inbox::the_cursor_moves_only_forward,
        inbox::a_writer_wrong_about_the_incarnation_changes_nothing_and_is_told,
        inbox::attempts_are_kept_until_the_cursor_passes_them,
        outbox::incarnations_trimmed_away_become_the_predecessor,
        outbox::load_pages_by_bytes_and_always_moves,
        outbox::clear_drops_queues_and_keeps_numbers,
        outbox::forget_drops_the_lane_itself,
        dead_letters::letters_are_listed_in_pages_and_filtered,
        directory::every_write_of_a_fenced_process_is_refused,
        directory::release_takes_back_what_was_leased,
        directory::a_change_is_seen_within_100_ms_by_all_handles,
        directory::queues_do_not_wake_watchers,
    }
    let (a, key) = block_on(sender(&At(format!("{url}?pgbouncer=true"))));
    block_on(a.commit([append(key, 1, 1..=5000)]));
    assert_eq!(psql(&direct, "SELECT count(*) FROM conn_messages"), "5000");
}
