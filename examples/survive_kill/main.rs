//! Kills a sender and a receiver with SIGKILL, again and again under load, and counts what that did to the messages.
//!
//! `cargo run --release --example survive_kill -- --kills 50 --rate 2000 --durability committed`
//!
//! Two processes run on one SQLite file, or with `--isolated` on a file each; with `--store postgres` or
//! `--store redis` on a private server (build with the feature of that name), which `--kill-store` kills as well. Both
//! write down every step before they take it. The parent kills one of them, or both, at a random moment and starts it again, and in the end reads the logs and
//! prints
//!
//! ```text
//! accepted=41234 lost=0 duplicated=17 reordered=0 kills=50 hits=50
//! ```
//!
//! where `hits` are the kills at which accepted messages were not handled yet. With `--durability write-behind` the death
//! of the sender may cost what it accepted within `write_behind_delay`; that is counted apart, as `within_max_delay`. The exit code
//! is 1 if anything accepted is lost, out of order, altered, or repeated without being marked; or if the run proves
//! nothing, because hardly anything was in flight.

mod check;
mod child;
mod log;
mod options;
mod server;

use check::History;
use liner::Durability;
use log::{Log, Record};
use options::{Options, Part, WRITE_BEHIND_DELAY};
use server::Server;
use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

type Failure = Box<dyn Error>;

/// How long a process that was started again may take until messages flow.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a log.
const LOOK: Duration = Duration::from_millis(2);
/// The load runs for up to so long before a kill, after messages flow again.
const LOAD: Duration = Duration::from_millis(150);
/// A killed process stays away for up to so long.
const AWAY: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let done = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => match options.part {
            Some(part) => play(options, part),
            None => direct(options),
        },
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("survive_kill: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The child's life.
fn play(options: Options, part: Part) -> Result<(), Failure> {
    if options.verbose {
        let level = tracing_subscriber::filter::LevelFilter::DEBUG;
        tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).init();
    }
    actix::System::new().block_on(child::run(options, part))
}

/// The parent's.
fn direct(mut options: Options) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    options.dir = dir.path().to_owned();
    println!("{:?}, isolated: {}, --seed {}", options.durability, options.isolated, options.seed);
    let server = Server::start(&mut options);
    let done = Stage::new(options, server).and_then(Stage::run);
    if done.is_err() {
        eprintln!("survive_kill: logs and stores are kept in {}", dir.keep().display());
    }
    done
}

/// A role, and the process that plays it now.
struct Player {
    part: Part,
    /// Where it listens and finds the other, when they share no store.
    addrs: Option<(SocketAddr, SocketAddr)>,
    life: u32,
    process: Option<Child>,
}

struct Stage {
    options: Options,
    server: Server,
    dice: Dice,
    sender: Player,
    receiver: Player,
    kills: Vec<(Duration, Option<u32>)>,
}

impl Stage {
    fn new(options: Options, server: Server) -> Result<Stage, Failure> {
        let addrs = if options.isolated { Some(free_addrs()?) } else { None };
        let sender = Player { part: Part::Send, addrs, life: 0, process: None };
        let addrs = addrs.map(|(sender, receiver)| (receiver, sender));
        let receiver = Player { part: Part::Receive, addrs, life: 0, process: None };
        Ok(Stage { dice: Dice(options.seed), options, server, sender, receiver, kills: Vec::new() })
    }

    fn run(mut self) -> Result<(), Failure> {
        self.receiver.start(&self.options)?;
        self.sender.start(&self.options)?;
        while self.kills.len() < self.options.kills {
            self.await_flow()?;
            sleep(self.dice.up_to(LOAD));
            self.kill()?;
        }
        self.await_flow()?;
        self.drain()?;
        check_empty(&self.options.dir)?;
        self.server.check_empty(&self.options)?;
        self.judge()
    }

    /// Waits until a message sent from now on has gone the whole way.
    fn await_flow(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        let before = [self.sender.progress(&self.options), self.receiver.progress(&self.options)];
        loop {
            let now = [self.sender.progress(&self.options), self.receiver.progress(&self.options)];
            if now[0] > before[0] && now[1] > before[1] {
                return Ok(());
            }
            self.sender.check_alive()?;
            self.receiver.check_alive()?;
            if Instant::now() > deadline {
                return Err(format!("no message went through for {PATIENCE:?}, log sizes {before:?} {now:?}").into());
            }
            sleep(LOOK);
        }
    }

