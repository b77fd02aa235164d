//! The life of a child process, which plays the sender, the receiver, or both at once on a thread each.
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
//! `start` may carry the numbers of `expect`: then messages are expected before the receiver is there. `usage` may be asked of
//! both. Times are nanoseconds of the clock, processor time is in milliseconds; a gap above 0 makes the messages lone ones.
//! Instead of any answer there may be `failed TEXT`. A process whose standard input ends, ends.

use crate::{Contender, Failure, Inbox, Load, Place, cpu_time, now, peak_rss, rss};
use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long a burst may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

const SENDER: char = 's';
const RECEIVER: char = 'r';

/// Plays the roles named in `roles`, any of `s` and `r`, until the parent ends them.
pub fn play<C: Contender + ?Sized>(make: impl Fn() -> Box<C> + Sync, roles: &str, place: &Place) {
    let (to_sender, sender) = channel();
    let (to_receiver, receiver) = channel();
    thread::spawn(|| distribute(to_sender, to_receiver));
    thread::scope(|scope| {
        if roles.contains(RECEIVER) {
            scope.spawn(|| Lines { role: RECEIVER, from: receiver }.run(|lines| receive(&*make(), place, lines)));
        }
        if roles.contains(SENDER) {
            scope.spawn(|| Lines { role: SENDER, from: sender }.run(|lines| send(&*make(), place, lines)));
        }
    });
    // Contenders may have threads that know no end.
    std::process::exit(0);
}

fn distribute(to_sender: Sender<String>, to_receiver: Sender<String>) {
    for line in stdin().lock().lines().map_while(Result::ok) {
        let to = if line.starts_with(SENDER) { &to_sender } else { &to_receiver };
        let _ = to.send(line.chars().skip(2).collect());
    }
    std::process::exit(1);
}

/// A role's end of the conversation.
struct Lines {
    role: char,
    from: Receiver<String>,
}

impl Lines {
    fn run(self, life: impl FnOnce(&Lines) -> Result<(), Failure>) {
        if let Err(failure) = life(&self) {
            self.say(&format!("failed {}", failure.to_string().replace('\n', " ")));
        }
    }

    fn say(&self, line: &str) {
        let mut out = stdout().lock();
        // A parent that is gone ends this process by the end of its standard input.
        let _ = writeln!(out, "{} {line}", self.role).and_then(|()| out.flush());
    }

    fn hear(&self) -> Result<(String, Vec<String>), Failure> {
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

/// What both roles answer alike; otherwise, whether the role is to go on.
enum Common {
    Other,
    Answered,
    End,
}

fn answer_common(lines: &Lines, word: &str) -> Common {
    match word {
        "usage" => {
            lines.say(&format!("usage {} {}", rss(), cpu_time().as_millis()));
            Common::Answered
        }
        "end" => Common::End,
        _ => Common::Other,
    }
}

fn end(lines: &Lines) {
    lines.say(&format!("peak {}", peak_rss()));
}

fn receive<C: Contender + ?Sized>(contender: &C, place: &Place, lines: &Lines) -> Result<(), Failure> {
    let inbox = Arc::new(Inbox::new(contender.receivers()));
    let (_, early) = lines.hear()?;
    if !early.is_empty() {
        inbox.expect(&load(&early)?);
    }
    let receiver = contender.receive(place, inbox.clone())?;
    lines.say(&format!("ready {}", receiver.address()));
    if !early.is_empty() {
        await_burst(&inbox, lines)?;
    }
    loop {
        let (word, words) = lines.hear()?;
        match answer_common(lines, &word) {
            Common::Answered => continue,
            Common::Other => {
                inbox.expect(&load(&words)?);
                lines.say("expecting");
                await_burst(&inbox, lines)?;
            }
            Common::End => {
                // What came after the last burst was complete, came twice.
                inbox.wait(Duration::ZERO)?;
                end(lines);
                return Ok(());
            }
        }
    }
}

fn await_burst(inbox: &Inbox, lines: &Lines) -> Result<(), Failure> {
    let taken = inbox.wait(PATIENCE)?;
    let latencies: String = taken.latencies.iter().map(|latency| format!(" {latency}")).collect();
    lines.say(&format!("received {} {}{latencies}", taken.first, taken.last));
    Ok(())
}

fn send<C: Contender + ?Sized>(contender: &C, place: &Place, lines: &Lines) -> Result<(), Failure> {
    let (_, peer) = lines.hear()?;
    let mut sender = contender.send(place, peer.first().map_or("", String::as_str))?;
    lines.say("ready -");
    loop {
        let (word, words) = lines.hear()?;
        match answer_common(lines, &word) {
            Common::Answered => continue,
            Common::Other => {
                let start = now();
                send_load(sender.as_mut(), &load(&words)?, Duration::from_micros(number(&words, 3)?))?;
                lines.say(&format!("sent {start} {}", now()));
            }
            Common::End => {
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
