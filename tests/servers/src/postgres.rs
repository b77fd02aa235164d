//! PostgreSQL servers for tests: private ones that end with the process, or the one that `LINER_TEST_POSTGRES_URL` names.
//!
//! A private server is a child of a shell that waits for its standard input to end; so the server ends when the test
//! process does, however that happens. PostgreSQL refuses to run as root: then it runs as the user `postgres`. What cannot
//! be started fails the test with the reason.

use crate::checked;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// Names, as a URL, a server that tests use instead of a private one where they neither stop it nor change its settings.
/// Its role must be allowed to create databases.
const GIVEN: &str = "LINER_TEST_POSTGRES_URL";

/// The role of private servers.
const ROLE: &str = "liner";
/// The password of the role of private servers. It needs escaping in a URL.
pub const PASSWORD: &str = "s@cret/1";
const ESCAPED: &str = "s%40cret%2F1";

/// Ends the server when its input does, and itself when the server ends; then removes the directory if it is told one.
const GUARD: &str = r#"remove=$1; shift; exec 3<&0; "$@" & server=$!
    { cat <&3 >/dev/null; kill -QUIT $server; } 2>/dev/null &
    wait $server; [ -z "$remove" ] || rm -rf "$remove""#;

/// How often a server is started that finds processes of the killed one still there.
const STARTS: usize = 100;

/// Where one of PostgreSQL's programs is. A machine whose server is elsewhere may have the client alone.
fn program(name: &str) -> PathBuf {
    found(name).unwrap_or_else(|| panic!("PostgreSQL's {name} is not installed: scripts/test installs it"))
}

fn found(name: &str) -> Option<PathBuf> {
    static DIRS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let dirs = DIRS.get_or_init(|| {
        let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path().join("bin")).collect())
            .unwrap_or_default();
        versions.sort();
        let path = std::env::var_os("PATH").unwrap_or_default();
        versions.into_iter().rev().chain(std::env::split_paths(&path)).collect()
    });
    dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// Returns the version of the server that would be started, if one is installed.
pub fn version() -> Option<String> {
    Some(checked("postgres --version", Command::new(found("postgres")?).arg("--version").output()).trim().to_owned())
}

/// The user and group to run as instead of root.
fn other_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = (id(&["-u", "postgres"]), id(&["-g", "postgres"]));
    let (Some(user), Some(group)) = user else {
        panic!("PostgreSQL refuses to run as root, and there is no user postgres to run it as");
    };
    Some((user, group))
}

/// A command that runs as somebody PostgreSQL accepts.
fn command(program: &Path) -> Command {
    let Some((user, group)) = other_user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]).arg(program);
    command
}

/// Returns a command for a program that refuses to run as root and reads files in `dir`.
pub fn unprivileged(program: &str, dir: &Path) -> Command {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(dir, Some(user), Some(group)).expect("changes the owner");
    }
    let found = ["/usr/sbin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(program)).find(|path| path.is_file());
    command(found.as_deref().unwrap_or(Path::new(program)))
}

/// A directory for a server.
fn directory() -> TempDir {
    let dir = tempfile::Builder::new().prefix("liner-postgres-").tempdir().expect("temporary directory");
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(dir.path(), Some(user), Some(group)).expect("changes the owner");
    }
    dir
}

/// A private server. It ends when the value is dropped, or with the process.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    port: u16,
    running: Option<Running>,
    settings: Vec<String>,
}

#[derive(Debug)]
struct Running {
    guard: Child,
    /// Dropped, it ends the server.
    input: Option<ChildStdin>,
}

impl Server {
    /// Makes and starts a server. Nothing is synced to the disk: the machine does not crash. `settings` are `name=value`.
    pub fn start(settings: &[&str]) -> Server {
        let dir = directory();
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).expect("writes");
        let mut initdb = command(&program("initdb"));
        initdb.args(["--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C", "--username", ROLE]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(dir.path().join("data"));
        checked("initdb", initdb.current_dir(dir.path()).output());
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Server { dir, port: free_port(), running: None, settings };
        server.run("");
        server
    }

    /// Makes and starts a standby of this server, which follows it until it is promoted.
    pub fn standby(&self) -> Server {
        let dir = directory();
        let mut copy = command(&program("pg_basebackup"));
        copy.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--pgdata"]);
        copy.arg(dir.path().join("data")).arg("--dbname").arg(self.url("postgres"));
        checked("pg_basebackup", copy.current_dir(dir.path()).output());
        let mut server = Server { dir, port: free_port(), running: None, settings: self.settings.clone() };
        server.run("");
        server
    }

