//! The command line.

use std::error::Error;
use std::time::Duration;

/// What to do. A child gets the words its parent got, and its part behind them.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) store: Kind,
    pub(crate) nodes: usize,
    /// The processes they run in.
    pub(crate) processes: usize,
    /// How many others each sends to.
    pub(crate) peers: usize,
    /// How many messages each of those gets.
    pub(crate) messages: usize,
    /// Topics that nobody has sent to.
    pub(crate) topics: usize,
    /// How long the load of nodes that rest is counted.
    pub(crate) idle: Duration,
    /// Set in a child: which one it is, and where the server is.
    pub(crate) part: Option<usize>,
    pub(crate) url: String,
}

/// The private server of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
}

const HELP: &str = "scale --store postgres|redis [--nodes N] [--processes N] [--peers N] [--messages N] [--topics N] \
                    [--idle SECONDS]";

impl Options {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, Box<dyn Error>> {
        let mut options = Options {
            store: Kind::Postgres,
            nodes: 20,
            processes: 4,
            peers: 10,
            messages: 10,
            topics: 1_000,
            idle: Duration::from_secs(5),
            part: None,
            url: String::new(),
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--store" => options.store = kind(&value()?)?,
                "--nodes" => options.nodes = value()?.parse()?,
                "--processes" => options.processes = value()?.parse()?,
                "--peers" => options.peers = value()?.parse()?,
                "--messages" => options.messages = value()?.parse()?,
                "--topics" => options.topics = value()?.parse()?,
                "--idle" => options.idle = Duration::from_secs(value()?.parse()?),
                "--part" => options.part = Some(value()?.parse()?),
                "--url" => options.url = value()?,
                _ => return Err(format!("{word:?} is not an option\n{HELP}").into()),
            }
        }
        options.processes = options.processes.clamp(1, options.nodes);
        if options.peers >= options.nodes {
            return Err("a node cannot send to more others than there are".into());
        }
        Ok(options)
    }
}

fn kind(word: &str) -> Result<Kind, String> {
    match word {
        "postgres" => Ok(Kind::Postgres),
        "redis" => Ok(Kind::Redis),
        _ => Err(format!("{word:?} is not postgres or redis")),
    }
}
