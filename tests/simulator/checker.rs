//! The history of a run, and the guarantees it is held against.
//!
//! Numbers in the messages of violations are those of the guarantees: 1 no loss, 2 no phantom, 3 definite answers,
//! 4 order, 5 one at a time, 6 at most once, 7 duplicates, 8 ack ≤ cursor ≤ handled, 9 nacks and dead letters,
//! 19 bounded memory.

use crate::world::{LaneNo, ProcessNo};
use liner::{Cursor, Headers, Incarnation, Message, Payload, Seq};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// What the application asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    WriteBehind,
    Committed,
    Synced,
    GroupCommitted,
    GroupWriteBehind,
}

/// The result that the application got for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    Accepted,
    Rejected,
    Indeterminate,
}

/// A message from the application's point of view.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) id: u64,
    pub(crate) len: usize,
    pub(crate) headers: bool,
    pub(crate) mode: Mode,
    pub(crate) told: Told,
    /// When it was accepted.
    pub(crate) at: Duration,
    pub(crate) process: ProcessNo,
    /// Its queue was cleared or its lane forgotten: it may come or not.
    pub(crate) forgotten: bool,
    /// Accepted in memory only, by a process that died.
    pub(crate) lost: bool,
    pub(crate) handed: u32,
    pub(crate) handled: bool,
    pub(crate) letter: bool,
    pub(crate) refused: bool,
    /// Whether the receiver's cursor has passed it.
    pub(crate) passed: bool,
    /// Whether it was sent with the write-behind rule at least once.
    pub(crate) sent_plain: bool,
}

impl Sent {
    pub(crate) fn new(
        (id, len, headers): (u64, usize, bool),
        mode: Mode,
        told: Told,
        at: Duration,
        process: ProcessNo,
    ) -> Self {
        Sent {
            id,
            len,
            headers,
            mode,
            told,
            at,
            process,
            forgotten: false,
            lost: false,
            handed: 0,
            handled: false,
            letter: false,
            refused: false,
            passed: false,
            sent_plain: false,
        }
    }
}

/// Which incarnation a lane had first, second, ...; then the number.
pub(crate) type Place = (u32, Seq);

/// One lane's history.
#[derive(Debug, Default)]
pub(crate) struct LaneHistory {
    ranks: HashMap<Incarnation, u32>,
    pub(crate) sent: BTreeMap<Place, Sent>,
    /// The last message handed over for the first time.
    first: Option<Place>,
    passed: Option<Place>,
    acked: Option<Place>,
    /// At most once: what was offered, in order, and the last one delivered.
    last_direct: Option<u64>,
}

/// A message of at most once.
#[derive(Debug)]
struct Direct {
    lane: LaneNo,
    len: usize,
    headers: bool,
    handed: bool,
}

/// The history of a run.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    pub(crate) lanes: Vec<LaneHistory>,
    direct: HashMap<u64, Direct>,
    /// The first violation.
    pub(crate) violation: Option<String>,
}

/// Returns the body of the message `id`. Its first eight bytes, if it has as many, identify it.
pub(crate) fn body(id: u64, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = id.to_le_bytes().into_iter().take(len).collect();
    let mut x = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while bytes.len() < len {
        if id.is_multiple_of(2) {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        }
        bytes.push(x.to_be_bytes()[0]);
    }
    bytes
}

/// The headers of the message `id`.
pub(crate) fn headers(id: u64, any: bool) -> Headers {
    if !any {
        return Headers::EMPTY;
    }
    Headers::builder().with("id", id.to_le_bytes()).build().expect("short")
}

/// The message `id` as it must arrive.
pub(crate) fn message(id: u64, len: usize, with_headers: bool) -> Message {
    Message { headers: headers(id, with_headers), payload: Payload::new(body(id, len)).expect("not empty") }
}

impl Checker {
    pub(crate) fn new(lanes: usize) -> Self {
        Checker { lanes: (0..lanes).map(|_| LaneHistory::default()).collect(), ..Checker::default() }
    }

    pub(crate) fn fail(&mut self, guarantee: u32, what: String) {
        if self.violation.is_none() {
            self.violation = Some(format!("guarantee {guarantee}: {what}"));
        }
    }

    fn place(&self, lane: LaneNo, incarnation: Incarnation, seq: Seq) -> Option<Place> {
        Some((*self.lanes[lane].ranks.get(&incarnation)?, seq))
    }

    pub(crate) fn get(&mut self, lane: LaneNo, incarnation: Incarnation, seq: Seq) -> Option<&mut Sent> {
        let place = self.place(lane, incarnation, seq)?;
        self.lanes[lane].sent.get_mut(&place)
    }

    // ---- the sending application ----

