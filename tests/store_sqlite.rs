//! What only the SQLite backend promises: files, operators, several processes, full disks.

// Part of the suite's harness is for the suite alone.
#[allow(dead_code)]
mod conformance;

use conformance::*;
use futures::executor::block_on;
use liner::stores::sqlite::{SqliteOptions, SqliteStore};
use liner::stores::*;
use liner::{LaneName, Seq};
use rusqlite::Connection;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// The tables as the liner_broker makes them.
const REFERENCE_TABLES: &str = "
    CREATE TABLE seq (id INTEGER PRIMARY KEY, v INTEGER NOT NULL);
    INSERT INTO seq VALUES (1, 3);
    CREATE TABLE topic_addr (topic TEXT NOT NULL, addr TEXT NOT NULL, client_name TEXT NOT NULL,
        PRIMARY KEY (topic, addr));
    CREATE TABLE topic_key (topic TEXT PRIMARY KEY, k INTEGER NOT NULL);
    CREATE TABLE conn_key_map (composite TEXT PRIMARY KEY, connection_key INTEGER NOT NULL UNIQUE);
    CREATE TABLE conn_sender (connection_key INTEGER PRIMARY KEY, sender_topic TEXT NOT NULL);
    CREATE TABLE conn_mess_number (connection_key INTEGER PRIMARY KEY, v INTEGER NOT NULL);
    CREATE TABLE conn_messages (id INTEGER PRIMARY KEY AUTOINCREMENT, connection_key INTEGER NOT NULL,
        payload BLOB NOT NULL);
    CREATE TABLE sender_listener (sender_key TEXT NOT NULL, addr TEXT NOT NULL, listener_topic TEXT NOT NULL,
        PRIMARY KEY (sender_key, addr));";

struct File {
    dir: TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> File {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("mesh.sqlite");
        File { dir, path }
    }

    fn try_open(&self) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(&self.path, SqliteOptions::default())
    }

    fn open(&self) -> SharedStore {
        Arc::new(self.try_open().expect("opens"))
    }

    /// A connection as an operator has it.
    fn operator(&self) -> Connection {
        let db = Connection::open(&self.path).expect("opens");
        db.busy_timeout(Duration::from_secs(20)).expect("sets the timeout");
        db
    }

    fn run(&self, sql: &str) {
        self.operator().execute_batch(sql).expect("runs");
    }

    fn count(&self, from: &str) -> i64 {
        self.operator().query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get(0)).expect("counts")
    }

    fn text(&self, sql: &str) -> Vec<String> {
        let db = self.operator();
        let mut statement = db.prepare(sql).expect("prepares");
        let rows = statement.query_map([], |row| row.get(0)).expect("queries");
        rows.collect::<Result<_, _>>().expect("texts")
    }
}

fn on(receiver: &str, to: &str) -> LaneName {
    LaneName { receiver: node(receiver), topic: topic(to), ..lane() }
}

#[test]
fn a_directory_is_no_store() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let opened = SqliteStore::open(dir.path(), SqliteOptions::default());
    assert!(matches!(opened, Err(OpenError::Path { .. })), "{opened:?}");
    let nowhere = SqliteStore::open(&dir.path().join("no/such/mesh.sqlite"), SqliteOptions::default());
    assert!(matches!(nowhere, Err(OpenError::Path { .. })), "{nowhere:?}");
    let unnamed = SqliteStore::open(Path::new(""), SqliteOptions::default());
    assert!(matches!(unnamed, Err(OpenError::Path { .. })), "{unnamed:?}");
}

#[test]
fn a_file_that_is_no_database_is_corrupt_and_left_alone() {
    let file = File::new();
    let text = "not a database\n".repeat(1000);
    std::fs::write(&file.path, &text).expect("writes");
    assert!(matches!(file.try_open(), Err(OpenError::Corrupt { .. })));
    assert_eq!(std::fs::read_to_string(&file.path).expect("reads"), text);
}

