//! A durable medium, as small as it can be: what survives crashes, and the queue of operations in front of it.
//!
//! Operations take effect one after the other, each entirely or not at all. One medium serves one node or several.

use crate::world::{LaneNo, ProcessNo};
use liner::wire::inbound::CursorStep;
use liner::wire::outbound::{LaneRecord, Numbered};
use liner::{Amount, Cursor, Incarnation, Message, Seq};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A lane's key: another one after the lane was forgotten and made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u64);

/// A message where it cannot be lost.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) incarnation: Incarnation,
    pub(crate) message: Message,
}

/// A lane at its sender.
#[derive(Debug)]
pub(crate) struct SendLane {
    pub(crate) key: Key,
    pub(crate) spans: Vec<(Incarnation, Seq)>,
    pub(crate) predecessor: Option<Incarnation>,
    pub(crate) acked: Seq,
    pub(crate) rows: BTreeMap<Seq, Row>,
}

/// A lane at its receiver.
#[derive(Debug, Default)]
pub(crate) struct ReceiveLane {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) attempts: Vec<(Incarnation, Seq, u32)>,
}

/// What a node asks its medium to do.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Open { lane: LaneNo, incarnation: Incarnation },
    Append { rows: Vec<(LaneNo, Key, Vec<Numbered>)> },
    Load { lane: LaneNo, key: Key, after: Seq, limit: Amount },
    Trim { floors: Vec<(LaneNo, Key, Seq)> },
    Refuse { lane: LaneNo, key: Key, seq: Seq, incarnation: Incarnation, body: Option<Message> },
    Clear { lane: LaneNo, key: Key },
    Forget { lane: LaneNo, key: Key },
    Receive { lane: LaneNo },
    Advance { lane: LaneNo, expected: Option<Incarnation>, cursor: Cursor },
    Attempt { lane: LaneNo, place: Cursor, attempts: u32 },
    Letter { lane: LaneNo, place: Cursor, advance: CursorStep },
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) enum Done {
    Plain,
    Opened(Key, LaneRecord),
    Page(Vec<Numbered>, bool),
    Received(Option<Cursor>, Vec<(Incarnation, Seq, u32)>),
    Advanced(Result<(), Option<Cursor>>),
}

/// Result of an operation.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Done(Done),
    /// Nothing was changed.
    Failed,
    /// It happened or not.
    Unknown,
}

/// Where the result goes.
#[derive(Debug, Clone)]
pub(crate) enum ReplyTo {
    Open {
        peer: usize,
    },
    Append {
        peer: usize,
        lane: liner::wire::frame::LaneIx,
    },
    Group(u64),
    Load {
        peer: usize,
        lane: liner::wire::frame::LaneIx,
        id: u64,
    },
    Trim,
    /// The append of a send to all nodes of a topic.
    Commit {
        topic: usize,
        send: liner::wire::send_queue::SendId,
    },
    Refuse {
        peer: usize,
        lane: liner::wire::frame::LaneIx,
    },
    Clear {
        peer: usize,
    },
    Forget {
        peer: usize,
    },
    Receive {
        peer: usize,
        slot: liner::wire::inbound::LaneSlot,
    },
    Advance {
        peer: usize,
        slot: liner::wire::inbound::LaneSlot,
    },
    Attempt {
        peer: usize,
        slot: liner::wire::inbound::LaneSlot,
        token: u64,
    },
    Letter {
        peer: usize,
        slot: liner::wire::inbound::LaneSlot,
        token: u64,
    },
}

/// An operation on its way.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) node: usize,
    pub(crate) process: ProcessNo,
    pub(crate) op: Op,
    pub(crate) reply: ReplyTo,
}

/// What an operation changed, for the checker.
#[derive(Debug)]
pub(crate) enum Effect {
    RowsTrimmed(LaneNo, Vec<(Incarnation, Seq)>),
    RowRefused(LaneNo, Incarnation, Seq),
    CursorMoved(LaneNo, Cursor),
    LetterKept(LaneNo, Cursor),
    Cleared(LaneNo),
    Forgot(LaneNo),
}

/// One medium with the operations that wait for it.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) queue: VecDeque<Request>,
    pub(crate) busy: bool,
    pub(crate) down_until: Duration,
    pub(crate) last_reply: Duration,
    pub(crate) send: BTreeMap<LaneNo, SendLane>,
    pub(crate) receive: BTreeMap<LaneNo, ReceiveLane>,
    pub(crate) letters: BTreeMap<(LaneNo, u64, Seq), u32>,
    next_key: u64,
}

