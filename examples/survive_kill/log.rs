//! What the processes write down: one line a step, one file a life.
//!
//! A line is handed to the kernel with one `write`, so it survives the death of the process. SIGKILL may cut that very
//! write short; a last line without its end is a step that was not taken.

use nix::time::{ClockId, clock_gettime};
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A message: the life of the sender that made it, and its number there. In the order of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) life: u32,
    pub(crate) number: u64,
}

impl Key {
    /// The payload of this message, and of no other: the key, bytes that depend on it, and a checksum of both.
    pub(crate) fn payload(self) -> String {
        let mut text = format!("{} {} ", self.life, self.number);
        let filler = (self.number * 37) % 512;
        text.extend((0..filler).map(|i| char::from(b'a' + ((i + self.number) % 26) as u8)));
        let checksum = crc32fast::hash(text.as_bytes());
        let _ = write!(text, " {checksum:08x}");
        text
    }

    /// The message that has this payload, byte for byte.
    pub(crate) fn of(payload: &[u8]) -> Option<Key> {
        let mut words = std::str::from_utf8(payload).ok()?.split(' ');
        let key = Key { life: words.next()?.parse().ok()?, number: words.next()?.parse().ok()? };
        (key.payload().as_bytes() == payload).then_some(key)
    }
}

/// A step of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The sender is about to send it.
    Intent,
    /// The sender has the receipt.
    Accepted,
    /// The sender was told that it is not accepted: it must never arrive.
    Rejected,
    /// The receiver was handed it, as a first delivery or a repeated one.
    Delivered { redelivered: bool },
    /// The receiver is about to answer `Ok`.
    Handled,
    /// The receiver was handed something that nobody sends. The key means nothing.
    Corrupt,
}

impl Step {
    const ALL: [(Step, &'static str); 7] = [
        (Step::Intent, "intent"),
        (Step::Accepted, "accepted"),
        (Step::Rejected, "rejected"),
        (Step::Delivered { redelivered: false }, "delivered"),
        (Step::Delivered { redelivered: true }, "redelivered"),
        (Step::Handled, "handled"),
        (Step::Corrupt, "corrupt"),
    ];

    fn word(self) -> &'static str {
        Step::ALL.iter().find(|(step, _)| *step == self).map_or("?", |(_, word)| word)
    }
}

/// A line of a log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) step: Step,
    pub(crate) key: Key,
    pub(crate) at: Duration,
}

impl Record {
    fn parse(line: &str) -> Option<Record> {
        let mut words = line.split(' ');
        let word = words.next()?;
        let (step, _) = *Step::ALL.iter().find(|(_, w)| *w == word)?;
        let key = Key { life: words.next()?.parse().ok()?, number: words.next()?.parse().ok()? };
        Some(Record { step, key, at: Duration::from_micros(words.next()?.parse().ok()?) })
    }
}

/// The time since the machine started: the same clock in every process.
pub(crate) fn now() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// Where one life of a process writes.
#[derive(Debug, Clone)]
pub(crate) struct Log(Arc<File>);

impl Log {
    pub(crate) fn path(dir: &Path, role: &str, life: u32) -> PathBuf {
        dir.join(format!("{role}-{life:05}.log"))
    }

    pub(crate) fn create(path: &Path) -> io::Result<Log> {
        Ok(Log(Arc::new(OpenOptions::new().create_new(true).append(true).open(path)?)))
    }

    /// Returns when the line is where no SIGKILL reaches it.
    pub(crate) fn write(&self, step: Step, key: Key) -> io::Result<()> {
        let line = format!("{} {} {} {}\n", step.word(), key.life, key.number, now()?.as_micros());
        (&*self.0).write_all(line.as_bytes())
    }

    /// What one life wrote. A life that was killed before its first step has no file.
    pub(crate) fn read(path: &Path) -> Result<Vec<Record>, Box<dyn Error>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| Record::parse(line).ok_or_else(|| format!("{}: {line:?}", path.display()).into()))
            .collect()
    }
}