    /// A lane was opened by a process: from now on it numbers in this incarnation.
    pub(crate) fn opened(&mut self, lane: LaneNo, incarnation: Incarnation) {
        let ranks = &mut self.lanes[lane].ranks;
        let next = u32::try_from(ranks.len()).expect("few");
        ranks.entry(incarnation).or_insert(next);
    }

    pub(crate) fn offered(&mut self, lane: LaneNo, incarnation: Incarnation, seq: Seq, sent: Sent) {
        let Some(place) = self.place(lane, incarnation, seq) else {
            return self.fail(10, format!("lane {lane} numbers in an incarnation that was never minted"));
        };
        if let Some((last, _)) = self.lanes[lane].sent.last_key_value()
            && *last >= place
        {
            return self.fail(10, format!("lane {lane} gave out {place:?} after {last:?}"));
        }
        self.lanes[lane].sent.insert(place, sent);
    }

    /// Notes the result that the application got for a message.
    pub(crate) fn told(&mut self, lane: LaneNo, incarnation: Incarnation, seq: Seq, told: Told, now: Duration) {
        let Some(sent) = self.get(lane, incarnation, seq) else {
            return self.fail(3, format!("lane {lane}: answer about {seq}, which was never offered"));
        };
        let before = sent.told;
        let (handed, at) = (sent.handed, sent.at);
        match (before, told) {
            (Told::Nothing, _) => (sent.told, sent.at) = (told, now),
            (Told::Indeterminate, Told::Accepted) => sent.at = at,
            _ => return self.fail(3, format!("lane {lane}: {seq} was answered {before:?}, then {told:?}")),
        }
        if told == Told::Rejected && handed > 0 {
            self.fail(3, format!("lane {lane}: {seq} was delivered, then rejected"));
        }
    }

    /// All of one incarnation that waited for their commit, up to `through`, are accepted.
    pub(crate) fn accepted_through(
        &mut self,
        lane: LaneNo,
        incarnation: Incarnation,
        through: Seq,
        now: Duration,
    ) -> u64 {
        let Some(to) = self.place(lane, incarnation, through) else { return 0 };
        let mut accepted = 0;
        for (_, sent) in self.lanes[lane].sent.range_mut((to.0, Seq::ZERO)..=to) {
            if sent.told == Told::Nothing && matches!(sent.mode, Mode::Committed | Mode::Synced) {
                (sent.told, sent.at) = (Told::Accepted, now);
                accepted += 1;
            }
        }
        accepted
    }

    pub(crate) fn offered_direct(&mut self, lane: LaneNo, id: u64, len: usize, headers: bool) {
        self.direct.insert(id, Direct { lane, len, headers, handed: false });
    }

    /// The lane's queue was cleared, or the lane forgotten: what is not handled may be gone.
    pub(crate) fn forget(&mut self, lane: LaneNo) {
        for sent in self.lanes[lane].sent.values_mut().filter(|s| !s.passed) {
            sent.forgotten = true;
        }
    }

    /// What a dead process had only in memory, given what the medium holds. `excuse` knows why a write-behind message was
    /// in memory for longer than it should.
    pub(crate) fn died(
        &mut self,
        lane: LaneNo,
        process: ProcessNo,
        is_stored: impl Fn(Incarnation, Seq) -> bool,
        too_old: impl Fn(Duration) -> bool,
    ) -> u64 {
        let ranks = &self.lanes[lane].ranks;
        let incarnations: HashMap<u32, Incarnation> = ranks.iter().map(|(i, rank)| (*rank, *i)).collect();
        let mut lost = 0;
        let mut late = None;
        for ((rank, seq), sent) in self.lanes[lane].sent.iter_mut().filter(|(_, s)| s.process == process) {
            if sent.handled || is_stored(incarnations[rank], *seq) {
                continue;
            }
            let memory = matches!(sent.mode, Mode::WriteBehind | Mode::GroupWriteBehind);
            if memory && sent.told == Told::Accepted {
                sent.lost = true;
                lost += 1;
                if too_old(sent.at) && !sent.forgotten && !sent.letter && !sent.refused {
                    late = Some((*seq, sent.at));
                }
            }
        }
        if let Some((seq, at)) = late {
            self.fail(1, format!("lane {lane}: {seq}, accepted at {at:?}, was still in memory only"));
        }
        lost
    }

    // ---- what is seen of the sender ----

