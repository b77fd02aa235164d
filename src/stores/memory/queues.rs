//! The queue half of the medium in memory: lanes with their queues, cursors and attempts, and the dead letters.

use crate::stores::shared::chain::Chain;
use crate::stores::*;
use crate::types::{Cursor, Incarnation, LaneId, LaneName, NodeId, Seq};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Queues {
    lanes: BTreeMap<LaneKey, Lane>,
    names: BTreeMap<LaneName, LaneKey>,
    letters: BTreeMap<DeadLetterId, DeadLetter>,
    /// Keys given out; none comes twice, though its lane is forgotten.
    last_key: i64,
    last_letter: i64,
}

#[derive(Debug)]
struct Lane {
    id: LaneId,
    chain: Chain,
    /// Everything up to here was acked.
    acked: Seq,
    /// The highest number ever removed unacked; it is not given again.
    removed: Seq,
    queue: BTreeMap<Seq, Stored>,
    cursor: Option<Cursor>,
    attempts: BTreeMap<(Incarnation, Seq), u32>,
}

impl Lane {
    /// By its sender; its receiver may have been here before.
    fn is_opened(&self) -> bool {
        !self.chain.spans.is_empty()
    }

    fn next(&self) -> Seq {
        let stored = self.queue.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        self.acked.max(self.removed).max(stored).next()
    }

    fn amount(&self) -> Amount {
        let bytes = self.queue.values().map(|stored| stored.message.size() as u64).sum();
        Amount { messages: self.queue.len() as u64, bytes }
    }

    fn append(&mut self, messages: Vec<Stored>) {
        for stored in messages {
            if stored.seq > self.acked {
                self.queue.entry(stored.seq).or_insert(stored);
            }
        }
    }

    fn trim(&mut self, through: Seq) {
        self.acked = self.acked.max(through);
        self.queue = self.queue.split_off(&self.acked.next());
    }

    fn remove(&mut self, seq: Seq) {
        if self.queue.remove(&seq).is_some() {
            self.removed = self.removed.max(seq);
        }
    }

    /// Whether the writer was right about the stored incarnation.
    fn advance(&mut self, expected: Option<Incarnation>, cursor: Cursor) -> bool {
        let stored = self.cursor.map(|c| c.incarnation);
        let same = stored == Some(cursor.incarnation);
        if !same && stored != expected {
            return false;
        }
        if same && self.cursor.is_some_and(|c| c.seq >= cursor.seq) {
            return true;
        }
        self.attempts.retain(|(incarnation, seq), _| *seq > cursor.seq && (same || Some(*incarnation) != stored));
        self.cursor = Some(cursor);
        true
    }
}

impl Queues {
    pub(super) fn commit(&mut self, node: &NodeId, batch: Batch) -> Result<Committed, StoreError> {
        // The only write that can fail is checked before the first takes effect.
        for write in &batch.writes {
            if let Write::Append { lane, .. } = write {
                let mine = self.lanes.get(lane).is_some_and(|l| l.id.sender() == node && l.is_opened());
                mine.then_some(()).ok_or(StoreError::NoLane(lane.get()))?;
            }
        }
        let mut committed = Committed::default();
        for write in batch.writes {
            self.apply(node, write, &mut committed);
        }
        Ok(committed)
    }

    fn apply(&mut self, node: &NodeId, write: Write, committed: &mut Committed) {
        match write {
            Write::Append { lane, messages } => self.with(lane, |l| l.append(messages)),
            Write::Trim { lane, through } => self.with(lane, |l| l.trim(through)),
            Write::Remove { lane, seq } => self.with(lane, |l| l.remove(seq)),
            Write::Attempt { lane, incarnation, seq, attempts } => self.with(lane, |l| {
                l.attempts.insert((incarnation, seq), attempts);
            }),
            Write::Advance { lane, expected, cursor } => {
                let advanced = self.lanes.get_mut(&lane).is_some_and(|l| l.advance(expected, cursor));
                if !advanced {
                    committed.stale.push(lane);
                }
            }
            Write::DeadLetter(letter) => self.keep(*letter),
            Write::RemoveDeadLetter(id) => {
                if self.letters.get(&id).is_some_and(|letter| letter.owner() == node) {
                    self.letters.remove(&id);
                }
            }
        }
    }

