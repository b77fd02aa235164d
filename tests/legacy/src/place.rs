//! Where liner_broker keeps its data, and what can be asked of it there.

use liner_broker::Liner;
use redis::Commands as _;
use std::path::PathBuf;

/// A store of the broker.
#[derive(Clone)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Redis(String),
    Postgres(String),
}

impl Place {
    /// As it stands in an argument of a process.
    pub(crate) fn text(&self) -> String {
        match self {
            Place::Sqlite(path) => format!("file {}", path.display()),
            Place::Redis(url) | Place::Postgres(url) => url.clone(),
        }
    }

    pub(crate) fn parse(text: &str) -> Place {
        if let Some(path) = text.strip_prefix("file ") {
            return Place::Sqlite(path.into());
        }
        if text.starts_with("redis") { Place::Redis(text.to_owned()) } else { Place::Postgres(text.to_owned()) }
    }

    /// A client on it. It must not be moved while it runs.
    pub(crate) fn client(&self, name: &str, topic: &str) -> Box<Liner> {
        const ANY: &str = "127.0.0.1:0";
        Box::new(match self {
            Place::Sqlite(path) => Liner::new_sqlite(name, topic, ANY, &path.to_string_lossy(), ""),
            Place::Redis(url) => Liner::new(name, topic, ANY, url),
            Place::Postgres(url) => Liner::new_postgres(name, topic, ANY, url),
        })
    }

    /// The number up to which the receiver has handled.
    pub(crate) fn handled(&self, composite: &str) -> i64 {
        match self {
            Place::Sqlite(path) => {
                let db = rusqlite::Connection::open(path).expect("opens");
                let sql =
                    "SELECT v FROM conn_mess_number JOIN conn_key_map USING (connection_key) WHERE composite = ?1";
                db.query_row(sql, [composite], |row| row.get(0)).unwrap_or(0)
            }
            Place::Redis(url) => {
                let mut db = redis::Client::open(url.as_str()).and_then(|c| c.get_connection()).expect("connects");
                let id: Option<String> = db.get(format!("lnr_connection:{composite}:key")).expect("reads");
                let Some(id) = id else { return 0 };
                let number: Option<i64> = db.get(format!("lnr_connection:{id}:mess_number")).expect("reads");
                number.unwrap_or(0)
            }
            Place::Postgres(url) => {
                let mut db = postgres::Client::connect(url, postgres::NoTls).expect("connects");
                let sql =
                    "SELECT v FROM conn_mess_number JOIN conn_key_map USING (connection_key) WHERE composite = $1";
                db.query_opt(sql, &[&composite]).expect("reads").map_or(0, |row| row.get(0))
            }
        }
    }
}
