//! Redis servers for tests: private ones that end with the process, or the one that `LINER_TEST_REDIS_URL` names.
//!
//! A private server is a child of a shell that waits for its standard input to end; so the server ends when the test
//! process does, however that happens. It listens on a socket file in a directory of its own. What cannot be started fails
//! the test with the reason.

use crate::checked;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Names, as a URL, a server that tests use instead of a private one where they neither stop it nor change its settings.
/// They note in the database of the URL which others they use: empty ones, and those that tests used before.
const GIVEN: &str = "LINER_TEST_REDIS_URL";

/// What the URL of a socket file starts with.
const SOCKET: &str = "redis+unix://";

/// Takes a database of a given server for a test, and empties it. ARGV: its number, who takes it. Tells whether it could.
/// Notes of tests that were killed end by themselves, as no test takes as long.
const TAKE: &str = "local owner, used = 'lnr_test_owner:' .. ARGV[1], 'lnr_test_databases'
    if redis.call('EXISTS', owner) == 1 then return 'taken' end
    redis.call('SELECT', ARGV[1])
    local empty = redis.call('DBSIZE') == 0
    redis.call('SELECT', ARGV[2])
    if not empty and redis.call('SISMEMBER', used, ARGV[1]) == 0 then return 'used' end
    redis.call('SET', owner, ARGV[3], 'EX', 600)
    redis.call('SADD', used, ARGV[1])
    redis.call('SELECT', ARGV[1])
    redis.call('FLUSHDB')
    return 'free'";

/// Gives it back. ARGV: its number, that of the notes.
const GIVE_BACK: &str = "redis.call('SELECT', ARGV[1])
    redis.call('FLUSHDB')
    redis.call('SELECT', ARGV[2])
    redis.call('SREM', 'lnr_test_databases', ARGV[1])
    return redis.call('DEL', 'lnr_test_owner:' .. ARGV[1])";

/// How long a test waits for others to give a database of a given server back.
const PATIENCE: Duration = Duration::from_secs(120);

/// Databases of a private server: one for each test that a process runs, and more.
const DATABASES: u32 = 4096;

/// Tells the server's process, ends it when the input ends, and itself when it does; then removes the directory if it is
/// told one.
const GUARD: &str = r#"remove=$1; shift; exec 3<&0; "$@" </dev/null & server=$!; echo "pid $server"
    { cat <&3 >/dev/null; kill -KILL $server; } 2>/dev/null &
    wait $server; [ -z "$remove" ] || rm -rf "$remove""#;

/// A private server. It ends when the value is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    settings: Vec<String>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    pid: String,
    /// Dropped, it ends the server.
    input: Option<ChildStdin>,
}

impl Server {
    /// Starts a server that syncs every commit, unless `settings` (words of the command line) say otherwise.
    pub fn start(settings: &[&str]) -> Server {
        let dir = tempfile::Builder::new().prefix("liner-redis-").tempdir().expect("temporary directory");
        let settings = settings.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Server { dir, settings, running: None };
        server.run("");
        server
    }

    /// Returns the server's directory.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Returns the socket file the server listens on.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Returns the URL of one of its databases.
    pub fn url(&self, database: u32) -> String {
        format!("redis+unix://{}?db={database}", self.socket().display())
    }

    /// Starts it (again), and waits until it takes commands.
    fn run(&mut self, remove: &str) {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", remove, "redis-server", "--port", "0", "--save", ""]);
        guard.arg("--dir").arg(self.dir.path()).arg("--unixsocket").arg(self.socket());
        guard.args(["--appendonly", "yes", "--appendfsync", "always", "--databases", &DATABASES.to_string()]);
        guard.args(&self.settings);
        guard.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut guard = guard.spawn().expect("sh runs");
        let input = guard.stdin.take();
        let mut log = BufReader::new(guard.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let mut complaints = BufReader::new(guard.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let (mut pid, mut said) = (None, Vec::new());
        loop {
            let Some(line) = log.next() else {
                drop(input);
                said.extend(complaints.by_ref());
                panic!("the server did not start, scripts/test installs one: {}", said.join("\n"));
            };
            match line.strip_prefix("pid ") {
                Some(told) => pid = Some(told.to_owned()),
                None => said.push(line),
            }
            if said.last().is_some_and(|line| line.to_lowercase().contains("ready to accept connections")) {
                break;
            }
        }
        // Read on, so that the server does not stand still when a pipe is full.
        std::thread::spawn(move || log.for_each(drop));
        std::thread::spawn(move || complaints.for_each(drop));
        self.running = Some(Running { guard, pid: pid.expect("the guard tells it first"), input });
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: &str) {
        let pid = &self.running.as_ref().expect("it runs").pid;
        checked("kill", Command::new("kill").arg(format!("-{signal}")).arg(pid).output());
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.ended();
    }

    /// Stops the server in an orderly way.
    pub fn stop(&mut self) {
        self.signal("TERM");
        if let Some(mut running) = self.running.take() {
            running.guard.wait().expect("waits");
        }
    }

    fn ended(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.input.take());
            running.guard.wait().expect("waits");
        }
    }

