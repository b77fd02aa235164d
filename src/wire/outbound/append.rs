//! Appends to the durable queue, groups, and the deadlines of messages that wait for their commit.

use super::queued::StoreHandoff;
use super::{AppendOutcome, GroupOutcome, LaneIx, Numbered, Outbound, OutboundEvent, Rejection, SendLane};
use crate::types::{Amount, Seq};
use std::time::Instant;

/// Pages of committed messages that stay in memory to be sent. Messages after them are loaded when their turn comes.
const KEPT_PAGES: u64 = 4;

#[derive(Debug, Default)]
enum AppendPhase {
    #[default]
    Idle,
    /// An append up to `through` is under way.
    UnderWay { through: Seq },
    /// The store failed and is not asked again before this time.
    RetryAt(Instant),
}

/// State of a lane's appends.
#[derive(Debug, Default)]
pub(super) struct AppendState {
    phase: AppendPhase,
    /// Whether everything in memory is to be written at once: the link is down, or the node shuts down.
    flush: bool,
}

impl AppendState {
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.phase, AppendPhase::UnderWay { .. })
    }

    pub(super) fn set_flush(&mut self, flush: bool) {
        self.flush = flush;
    }

    fn is_idle(&self) -> bool {
        matches!(self.phase, AppendPhase::Idle)
    }

    fn retry_at(&self) -> Option<Instant> {
        match self.phase {
            AppendPhase::RetryAt(at) => Some(at),
            AppendPhase::Idle | AppendPhase::UnderWay { .. } => None,
        }
    }

    /// Ends the append under way. Returns how far it went.
    fn end(&mut self) -> Option<Seq> {
        let AppendPhase::UnderWay { through } = self.phase else { return None };
        self.phase = AppendPhase::Idle;
        Some(through)
    }
}

