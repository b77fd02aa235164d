//! A group of batches as one call of one script, which checks the fence and applies every write, or none.

use super::error::Outcome;
use super::script::{COMMIT, Call, ScriptReply};
use crate::stores::shared::{naming, row};
use crate::stores::{Batch, Committed, DeadLetter, Fence, LaneKey, Stored, Write};
use crate::types::{Incarnation, Seq};
use parking_lot::Mutex;
use std::collections::HashMap;

/// The largest number that scripts count with. No lane lives long enough to reach it, but "everything" may be asked for
/// with the largest number there is.
const LARGEST: u64 = (1 << 53) - 1;

/// A number as scripts take it.
pub(super) fn capped(seq: Seq) -> u64 {
    seq.get().min(LARGEST)
}

/// Identifies the lanes that this handle has opened: a server that lost its last writes may give a key to another lane. A
/// key that this handle has not opened is taken as it is.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<i64, String>>);

impl Known {
    pub(super) fn met(&self, lane: LaneKey, born: String) {
        self.0.lock().insert(lane.0, born);
    }

    fn add(&self, call: &mut Call, lane: LaneKey) {
        call.add(lane.0);
        call.add(self.0.lock().get(&lane.0).map_or("", String::as_str));
    }
}

/// Returns whether a batch brings messages, which a full server refuses; the rest must go through, or nothing would make room.
fn grows(batch: &Batch) -> bool {
    batch.writes.iter().any(|write| matches!(write, Write::Append { .. } | Write::DeadLetter(_)))
}

pub(super) fn call(fence: &Fence, batches: &[&Batch], known: &Known) -> Call {
    let grows = batches.iter().any(|batch| grows(batch));
    let call = COMMIT.call().text(fence.node.as_str()).number(fence.epoch.get()).number(u64::from(grows));
    let mut builder = CallBuilder { call, known, row: Vec::new() };
    for batch in batches {
        for write in &batch.writes {
            builder.write(write);
        }
        builder.call.add("B");
    }
    builder.call
}

/// A call that is being made.
struct CallBuilder<'a> {
    call: Call,
    known: &'a Known,
    row: Vec<u8>,
}

impl CallBuilder<'_> {
    fn on(&mut self, kind: &str, lane: LaneKey) {
        self.call.add(kind);
        self.known.add(&mut self.call, lane);
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Append { lane, messages } => {
                // In number order they come; where they do not rise, the script has to look at each.
                for run in messages.chunk_by(|a, b| a.seq < b.seq) {
                    self.append(*lane, run);
                }
                if messages.is_empty() {
                    // The lane has to be there all the same.
                    self.append(*lane, &[]);
                }
            }
            Write::Trim { lane, through } => {
                self.on("T", *lane);
                self.call.add(capped(*through));
            }
            Write::Advance { lane, expected, cursor } => {
                self.on("V", *lane);
                self.call.add(expected.map_or(String::new(), text));
                self.call.add(text(cursor.incarnation));
                self.call.add(capped(cursor.seq));
            }
            Write::Attempt { lane, incarnation, seq, attempts } => {
                self.on("H", *lane);
                self.call.add(text(*incarnation));
                self.call.add(capped(*seq));
                self.call.add(*attempts);
            }
            Write::Remove { lane, seq } => {
                self.on("R", *lane);
                self.call.add(capped(*seq));
            }
            Write::DeadLetter(letter) => self.keep(letter),
            Write::RemoveDeadLetter(id) => {
                self.call.add("U");
                self.call.add(id.0);
            }
        }
    }

    fn append(&mut self, lane: LaneKey, run: &[Stored]) {
        let number = |stored: Option<&Stored>| stored.map_or(0, |stored| capped(stored.seq));
        self.on("A", lane);
        self.call.add(run.len());
        self.call.add(number(run.first()));
        self.call.add(number(run.last()));
        for stored in run {
            self.row.clear();
            row::encode_into(&mut self.row, stored);
            self.call.add(&self.row[..]);
        }
    }

    fn keep(&mut self, letter: &DeadLetter) {
        let lane = letter.id.lane.name();
        let (incarnation, seq) = (text(letter.id.incarnation), capped(letter.id.seq).to_string());
        let origin = letter.origin.as_str();
        let texts = [
            ("origin", origin),
            ("sender", lane.sender.as_str()),
            ("source_topic", lane.source.as_str()),
            ("receiver", lane.receiver.as_str()),
            ("topic", lane.topic.as_str()),
            ("incarnation", &incarnation),
            ("number", &seq),
            ("reason", &letter.reason),
        ];
        let numbers = [("attempts", u64::from(letter.attempts)), ("died_ms", letter.died_ms)];
        let bytes = [("headers", &letter.message.headers.encoded()[..]), ("payload", &letter.message.payload[..])];
        self.call.add("D");
        self.call.add(letter.owner().as_str());
        self.call.add(format!("{origin}:{}:{incarnation}:{seq}", naming::with_topic(lane)));
        self.call.add(texts.len() + numbers.len() + bytes.len());
        for (field, value) in texts {
            self.call.add(field);
            self.call.add(value);
        }
        for (field, value) in numbers {
            self.call.add(field);
            self.call.add(value);
        }
        for (field, value) in bytes {
            self.call.add(field);
            self.call.add(value);
        }
    }
}

fn text(incarnation: Incarnation) -> String {
    incarnation.get().to_string()
}

/// Reads what became of each batch.
pub(super) fn committed(mut reply: ScriptReply, batches: usize) -> Outcome<Vec<Committed>> {
    let mut committed = vec![Committed::default(); batches];
    while !reply.is_over() {
        let (batch, lane) = (reply.number()?, reply.number()?);
        let place = usize::try_from(batch).unwrap_or(usize::MAX);
        if let Some(committed) = committed.get_mut(place) {
            committed.stale.push(LaneKey(i64::try_from(lane).unwrap_or(0)));
        }
    }
    Ok(committed)
}