    /// Starts the server again, on the same socket with the same data.
    pub fn start_again(&mut self) {
        self.run("");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended();
    }
}

/// Runs a command with `redis-cli` and returns what it printed.
pub fn cli(url: &str, words: &[&str]) -> String {
    let mut cli = Command::new("redis-cli");
    cli.args(["--no-auth-warning", "--raw"]);
    match url.strip_prefix(SOCKET).map(|rest| rest.split_once('?').unwrap_or((rest, ""))) {
        Some((socket, query)) => {
            cli.args(["-s", socket]);
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                cli.args([if name == "db" { "-n".to_owned() } else { format!("--{name}") }, value.to_owned()]);
            }
        }
        None => {
            // Without a name this tool logs in as nobody.
            cli.args(["-u", &url.replacen("://:", "://default:", 1)]);
        }
    }
    let answer = checked(&words.join(" "), cli.args(words).output());
    assert!(!answer.starts_with("ERR "), "{words:?}: {answer}");
    answer.trim_end().to_owned()
}

/// The server all tests of this process share, unless one is given.
fn shared() -> &'static str {
    static SHARED: OnceLock<String> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut server = Server::start(&[]);
        // It ends with this process, of which nothing here is told; so the guard has to clean up.
        server.ended();
        let dir = server.dir.path().to_string_lossy().into_owned();
        server.run(&dir);
        let socket = server.socket().to_string_lossy().into_owned();
        std::mem::forget(server);
        socket
    })
}

/// A database for one test, on the server that the tests of this process share.
#[derive(Debug)]
pub struct Database {
    /// Its URL.
    pub url: String,
    /// Its number on a given server.
    given: Option<u32>,
}

impl Database {
    /// Takes an empty database.
    #[expect(clippy::new_without_default, reason = "taking a database is no default")]
    pub fn new() -> Database {
        if let Ok(given) = std::env::var(GIVEN) {
            let number = free(&given);
            return Database { url: on_database(&given, number), given: Some(number) };
        }
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        assert!(number < DATABASES, "this process has more tests than its server has databases");
        Database { url: format!("redis+unix://{}?db={number}", shared()), given: None }
    }

    /// Runs a command in the database with `redis-cli`.
    pub fn cli(&self, words: &[&str]) -> String {
        cli(&self.url, words)
    }

    /// Returns the number of messages in all queues.
    pub fn queued(&self) -> u64 {
        queued(&self.url)
    }
}

/// Returns the number of messages in all queues of a database.
pub fn queued(url: &str) -> u64 {
    let keys = cli(url, &["SCAN", "0", "MATCH", "lnr_connection:*:messages", "COUNT", "100000"]);
    let lengths = keys.lines().skip(1).filter(|key| !key.is_empty());
    lengths.map(|key| cli(url, &["LLEN", key]).parse::<u64>().expect("a number")).sum()
}

impl Drop for Database {
    fn drop(&mut self) {
        // A private server goes as a whole.
        let (Some(number), Ok(given)) = (self.given, std::env::var(GIVEN)) else { return };
        cli(&given, &["EVAL", GIVE_BACK, "0", &number.to_string(), &notes(&given).to_string()]);
    }
}

/// A database of a given server that no other test uses; other processes may run tests on the server, too.
fn free(given: &str) -> u32 {
    let (notes, deadline) = (notes(given), Instant::now() + PATIENCE);
    let count = cli(given, &["CONFIG", "GET", "databases"]);
    let count: u32 = count.lines().nth(1).and_then(|count| count.parse().ok()).unwrap_or(16);
    let owner = format!("process {}", std::process::id());
    let take = |number: &u32| cli(given, &["EVAL", TAKE, "0", &number.to_string(), &notes.to_string(), &owner]);
    loop {
        let free = (0..count).filter(|number| *number != notes).find(|number| take(number) == "free");
        if let Some(number) = free {
            return number;
        }
        assert!(Instant::now() < deadline, "all {count} databases of {GIVEN} are in use");
    }
}

/// The database of a URL, where tests note which others they use.
fn notes(url: &str) -> u32 {
    let named = match url.strip_prefix(SOCKET) {
        Some(rest) => rest.split(['?', '&']).find_map(|pair| pair.strip_prefix("db=")),
        None => url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map(|(_, number)| number),
    };
    named.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The same URL with another database.
fn on_database(url: &str, number: u32) -> String {
    if url.starts_with(SOCKET) {
        let (socket, query) = url.split_once('?').unwrap_or((url, ""));
        let others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("db="));
        return others.fold(format!("{socket}?db={number}"), |url, pair| format!("{url}&{pair}"));
    }
    let scheme = url.find("://").map_or(0, |at| at + 3);
    let end = url[scheme..].find('/').map_or(url.len(), |at| scheme + at);
    format!("{}/{number}", &url[..end])
}