impl Outbound {
    /// Handles the result of the append of a lane.
    pub fn handle_append(&mut self, now: Instant, lane: LaneIx, outcome: AppendOutcome) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let Some(through) = l.append.end() else { return };
        match outcome {
            AppendOutcome::Done => self.appended(lane, through),
            AppendOutcome::Failed | AppendOutcome::Fatal => l.fresh.end_append(StoreHandoff::NotGiven),
            AppendOutcome::Unknown => l.fresh.end_append(StoreHandoff::Unknown),
        }
        if let Some(l) = self.lanes.get_mut(lane).filter(|_| outcome != AppendOutcome::Done) {
            l.append.phase = AppendPhase::RetryAt(now + self.config.store_retry);
        }
        if outcome == AppendOutcome::Fatal {
            self.give_up(lane, Rejection::Store, |_| true);
        }
        self.expire_lane(lane, now);
        self.note_unstored(lane);
    }

    fn appended(&mut self, lane: LaneIx, through: Seq) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let (last, accepted) = l.fresh.mark_stored(through);
        l.pending += accepted;
        if let Some(through) = last {
            self.events.push_back(OutboundEvent::Accepted { lane, through });
        }
        self.settle(lane, through);
        self.commit_more(lane);
    }

    /// Schedules another append if a caller waits for it.
    fn commit_more(&mut self, lane: LaneIx) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        l.append.flush &= l.has_unstored();
        if l.fresh.has_reserved() || l.append.flush {
            self.schedule.commit(lane);
        }
    }

    /// Continues a lane after a message left memory that others waited for.
    pub(super) fn unblock(&mut self, lane: LaneIx) {
        let Some(stored) = self.lanes.get(lane).map(|l| l.progress.stored()) else { return };
        self.settle(lane, stored);
        self.commit_more(lane);
        self.note_unstored(lane);
    }

    /// Frees what memory retains of messages that are committed up to `through`, and lets them be sent.
    fn settle(&mut self, lane: LaneIx, through: Seq) {
        // While the link is down, nothing stays in memory.
        let pages = if self.is_up() { KEPT_PAGES } else { 0 };
        let page = self.config.page;
        let limit = Amount { messages: pages * page.messages, bytes: pages * page.bytes };
        let Some(l) = self.lanes.get_mut(lane) else { return };
        self.memory.free(l.progress.mark_stored(through, &mut self.buffers));
        self.memory.free(l.settle(through, limit));
        self.announce_room();
        self.wake_lane(lane);
    }

    /// Handles the result of the append that the caller ran for a message offered with
    /// [`AcceptMode::Group`](super::AcceptMode::Group).
    pub fn finish_group(&mut self, lane: LaneIx, seq: Seq, outcome: GroupOutcome) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        if l.fresh.find(seq).is_none() {
            return;
        }
        match outcome {
            GroupOutcome::Committed => {
                let accepted = l.fresh.mark_group_stored(seq);
                l.pending += accepted;
                self.settle(lane, seq);
                self.refuse_again(lane, seq);
            }
            GroupOutcome::WriteBehind => {
                if let Some(size) = l.fresh.accept(seq) {
                    l.pending.add(size);
                }
                // Messages committed after it are sent only when it is stored, too.
                l.append.flush |= l.fresh.has_stored();
            }
            GroupOutcome::Rejected => {
                if let Some(rejected) = l.fresh.remove(seq) {
                    self.memory.free_one(rejected.message.size());
                }
            }
        }
        self.unblock(lane);
    }

    /// Returns the rows a group append must write for this lane: what was accepted before `seq`, and the message itself.
    pub fn group_rows(&mut self, lane: LaneIx, seq: Seq) -> Vec<Numbered> {
        self.buffers.seal();
        self.lanes.get(lane).map_or_else(Vec::new, |l| l.group_rows(&self.buffers, seq))
    }

    /// Schedules everything that only memory holds to be written, for a shutdown.
    pub fn flush(&mut self) {
        for (lane, l) in self.lanes.iter_mut().filter(|(_, l)| l.has_unstored()) {
            l.append.flush = true;
            self.schedule.set_unstored(lane, true);
            self.schedule.commit(lane);
        }
    }

    /// Returns whether something accepted is in memory only.
    pub fn has_unstored(&self) -> bool {
        self.schedule.unstored().any(|lane| self.lanes.get(lane).is_some_and(SendLane::has_unstored))
    }

    /// Starts the next append that is due.
    pub(super) fn next_append(&mut self) -> Option<OutboundEvent> {
        while let Some(lane) = self.schedule.pop_commit() {
            self.buffers.seal();
            let limit = self.config.append_messages;
            let Some(l) = self.lanes.get_mut(lane).filter(|l| l.append.is_idle()) else { continue };
            let (messages, synced) = l.take_rows(&self.buffers, limit);
            let Some(last) = messages.last() else { continue };
            l.append.phase = AppendPhase::UnderWay { through: last.seq };
            return Some(OutboundEvent::Append { lane, messages, synced });
        }
        None
    }

    /// Returns when something of the lane is due to be written, or a deadline passes.
    pub(super) fn append_at(&self, l: &SendLane) -> Option<Instant> {
        let retry_at = l.append.retry_at();
        let due = if l.append.is_under_way() {
            None
        } else if l.fresh.has_reserved() || l.append.flush {
            retry_at
        } else {
            let due = l.unstored_since(&self.buffers).map(|since| since + self.config.write_behind_delay);
            due.map(|due| retry_at.map_or(due, |at| due.max(at)))
        };
        [due, l.fresh.deadline()].into_iter().flatten().min()
    }

    /// Schedules the lanes whose messages must be written now.
    pub(super) fn append_due(&mut self, now: Instant) {
        let delay = self.config.write_behind_delay;
        self.schedule.commit_unstored_if(|lane| {
            let Some(l) = self.lanes.get_mut(lane) else { return false };
            let retry_at = l.append.retry_at();
            if retry_at.is_some_and(|at| at > now) {
                return false;
            }
            let old = l.unstored_since(&self.buffers).is_some_and(|since| since + delay <= now);
            let due = old || l.append.flush || l.fresh.has_reserved();
            if due && retry_at.is_some() {
                l.append.phase = AppendPhase::Idle;
            }
            due
        });
    }

    /// Gives up on messages whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        let due = |lane: &LaneIx| self.lanes.get(*lane).and_then(|l| l.fresh.deadline()).is_some_and(|d| d <= now);
        let lanes: Vec<_> = self.schedule.unstored().filter(due).collect();
        for lane in lanes {
            self.expire_lane(lane, now);
        }
    }

    fn expire_lane(&mut self, lane: LaneIx, now: Instant) {
        let Some(l) = self.lanes.get(lane).filter(|l| l.fresh.deadline().is_some_and(|d| d <= now)) else { return };
        let why = if l.append.retry_at().is_some() { Rejection::Store } else { Rejection::Deadline };
        self.give_up(lane, why, |deadline| deadline <= now);
    }

    /// Reports the waiting messages whose deadline is `due`. A message that the store was never given is rejected and
    /// removed. The outcome of any other is unknown, and it stays until the outcome is known.
    fn give_up(&mut self, lane: LaneIx, why: Rejection, due: impl Fn(Instant) -> bool) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let events = &mut self.events;
        let freed = l.fresh.expire(due, |seq, rejected| {
            events.push_back(if rejected {
                OutboundEvent::Rejected { lane, seq, why }
            } else {
                OutboundEvent::Indeterminate { lane, seq }
            });
        });
        self.memory.free(freed);
        self.unblock(lane);
    }

    /// Updates the set of lanes with messages in memory only.
    pub(super) fn note_unstored(&mut self, lane: LaneIx) {
        let unstored = self.lanes.get(lane).is_some_and(|l| l.has_unstored() || l.fresh.deadline().is_some());
        self.schedule.set_unstored(lane, unstored);
    }
}
