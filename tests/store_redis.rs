//! What only the Redis backend promises: the real reason at the start, settings, operators, full servers, outages.
#![cfg(feature = "redis")]

// Part of the suite's harness is for the suite alone.
#[allow(dead_code)]
mod conformance;

use conformance::*;
use futures::executor::block_on;
use liner::stores::redis::{RedisOptions, RedisStore};
use liner::stores::*;
use liner::{LaneName, Seq};
use liner_test_servers::certificates::Certificates;
use liner_test_servers::redis::{Database, Server, cli};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);

/// Of servers that want one; it needs escaping in a URL.
const PASSWORD: &str = "s@cret/1";
const ESCAPED: &str = "s%40cret%2F1";

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

fn try_open(options: impl Into<RedisOptions>) -> Result<RedisStore, OpenError> {
    let opened = RedisStore::open(&options.into());
    let shown = format!("{opened:?}");
    assert!(!shown.contains("cret"), "a secret is shown: {shown}");
    opened
}

fn database() -> (Database, At) {
    let database = Database::new();
    let at = At(database.url.clone());
    (database, at)
}

fn durability(store: &RedisStore) -> String {
    block_on(store.facts()).expect("answers").durability
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    socket.local_addr().expect("is bound").port()
}

// ---- the start ----

#[test]
fn what_is_wrong_is_said_at_once() {
    let port = free_port().to_string();
    let _server = Server::start(&["--port", &port, "--requirepass", PASSWORD]);
    let started = Instant::now();
    let url = |login: &str, database: u32| format!("redis://{login}127.0.0.1:{port}/{database}");
    let right = format!(":{ESCAPED}@");
    assert!(try_open(url(&right, 0)).is_ok());
    for login in ["", ":wrong-s@", "nobody:s%40cret@"] {
        let refused = try_open(url(login, 0));
        assert!(matches!(refused, Err(OpenError::Denied { .. })), "{login}: {refused:?}");
    }
    let index = try_open(url(&right, 99_999));
    assert!(matches!(index, Err(OpenError::Denied { .. })), "{index:?}");
    for nobody in ["redis://127.0.0.1:1/", "redis://no-such-host.invalid/", "redis+unix:///no/such/socket"] {
        let refused = try_open(nobody);
        assert!(matches!(refused, Err(OpenError::Unreachable { .. })), "{nobody}: {refused:?}");
    }
    let nonsense = try_open("postgresql://user:s%40cret@host/");
    assert!(matches!(nonsense, Err(OpenError::Url { .. })), "{nonsense:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// A server that encrypts, with a certificate for `localhost`, and the URL by which to reach it at a host.
fn encrypting(certificates: &Certificates, settings: &[&str]) -> (Server, impl Fn(&str) -> RedisOptions + use<>) {
    certificates.make("localhost", None);
    let (port, cert, key) =
        (free_port().to_string(), certificates.file("localhost.crt"), certificates.file("localhost.key"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let server = Server::start(&[&tls, settings].concat());
    (server, move |host| RedisOptions::new(format!("rediss://{host}:{port}/0")))
}

#[test]
fn certificates_are_checked() {
    let certificates = Certificates::new();
    let (_server, url) = encrypting(&certificates, &["--tls-auth-clients", "no"]);
    certificates.make("stranger", None);
    let right = certificates.file("localhost.crt");
    let store = try_open(url("localhost").root_certificates(&right)).expect("the certificate is the server's");
    assert!(block_on(store.facts()).expect("answers").description.ends_with(", TLS"));
    assert_eq!(block_on(store.register(&node("a"))).expect("registers").epoch.get(), 1);
    let refused = [
        ("another's", url("localhost").root_certificates(certificates.file("stranger.crt"))),
        ("unknown", url("localhost")),
        ("another name", url("127.0.0.1").root_certificates(&right)),
        ("no file", url("localhost").root_certificates(certificates.file("missing.crt"))),
    ];
    for (what, options) in refused {
        let refused = try_open(options);
        assert!(matches!(refused, Err(OpenError::Tls { .. })), "{what}: {refused:?}");
    }
}

#[test]
fn a_certificate_of_the_clients_is_shown_to_a_server_that_wants_one() {
    let certificates = Certificates::new();
    certificates.authority("ca");
    certificates.make("liner", Some("ca"));
    certificates.make("stranger", None);
    let ca = certificates.file("ca.crt");
    let (_server, url) = encrypting(&certificates, &["--tls-auth-clients", "yes", "--tls-ca-cert-file", &ca]);
    let url = || url("localhost").root_certificates(certificates.file("localhost.crt"));
    let with = |cert: &str, key: &str| url().client_certificate(certificates.file(cert), certificates.file(key));
    let started = Instant::now();
    let store = try_open(with("liner.crt", "liner.key")).expect("the authority has signed it");
    assert_eq!(block_on(store.register(&node("a"))).expect("registers").epoch.get(), 1);
    let refused = [
        ("none", url()),
        ("another authority", with("stranger.crt", "stranger.key")),
        ("another key", with("liner.crt", "stranger.key")),
        ("no file", with("liner.crt", "missing.key")),
    ];
    for (what, options) in refused {
        let refused = try_open(options);
        assert!(matches!(refused, Err(OpenError::Tls { .. })), "{what}: {refused:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn twenty_nodes_may_start_on_an_empty_database_at_once() {
    let (_database, at) = database();
    let open = || block_on(try_open(at.0.as_str()).expect("opens").facts()).expect("answers").id;
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().expect("opens")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn settings_are_read_back_and_a_weak_server_takes_nothing_synced() {
    let weak: [&[&str]; 4] = [
        &["--appendfsync", "everysec"],
        &["--appendonly", "no"],
        &["--no-appendfsync-on-rewrite", "yes"],
        &["--maxmemory-policy", "allkeys-lru"],
    ];
    for settings in weak {
        let server = Server::start(settings);
        let url = server.url(0);
        let refused = try_open(RedisOptions::new(&url).synced());
        assert!(matches!(refused, Err(OpenError::Weak { .. })), "{settings:?}: {refused:?}");
        let store = try_open(url).expect("opens without promising more");
        let shown = format!("{}={}", settings[0].trim_start_matches('-'), settings[1]);
        assert!(durability(&store).contains(&shown), "{}", durability(&store));
    }
    let server = Server::start(&["--appendfsync", "everysec"]);
    block_on(async {
        let (process, key) = sender(&At(server.url(0))).await;
        let synced = Batch { writes: vec![append(key, 1, [1])], synced: true };
        let refused = process.store.commit(&process.fence, synced).await;
        assert!(matches!(&refused, Err(error @ StoreError::NotSynced(_)) if !error.is_retryable()), "{refused:?}");
        process.commit([append(key, 1, [1])]).await;
        assert_eq!(process.queued(key).await, [1]);
    });
}

#[test]
fn a_server_that_refuses_config_works_and_says_that_it_is_unknown() {
    let server = Server::start(&["--rename-command", "CONFIG", ""]);
    let store = try_open(RedisOptions::new(server.url(0)).synced()).expect("opens");
    assert!(durability(&store).contains("appendonly=yes appendfsync=unknown"), "{}", durability(&store));
    block_on(journal::a_synced_batch_is_committed(&At(server.url(0))));
    let off = Server::start(&["--rename-command", "CONFIG", "", "--appendonly", "no"]);
    let refused = try_open(RedisOptions::new(off.url(0)).synced());
    assert!(matches!(refused, Err(OpenError::Weak { .. })), "INFO tells that much: {refused:?}");
}

#[test]
fn a_user_needs_no_more_than_the_page_says() {
    let server = Server::start(&[]);
    let rules = ["~lnr_*", "&lnr_catalogue", "+@all", "-@dangerous", "-@blocking", "+info", "+config|get"];
    let mut words = vec!["ACL", "SETUSER", "liner", "on", ">secret"];
    words.extend(rules);
    cli(&server.url(0), &words);
    let at = At(format!("{}&user=liner&pass=secret", server.url(0)));
    block_on(async {
        outbox::clear_drops_queues_and_keeps_numbers(&at).await;
        cli(&server.url(0), &["FLUSHALL"]);
        directory::clearing_addresses_and_forgetting_nodes_count_what_goes(&at).await;
        cli(&server.url(0), &["FLUSHALL"]);
        dead_letters::purge_deletes_what_matches(&at).await;
        cli(&server.url(0), &["FLUSHALL"]);
        directory::a_change_before_the_call_is_not_missed(&at).await;
    });
}

#[test]
fn a_replica_is_no_store() {
    let server = Server::start(&["--replicaof", "127.0.0.1", "1"]);
    let refused = try_open(server.url(0));
    assert!(matches!(refused, Err(OpenError::Unreachable { .. })), "{refused:?}");
}

#[test]
fn keys_of_something_else_are_left_alone_and_a_newer_store_is_refused() {
    let (database, at) = database();
    database.cli(&["SET", "lnr_store", "somebody's"]);
    let refused = try_open(at.0.as_str());
    assert!(matches!(refused, Err(OpenError::Foreign { .. })), "{refused:?}");
    assert_eq!(database.cli(&["GET", "lnr_store"]), "somebody's");
    database.cli(&["DEL", "lnr_store"]);
    drop(try_open(at.0.as_str()).expect("opens"));
    database.cli(&["HSET", "lnr_store", "version", "99"]);
    drop(try_open(at.0.as_str()).expect("a newer version that this one may read"));
    database.cli(&["HSET", "lnr_store", "min_reader", "99"]);
    let newer = try_open(at.0.as_str());
    assert!(matches!(newer, Err(OpenError::Newer { min_reader: 99, .. })), "{newer:?}");
}

// ---- operators ----

#[test]
fn operators_find_what_they_know() {
    let (database, at) = database();
    block_on(async {
        let (sending, key) = sender(&at).await;
        let (receiving, _) = receiver(&at).await;
        receiving
            .store
            .publish(&receiving.fence, &topic("b-topic"), "127.0.0.1:9", false, HOUR)
            .await
            .expect("publishes");
        sending.open(&lane(), 2).await;
        sending.commit([append(key, 1, 1..=3)]).await;
        receiving.commit([advance(key, None, cursor(1, 2)), trim(key, 2)]).await;
        let id = key.get().to_string();
        let connection = |what: &str| format!("lnr_connection:{what}");
        assert_eq!(database.cli(&["HGETALL", "lnr_topic:b-topic:addr"]), "127.0.0.1:9\nb");
        assert_eq!(database.cli(&["GET", &connection("a:a-topic:b:key")]), id);
        assert_eq!(database.cli(&["GET", &connection(&format!("{id}:sender"))]), "a-topic");
        assert_eq!(database.cli(&["GET", &connection(&format!("{id}:mess_number"))]), "2");
        assert_eq!(database.cli(&["LLEN", &connection(&format!("{id}:messages"))]), "1");
        assert_eq!(database.cli(&["HGETALL", "lnr_sender:a:a-topic:listener"]), "127.0.0.1:9\nb-topic");
        let counter: i64 = database.cli(&["GET", "lnr_unique_key"]).parse().expect("a number");
        assert!(counter >= key.get() && database.cli(&["EXISTS", "lnr_topic:b-topic:key"]) == "1");
        sending.commit([trim(key, 3)]).await;
        assert_eq!(database.cli(&["EXISTS", &connection(&format!("{id}:messages"))]), "0", "nothing is left");
        let strangers = database.cli(&[
            "EVAL",
            "local s = redis.call('SCAN', 0, 'COUNT', 10000)[2] \
            for _, k in ipairs(s) do if k:sub(1, 4) ~= 'lnr_' then return k end end return ''",
            "0",
        ]);
        assert_eq!(strangers, "", "every key has the prefix");
    });
}

#[test]
fn an_operators_route_counts_and_is_announced_with_a_message() {
    let (database, at) = database();
    block_on(async {
        let a = Process::start(at.open(), "a").await;
        a.store.changed().await.expect("what happened so far");
        database.cli(&["HSET", "lnr_topic:t:addr", "localhost:2255", "b"]);
        let entry = a.store.topic(&topic("t")).await.expect("looks up");
        assert_eq!((entry.routes[0].addrs[0].as_str(), entry.routes[0].live), ("localhost:2255", true));
        database.cli(&["INCR", "lnr_catalogue"]);
        database.cli(&["PUBLISH", "lnr_catalogue", ""]);
        a.store.changed().await.expect("is told");
        database.cli(&["HSET", "lnr_topic:t:addr", "\u{7f}", "no\u{1}name"]);
        assert_eq!(a.store.topic(&topic("t")).await.expect("looks up").routes.len(), 1, "what is no name is no route");
    });
}

#[test]
fn keys_of_the_reference_stay_as_they_are() {
    let (database, at) = database();
    database.cli(&["SET", "lnr_unique_key", "3"]);
    database.cli(&["SET", "lnr_connection:a:a-topic:b:key", "2"]);
    database.cli(&["SET", "lnr_connection:2:sender", "a-topic"]);
    database.cli(&["RPUSH", "lnr_connection:2:messages", "one of theirs"]);
    database.cli(&["SET", "lnr_connection:4:mess_number", "9"]);
    block_on(async {
        let (process, key) = sender(&at).await;
        assert!(key.get() > 4, "a key that is in use is not given: {key:?}");
        process.commit([append(key, 1, 1..=1)]).await;
    });
    assert_eq!(database.cli(&["LRANGE", "lnr_connection:2:messages", "0", "-1"]), "one of theirs");
    assert_eq!(database.cli(&["GET", "lnr_connection:a:a-topic:b:key"]), "2");
    assert_eq!(database.cli(&["EXISTS", "lnr_connection:a:a-topic:b:b-topic:key"]), "1");
}

#[test]
fn after_an_operator_deleted_everything_it_works_as_new() {
    let (database, at) = database();
    block_on(async {
        let (process, key) = sender(&at).await;
        process.commit([append(key, 1, 1..=3)]).await;
        drop(process);
        database.cli(&["FLUSHDB"]);
        let (process, key) = sender(&at).await;
        let opened = process.open(&lane(), 1).await;
        assert_eq!((opened.next, opened.pending), (Seq::new(1), Amount::default()));
        process.commit([append(key, 1, 1..=1)]).await;
        assert_eq!(process.queued(key).await, [1]);
    });
}

/// Runs the page's commands with the database as their default, and fails when one of them does.
#[test]
fn the_commands_of_the_operators_page_work() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start(&[]);
    let at = At(server.url(0));
    let lane = LaneName {
        sender: node("orders-1"),
        source: topic("orders"),
        receiver: node("billing-1"),
        topic: topic("billing"),
    };
    block_on(async {
        let process = Process::start(at.open(), "orders-1").await;
        let key = process.open(&lane, 1).await.key;
        process.commit([append(key, 1, 1..=3)]).await;
    });
    let tool = server.dir().join("redis-cli");
    let found = Command::new("sh").args(["-c", "command -v redis-cli"]).output().expect("sh runs").stdout;
    let real = String::from_utf8_lossy(&found).trim().to_owned();
    let script = format!("#!/bin/sh\nexec {real} -e -s '{}' \"$@\"\n", server.socket().display());
    std::fs::write(&tool, script).expect("writes");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("sets permissions");
    let path = format!("{}:{}", server.dir().display(), std::env::var("PATH").unwrap_or_default());
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md")).expect("is there");
    let blocks: Vec<&str> = page.split("```sh\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    let run = |block: &str| {
        let ran = Command::new("sh").args(["-euc", block]).env("PATH", &path).output().expect("sh runs");
        assert!(ran.status.success() && ran.stderr.is_empty(), "{block}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let [queries, routes, clear] = blocks[..] else { panic!("the page has {} blocks", blocks.len()) };
    assert!(run(queries).contains("orders-1:orders:billing-1 3 "), "what waits, per lane");
    run(routes);
    run(clear);
    assert_eq!(cli(&at.0, &["DBSIZE"]), "0");
}

// ---- faults ----

#[test]
fn a_key_that_is_given_again_after_a_loss_reaches_no_other_lane() {
    let (database, at) = database();
    block_on(async {
        let (old, key) = sender(&at).await;
        database.cli(&["FLUSHDB"]);
        let new = Process::start(at.open(), "a").await;
        let other = new.open(&lane_on("other"), 1).await.key;
        assert_eq!(other, key, "the counter has gone back, too");
        new.commit([append(other, 1, 1..=3)]).await;
        old.commit([trim(key, 3), Write::Remove { lane: key, seq: Seq::new(1) }]).await;
        let refused = old.store.commit(&old.fence, batch([append(key, 1, 9..=9)])).await;
        assert!(matches!(refused, Err(StoreError::NoLane(_))), "{refused:?}");
        assert_eq!(new.queued(other).await, [1, 2, 3]);
    });
}

#[test]
fn a_full_server_refuses_appends_and_takes_what_makes_room() {
    let server = Server::start(&["--maxmemory", "8mb", "--maxmemory-policy", "noeviction"]);
    block_on(async {
        let (process, key) = sender(&At(server.url(0))).await;
        let large = |n| Write::Append {
            lane: key,
            messages: vec![Stored { message: message(&"x".repeat(1 << 20)), ..stored(1, n) }],
        };
        let mut n = 1;
        let full = loop {
            match process.store.commit(&process.fence, batch([large(n)])).await {
                Ok(_) => n += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, StoreError::Full(_)), "{full:?}");
        let numbers: Vec<u64> = (1..n).collect();
        assert_eq!(process.queued(key).await, numbers, "nothing of the refused batch is there");
        // What is small, and needed to make room, goes through: a start, leases, lanes, attempts.
        let other = receiver(&At(server.url(0))).await.0;
        other.store.publish(&other.fence, &topic("t"), "1.1.1.1:1", false, HOUR).await.expect("publishes");
        other.store.renew(&other.fence, HOUR).await.expect("renews");
        process.open(&lane(), 2).await;
        other.commit([Write::Attempt { lane: key, incarnation: inc(1), seq: Seq::new(1), attempts: 1 }]).await;
        process.commit([trim(key, n - 1), advance(key, None, cursor(1, n - 1))]).await;
        assert_eq!(process.queued(key).await, []);
        process.commit([large(n)]).await;
        assert_eq!(process.queued(key).await, [n]);
    });
}

#[test]
fn large_queues_are_appended_loaded_counted_and_trimmed() {
    let (_database, at) = database();
    block_on(async {
        let (process, key) = sender(&at).await;
        process.commit([append(key, 1, 1..=20_000)]).await;
        // A gap makes it search.
        process.commit([append(key, 1, 20_002..=30_000)]).await;
        assert_eq!(process.open(&lane(), 2).await.pending.messages, 29_999);
        process.commit([trim(key, 19_990)]).await;
        let page = process.store.load(key, Seq::new(19_998), PageLimit { messages: 4, bytes: usize::MAX }).await;
        let numbers: Vec<_> = page.expect("loads").messages.iter().map(|m| m.seq.get()).collect();
        assert_eq!(numbers, [19_999, 20_000, 20_002, 20_003]);
        process.commit([append(key, 1, 20_001..=20_001), trim(key, 20_000)]).await;
        let first = process.store.load(key, Seq::ZERO, PageLimit { messages: 1, bytes: 1 }).await.expect("loads");
        assert_eq!(first.messages[0].seq, Seq::new(20_001), "it went to its place");
        process.commit([trim(key, u64::MAX)]).await;
        assert_eq!(process.queued(key).await, []);
    });
}

/// What the server does, as it says itself while this lives.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn on(server: &Server) -> Monitor {
        let mut stream = UnixStream::connect(server.socket()).expect("the server listens");
        stream.write_all(b"MONITOR\r\n").expect("is asked");
        let mut monitor = Monitor(BufReader::new(stream));
        assert_eq!(monitor.line(), "+OK");
        monitor
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("the server speaks");
        line.trim_end().to_owned()
    }

    /// The length of each script call up to the command that says so.
    fn calls_until(&mut self, end: &str) -> Vec<usize> {
        let lines = std::iter::repeat_with(|| self.line()).take_while(|line| !line.contains(end));
        lines.filter(|line| line.contains("\"EVALSHA\"")).map(|line| line.len()).collect()
    }
}

#[test]
fn a_call_of_the_server_has_a_size_however_many_batches_are_queued() {
    const LIMIT: usize = 4 * 1024 * 1024;
    let server = Server::start(&[]);
    let at = At(server.url(0));
    block_on(async {
        let (process, key) = sender(&at).await;
        let payload = |size: usize| message(&"x".repeat(size));
        let sized = |n: u64, size| Stored { message: payload(size), ..stored(1, n) };
        let size = |n| if n == 20 { LIMIT + LIMIT / 2 } else { LIMIT / 8 };
        let append = |n| batch([Write::Append { lane: key, messages: vec![sized(n, size(n))] }]);
        let mut monitor = Monitor::on(&server);
        let commits = (1..=40).map(|n| process.store.commit(&process.fence, append(n)));
        for committed in futures::future::join_all(commits).await {
            committed.expect("commits");
        }
        cli(&at.0, &["ECHO", "all is committed"]);
        let calls = monitor.calls_until("all is committed");
        assert!(calls.len() > 40 / 8 && calls.len() < 40, "batches share calls: {calls:?}");
        let above: Vec<_> = calls.iter().filter(|size| **size > LIMIT + LIMIT / 8).collect();
        assert_eq!(above.len(), 1, "one batch is larger by itself: {calls:?}");
        assert!(*above[0] < 2 * LIMIT, "and is alone in its call: {calls:?}");
        assert_eq!(process.queued(key).await, (1..=40).collect::<Vec<_>>());
    });
}

#[test]
fn two_handles_may_hammer_one_lane() {
    let (_database, at) = database();
    let (process, key) = block_on(sender(&at));
    let receiving = block_on(receiver(&at)).0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=300 {
                block_on(process.commit([append(key, 1, n..=n)]));
            }
        });
        scope.spawn(|| {
            let mut handled = 0;
            while handled < 300 {
                let page = block_on(receiving.store.load(key, Seq::new(handled), ALL)).expect("loads");
                let Some(last) = page.messages.last().map(|m| m.seq.get()) else { continue };
                let numbers: Vec<_> = page.messages.iter().map(|m| m.seq.get()).collect();
                assert_eq!(numbers, (handled + 1..=last).collect::<Vec<_>>());
                let expected = (handled > 0).then_some(1);
                block_on(receiving.commit([advance(key, expected, cursor(1, last)), trim(key, last)]));
                handled = last;
            }
        });
    });
    assert_eq!(block_on(process.queued(key)), []);
}

#[test]
fn a_change_while_nobody_could_listen_is_seen() {
    let server = Server::start(&[]);
    let at = At(server.url(0));
    block_on(async {
        let watching = at.open();
        let a = Process::start(at.open(), "a").await;
        watching.changed().await.expect("what happened so far");
        for n in 0..3 {
            cli(&at.0, &["CLIENT", "KILL", "TYPE", "pubsub"]);
            a.store.publish(&a.fence, &topic("t"), &format!("1.1.1.1:{n}"), false, HOUR).await.expect("publishes");
            watching.changed().await.expect("sees the change");
        }
    });
}

#[test]
fn without_a_server_operations_end_with_the_reason_and_go_on_when_it_is_back() {
    let mut server = Server::start(&[]);
    let at = At(server.url(0));
    block_on(async {
        let (process, key) = sender(&at).await;
        process.commit([append(key, 1, 1..=1)]).await;
        server.kill();
        let started = Instant::now();
        let (committed, read) = futures::join!(
            process.store.commit(&process.fence, batch([append(key, 1, 2..=2)])),
            process.store.load(key, Seq::ZERO, ALL),
        );
        // The connection may have been lost with the commit on its way, or before.
        let reason = committed.expect_err("nobody is there");
        assert!(matches!(reason, StoreError::Unavailable(_) | StoreError::Indeterminate(_)), "{reason:?}");
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        let again = process.store.commit(&process.fence, batch([append(key, 1, 2..=2)])).await;
        assert!(matches!(again, Err(StoreError::Unavailable(_))), "nobody was given anything: {again:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        server.start_again();
        process.commit([append(key, 1, 2..=2)]).await;
        assert_eq!(process.queued(key).await, [1, 2]);
    });
}

#[test]
fn names_of_all_kinds_stand_in_keys() {
    let (_database, at) = database();
    block_on(async {
        for name in ["a:topics", "{x}", "*", "lnr_", "ünïcode ☃", "a b"] {
            let process = Process::start(at.open(), name).await;
            let lane = LaneName { sender: node(name), source: topic(name), receiver: node(name), topic: topic(name) };
            let key = process.open(&lane, 1).await.key;
            process.commit([append(key, 1, 1..=2)]).await;
            process.store.publish(&process.fence, &topic(name), "1.1.1.1:1", true, HOUR).await.expect("publishes");
            assert_eq!(process.queued(key).await, [1, 2]);
            assert_eq!(process.store.lanes(&node(name)).await.expect("lists")[0].name(), &lane);
            assert_eq!(process.store.topic(&topic(name)).await.expect("looks up").routes[0].node, node(name));
        }
    });
}