#[test]
fn a_damaged_database_is_corrupt_and_not_empty() {
    let file = File::new();
    let (a, key) = block_on(sender(&Handle(&file)));
    block_on(a.commit([append(key, 1, 1..=10_000)]));
    // Its threads would go on for a while, and write the log back into the damaged file.
    block_on(a.store.end());
    drop(a);
    file.try_open().expect("opens").close();
    let operator = file.operator();
    operator.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("writes the log back");
    drop(operator);
    let intact = std::fs::read(&file.path).expect("reads");
    let len = intact.len();
    for (what, damaged) in [("schema", 100..4096), ("a table", len / 2..len / 2 + 8192)] {
        let mut bytes = intact.clone();
        bytes[damaged].fill(0xa5);
        std::fs::write(&file.path, &bytes).expect("writes");
        let opened = file.try_open();
        assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "{what}: {opened:?}");
    }
    std::fs::write(&file.path, &intact[..4096]).expect("writes");
    let opened = file.try_open();
    assert!(matches!(opened, Err(OpenError::Corrupt { .. })), "cut short: {opened:?}");
}

#[test]
fn a_database_of_another_application_is_foreign_and_left_alone() {
    for tables in ["CREATE TABLE people (name TEXT)", "CREATE TABLE seq (name TEXT, next INTEGER)"] {
        let file = File::new();
        file.run(tables);
        let before = std::fs::read(&file.path).expect("reads");
        let opened = file.try_open();
        assert!(matches!(opened, Err(OpenError::Foreign { .. })), "{opened:?}");
        assert_eq!(std::fs::read(&file.path).expect("reads"), before);
    }
}

#[test]
fn a_newer_store_is_refused_only_when_it_says_so() {
    let file = File::new();
    file.try_open().expect("opens").close();
    file.run("UPDATE liner_schema SET version = 99");
    file.try_open().expect("a newer schema with an old reader opens").close();
    file.run("UPDATE liner_schema SET min_reader = 98");
    let opened = file.try_open();
    assert!(matches!(opened, Err(OpenError::Newer { min_reader: 98, ours: 1 })), "{opened:?}");
}

#[test]
fn a_database_of_the_reference_is_adopted_with_its_rows() {
    let file = File::new();
    file.run(REFERENCE_TABLES);
    file.run("INSERT INTO topic_addr VALUES ('b-topic', 'localhost:2', 'b')");
    file.run("INSERT INTO conn_key_map VALUES ('a:a-topic:b', 3)");
    file.run("INSERT INTO conn_messages (connection_key, payload) VALUES (3, x'00'), (3, x'00')");
    let store = file.open();
    let routes = block_on(store.topic(&topic("b-topic"))).expect("looks up").routes;
    assert_eq!(routes, [Route::new(node("b"), vec!["localhost:2".to_owned()])]);
    let a = block_on(Process::start(store, "a"));
    let opened = block_on(a.open(&lane(), 1));
    assert!(opened.key.get() > 3, "keys continue");
    assert_eq!(opened.pending, Amount::default());
    block_on(a.commit([append(opened.key, 1, 1..=2), trim(opened.key, 2)]));
    assert_eq!(file.count("conn_messages WHERE connection_key = 3"), 2, "rows of liner_broker stay until migrated");
}

#[test]
fn tables_made_before_by_an_operator_are_adopted() {
    let file = File::new();
    file.run("CREATE TABLE topic_addr (topic TEXT, addr TEXT, client_name TEXT, PRIMARY KEY (topic, addr))");
    let a = block_on(Process::start(file.open(), "a"));
    block_on(a.store.publish(&a.fence, &topic("t"), "1.1.1.1:1", false, HOUR)).expect("publishes");
    assert_eq!(file.text("SELECT client_name FROM topic_addr WHERE topic = 't'"), ["a"]);
}