    /// A message, or a part of one, goes out. The number is that of the newest incarnation which gave it out.
    pub(crate) fn data_left(&mut self, lane: LaneNo, seq: Seq, strict: bool) {
        let newest = u32::try_from(self.lanes[lane].ranks.len()).expect("few");
        let place = (0..newest).rev().map(|rank| (rank, seq)).find(|place| self.lanes[lane].sent.contains_key(place));
        let Some(sent) = place.and_then(|place| self.lanes[lane].sent.get_mut(&place)) else {
            return self.fail(2, format!("lane {lane}: {seq} goes out and was never offered"));
        };
        sent.sent_plain |= !strict;
        let (mode, told) = (sent.mode, sent.told);
        if !strict && !matches!(mode, Mode::WriteBehind | Mode::GroupWriteBehind) {
            self.fail(8, format!("lane {lane}: {seq} is {mode:?} and goes out with the write-behind rule"));
        }
        if told == Told::Rejected {
            self.fail(3, format!("lane {lane}: {seq} was rejected and goes out"));
        }
    }

    pub(crate) fn row_trimmed(&mut self, lane: LaneNo, incarnation: Incarnation, seq: Seq) {
        let Some(sent) = self.get(lane, incarnation, seq) else { return };
        if sent.forgotten || sent.refused {
            return;
        }
        if !sent.handled && !sent.letter {
            return self.fail(8, format!("lane {lane}: the row of {seq} went before it was handled"));
        }
        if !sent.passed && !sent.sent_plain {
            self.fail(8, format!("lane {lane}: the row of {seq} went before the cursor was committed"));
        }
    }

    pub(crate) fn row_refused(&mut self, lane: LaneNo, incarnation: Incarnation, seq: Seq, max_message: u64) {
        let Some(sent) = self.get(lane, incarnation, seq) else {
            return self.fail(9, format!("lane {lane}: {seq} was refused and never offered"));
        };
        sent.refused = true;
        let size = message(sent.id, sent.len, sent.headers).size() as u64;
        let handled = sent.handled;
        if size <= max_message {
            self.fail(9, format!("lane {lane}: {seq} of {size} bytes was refused by a node that takes {max_message}"));
        } else if handled {
            self.fail(9, format!("lane {lane}: {seq} was refused and handled"));
        }
    }

    // ---- the receiver ----

    /// Checks a message that is handed over. Returns its id, which identifies it for the subscriber.
    pub(crate) fn handed_over(
        &mut self,
        lane: LaneNo,
        place: Cursor,
        redelivered: bool,
        arrived: &Message,
    ) -> Option<(u64, bool)> {
        let Cursor { incarnation, seq } = place;
        let Some(at) = self.place(lane, incarnation, seq) else {
            self.fail(2, format!("lane {lane}: {seq} of an unknown incarnation was delivered"));
            return None;
        };
        let Some(sent) = self.lanes[lane].sent.get_mut(&at) else {
            self.fail(2, format!("lane {lane}: {seq} was delivered and never sent"));
            return None;
        };
        let before = sent.handed;
        sent.handed += 1;
        let id = sent.id;
        let handled = sent.handled;
        let wrong = if *arrived != message(id, sent.len, sent.headers) {
            Some((2, "differs from what was sent"))
        } else if sent.told == Told::Rejected {
            Some((3, "was rejected and is delivered"))
        } else if sent.passed {
            Some((7, "is delivered again after the cursor went past it"))
        } else if before > 0 && !redelivered {
            Some((7, "is delivered again and not marked"))
        } else {
            None
        };
        if let Some((guarantee, what)) = wrong {
            self.fail(guarantee, format!("lane {lane}: {seq} {what}"));
        }
        // An append that was under way may bring a cleared message back, behind later ones.
        if before == 0 && !self.lanes[lane].sent[&at].forgotten {
            if self.lanes[lane].first.is_some_and(|first| first > at) {
                self.fail(4, format!("lane {lane}: {at:?} comes first after {:?}", self.lanes[lane].first));
            }
            self.lanes[lane].first = Some(at);
        }
        Some((id, handled))
    }

    pub(crate) fn handed_over_direct(&mut self, lane: LaneNo, arrived: &Message) -> Option<u64> {
        let id = arrived.payload.first_chunk::<8>().map(|id| u64::from_le_bytes(*id)).unwrap_or(u64::MAX);
        let Some(direct) = self.direct.get_mut(&id) else {
            self.fail(2, format!("lane {lane}: an at-most-once message that was never sent: {arrived:?}"));
            return None;
        };
        let again = std::mem::replace(&mut direct.handed, true);
        let same = direct.lane == lane && *arrived == message(id, direct.len, direct.headers);
        let before = self.lanes[lane].last_direct.replace(id);
        if !same {
            self.fail(2, format!("lane {lane}: at-most-once message {id} differs from what was sent"));
        } else if again {
            self.fail(6, format!("lane {lane}: at-most-once message {id} was delivered twice"));
        } else if before.is_some_and(|before| before > id) {
            self.fail(6, format!("lane {lane}: at-most-once message {id} comes after {before:?}"));
        }
        Some(id)
    }

