//! Loads from the durable queue.

use super::queued::{QueuedMessage, QueuedState};
use super::{LaneIx, LoadedPage, Numbered, Outbound, OutboundEvent};
use crate::types::Seq;
use std::time::Instant;

/// State of a lane's loads.
#[derive(Debug, Default)]
pub(super) enum LoadState {
    #[default]
    Idle,
    /// A load is under way. `through` is what was stored when it was asked for.
    UnderWay { id: u64, through: Seq },
    /// The store failed and is not asked again before this time.
    RetryAt(Instant),
}

impl LoadState {
    fn is_idle(&self) -> bool {
        matches!(self, LoadState::Idle)
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self {
            LoadState::RetryAt(at) => Some(*at),
            LoadState::Idle | LoadState::UnderWay { .. } => None,
        }
    }

    /// Ignores the result of the load under way.
    pub(super) fn cancel(&mut self) {
        if let LoadState::UnderWay { .. } = self {
            *self = LoadState::Idle;
        }
    }

    /// Ends the load `id`. Returns what was stored when it was asked for, or `None` for any other load.
    fn end(&mut self, id: u64) -> Option<Seq> {
        match *self {
            LoadState::UnderWay { id: under_way, through } if under_way == id => {
                *self = LoadState::Idle;
                Some(through)
            }
            _ => None,
        }
    }

    /// Allows loads again after a failure.
    fn retry(&mut self) {
        if let LoadState::RetryAt(_) = self {
            *self = LoadState::Idle;
        }
    }
}

impl Outbound {
    /// Asks for the next page when the lane runs out of stored messages.
    pub(super) fn load_lane(&mut self, lane: LaneIx) {
        let limit = self.config.page.messages / 2;
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let has_credit = l.phase.open().is_some_and(|open| open.credit.allows());
        let wanted = l.progress.is_behind() && has_credit && !l.refusals.is_stopped();
        if !wanted || !l.load.is_idle() || l.ready.amount().messages > limit {
            return;
        }
        let id = self.next_load;
        self.next_load += 1;
        l.load = LoadState::UnderWay { id, through: l.progress.stored() };
        self.events.push_back(OutboundEvent::Load { lane, id, after: l.progress.cached() });
    }

    /// Handles a page of the durable queue, or `None` if it could not be read.
    pub fn handle_loaded(&mut self, now: Instant, lane: LaneIx, id: u64, page: Option<LoadedPage>) {
        let Some(l) = self.lanes.get_mut(lane) else { return };
        let Some(known) = l.load.end(id) else { return };
        let Some(LoadedPage { messages, is_last }) = page else {
            l.load = LoadState::RetryAt(now + self.config.store_retry);
            self.schedule.set_reload(lane, true);
            return;
        };
        // A row after what was known to be stored proves that everything known was read.
        let all = is_last || messages.last().is_some_and(|m| m.seq > known);
        let cached = l.progress.cached();
        let mut read = if all { known } else { cached };
        for Numbered { seq, message, .. } in messages {
            if seq <= cached || seq > known {
                continue;
            }
            read = read.max(seq);
            if l.refusals.contains(seq) {
                continue;
            }
            l.ready.push(QueuedMessage { seq, message, state: QueuedState::Stored, since: now, redelivered: true });
        }
        l.progress.advance_cached(read);
        self.enqueue(lane);
    }

    /// Lets the lanes whose load failed load again when it is time.
    pub(super) fn reload_due(&mut self, now: Instant) {
        let retry_at = |lane: LaneIx| self.lanes.get(lane).and_then(|l| l.load.retry_at());
        let due = |lane: &LaneIx| retry_at(*lane).is_none_or(|at| at <= now);
        let lanes: Vec<_> = self.schedule.reload().filter(due).collect();
        for lane in lanes {
            self.schedule.set_reload(lane, false);
            if let Some(l) = self.lanes.get_mut(lane) {
                l.load.retry();
            }
            self.enqueue(lane);
        }
    }
}