    /// Makes a standby the primary, and waits until it is.
    pub fn promote(&self) {
        assert_eq!(psql(&self.url("postgres"), "SELECT pg_promote()"), "t");
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Writes a file into the data directory, owned by the server.
    pub fn give(&self, name: &str, contents: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.data().join(name);
        std::fs::write(&path, contents).expect("writes");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("sets permissions");
        if let Some((user, group)) = other_user() {
            std::os::unix::fs::chown(&path, Some(user), Some(group)).expect("changes the owner");
        }
    }

    /// Returns a connection string for one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{ROLE}:{ESCAPED}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts it (again), and waits until it takes connections.
    fn run(&mut self, remove: &str) {
        let mut said = String::new();
        for _ in 0..STARTS {
            match self.try_run(remove) {
                Ok(()) => return,
                // The last processes of a killed server are on their way out.
                Err(complaint) if complaint.contains("still in use") || complaint.contains("already exists") => {
                    said = complaint;
                }
                Err(complaint) => panic!("the server did not start: {complaint}"),
            }
        }
        panic!("the server did not start: {said}");
    }

    fn try_run(&mut self, remove: &str) -> Result<(), String> {
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "sh", remove]);
        let mut server = command(&program("postgres"));
        server.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", &format!("unix_socket_directories={}", self.dir.path().display())]);
        server.args(["-c", "fsync=off", "-c", "max_connections=500", "-c", "shared_buffers=64MB"]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        guard.arg(server.get_program()).args(server.get_args());
        guard.current_dir(self.dir.path()).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut guard = guard.spawn().expect("sh runs");
        let input = guard.stdin.take();
        let mut log = BufReader::new(guard.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let mut said = Vec::new();
        loop {
            let Some(line) = log.next() else {
                drop(input);
                guard.wait().expect("waits");
                return Err(said.join("\n"));
            };
            if line.contains("ready to accept") {
                break;
            }
            said.push(line);
        }
        let kept = self.dir.path().join("log");
        std::thread::spawn(move || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(kept).ok();
            for line in log {
                if let Some(file) = &mut file {
                    let _ = writeln!(file, "{line}");
                }
            }
        });
        self.running = Some(Running { guard, input });
        Ok(())
    }

    /// Returns the id of the server's process.
    pub fn pid(&self) -> String {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        file.lines().next().expect("has a first line").to_owned()
    }

    /// Returns what the server wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Sends a signal to the server's first process, or to all of its processes.
    pub fn signal(&self, signal: &str, all: bool) {
        let pid = self.pid();
        let mut pids = vec![pid.clone()];
        if all {
            let children = Command::new("pgrep").args(["-P", &pid]).output().expect("pgrep runs");
            pids.extend(String::from_utf8_lossy(&children.stdout).lines().map(str::to_owned));
        }
        checked("kill", Command::new("kill").arg(format!("-{signal}")).args(&pids).output());
    }

    /// Kills all processes of the server.
    pub fn kill(&mut self) {
        self.signal("KILL", true);
        self.ended();
    }

    /// Stops the server without waiting for clients.
    pub fn stop(&mut self) {
        self.signal("INT", false);
        self.ended();
    }

    fn ended(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.input.take());
            running.guard.wait().expect("waits");
        }
    }

    /// Starts the server again, on the same port with the same data.
    pub fn start_again(&mut self) {
        self.run("");
    }

    /// Makes a database and returns its connection string.
    pub fn database(&self, name: &str) -> String {
        psql(&self.url("postgres"), &format!("CREATE DATABASE {name}"));
        self.url(name)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended();
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    socket.local_addr().expect("is bound").port()
}

/// Runs SQL with `psql` and returns the rows, columns separated by `|`.
pub fn psql(url: &str, sql: &str) -> String {
    let mut psql = Command::new(program("psql"));
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--command", sql]);
    checked(sql, psql.arg(url).output()).trim_end().to_owned()
}

/// The server all tests of this process share: its connection string.
fn shared() -> &'static str {
    static SHARED: OnceLock<String> = OnceLock::new();
    SHARED.get_or_init(|| {
        if let Ok(given) = std::env::var(GIVEN) {
            return given;
        }
        let mut server = Server::start(&[]);
        // It ends with this process, of which nothing here is told; so the guard has to clean up.
        server.ended();
        let dir = server.dir.path().to_string_lossy().into_owned();
        server.run(&dir);
        let url = server.url("postgres");
        std::mem::forget(server);
        url
    })
}

/// A database for one test, on the server that the tests of this process share.
#[derive(Debug)]
pub struct Database {
    name: String,
    /// Its connection string.
    pub url: String,
}

impl Database {
    /// Makes an empty database.
    #[expect(clippy::new_without_default, reason = "making a database is no default")]
    pub fn new() -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Tests of other machines may use a given server, too: the process id alone is not unique.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
        let name = format!("liner_{now:x}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        psql(shared(), &format!("CREATE DATABASE {name}"));
        let url = on_database(shared(), &name);
        Database { name, url }
    }

    /// Runs SQL in the database with `psql`.
    pub fn psql(&self, sql: &str) -> String {
        psql(&self.url, sql)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // A private server goes as a whole; to drop a database takes it a checkpoint.
        if std::env::var_os(GIVEN).is_none() {
            return;
        }
        psql(shared(), &format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The same connection string with another database.
fn on_database(url: &str, name: &str) -> String {
    let (front, query) =
        url.split_once('?').map_or((url, String::new()), |(front, query)| (front, format!("?{query}")));
    let scheme = front.find("://").map_or(0, |at| at + 3);
    let end = front[scheme..].find('/').map_or(front.len(), |at| scheme + at);
    format!("{}/{name}{query}", &front[..end])
}
