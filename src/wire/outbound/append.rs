//! What goes to and comes from the durable queue, and the deadlines of what waits for it.

use super::*;

/// Pages of committed messages that stay in memory to be sent. What is beyond must be loaded when its turn comes.
const KEPT_PAGES: u64 = 4;

impl Outbound {
    /// The append of a lane ended.
    pub fn handle_append(&mut self, now: Instant, lane: LaneIx, outcome: AppendOutcome) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let Some(through) = l.appending.take() else { return };
        match outcome {
            AppendOutcome::Done => self.appended(lane, through),
            AppendOutcome::Failed | AppendOutcome::Fatal => l.end_append(StoreHandoff::NotGiven),
            AppendOutcome::Unknown => l.end_append(StoreHandoff::Unknown),
        }
        if let Some(l) = lane_mut(&mut self.lanes, lane).filter(|_| outcome != AppendOutcome::Done) {
            l.append_after = Some(now + self.config.store_retry);
        }
        if outcome == AppendOutcome::Fatal {
            self.give_up(lane, Rejection::Store, |_| true);
        }
        self.expire_lane(lane, now);
        self.note_unstored(lane);
    }

    fn appended(&mut self, lane: LaneIx, through: Seq) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        l.append_after = None;
        if let Some(through) = l.mark_stored(through) {
            self.events.push_back(OutboundEvent::Accepted { lane, through });
        }
        self.settle(lane, through);
        self.commit_more(lane);
    }

    /// Goes on writing if somebody waits for it.
    fn commit_more(&mut self, lane: LaneIx) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        l.flush &= l.has_unstored();
        if l.reserved > 0 || l.flush {
            self.committing.insert(lane);
        }
    }

    /// A message that others waited behind is gone from memory: they go on.
    pub(super) fn unblock(&mut self, lane: LaneIx) {
        let Some(stored) = self.get(lane).map(|l| l.stored) else { return };
        self.settle(lane, stored);
        self.commit_more(lane);
        self.note_unstored(lane);
    }

    /// What is committed up to `through` leaves the memory that was kept for it, and may be sent.
    fn settle(&mut self, lane: LaneIx, through: Seq) {
        let up = self.is_up();
        let page = self.config.page;
        let (messages, bytes) = (KEPT_PAGES * page.messages, KEPT_PAGES * page.bytes);
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let mut freed = Volume::default();
        let (segments, transmit) = (&mut self.segments, &mut self.transmit);
        l.inflight.mark_stored(through, |kept, size| {
            freed.add(size);
            if let Retained::Frame(frame) = kept {
                release(segments, transmit, frame, 1);
            }
        });
        let settled = l.settle(through, |l| up && (l.ready.len() as u64) < messages && (l.ready_bytes as u64) < bytes);
        self.memory.remove_all(freed);
        self.memory.remove_all(settled);
        self.make_room();
        self.wake_lane(lane);
    }

    /// The append that the caller ran for a message offered with [`AcceptMode::Group`] ended. With `Some(true)` the message is
    /// committed, with `Some(false)` it is accepted as write-behind, with `None` it is rejected. `Some(false)` is not allowed
    /// while a later group of the same lane is under way: its rows do not have this message.
    pub fn finish_group(&mut self, lane: LaneIx, seq: Seq, committed: Option<bool>) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let Some(at) = l.fresh.iter().position(|i| i.seq == seq) else { return };
        match committed {
            Some(true) => {
                l.mark_group_stored(seq);
                self.settle(lane, seq);
                self.refuse_again(lane, seq);
            }
            Some(false) => {
                l.fresh[at].state = QueuedState::Accepted;
                l.pending.add(l.fresh[at].message.size());
                // What was committed behind it is sent only when it is stored, too.
                l.flush |= l.fresh.iter().any(|i| i.state == QueuedState::Stored);
            }
            None => {
                if let Some(item) = l.fresh.remove(at) {
                    self.memory.remove(item.message.size());
                }
            }
        }
        self.unblock(lane);
    }

    /// The rows a group append must write for this lane: what was accepted before `seq`, and the message itself.
    pub fn group_rows(&mut self, lane: LaneIx, seq: Seq) -> Vec<Numbered> {
        self.seal();
        let Some(l) = self.get(lane) else { return Vec::new() };
        let mut rows = l.accepted_rows(&self.segments);
        rows.retain(|row| row.seq < seq);
        rows.extend(l.fresh.iter().find(|i| i.seq == seq).map(|i| l.numbered(seq, i.message.clone())));
        rows
    }

    /// A page of the durable queue: messages in number order, and whether the queue held nothing behind them. `None`: it
    /// could not be read.
    pub fn handle_loaded(&mut self, now: Instant, lane: LaneIx, id: u64, page: Option<(Vec<Numbered>, bool)>) {
        let Some(l) = lane_mut(&mut self.lanes, lane).filter(|l| l.loading == Some(id)) else { return };
        l.loading = None;
        let Some((messages, end)) = page else {
            l.load_after = Some(now + self.config.store_retry);
            self.reload.insert(lane);
            return;
        };
        let known = l.load_through;
        // A row beyond what was known to be stored proves that everything known was read.
        let all = end || messages.last().is_some_and(|m| m.seq > known);
        let mut read = if all { known } else { l.covered() };
        for Numbered { seq, message, .. } in messages {
            if seq <= l.covered() || seq > known {
                continue;
            }
            read = read.max(seq);
            if l.refusals.contains_key(&seq) {
                continue;
            }
            l.ready_bytes += message.size();
            l.ready.push_back(QueuedMessage {
                seq,
                message,
                state: QueuedState::Stored,
                since: now,
                redelivered: true,
            });
        }
        l.cached = l.covered().max(read);
        self.enqueue(lane);
    }

    /// Writes all that only memory holds, for a shutdown.
    pub fn flush(&mut self) {
        for l in self.lanes.iter_mut().flatten().filter(|l| l.has_unstored()) {
            l.flush = true;
            self.unstored.insert(l.ix);
            self.committing.insert(l.ix);
        }
    }

    /// Whether something accepted is in memory only.
    pub fn has_unstored(&self) -> bool {
        self.unstored.iter().any(|lane| self.get(*lane).is_some_and(SendLane::has_unstored))
    }

    /// The next append that is due and whose lane has none under way.
    pub(super) fn next_append(&mut self) -> Option<OutboundEvent> {
        while let Some(lane) = self.committing.pop_first() {
            self.seal();
            let limit = self.config.append_messages;
            let Some(l) = lane_mut(&mut self.lanes, lane) else { continue };
            if l.appending.is_some() || l.append_after.is_some() {
                continue;
            }
            let (messages, synced) = l.take_rows(&self.segments, limit);
            let Some(last) = messages.last() else { continue };
            l.appending = Some(last.seq);
            return Some(OutboundEvent::Append { lane, messages, synced });
        }
        None
    }

    /// When something of the lane is due to be written, or a deadline passes.
    pub(super) fn append_at(&self, l: &SendLane) -> Option<Instant> {
        let due = match l.appending {
            Some(_) => None,
            None if l.reserved > 0 || l.flush => l.append_after,
            None => {
                let due = l.unstored_since(&self.segments).map(|since| since + self.config.write_behind_delay);
                due.map(|due| l.append_after.map_or(due, |after| due.max(after)))
            }
        };
        [due, l.deadline].into_iter().flatten().min()
    }

    /// Notes the lanes whose messages must be written now.
    pub(super) fn append_due(&mut self, now: Instant) {
        let segments = &self.segments;
        for lane in &self.unstored {
            let Some(l) = lane_mut(&mut self.lanes, *lane) else { continue };
            if l.append_after.is_some_and(|at| at > now) {
                continue;
            }
            let old = l.unstored_since(segments).is_some_and(|since| since + self.config.write_behind_delay <= now);
            if old || l.flush || l.reserved > 0 {
                l.append_after = None;
                self.committing.insert(*lane);
            }
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let due = |lane: &LaneIx| self.get(*lane).and_then(|l| l.deadline).is_some_and(|d| d <= now);
        let lanes: Vec<_> = self.unstored.iter().copied().filter(due).collect();
        for lane in lanes {
            self.expire_lane(lane, now);
        }
    }

    /// Answers those whose deadline has passed.
    fn expire_lane(&mut self, lane: LaneIx, now: Instant) {
        let Some(l) = self.get(lane).filter(|l| l.deadline.is_some_and(|d| d <= now)) else { return };
        let why = if l.append_after.is_some() { Rejection::Store } else { Rejection::Deadline };
        self.give_up(lane, why, |deadline| deadline <= now);
    }

    /// Answers the waiting messages whose deadline is `due`: rejected and gone if the store never had them; else the
    /// outcome is unknown, and they stay until it is known.
    fn give_up(&mut self, lane: LaneIx, why: Rejection, due: impl Fn(Instant) -> bool) {
        let Some(l) = lane_mut(&mut self.lanes, lane) else { return };
        let mut next: Option<Instant> = None;
        let mut freed = Volume::default();
        let events = &mut self.events;
        l.fresh.retain_mut(|item| {
            let QueuedState::Reserved { deadline, given, .. } = &mut item.state else { return true };
            match given {
                _ if !due(*deadline) => next = Some(next.map_or(*deadline, |d| d.min(*deadline))),
                StoreHandoff::Reported => {}
                StoreHandoff::InAppend | StoreHandoff::Unknown => {
                    *given = StoreHandoff::Reported;
                    events.push_back(OutboundEvent::Indeterminate { lane, seq: item.seq });
                }
                StoreHandoff::NotGiven => {
                    freed.add(item.message.size());
                    events.push_back(OutboundEvent::Rejected { lane, seq: item.seq, why });
                    return false;
                }
            }
            true
        });
        l.deadline = next;
        l.reserved -= usize::try_from(freed.messages).expect("counts what memory held");
        self.memory.remove_all(freed);
        self.unblock(lane);
    }

    /// Keeps the set of lanes with messages in memory only.
    pub(super) fn note_unstored(&mut self, lane: LaneIx) {
        if self.get(lane).is_some_and(|l| l.has_unstored() || l.deadline.is_some()) {
            self.unstored.insert(lane);
        } else {
            self.unstored.remove(&lane);
        }
    }
}
