//! Copies of what the broker left, to be opened, looked into and changed as an operator would.

use liner::Config;
use liner::stores::Store;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Where a copy of what the broker left is.
pub(crate) enum Left {
    Sqlite(TempDir),
    #[cfg(feature = "postgres")]
    Postgres(crate::support::postgres::Database),
    #[cfg(feature = "redis")]
    Redis(crate::support::redis::Database),
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/legacy/fixtures").join(name)
}

fn copies(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    for name in names {
        std::fs::copy(fixture(name), dir.path().join(name)).expect("copies");
    }
    dir
}

impl Left {
    pub(crate) fn sqlite() -> Left {
        Left::Sqlite(copies(&["shared.db"]))
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres() -> Left {
        let database = crate::support::postgres::Database::new();
        database.psql(&std::fs::read_to_string(fixture("postgres.sql")).expect("reads"));
        Left::Postgres(database)
    }

    #[cfg(feature = "redis")]
    pub(crate) fn redis() -> Left {
        let database = crate::support::redis::Database::new();
        let mut server = client(&database);
        for line in std::fs::read_to_string(fixture("redis.txt")).expect("reads").lines() {
            let mut command = redis::Cmd::new();
            for word in line.split(' ') {
                command.arg(decoded(word));
            }
            command.query::<redis::Value>(&mut server).expect("is taken");
        }
        Left::Redis(database)
    }

    pub(crate) fn config(&self, name: &str, topic: &str) -> Config {
        match self {
            Left::Sqlite(dir) => Config::sqlite(name, topic, dir.path().join("shared.db")),
            #[cfg(feature = "postgres")]
            Left::Postgres(database) => Config::postgres(name, topic, database.url.as_str()),
            #[cfg(feature = "redis")]
            Left::Redis(database) => Config::redis(name, topic, database.url.as_str()),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Left::Sqlite(dir) => sqlite(&dir.path().join("shared.db")),
            #[cfg(feature = "postgres")]
            Left::Postgres(database) => {
                let options = database.url.as_str().into();
                Arc::new(liner::stores::postgres::PostgresStore::open(&options).expect("opens"))
            }
            #[cfg(feature = "redis")]
            Left::Redis(database) => {
                let options = database.url.as_str().into();
                Arc::new(liner::stores::redis::RedisStore::open(&options).expect("opens"))
            }
        }
    }

    /// Runs SQL as an operator would, or the commands that do the same.
    pub(crate) fn operator(&self, sql: &str, commands: &[&[&str]]) {
        match self {
            Left::Sqlite(dir) => {
                let db = rusqlite::Connection::open(dir.path().join("shared.db")).expect("opens");
                db.execute_batch(sql).expect("runs");
            }
            #[cfg(feature = "postgres")]
            Left::Postgres(database) => {
                database.psql(sql);
            }
            #[cfg(feature = "redis")]
            Left::Redis(database) => {
                for words in commands {
                    database.cli(words);
                }
            }
        }
        let _ = commands;
    }

    /// Queues messages "late" from `orders-1` for `billing` as the broker does: connection 9, topic 3.
    pub(crate) fn queue(&self, numbers: std::ops::RangeInclusive<u64>) {
        const HEAD: &str = "00000019";
        const REST: &str = "000000090000000302000000046c617465";
        let (first, last) = (numbers.start(), numbers.end());
        match self {
            Left::Sqlite(_) => {
                let insert = format!(
                    "WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
                    INSERT INTO conn_messages (connection_key, payload)
                    SELECT 9, unhex('{HEAD}' || printf('%016x', i) || '{REST}') FROM n ORDER BY i"
                );
                self.operator(&insert, &[]);
            }
            #[cfg(feature = "postgres")]
            Left::Postgres(_) => {
                let insert = format!(
                    "INSERT INTO conn_messages (connection_key, payload)
                    SELECT 9, decode('{HEAD}' || lpad(to_hex(i), 16, '0') || '{REST}', 'hex')
                    FROM generate_series({first}, {last}) AS i ORDER BY i"
                );
                self.operator(&insert, &[]);
            }
            #[cfg(feature = "redis")]
            Left::Redis(database) => {
                let mut push = redis::cmd("RPUSH");
                push.arg("lnr_connection:9:messages");
                for number in numbers {
                    let hex = format!("{HEAD}{number:016x}{REST}");
                    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
                    push.arg((0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>());
                }
                push.query::<u64>(&mut client(database)).expect("is taken");
            }
        }
    }

    /// What waits in all queues, whoever wrote it.
    pub(crate) fn queued(&self) -> u64 {
        let count = "SELECT count(*) FROM conn_messages";
        match self {
            Left::Sqlite(dir) => {
                let db = rusqlite::Connection::open(dir.path().join("shared.db")).expect("opens");
                let queued: i64 = db.query_row(count, [], |row| row.get(0)).expect("counts");
                queued.cast_unsigned()
            }
            #[cfg(feature = "postgres")]
            Left::Postgres(database) => database.psql(count).parse().expect("a number"),
            #[cfg(feature = "redis")]
            Left::Redis(database) => database.queued(),
        }
    }
}

pub(crate) fn sqlite(path: &Path) -> Arc<dyn Store> {
    Arc::new(liner::stores::sqlite::SqliteStore::open(path, Default::default()).expect("opens"))
}

#[cfg(feature = "redis")]
fn client(database: &crate::support::redis::Database) -> redis::Connection {
    redis::Client::open(database.url.as_str()).and_then(|client| client.get_connection()).expect("connects")
}

/// The bytes of a word in the dump of a Redis server.
#[cfg(feature = "redis")]
fn decoded(word: &str) -> Vec<u8> {
    let mut parts = word.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).expect("two digits"));
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// Two files that were told of each other. Each number noted there is the other's.
pub(crate) struct Isolated(TempDir);

impl Isolated {
    pub(crate) fn new() -> Isolated {
        Isolated(copies(&["isolated-a.db", "isolated-b.db"]))
    }

    pub(crate) fn path(&self, which: &str) -> PathBuf {
        self.0.path().join(format!("isolated-{which}.db"))
    }

    pub(crate) fn config(&self, which: &str) -> Config {
        let path = self.path(which);
        Config::sqlite(format!("iso-{which}"), format!("topic-iso-{which}"), path)
    }
}