#[test]
fn paths_are_paths_and_never_uris() {
    let file = File::new();
    let dir = file.dir.path();
    for name in ["file:mesh.sqlite?mode=memory", ":memory:", "100%.sqlite", "with space?.sqlite"] {
        SqliteStore::open(&dir.join(name), SqliteOptions::default()).expect(name).close();
        assert!(dir.join(name).is_file(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_path_need_not_be_utf_8() {
    use std::os::unix::ffi::OsStrExt as _;
    let file = File::new();
    let path = file.dir.path().join(std::ffi::OsStr::from_bytes(b"mesh-\xff.sqlite"));
    SqliteStore::open(&path, SqliteOptions::default()).expect("opens").close();
    assert!(path.is_file());
}

#[test]
fn processes_may_create_one_file_at_the_same_time() {
    let file = File::new();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let opening: Vec<_> =
            (0..8).map(|_| scope.spawn(|| block_on(file.open().facts()).expect("answers").id)).collect();
        opening.into_iter().map(|thread| thread.join().expect("opens")).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[test]
fn operators_find_what_they_know() {
    let file = File::new();
    let store = file.open();
    let a = block_on(Process::start(Arc::clone(&store), "a"));
    let b = block_on(Process::start(store, "b"));
    block_on(b.store.publish(&b.fence, &topic("b-topic"), "127.0.0.1:2", false, HOUR)).expect("publishes");
    let key = block_on(a.open(&lane(), 1)).key;
    block_on(a.commit([append(key, 1, 1..=3)]));
    block_on(b.commit([advance(key, None, cursor(1, 2))]));
    let found = "SELECT addr FROM topic_addr WHERE topic = 'b-topic' AND client_name = 'b'";
    assert_eq!(file.text(found), ["127.0.0.1:2"]);
    let number = "SELECT n.v || '' FROM conn_mess_number AS n JOIN conn_key_map AS m USING (connection_key)
        WHERE m.composite = 'a:a-topic:b'";
    assert_eq!(file.text(number), ["2"]);
    let waiting = "SELECT hex(substr(payload, 1, 1)) FROM conn_messages AS q
        JOIN conn_key_map AS m USING (connection_key) WHERE m.composite = 'a:a-topic:b' ORDER BY id";
    assert_eq!(file.text(waiting), ["81", "81", "81"]);
    assert_eq!(file.text("SELECT sender_topic FROM conn_sender"), ["a-topic"]);
    let remembered =
        "SELECT sender_key || ' ' || addr || ' ' || listener_topic || ' ' || client_name FROM sender_listener";
    assert_eq!(file.text(remembered), ["a:a-topic 127.0.0.1:2 b-topic b"]);
    assert_eq!(file.count("topic_key WHERE topic = 'b-topic' AND k > 0"), 1);
    assert_eq!(file.text("SELECT v || '' FROM seq WHERE id = 1"), [key.get().to_string()]);
    block_on(a.commit([trim(key, 3)]));
    assert_eq!(file.count("conn_messages"), 0, "nothing is left once everything is acked");
}

#[test]
fn a_lane_is_named_plainly_unless_that_is_ambiguous() {
    let file = File::new();
    let store = file.open();
    let b = block_on(Process::start(Arc::clone(&store), "b"));
    block_on(b.store.publish(&b.fence, &topic("news"), "127.0.0.1:2", true, HOUR)).expect("publishes");
    let a = block_on(Process::start(store, "a"));
    for lane in [on("b", "news"), on("b", "b-topic"), on("b", "other"), on("c:d", "50%"), on("c:d", "50%:")] {
        let sent = block_on(a.open(&lane, 1)).key;
        assert_eq!(block_on(a.receive(&lane)).key, sent);
    }
    let composites = file.text("SELECT composite FROM conn_key_map ORDER BY connection_key");
    let plain_and_not =
        ["a:a-topic:b:news", "a:a-topic:b", "a:a-topic:b:other", "a:a-topic:c%3Ad", "a:a-topic:c%3Ad:50%25%3A"];
    assert_eq!(composites, plain_and_not);
    block_on(b.store.publish(&b.fence, &topic("b-topic"), "127.0.0.1:2", true, HOUR)).expect("publishes");
    block_on(a.open(&on("b", "b-topic"), 2));
    assert_eq!(file.text("SELECT composite FROM conn_key_map ORDER BY connection_key"), composites, "kept for life");
}

#[test]
fn routes_of_operators_are_seen_within_100_ms() {
    let file = File::new();
    let store = file.open();
    let mut delays = Vec::new();
    for round in 0..5 {
        let watching = Arc::clone(&store);
        let seen = std::thread::spawn(move || {
            block_on(watching.changed()).expect("watches");
            std::time::Instant::now()
        });
        file.run(&format!("INSERT INTO topic_addr (topic, addr, client_name) VALUES ('t', 'host:{round}', 'b')"));
        let committed = std::time::Instant::now();
        delays.push(seen.join().expect("sees it").saturating_duration_since(committed));
    }
    assert!(*delays.iter().min().expect("five rounds") <= Duration::from_millis(100), "{delays:?}");
    let routes = block_on(store.topic(&topic("t"))).expect("looks up").routes;
    assert_eq!((routes.len(), routes[0].addrs.len(), routes[0].live), (1, 5, true));
    file.run("INSERT INTO topic_addr (topic, addr, client_name) VALUES ('t', 'host:9', '')");
    assert_eq!(block_on(store.topic(&topic("t"))).expect("looks up").routes.len(), 1, "what names no node is no route");
}

#[test]
fn after_an_operator_emptied_the_tables_everything_works_as_new() {
    let file = File::new();
    let (a, key) = block_on(sender(&Handle(&file)));
    block_on(a.commit([append(key, 1, 1..=5), trim(key, 3)]));
    block_on(a.open(&lane(), 2));
    let (b, _) = block_on(receiver(&Handle(&file)));
    let attempt = Write::Attempt { lane: key, incarnation: inc(2), seq: Seq::new(6), attempts: 3 };
    block_on(b.commit([advance(key, None, cursor(1, 5)), attempt]));
    block_on(a.store.set_tombstone(&a.fence, &topic("b-topic"), &node("b"), true)).expect("notes");
    drop((a, b));
    for table in [
        "conn_messages",
        "conn_mess_number",
        "conn_sender",
        "topic_key",
        "conn_key_map",
        "sender_listener",
        "topic_addr",
    ] {
        file.run(&format!("DELETE FROM {table}"));
    }
    file.run("UPDATE seq SET v = 0 WHERE id = 1");
    let (a, key) = block_on(sender(&Handle(&file)));
    assert_eq!(key.get(), 1, "keys start again");
    let opened = block_on(a.open(&lane(), 3));
    assert_eq!((opened.next, opened.acked, opened.predecessor), (Seq::new(1), Seq::ZERO, None));
    let (b, _) = block_on(receiver(&Handle(&file)));
    let found = block_on(b.receive(&lane()));
    assert_eq!((found.cursor, found.attempts), (None, vec![]));
    assert_eq!(block_on(b.store.topic(&topic("b-topic"))).expect("looks up"), TopicEntry::default());
    block_on(a.commit([append(key, 3, 1..=1)]));
    assert_eq!(block_on(a.queued(key)), [1]);
}

/// A file as a medium of the suite.
struct Handle<'a>(&'a File);

impl Medium for Handle<'_> {
    fn fresh() -> Self {
        unreachable!("stands for a file that is there")
    }

    fn open(&self) -> SharedStore {
        self.0.open()
    }
}

#[test]
fn long_queues_are_counted_in_full() {
    let file = File::new();
    let (a, key) = block_on(sender(&Handle(&file)));
    for queued in [9_999, 10_000, 10_001, 25_000] {
        block_on(a.commit([append(key, 1, 1..=queued)]));
        let pending = block_on(a.store.pending(&node("a"))).expect("counts");
        assert_eq!(pending[0].amount.messages, queued);
        assert_eq!(block_on(a.open(&lane(), 1)).pending, pending[0].amount);
    }
    let bytes = (1..=25_000).map(|n: u64| n.to_string().len() as u64).sum();
    let dropped = block_on(a.store.clear(&a.fence)).expect("clears");
    assert_eq!(dropped, Amount { messages: 25_000, bytes });
}

#[test]
fn two_handles_may_hammer_one_file() {
    let file = File::new();
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let store = file.open();
            scope.spawn(move || {
                let process = block_on(Process::start(store, name));
                let lane = LaneName { sender: node(name), ..lane() };
                let key = block_on(process.open(&lane, 1)).key;
                for n in 0..200 {
                    block_on(process.commit([append(key, 1, n * 4 + 1..=n * 4 + 4), trim(key, n * 2)]));
                }
                assert_eq!(block_on(process.queued(key)), (399..=800).collect::<Vec<_>>());
            });
        }
    });
    assert_eq!(file.count("conn_messages"), 2 * 402);
}

