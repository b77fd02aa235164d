//! The command line.

use liner::Durability;
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a write-behind message may be in memory only; so much a kill of the sender may cost.
pub(crate) const WRITE_BEHIND_DELAY: Duration = Duration::from_millis(50);

/// What to do. A child gets the words its parent got, and its part behind them.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How often a process is killed.
    pub(crate) kills: usize,
    /// Messages a second that are offered.
    pub(crate) rate: u64,
    pub(crate) durability: Durability,
    /// A file, a schema, or a database for each node, instead of one for both.
    pub(crate) isolated: bool,
    /// What keeps messages: SQLite, or a private server.
    pub(crate) store: Kind,
    /// The server is killed, too.
    pub(crate) kill_store: bool,
    /// Where the server is.
    pub(crate) url: String,
    /// Where the random choices start.
    pub(crate) seed: u64,
    /// Children trace to standard error.
    pub(crate) verbose: bool,
    /// Set in a child.
    pub(crate) part: Option<Part>,
    /// Which start of the role this is.
    pub(crate) life: u32,
    /// Where logs and stores are.
    pub(crate) dir: PathBuf,
    /// Where a node on its own file listens.
    pub(crate) listen: Option<SocketAddr>,
    /// Where it looks for the other first.
    pub(crate) peer: Option<SocketAddr>,
}

/// The backends of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
    #[cfg(feature = "redis")]
    Redis,
}

/// What a child does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Sends.
    Send,
    /// Sends nothing new, and ends when nothing is left.
    Drain,
    Receive,
}

impl Part {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Part::Send => "send",
            Part::Drain => "drain",
            Part::Receive => "receive",
        }
    }
}

const HELP: &str = "survive_kill [--kills N] [--rate MESSAGES_PER_SECOND] \
                    [--durability committed|synced|write-behind] [--isolated] \
                    [--store sqlite|postgres|redis] [--kill-store] [--seed N] [--verbose]";

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
        let mut options = Options {
            kills: 20,
            rate: 2000,
            durability: Durability::Committed,
            isolated: false,
            store: Kind::Sqlite,
            kill_store: false,
            url: String::new(),
            seed: u64::from(std::process::id()),
            verbose: false,
            part: None,
            life: 0,
            dir: PathBuf::new(),
            listen: None,
            peer: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--kills" => options.kills = value()?.parse()?,
                "--rate" => options.rate = value()?.parse()?,
                "--durability" => options.durability = durability(&value()?)?,
                "--isolated" => options.isolated = true,
                "--store" => options.store = kind(&value()?)?,
                "--kill-store" => options.kill_store = true,
                "--url" => options.url = value()?,
                "--seed" => options.seed = value()?.parse()?,
                "--verbose" => options.verbose = true,
                "--part" => options.part = Some(part(&value()?)?),
                "--life" => options.life = value()?.parse()?,
                "--dir" => options.dir = value()?.into(),
                "--listen" => options.listen = Some(value()?.parse()?),
                "--peer" => options.peer = Some(value()?.parse()?),
                _ => return Err(format!("{word:?} is not an option\n{HELP}").into()),
            }
        }
        if options.kill_store && options.store == Kind::Sqlite {
            return Err("--kill-store needs --store postgres or redis: a file has no process of its own".into());
        }
        Ok(options)
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl Options {
    /// The store of a node: the one of both, or a schema or database of its own.
    pub(crate) fn url_of(&self, node: &str) -> String {
        match self.store {
            #[cfg(feature = "postgres")]
            Kind::Postgres if self.isolated => format!("{}?schema={node}", self.url),
            #[cfg(feature = "redis")]
            Kind::Redis if self.isolated && node == "receiver" => self.url.replace("?db=0", "?db=1"),
            _ => self.url.clone(),
        }
    }
}

fn durability(word: &str) -> Result<Durability, String> {
    match word {
        "committed" => Ok(Durability::Committed),
        "synced" => Ok(Durability::Synced),
        "write-behind" => Ok(Durability::WriteBehind),
        _ => Err(format!("{word:?} is not committed, synced or write-behind")),
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    match word {
        "sqlite" => Ok(Kind::Sqlite),
        #[cfg(feature = "postgres")]
        "postgres" => Ok(Kind::Postgres),
        #[cfg(feature = "redis")]
        "redis" => Ok(Kind::Redis),
        _ => Err(format!("{word:?} is not sqlite, nor postgres or redis built with the feature of that name")),
    }
}

fn part(word: &str) -> Result<Part, String> {
    let parts = [Part::Send, Part::Drain, Part::Receive];
    parts.into_iter().find(|part| part.word() == word).ok_or_else(|| format!("no part is called {word:?}"))
}
