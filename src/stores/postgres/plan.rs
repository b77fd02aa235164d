//! A group of batches as few statements: what may change places is gathered, so that a commit is one exchange with the
//! server however many lanes it touches.
//!
//! Between two writes of another kind, trims, appends and advances may change places: an append leaves out what is acked,
//! a trim deletes what was appended, and cursors touch neither. The trims come first, then the appends, then the cursors.

use super::dead_letters::Kept;
use super::lanes::{sql_incarnation, sql_seq};
use crate::stores::shared::row;
use crate::stores::{Batch, LaneKey, Stored, Write};
use crate::types::{Cursor, Incarnation};
use std::collections::{BTreeMap, BTreeSet};

/// Rows and bytes of one statement. A larger message is alone in its.
const ROWS: usize = 8192;
const BYTES: usize = 16 * 1024 * 1024;

/// The statements of a group, in order, and the lanes they touch.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) steps: Vec<Step<'a>>,
    /// Lanes that must be the sender's, as they come.
    pub(super) appended: Vec<i64>,
    /// Lanes whose queue or floor changes.
    pub(super) changed: BTreeSet<i64>,
    /// Lanes that must stay while the group is committed.
    pub(super) kept: BTreeSet<i64>,
    round: Round,
}

/// One statement.
pub(super) enum Step<'a> {
    Trim {
        lanes: Vec<i64>,
        through: Vec<i64>,
    },
    Append(Rows),
    Advance(Moves),
    /// Lane and number.
    Remove([i64; 2]),
    /// Lane, incarnation, number, attempts.
    Attempt([i64; 4]),
    Keep(Kept<'a>),
    /// The letter's id.
    Unkeep(i64),
}

/// Rows to be appended, encoded one after the other.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) lanes: Vec<i64>,
    pub(super) numbers: Vec<i64>,
    encoded: Vec<u8>,
    ends: Vec<usize>,
}

/// Cursors to be moved; each lane once.
#[derive(Default)]
pub(super) struct Moves {
    pub(super) lanes: Vec<i64>,
    pub(super) expected: Vec<Option<i64>>,
    pub(super) incarnations: Vec<i64>,
    pub(super) numbers: Vec<i64>,
    /// Which writes each stands for: batch, and place in it.
    owners: Vec<Vec<(usize, usize)>>,
}

#[derive(Default)]
struct Round {
    trims: BTreeMap<i64, i64>,
    appends: Vec<Rows>,
    moves: Moves,
}

impl<'a> Plan<'a> {
    pub(super) fn new(batches: impl Iterator<Item = &'a Batch>) -> Self {
        let mut plan = Plan::default();
        for (batch, place) in batches.zip(0..) {
            for (write, at) in batch.writes.iter().zip(0..) {
                plan.add(write, (place, at));
            }
        }
        plan.end_round();
        plan
    }

    fn add(&mut self, write: &'a Write, owner: (usize, usize)) {
        match write {
            Write::Append { lane, messages } => {
                if self.changed.insert(lane.0) || !self.appended.contains(&lane.0) {
                    self.appended.push(lane.0);
                }
                self.round.append(*lane, messages);
            }
            Write::Trim { lane, through } => {
                self.changed.insert(lane.0);
                let floor = self.round.trims.entry(lane.0).or_default();
                *floor = (*floor).max(sql_seq(*through));
            }
            Write::Advance { lane, expected, cursor } => {
                self.kept.insert(lane.0);
                if !self.round.moves.add(*lane, *expected, *cursor, owner) {
                    self.end_round();
                    self.round.moves.add(*lane, *expected, *cursor, owner);
                }
            }
            Write::Attempt { lane, incarnation, seq, attempts } => {
                self.kept.insert(lane.0);
                let row = [lane.0, sql_incarnation(*incarnation), sql_seq(*seq), i64::from(*attempts)];
                self.alone(Step::Attempt(row));
            }
            Write::Remove { lane, seq } => {
                self.changed.insert(lane.0);
                self.alone(Step::Remove([lane.0, sql_seq(*seq)]));
            }
            Write::DeadLetter(letter) => self.alone(Step::Keep(Kept::new(letter))),
            Write::RemoveDeadLetter(id) => self.alone(Step::Unkeep(id.0)),
        }
    }

    fn alone(&mut self, step: Step<'a>) {
        self.end_round();
        self.steps.push(step);
    }

    fn end_round(&mut self) {
        let Round { trims, appends, moves } = std::mem::take(&mut self.round);
        if !trims.is_empty() {
            let (lanes, through) = trims.into_iter().unzip();
            self.steps.push(Step::Trim { lanes, through });
        }
        self.steps.extend(appends.into_iter().map(Step::Append));
        if !moves.lanes.is_empty() {
            self.steps.push(Step::Advance(moves));
        }
    }
}