    pub(crate) fn handled(&mut self, lane: LaneNo, place: Cursor) {
        if let Some(sent) = self.get(lane, place.incarnation, place.seq) {
            sent.handled = true;
        }
    }

    pub(crate) fn letter_kept(&mut self, lane: LaneNo, place: Cursor) {
        if let Some(sent) = self.get(lane, place.incarnation, place.seq) {
            sent.letter = true;
        }
    }

    /// Whether a message needs nothing more from the receiver.
    fn is_over(sent: &Sent) -> bool {
        sent.handled || sent.letter || sent.refused || sent.forgotten || sent.lost || sent.told != Told::Accepted
    }

    pub(crate) fn cursor_moved(&mut self, lane: LaneNo, cursor: Cursor) {
        let Some(to) = self.place(lane, cursor.incarnation, cursor.seq) else {
            return self.fail(10, format!("lane {lane}: the cursor is in an unknown incarnation"));
        };
        let history = &mut self.lanes[lane];
        if history.passed.is_some_and(|passed| passed > to) {
            let before = history.passed;
            return self.fail(8, format!("lane {lane}: the cursor moves back from {before:?} to {to:?}"));
        }
        let from = history.passed.replace(to).unwrap_or((0, Seq::ZERO));
        let mut skipped = None;
        for (place, sent) in history.sent.range_mut(from..=to) {
            sent.passed = true;
            if !Self::is_over(sent) {
                skipped = skipped.or(Some(*place));
            }
        }
        if let Some(place) = skipped {
            self.fail(8, format!("lane {lane}: the cursor moves to {to:?}, and {place:?} is not handled"));
        }
    }

    /// An ack leaves the receiver.
    pub(crate) fn ack_left(&mut self, cursor: Cursor) {
        let Some(lane) = self.lanes.iter().position(|l| l.ranks.contains_key(&cursor.incarnation)) else {
            return self.fail(8, "an ack of an unknown incarnation".to_owned());
        };
        let Some(to) = self.place(lane, cursor.incarnation, cursor.seq) else {
            return self.fail(8, format!("lane {lane}: an ack of an unknown incarnation"));
        };
        let history = &mut self.lanes[lane];
        if history.acked.is_some_and(|acked| acked >= to) {
            return;
        }
        let from = history.acked.replace(to).unwrap_or((0, Seq::ZERO));
        let mut wrong = None;
        for (place, sent) in history.sent.range(from..=to) {
            if !Self::is_over(sent) {
                wrong = wrong.or(Some((*place, "it was handled")));
            } else if sent.handled && !sent.forgotten && !sent.passed && !sent.sent_plain {
                wrong = wrong.or(Some((*place, "its cursor was committed")));
            }
        }
        if let Some((place, what)) = wrong {
            self.fail(8, format!("lane {lane}: ack up to {to:?}, and {place:?} was acked before {what}"));
        }
    }

    // ---- the end ----

    /// Whether a row may stay: its message was cleared, and an append that was under way brought it back.
    pub(crate) fn may_stay(&self, lane: LaneNo, incarnation: Incarnation, seq: Seq) -> bool {
        let place = self.place(lane, incarnation, seq);
        place.and_then(|place| self.lanes[lane].sent.get(&place)).is_some_and(|sent| sent.forgotten)
    }

    /// Why the run is not at its end yet.
    pub(crate) fn unfinished(&self) -> Option<String> {
        let open = |(lane, history): (LaneNo, &LaneHistory)| {
            let (place, sent) = history.sent.iter().find(|(_, sent)| !Self::is_over(sent))?;
            Some(format!("lane {lane}: {place:?} ({:?}, accepted at {:?}) was not handled", sent.mode, sent.at))
        };
        self.lanes.iter().enumerate().find_map(open)
    }

    /// What can only be judged at the end.
    pub(crate) fn at_end(&mut self) {
        for lane in 0..self.lanes.len() {
            // The earliest accepted of those lost. A group may be accepted later than what was numbered behind it.
            let mut lost: Option<(Place, Duration)> = None;
            let mut gap = None;
            for (place, sent) in &self.lanes[lane].sent {
                let settled = sent.forgotten || sent.letter || sent.refused || sent.told != Told::Accepted;
                if lost.is_some_and(|(l, _)| l.0 != place.0) {
                    lost = None;
                }
                if settled {
                    continue;
                }
                if sent.lost && sent.handed == 0 {
                    lost = Some(lost.filter(|(_, at)| *at <= sent.at).unwrap_or((*place, sent.at)));
                } else if let Some((lost, _)) = lost.filter(|(_, at)| *at <= sent.at) {
                    gap = gap.or(Some((lost, *place)));
                }
            }
            if let Some((lost, after)) = gap {
                self.fail(4, format!("lane {lane}: {lost:?} is lost, and {after:?} behind it is not"));
            }
        }
    }
}