#[test]
fn a_writer_that_does_not_let_go_is_busy_and_nothing_changed() {
    let file = File::new();
    let options = SqliteOptions::default().busy_timeout(Duration::from_millis(50));
    let store = Arc::new(SqliteStore::open(&file.path, options).expect("opens"));
    let a = block_on(Process::start(store, "a"));
    let key = block_on(a.open(&lane(), 1)).key;
    let operator = file.operator();
    operator.execute_batch("BEGIN IMMEDIATE").expect("takes the lock");
    let refused = block_on(a.store.commit(&a.fence, batch([append(key, 1, 1..=1)])));
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert_eq!(block_on(a.queued(key)), [], "reads go on");
    operator.execute_batch("ROLLBACK").expect("lets go");
    block_on(a.commit([append(key, 1, 1..=1)]));
    assert_eq!(block_on(a.queued(key)), [1]);
}

#[test]
fn a_full_store_changes_nothing_and_recovers() {
    let file = File::new();
    let options = SqliteOptions::default().max_pages(100);
    let store = Arc::new(SqliteStore::open(&file.path, options).expect("opens"));
    let a = block_on(Process::start(store, "a"));
    let key = block_on(a.open(&lane(), 1)).key;
    let large = |n| Stored { message: message(&"x".repeat(20_000)), ..stored(1, n) };
    let append = |n| batch([Write::Append { lane: key, messages: (n..n + 4).map(large).collect() }]);
    let mut next = 1;
    let refused = loop {
        match block_on(a.store.commit(&a.fence, append(next))) {
            Ok(_) => next += 4,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, StoreError::Full(_)) && refused.is_retryable() && refused.is_definite(), "{refused:?}");
    assert_eq!(block_on(a.queued(key)), (1..next).collect::<Vec<_>>());
    block_on(a.commit([trim(key, 4)]));
    block_on(a.store.commit(&a.fence, append(next))).expect("there is room again");
    assert_eq!(block_on(a.queued(key)), (5..next + 4).collect::<Vec<_>>());
}