    fn with(&mut self, lane: LaneKey, change: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            change(lane);
        }
    }

    fn keep(&mut self, letter: DeadLetter) {
        let known = self.letters.values().any(|l| l.id == letter.id && l.origin == letter.origin);
        if !known {
            self.last_letter += 1;
            self.letters.insert(DeadLetterId(self.last_letter), letter);
        }
    }

    /// Finds or creates a lane.
    fn lane(&mut self, name: &LaneName) -> (LaneKey, &mut Lane) {
        let last = &mut self.last_key;
        let key = *self.names.entry(name.clone()).or_insert_with(|| {
            *last += 1;
            LaneKey(*last)
        });
        let lane = self.lanes.entry(key).or_insert_with(|| Lane {
            id: LaneId::new(name.clone()),
            chain: Chain::default(),
            acked: Seq::ZERO,
            removed: Seq::ZERO,
            queue: BTreeMap::new(),
            cursor: None,
            attempts: BTreeMap::new(),
        });
        (key, lane)
    }

    pub(super) fn open(&mut self, name: &LaneName, incarnation: Incarnation) -> OutboxLane {
        let (key, lane) = self.lane(name);
        let next = lane.next();
        let floor = lane.queue.first_key_value().map_or(next, |(seq, _)| *seq).prev();
        lane.chain.open(incarnation, floor, next);
        OutboxLane {
            key,
            id: lane.id.clone(),
            spans: lane.chain.spans.clone(),
            predecessor: lane.chain.predecessor,
            next,
            acked: lane.acked,
            pending: lane.amount(),
        }
    }

    pub(super) fn receive(&mut self, name: &LaneName) -> InboxLane {
        let (key, lane) = self.lane(name);
        let attempts = lane.attempts.iter().map(|((incarnation, seq), n)| (*incarnation, *seq, *n));
        InboxLane { key, cursor: lane.cursor, attempts: attempts.collect() }
    }

    /// In name order, those opened by their sender.
    fn of<'a>(&'a self, sender: &'a NodeId) -> impl Iterator<Item = &'a Lane> {
        let keys = self.names.iter().filter(move |(name, _)| name.sender == *sender).map(|(_, key)| key);
        keys.filter_map(|key| self.lanes.get(key)).filter(|lane| lane.is_opened())
    }

    pub(super) fn lanes(&self, sender: &NodeId) -> Vec<LaneId> {
        self.of(sender).map(|lane| lane.id.clone()).collect()
    }

    pub(super) fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> Page {
        let mut page = Page { messages: Vec::new(), end: true };
        let Some(lane) = self.lanes.get(&lane) else { return page };
        let mut bytes = 0;
        for (_, stored) in lane.queue.range(after.next()..).filter(|(seq, _)| **seq > after) {
            let size = stored.message.size();
            let first = page.messages.is_empty();
            if page.messages.len() >= limit.messages || (!first && bytes + size > limit.bytes) {
                page.end = false;
                break;
            }
            bytes += size;
            page.messages.push(stored.clone());
        }
        page
    }

    pub(super) fn pending(&self, sender: &NodeId) -> Vec<PendingLane> {
        let waiting = self.of(sender).filter_map(|lane| Some((lane, lane.queue.first_key_value()?.1)));
        waiting
            .map(|(lane, oldest)| PendingLane {
                lane: lane.id.clone(),
                amount: lane.amount(),
                oldest_ms: Some(oldest.accepted_ms),
            })
            .collect()
    }

    pub(super) fn clear(&mut self, sender: &NodeId) -> Amount {
        let mut dropped = Amount::default();
        for lane in self.lanes.values_mut().filter(|lane| lane.id.sender() == sender) {
            dropped += lane.amount();
            lane.removed = lane.next().prev();
            lane.queue.clear();
        }
        dropped
    }

    pub(super) fn forget(&mut self, sender: &NodeId, name: &LaneName) -> Amount {
        if name.sender != *sender {
            return Amount::default();
        }
        let lane = self.names.remove(name).and_then(|key| self.lanes.remove(&key));
        lane.map_or(Amount::default(), |lane| lane.amount())
    }

    pub(super) fn dead_letters(
        &self,
        node: &NodeId,
        filter: &DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> Vec<(DeadLetterId, DeadLetter)> {
        let letters = self.letters.iter().filter(|(id, _)| after.is_none_or(|after| **id > after));
        let letters = letters.filter(|(id, letter)| letter.owner() == node && filter.matches(**id, letter));
        letters.take(limit).map(|(id, letter)| (*id, letter.clone())).collect()
    }

    pub(super) fn purge_dead_letters(&mut self, node: &NodeId, filter: &DeadLetterFilter) -> u64 {
        let before = self.letters.len();
        self.letters.retain(|id, letter| letter.owner() != node || !filter.matches(*id, letter));
        (before - self.letters.len()) as u64
    }
}