    /// Kills the sender, the receiver, or now and then both, and starts them again. If asked for, every third time it is
    /// the server, and the nodes stay; and every third time the server goes with them.
    fn kill(&mut self) -> Result<(), Failure> {
        let fate = if self.options.kill_store { self.dice.next() % 3 } else { 0 };
        if fate > 0 {
            if fate == 1 {
                self.kills.push((log::now()?, None));
            }
            self.server.kill();
        }
        if fate != 1 {
            return self.kill_nodes(fate == 2);
        }
        sleep(self.dice.up_to(AWAY));
        self.server.start_again();
        Ok(())
    }

    fn kill_nodes(&mut self, without_server: bool) -> Result<(), Failure> {
        let choice = self.dice.next() % 8;
        let both = choice == 0 && self.kills.len() + 2 <= self.options.kills;
        let (sender, receiver) = (choice.is_multiple_of(2), !choice.is_multiple_of(2) || both);
        if sender {
            self.kills.push((log::now()?, Some(self.sender.life)));
            self.sender.kill()?;
        }
        if receiver {
            self.kills.push((log::now()?, None));
            self.receiver.kill()?;
        }
        sleep(self.dice.up_to(AWAY));
        if without_server {
            self.server.start_again();
        }
        if receiver {
            if let Some((listen, _)) = self.receiver.addrs.as_mut().filter(|_| choice > 4) {
                // It comes back on another port, and the sender learns of it because the receiver dials in.
                listen.set_port(0);
            }
            self.receiver.start_again(&self.options)?;
        }
        if sender { self.sender.start_again(&self.options) } else { Ok(()) }
    }

    /// Ends the sender, has another life of it send what is left, and ends the receiver.
    fn drain(&mut self) -> Result<(), Failure> {
        self.sender.end()?;
        let mut drain = Player { part: Part::Drain, addrs: self.sender.addrs, life: 0, process: None };
        drain.start(&self.options)?;
        drain.end()?;
        self.receiver.end()
    }

    fn judge(&self) -> Result<(), Failure> {
        let verdict = History {
            sent: self.sender.read_logs(&self.options)?,
            received: self.receiver.read_logs(&self.options)?,
            kills: self.kills.clone(),
            excused: (self.options.durability == Durability::WriteBehind).then_some(WRITE_BEHIND_DELAY),
        }
        .judge();
        println!("{verdict}");
        let failures = verdict.failures();
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ").into()) }
    }
}

impl Player {
    fn start(&mut self, options: &Options) -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args().skip(1)).args(["--part", self.part.word(), "--life", &self.life.to_string()]);
        command.arg("--dir").arg(&options.dir).args(["--url", &options.url]).stdin(Stdio::piped());
        if let Some((listen, peer)) = self.addrs {
            command.args(["--listen", &listen.to_string(), "--peer", &peer.to_string()]);
        }
        self.process = Some(command.spawn()?);
        Ok(())
    }

    fn start_again(&mut self, options: &Options) -> Result<(), Failure> {
        self.life += 1;
        self.start(options)
    }

    /// SIGKILL.
    fn kill(&mut self) -> Result<(), Failure> {
        self.check_alive()?;
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    /// Closes its standard input, upon which it ends by itself.
    fn end(&mut self) -> Result<(), Failure> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let status = process.wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(format!("{} {} ended: {status}", self.part.word(), self.life).into())
        }
    }

    fn check_alive(&mut self) -> Result<(), Failure> {
        match self.process.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                Err(format!("{} {} ended by itself: {status}", self.part.word(), self.life).into())
            }
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// How much it has written in this life.
    fn progress(&self, options: &Options) -> u64 {
        fs::metadata(Log::path(&options.dir, self.part.word(), self.life)).map_or(0, |meta| meta.len())
    }

    fn read_logs(&self, options: &Options) -> Result<Vec<Record>, Failure> {
        let mut records = Vec::new();
        for life in 0..=self.life {
            records.extend(Log::read(&Log::path(&options.dir, self.part.word(), life))?);
        }
        Ok(records)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Two loopback addresses that nobody uses now.
fn free_addrs() -> Result<(SocketAddr, SocketAddr), Failure> {
    let sockets = [TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?];
    Ok((sockets[0].local_addr()?, sockets[1].local_addr()?))
}

/// Nothing may be left in any store.
fn check_empty(dir: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sqlite") {
            let store = rusqlite::Connection::open(&path)?;
            let left: i64 = store.query_row("SELECT count(*) FROM conn_messages", [], |row| row.get(0))?;
            if left > 0 {
                return Err(format!("{left} messages are left in {}", path.display()).into());
            }
        }
    }
    Ok(())
}

/// Random numbers that a seed repeats (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.next() % (most.as_micros() as u64 + 1))
    }
}