#[test]
fn a_row_that_is_not_ours_is_damage_and_not_a_message() {
    let file = File::new();
    let (a, key) = block_on(sender(&Handle(&file)));
    for payload in ["81", "00", "82ffff"] {
        let mut insert = String::new();
        let row = "INSERT OR REPLACE INTO conn_messages (connection_key, payload, number) VALUES";
        write!(insert, "{row} ({}, x'{payload}', 1)", key.get()).expect("writes to a string");
        file.run(&insert);
        let loaded = block_on(a.store.load(key, Seq::ZERO, ALL));
        assert!(matches!(loaded, Err(StoreError::Damaged(_))), "{payload}: {loaded:?}");
    }
}

#[test]
fn closing_finishes_what_is_queued() {
    use futures::FutureExt as _;
    let file = File::new();
    let store = file.try_open().expect("opens");
    let fence = Fence { node: node("a"), epoch: block_on(store.register(&node("a"))).expect("registers").epoch };
    let key = block_on(store.open_lane(&fence, &lane(), inc(1))).expect("opens the lane").key;
    for n in 1..=20 {
        // Polled once, it is queued; dropped, nobody waits for it.
        let answered = store.commit(&fence, batch([append(key, 1, [n])])).now_or_never();
        assert!(answered.is_none_or(|result| result.is_ok()));
    }
    store.close();
    assert_eq!(file.count("conn_messages"), 20);
    assert!(!file.path.with_extension("sqlite-wal").exists(), "the last to close writes the log back");
}

/// Messages of one batch of the process that is killed.
const KILLED_BATCH: u64 = 50;

/// Not a test of its own: what the killed process runs, writing batches until it dies and saying which are committed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os("LINER_TEST_KILLED_STORE") else { return };
    let store = Arc::new(SqliteStore::open(Path::new(&path), SqliteOptions::default()).expect("opens"));
    let a = block_on(Process::start(store, "a"));
    let key = block_on(a.open(&lane(), 1)).key;
    for n in 0.. {
        block_on(a.commit([append(key, 1, n * KILLED_BATCH + 1..=(n + 1) * KILLED_BATCH)]));
        println!("committed {}", (n + 1) * KILLED_BATCH);
    }
}

#[test]
fn a_killed_process_loses_nothing_it_was_told_is_committed() {
    let file = File::new();
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env("LINER_TEST_KILLED_STORE", &file.path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut committed = 0;
    for line in lines.map_while(Result::ok) {
        if let Some(number) = line.strip_prefix("committed ") {
            committed = number.parse().expect("a number");
        }
        if committed == 40 * KILLED_BATCH {
            child.kill().expect("kills");
        }
    }
    child.wait().expect("ends");
    assert!(committed >= 40 * KILLED_BATCH);
    let store = file.open();
    assert!(!block_on(store.register(&node("a"))).expect("registers").clean);
    let a = block_on(Process::start(store, "a"));
    let opened = block_on(a.open(&lane(), 2));
    let queued = block_on(a.queued(opened.key));
    let last = queued.len() as u64;
    assert_eq!(queued, (1..=last).collect::<Vec<_>>(), "no gap");
    assert!(last >= committed && last.is_multiple_of(KILLED_BATCH), "{last} queued, {committed} committed");
    assert_eq!(opened.next, Seq::new(last + 1));
}