impl Round {
    fn append(&mut self, lane: LaneKey, messages: &[Stored]) {
        for stored in messages {
            let size = stored.message.size() + row::OVERHEAD;
            match self.appends.last_mut().filter(|rows| rows.has_room(size)) {
                Some(rows) => rows.push(lane, stored),
                None => {
                    let mut rows = Rows::default();
                    rows.push(lane, stored);
                    self.appends.push(rows);
                }
            }
        }
    }
}

impl Rows {
    fn has_room(&self, size: usize) -> bool {
        self.lanes.len() < ROWS && self.encoded.len() + size <= BYTES
    }

    fn push(&mut self, lane: LaneKey, stored: &Stored) {
        self.lanes.push(lane.0);
        self.numbers.push(sql_seq(stored.seq));
        row::encode_into(&mut self.encoded, stored);
        self.ends.push(self.encoded.len());
    }

    pub(super) fn payloads(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.encoded[start..*end]).collect()
    }
}

impl Moves {
    /// Returns whether it could be added: not after a move of the same lane that expects something else.
    fn add(&mut self, lane: LaneKey, expected: Option<Incarnation>, cursor: Cursor, owner: (usize, usize)) -> bool {
        let (expected, incarnation) = (expected.map(sql_incarnation), sql_incarnation(cursor.incarnation));
        let number = sql_seq(cursor.seq);
        match self.lanes.iter().position(|known| *known == lane.0) {
            Some(at) if self.expected[at] == expected && self.incarnations[at] == incarnation => {
                self.numbers[at] = self.numbers[at].max(number);
                self.owners[at].push(owner);
                true
            }
            Some(_) => false,
            None => {
                self.lanes.push(lane.0);
                self.expected.push(expected);
                self.incarnations.push(incarnation);
                self.numbers.push(number);
                self.owners.push(vec![owner]);
                true
            }
        }
    }

    /// The writes that moved this lane.
    pub(super) fn owners(&self, lane: i64) -> &[(usize, usize)] {
        self.lanes.iter().position(|known| *known == lane).map_or(&[], |at| &self.owners[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Headers, Message, Payload, Seq};

    fn stored(n: u64, size: usize) -> Stored {
        let message = Message { headers: Headers::EMPTY, payload: Payload::new(vec![7; size]).expect("not empty") };
        Stored { seq: Seq::new(n), incarnation: Incarnation::new(1), accepted_ms: 0, message }
    }

    fn append(lane: i64, n: u64, size: usize) -> Write {
        Write::Append { lane: LaneKey(lane), messages: vec![stored(n, size)] }
    }

    fn trim(lane: i64, n: u64) -> Write {
        Write::Trim { lane: LaneKey(lane), through: Seq::new(n) }
    }

    fn advance(lane: i64, expected: Option<u64>, incarnation: u64, n: u64) -> Write {
        let cursor = Cursor { incarnation: Incarnation::new(incarnation), seq: Seq::new(n) };
        Write::Advance { lane: LaneKey(lane), expected: expected.map(Incarnation::new), cursor }
    }

    /// The kinds of the steps with what they hold.
    fn steps(writes: Vec<Write>) -> Vec<String> {
        let batch = Batch { writes, synced: false };
        let plan = Plan::new(std::iter::once(&batch));
        let shown = |step: &Step<'_>| match step {
            Step::Trim { lanes, through } => format!("trim {lanes:?} {through:?}"),
            Step::Append(rows) => format!("append {:?} {:?}", rows.lanes, rows.numbers),
            Step::Advance(moves) => format!("advance {:?} {:?}", moves.lanes, moves.numbers),
            Step::Remove(row) => format!("remove {row:?}"),
            _ => "other".to_owned(),
        };
        plan.steps.iter().map(shown).collect()
    }

    #[test]
    fn what_may_change_places_is_gathered() {
        let writes = vec![append(1, 5, 1), trim(1, 3), append(2, 1, 1), trim(1, 4), advance(3, None, 1, 7), trim(2, 9)];
        assert_eq!(steps(writes), ["trim [1, 2] [4, 9]", "append [1, 2] [5, 1]", "advance [3] [7]"]);
    }

    #[test]
    fn what_depends_on_the_order_keeps_it() {
        let remove = Write::Remove { lane: LaneKey(1), seq: Seq::new(5) };
        let writes = vec![append(1, 5, 1), remove, append(1, 6, 1)];
        assert_eq!(steps(writes), ["append [1] [5]", "remove [1, 5]", "append [1] [6]"]);
        let moves = vec![advance(1, None, 1, 2), advance(1, None, 1, 4), advance(1, Some(1), 2, 1)];
        assert_eq!(steps(moves), ["advance [1] [4]", "advance [1] [1]"]);
    }

    #[test]
    fn a_statement_has_a_size() {
        let half = BYTES / 2;
        let sizes = vec![append(1, 1, half), append(1, 2, half), append(1, 3, BYTES * 2), append(1, 4, 1)];
        let numbers = ["append [1] [1]", "append [1] [2]", "append [1] [3]", "append [1] [4]"];
        assert_eq!(steps(sizes), numbers);
    }
}
