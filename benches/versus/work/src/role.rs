//! The main loop of a child process, which plays the sender, the receiver, or both on a thread each.
//!
//! Each line on standard input and output starts with the role it concerns, `s` or `r`:
//!
//! ```text
//! parent                                receiver            parent                              sender
//!    │ ── start ───────────────────────────▶ │                 │ ── peer ADDR ─────────────────────▶ │
//!    │ ◀─────────────────────── ready ADDR ──│                 │ ◀──────────────────────── ready - ──│
//!    │ ── expect FIRST END SIZE GAP ───────▶ │                 │ ── send FIRST END SIZE GAP ───────▶ │
//!    │ ◀────────────────────── expecting ────│                 │ ◀──────────────── sent START END ───│
//!    │ ◀── received FIRST LAST LATENCIES… ───│                 │ ── usage ─────────────────────────▶ │
//!    │ ── end ─────────────────────────────▶ │                 │ ◀──────────────── usage KIB CPU ────│
//!    │ ◀──────────────────────── peak KIB ───│                 │ ── end ───────────────────────────▶ │
//! ```
//!
//! `start` may carry the arguments of `expect`; messages are then expected before the receiver is ready. Both roles reply to
//! `usage`. Times are in nanoseconds of the clock, processor time is in milliseconds. A gap above 0 means lone messages. Any
//! reply may be `failed TEXT` instead. A process ends when its standard input ends.

use crate::{Contender, Environment, Failure, Inbox, Load, cpu_time, now, peak_rss, rss};
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// Limit of the time in which a burst must arrive.
const PATIENCE: Duration = Duration::from_secs(60);

const SENDER: char = 's';
const RECEIVER: char = 'r';

/// Plays the roles named in `roles`, any of `s` and `r`, until the parent ends them.
pub fn play<C: Contender + ?Sized>(make: impl Fn() -> Box<C> + Sync, roles: &str, environment: &Environment) {
    let (to_sender, sender) = channel();
    let (to_receiver, receiver) = channel();
    thread::spawn(|| distribute(to_sender, to_receiver));
    thread::scope(|scope| {
        if roles.contains(RECEIVER) {
            scope.spawn(|| {
                Conversation { role: RECEIVER, from: receiver }.run(|lines| receive(&*make(), environment, lines))
            });
        }
        if roles.contains(SENDER) {
            scope.spawn(|| Conversation { role: SENDER, from: sender }.run(|lines| send(&*make(), environment, lines)));
        }
    });
    // Contenders may have threads that do not end.
    std::process::exit(0);
}

fn distribute(to_sender: Sender<String>, to_receiver: Sender<String>) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        let to = if line.starts_with(SENDER) { &to_sender } else { &to_receiver };
        let _ = to.send(line.chars().skip(2).collect());
    }
    std::process::exit(1);
}

/// A role's side of the conversation with the parent.
struct Conversation {
    role: char,
    from: Receiver<String>,
}

impl Conversation {
    fn run(self, life: impl FnOnce(&Conversation) -> Result<(), Failure>) {
        if let Err(failure) = life(&self) {
            self.write(&format!("failed {}", failure.to_string().replace('\n', " ")));
        }
    }

    fn write(&self, line: &str) {
        let mut out = stdout().lock();
        // If the parent has ended, so does standard input, which ends this process.
        let _ = writeln!(out, "{} {line}", self.role).and_then(|()| out.flush());
    }

    fn read(&self) -> Result<(String, Vec<String>), Failure> {
        let line = self.from.recv()?;
        let mut words = line.split_whitespace().map(str::to_owned);
        Ok((words.next().unwrap_or_default(), words.collect()))
    }
}

fn number(words: &[String], at: usize) -> Result<u64, Failure> {
    Ok(words.get(at).ok_or("a number is missing")?.parse()?)
}

fn load(words: &[String]) -> Result<Load, Failure> {
    Ok(Load {
        numbers: number(words, 0)?..number(words, 1)?,
        size: number(words, 2)? as usize,
        stamped: number(words, 3)? > 0,
    })
}

/// The outcome of the commands that both roles have.
enum Outcome {
    Other,
    Done,
    End,
}

fn run_common(lines: &Conversation, word: &str) -> Outcome {
    match word {
        "usage" => {
            lines.write(&format!("usage {} {}", rss(), cpu_time().as_millis()));
            Outcome::Done
        }
        "end" => Outcome::End,
        _ => Outcome::Other,
    }
}

fn end(lines: &Conversation) {
    lines.write(&format!("peak {}", peak_rss()));
}

fn receive<C: Contender + ?Sized>(
    contender: &C,
    environment: &Environment,
    lines: &Conversation,
) -> Result<(), Failure> {
    let inbox = Arc::new(Inbox::new(contender.receivers()));
    let (_, early) = lines.read()?;
    if !early.is_empty() {
        inbox.expect(&load(&early)?);
    }
    let receiver = contender.receive(environment, inbox.clone())?;
    lines.write(&format!("ready {}", receiver.address()));
    if !early.is_empty() {
        await_burst(&inbox, lines)?;
    }
    loop {
        let (word, words) = lines.read()?;
        match run_common(lines, &word) {
            Outcome::Done => continue,
            Outcome::Other => {
                inbox.expect(&load(&words)?);
                lines.write("expecting");
                await_burst(&inbox, lines)?;
            }
            Outcome::End => {
                // A message that came after the last burst was complete is a duplicate.
                inbox.wait(Duration::ZERO)?;
                end(lines);
                return Ok(());
            }
        }
    }
}

fn await_burst(inbox: &Inbox, lines: &Conversation) -> Result<(), Failure> {
    let taken = inbox.wait(PATIENCE)?;
    let latencies: String = taken.latencies.iter().map(|latency| format!(" {latency}")).collect();
    lines.write(&format!("received {} {}{latencies}", taken.first, taken.last));
    Ok(())
}

fn send<C: Contender + ?Sized>(contender: &C, environment: &Environment, lines: &Conversation) -> Result<(), Failure> {
    let (_, peer) = lines.read()?;
    let mut sender = contender.send(environment, peer.first().map_or("", String::as_str))?;
    lines.write("ready -");
    loop {
        let (word, words) = lines.read()?;
        match run_common(lines, &word) {
            Outcome::Done => continue,
            Outcome::Other => {
                let start = now();
                send_load(sender.as_mut(), &load(&words)?, Duration::from_micros(number(&words, 3)?))?;
                lines.write(&format!("sent {start} {}", now()));
            }
            Outcome::End => {
                end(lines);
                return Ok(());
            }
        }
    }
}

fn send_load(sender: &mut dyn crate::Sender, load: &Load, gap: Duration) -> Result<(), Failure> {
    if !load.stamped {
        sender.send(load)?;
        return sender.settle();
    }
    for number in load.numbers.clone() {
        thread::sleep(gap);
        sender.send(&Load { numbers: number..number + 1, ..load.clone() })?;
    }
    Ok(())
}
