//! The rows of the table.

/// The sizes of the payloads, in bytes.
pub const SIZES: [usize; 2] = [100, 1024];
/// The messages of a burst to one receiver.
pub const BURST: u64 = 100_000;
/// The receivers of the rows that send each message to all.
pub const FAN_OUT: usize = 100;
/// The messages of a burst to [`FAN_OUT`] receivers: as many deliveries as in a burst to one.
const FAN_OUT_BURST: u64 = BURST / FAN_OUT as u64;

/// Groups of rows that are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Messages do not survive the death of a process.
    Memory,
    /// As in memory, and each message goes to each of [`FAN_OUT`] receivers.
    FanOut,
    /// A message is stored before it is accepted. The burst ends when all messages are handled and removed.
    Stored,
    /// The limits of the machine, without messaging.
    Limit,
}

impl Group {
    pub fn heading(self) -> &'static str {
        match self {
            Group::Memory => "in memory",
            Group::FanOut => "in memory, each message to 100 receivers",
            Group::Stored => "stored before it is accepted",
            Group::Limit => "limits: no messaging",
        }
    }
}

/// The program that plays a row's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// This program.
    Own,
    /// The program of another package, because its SQLite and ours cannot be linked together.
    Broker,
}

/// The processes that play a row's roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processes {
    /// One for the sender and one for the receiver. They may share one, which is measured as well.
    Two,
    /// One for both roles, always.
    One,
    /// One for the sender. There is no receiver.
    SenderOnly,
}

/// A server that a row needs. Each measurement starts a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Nats,
    Redis,
    Postgres,
}

/// The names of the growth scenarios, as `--only` takes them.
pub const GROWTH: [&str; 4] = ["growth-million", "growth-absent", "growth-idle", "growth-topics"];

#[derive(Debug, Clone, Copy)]
pub struct Row {
    pub name: &'static str,
    pub about: &'static str,
    pub group: Group,
    pub program: Program,
    pub server: Option<ServerKind>,
    pub processes: Processes,
    /// Whether lone messages are timed as well.
    pub latency: bool,
    /// Whether it is part of `--quick`.
    pub quick: bool,
}

const fn row(name: &'static str, group: Group, about: &'static str) -> Row {
    let program = Program::Own;
    Row { name, about, group, program, processes: Processes::Two, server: None, latency: false, quick: true }
}

impl Row {
    /// Returns the messages of a burst.
    pub fn burst(&self) -> u64 {
        if self.group == Group::FanOut { FAN_OUT_BURST } else { BURST }
    }

    const fn latency(mut self) -> Row {
        self.latency = true;
        self
    }

    const fn full_only(mut self) -> Row {
        self.quick = false;
        self
    }

    const fn one_process(mut self) -> Row {
        self.processes = Processes::One;
        self
    }

    const fn sender_only(mut self) -> Row {
        self.processes = Processes::SenderOnly;
        self
    }

    const fn server(mut self, server: ServerKind) -> Row {
        self.server = Some(server);
        self
    }

    const fn broker(mut self) -> Row {
        self.program = Program::Broker;
        self
    }
}

use Group::{FanOut, Limit, Memory, Stored};
use ServerKind::{Nats, Postgres, Redis};

pub const ROWS: [Row; 30] = [
    row("liner-amo", Memory, "liner, at most once, publisher to callback").latency(),
    row("liner-wb", Memory, "liner, write-behind, publisher to callback").latency(),
    row("liner-wb-postgres", Memory, "liner, write-behind, one PostgreSQL").server(Postgres).full_only(),
    row("liner-wb-redis", Memory, "liner, write-behind, one Redis").server(Redis).full_only(),
    row("liner-wb-dosend", Memory, "liner, write-behind, do_send(SendTo) to an actor"),
    row("liner-wb-send", Memory, "liner, write-behind, 1,024 send(SendTo) to an actor"),
    row("actix-dosend", Memory, "actix alone, three actors on three arbiters, do_send").one_process(),
    row("actix-send", Memory, "actix alone, three actors on three arbiters, 1,024 send").one_process(),
    row("libzmq", Memory, "libzmq, PUSH to PULL").latency(),
    row("zenoh", Memory, "zenoh, peers, reliable, blocking, to a callback").latency(),
    row("broker", Memory, "liner_broker, a SQLite file each, at most once").broker().latency(),
    row("broker-stored", Memory, "liner_broker, one SQLite file, at least once").broker(),
    row("nats", Memory, "NATS, core").server(Nats).latency().full_only(),
    row("liner-amo-fanout", FanOut, "liner, at most once, SendAll to callbacks of 100 nodes"),
    row("liner-wb-fanout", FanOut, "liner, write-behind, SendAll to callbacks of 100 nodes"),
    row("libzmq-fanout", FanOut, "libzmq, PUB to 100 SUB, no high-water mark"),
    row("nats-fanout", FanOut, "NATS, core, one subject, 100 subscribers").server(Nats),
    row("liner-committed", Stored, "liner, committed, publisher to callback, a file each").latency(),
    row("liner-committed-shared", Stored, "liner, committed, one shared file"),
    row("liner-committed-batch", Stored, "liner, committed, SendBatch, a file each").full_only(),
    row("liner-synced", Stored, "liner, synced, a file each"),
    row("liner-synced-shared", Stored, "liner, synced, one shared file").full_only(),
    row("liner-committed-postgres", Stored, "liner, committed, one PostgreSQL").server(Postgres).latency().full_only(),
    row("liner-committed-redis", Stored, "liner, committed, one Redis").server(Redis).latency().full_only(),
    row("jetstream", Stored, "NATS JetStream, file storage, work queue").server(Nats).latency(),
    row("redis", Stored, "Redis Streams, append-only file every second").server(Redis).latency(),
    row("tcp", Limit, "frames through a TCP socket").latency(),
    row("sqlite", Limit, "SQLite inserts, 512 rows a transaction, WAL, NORMAL").sender_only(),
    row("postgres", Limit, "PostgreSQL COPY, 8,192 rows at a time").server(Postgres).sender_only().full_only(),
    row("redis-push", Limit, "Redis RPUSH, 1,024 in a pipeline").server(Redis).sender_only().full_only(),
];