impl Store {
    /// Carries an operation out.
    pub(crate) fn apply(&mut self, op: &Op) -> (Done, Vec<Effect>) {
        match op {
            Op::Open { lane, incarnation } => (self.open(*lane, *incarnation), vec![]),
            Op::Append { rows } => {
                for (lane, key, rows) in rows {
                    self.append(*lane, *key, rows);
                }
                (Done::Plain, vec![])
            }
            Op::Load { lane, key, after, limit } => (self.load(*lane, *key, *after, *limit), vec![]),
            Op::Trim { floors } => {
                let trim = |(lane, key, through): &(LaneNo, Key, Seq)| self.trim(*lane, *key, *through);
                (Done::Plain, floors.iter().filter_map(trim).collect())
            }
            Op::Refuse { lane, key, seq, incarnation, body } => {
                let row = self.sending(*lane, *key).and_then(|l| l.rows.remove(seq));
                let body = body.as_ref().or(row.as_ref().map(|r| &r.message));
                if body.is_some() {
                    self.letters.entry((*lane, incarnation.get(), *seq)).or_insert(1);
                }
                (Done::Plain, vec![Effect::RowRefused(*lane, *incarnation, *seq)])
            }
            Op::Clear { lane, key } => {
                if let Some(l) = self.sending(*lane, *key) {
                    l.rows.clear();
                }
                (Done::Plain, vec![Effect::Cleared(*lane)])
            }
            Op::Forget { lane, key } => {
                if self.sending(*lane, *key).is_some() {
                    self.send.remove(lane);
                }
                (Done::Plain, vec![Effect::Forgot(*lane)])
            }
            Op::Receive { lane } => {
                let l = self.receive.entry(*lane).or_default();
                (Done::Received(l.cursor, l.attempts.clone()), vec![])
            }
            Op::Advance { lane, expected, cursor } => {
                let (outcome, effects) = self.advance(*lane, *expected, *cursor);
                (Done::Advanced(outcome), effects)
            }
            Op::Attempt { lane, place, attempts } => {
                let l = self.receive.entry(*lane).or_default();
                l.attempts.retain(|(i, s, _)| (*i, *s) != (place.incarnation, place.seq));
                l.attempts.push((place.incarnation, place.seq, *attempts));
                (Done::Plain, vec![])
            }
            Op::Letter { lane, place, advance } => {
                self.letters.entry((*lane, place.incarnation.get(), place.seq)).or_insert(1);
                let mut effects = vec![Effect::LetterKept(*lane, *place)];
                if let CursorStep::Advance { expected } = advance {
                    effects.extend(self.advance(*lane, *expected, *place).1);
                }
                (Done::Plain, effects)
            }
        }
    }

    fn sending(&mut self, lane: LaneNo, key: Key) -> Option<&mut SendLane> {
        self.send.get_mut(&lane).filter(|l| l.key == key)
    }

    fn open(&mut self, lane: LaneNo, incarnation: Incarnation) -> Done {
        let fresh = Key(self.next_key);
        let l = self.send.entry(lane).or_insert_with(|| {
            self.next_key += 1;
            SendLane { key: fresh, spans: vec![], predecessor: None, acked: Seq::ZERO, rows: BTreeMap::new() }
        });
        let highest = l.rows.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        // Never below a span that was opened: rows may be gone that stood above it.
        let opened = l.spans.last().map_or(Seq::ZERO, |(_, first)| first.prev());
        let next = l.acked.max(highest).max(opened).next();
        if l.spans.last().map(|(i, _)| *i) != Some(incarnation) {
            l.spans.push((incarnation, next));
        }
        l.prune();
        let bytes = l.rows.values().map(|r| r.message.size() as u64).sum();
        let pending = Amount { messages: l.rows.len() as u64, bytes };
        let record = LaneRecord { spans: l.spans.clone(), predecessor: l.predecessor, next, acked: l.acked, pending };
        Done::Opened(l.key, record)
    }

    fn append(&mut self, lane: LaneNo, key: Key, rows: &[Numbered]) {
        let Some(l) = self.sending(lane, key) else { return };
        for Numbered { seq, incarnation, message } in rows {
            if *seq > l.acked {
                l.rows.entry(*seq).or_insert_with(|| Row { incarnation: *incarnation, message: message.clone() });
            }
        }
    }

    fn load(&mut self, lane: LaneNo, key: Key, after: Seq, limit: Amount) -> Done {
        let Some(l) = self.sending(lane, key) else { return Done::Page(vec![], true) };
        let mut page = Vec::new();
        let mut bytes = 0;
        let mut rows = l.rows.range(after.next()..);
        let mut end = true;
        for (seq, row) in &mut rows {
            let size = row.message.size() as u64;
            if page.len() as u64 >= limit.messages || (!page.is_empty() && bytes + size > limit.bytes) {
                end = false;
                break;
            }
            bytes += size;
            page.push(Numbered { seq: *seq, incarnation: row.incarnation, message: row.message.clone() });
        }
        Done::Page(page, end)
    }

    fn trim(&mut self, lane: LaneNo, key: Key, through: Seq) -> Option<Effect> {
        let l = self.sending(lane, key)?;
        let kept = l.rows.split_off(&through.next());
        let gone = std::mem::replace(&mut l.rows, kept);
        l.acked = l.acked.max(through);
        l.prune();
        let gone = gone.into_iter().map(|(seq, row)| (row.incarnation, seq)).collect();
        Some(Effect::RowsTrimmed(lane, gone))
    }

    fn advance(
        &mut self,
        lane: LaneNo,
        expected: Option<Incarnation>,
        cursor: Cursor,
    ) -> (Result<(), Option<Cursor>>, Vec<Effect>) {
        let l = self.receive.entry(lane).or_default();
        if l.cursor.map(|c| c.incarnation) != expected {
            return (Err(l.cursor), vec![]);
        }
        let forward = l.cursor.is_none_or(|c| c.incarnation != cursor.incarnation || c.seq < cursor.seq);
        if !forward {
            return (Ok(()), vec![]);
        }
        let left = l.cursor.map(|c| c.incarnation).filter(|i| *i != cursor.incarnation);
        l.attempts.retain(|(i, s, _)| Some(*i) != left && (*i != cursor.incarnation || *s > cursor.seq));
        l.cursor = Some(cursor);
        (Ok(()), vec![Effect::CursorMoved(lane, cursor)])
    }
}

impl SendLane {
    /// Incarnations that have nothing queued any more are forgotten, but for the newest.
    fn prune(&mut self) {
        while self.spans.get(1).is_some_and(|(_, first)| *first <= self.acked.next()) {
            self.predecessor = Some(self.spans.remove(0).0);
        }
    }
}
