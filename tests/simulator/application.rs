//! What uses the nodes: applications that send.

use crate::checker::{Mode, Sent, Told, body, headers};
use crate::counters::Hit;
use crate::node::Group;
use crate::store::{Op, ReplyTo, Request};
use crate::trace;
use crate::world::{Coming, LaneNo, World};
use liner::wire::outbound::{AcceptMode, Body, GroupOutcome, OfferError};
use liner::{Payload, Seq};

/// What is to be sent.
pub(crate) struct Draft {
    pub(crate) id: u64,
    pub(crate) len: usize,
    pub(crate) headers: bool,
}

impl World {
    pub(crate) fn work(&mut self, node: usize) {
        if self.healed {
            return;
        }
        let wait = self.rng.micros(50, 2 * self.plan.work_every);
        self.after(wait, Coming::Work { node });
        if self.nodes[node].process.as_ref().is_none_or(|p| p.stopping) {
            return;
        }
        let mine: Vec<_> = (0..self.plan.lanes.len()).filter(|l| self.plan.lanes[*l].sender == node).collect();
        if mine.is_empty() {
            return;
        }
        let lane = mine[self.rng.index(mine.len())];
        if self.rng.chance(self.plan.clear) {
            return self.clear(node, lane);
        }
        if self.rng.chance(self.plan.forget) {
            return self.forget(node, lane);
        }
        if self.rng.chance(self.plan.resubscribe) {
            return self.resubscribe(node);
        }
        match self.rng.below(14) {
            0 => self.send_direct(node, lane),
            1 => self.send_group(node, &mine),
            2..6 => {
                let burst = if self.rng.chance(150) { self.rng.between(2, 8) } else { 1 };
                for _ in 0..burst {
                    self.publish(node);
                }
            }
            _ => {
                let burst = if self.rng.chance(100) { self.rng.between(2, 12) } else { 1 };
                for _ in 0..burst {
                    self.send(node, lane);
                }
            }
        }
    }

    pub(crate) fn draft(&mut self, smallest: usize) -> Draft {
        let id = self.next_id;
        self.next_id += 1;
        let len = match self.rng.below(20) {
            0..3 => self.rng.between(1, 7),
            3..15 => self.rng.between(8, 60),
            15..19 => self.rng.between(61, 240),
            _ => self.rng.between(241, 500),
        };
        let len = usize::try_from(len).expect("small").max(smallest);
        let headers = self.rng.chance(150);
        if headers {
            self.hits.hit(Hit::Headers);
        }
        if len > crate::faults::PART_BYTES {
            self.hits.hit(Hit::ManyParts);
        }
        Draft { id, len, headers }
    }

    /// Opens the lane if that was not done. Whether messages may be offered.
    fn is_open(&mut self, node: usize, lane: LaneNo) -> bool {
        let peer = self.plan.lanes[lane].receiver;
        let open = self.peer(node, peer).and_then(|p| p.side(lane)).is_some_and(|s| s.key.is_some());
        if !open {
            self.open_lane(node, peer, lane);
            self.drive(node, peer);
        }
        open && self.nodes[node].process.is_some()
    }

    fn send(&mut self, node: usize, lane: LaneNo) {
        if !self.is_open(node, lane) {
            return;
        }
        let mode = match self.rng.below(10) {
            0..5 => Mode::WriteBehind,
            5..9 => Mode::Committed,
            _ => Mode::Synced,
        };
        let wait = self.rng.millis(10, 300);
        let deadline = self.instant() + wait;
        let promise = match mode {
            Mode::WriteBehind => AcceptMode::WriteBehind,
            _ => AcceptMode::Stored { deadline, synced: mode == Mode::Synced },
        };
        let peer = self.plan.lanes[lane].receiver;
        if self.offer(node, lane, mode, promise).is_none() {
            return;
        }
        self.hits.hit(match mode {
            Mode::WriteBehind => Hit::WriteBehind,
            Mode::Committed => Hit::Committed,
            _ => Hit::Synced,
        });
        if self.rng.chance(600) {
            self.drive(node, peer);
        } else {
            // A producer on another thread: the link's actor looks a little later.
            self.arm_soon(node, peer);
        }
    }

    pub(crate) fn arm_soon(&mut self, node: usize, peer: usize) {
        let process = self.process_no(node);
        let wait = self.rng.micros(0, 400);
        self.after(wait, Coming::Drive { node, process, peer });
    }

    /// Offers one message. Returns its number, if it was taken.
    fn offer(&mut self, node: usize, lane: LaneNo, mode: Mode, promise: AcceptMode) -> Option<Seq> {
        let draft = self.draft(1);
        let (now, at) = (self.instant(), self.now);
        let payload = body(draft.id, draft.len);
        let shared = self.rng.chance(500).then(|| Payload::new(payload.clone()).expect("not empty"));
        let body = shared.as_ref().map_or(Body::Borrowed(&payload), Body::Shared);
        let process = self.process_no(node);
        let p = self.peer(node, self.plan.lanes[lane].receiver)?;
        let side = p.side(lane)?;
        let (ix, incarnation) = (side.ix?, side.incarnation?);
        match p.out.offer(|| now, ix, &headers(draft.id, draft.headers), body, promise) {
            Ok(seq) => {
                let told = if mode == Mode::WriteBehind { Told::Accepted } else { Told::Nothing };
                let sent = Sent::new((draft.id, draft.len, draft.headers), mode, told, at, process);
                trace!(self, "node {node}: lane {lane} takes {seq} {mode:?}, {} bytes, id {}", draft.len, draft.id);
                self.checker.offered(lane, incarnation, seq, sent);
                Some(seq)
            }
            Err(error) => {
                p.starved |= error == OfferError::Full;
                self.hits.hit(if error == OfferError::Full { Hit::Full } else { Hit::LaneFull });
                None
            }
        }
    }

    fn send_direct(&mut self, node: usize, lane: LaneNo) {
        let draft = self.draft(8);
        let payload = body(draft.id, draft.len);
        let def = &self.plan.lanes[lane];
        let (peer, source, topic) = (def.receiver, def.source.clone(), def.topic.clone());
        let Some(p) = self.peer(node, peer) else { return };
        let ix = p.out.add_lane(&source, &topic);
        if let Some(side) = p.side(lane) {
            side.ix = Some(ix);
        }
        match p.out.offer_direct(ix, &headers(draft.id, draft.headers), Body::Borrowed(&payload)) {
            Ok(()) => {
                self.checker.offered_direct(lane, draft.id, draft.len, draft.headers);
                self.hits.hit(Hit::AtMostOnce);
            }
            Err(OfferError::Unreachable) => self.hits.hit(Hit::Unreachable),
            Err(_) => {
                p.starved = true;
                self.hits.hit(Hit::Full);
            }
        }
        self.drive(node, peer);
    }

    fn send_group(&mut self, node: usize, mine: &[LaneNo]) {
        let mut lanes = Vec::new();
        for _ in 0..3 {
            let lane = mine[self.rng.index(mine.len())];
            if !lanes.contains(&lane) && self.is_open(node, lane) {
                lanes.push(lane);
            }
        }
        if self.nodes[node].process.is_none() {
            return;
        }
        let process = self.process_no(node);
        let (mut members, mut rows, mut full) = (Vec::new(), Vec::new(), false);
        for lane in lanes {
            let peer = self.plan.lanes[lane].receiver;
            let Some(seq) = self.offer(node, lane, Mode::GroupCommitted, AcceptMode::Group) else {
                full = true;
                break;
            };
            let Some(p) = self.peer(node, peer) else { return };
            let Some(side) = p.side(lane) else { return };
            let (Some(ix), Some(key), Some(incarnation)) = (side.ix, side.key, side.incarnation) else { return };
            rows.push((lane, key, p.out.group_rows(ix, seq)));
            members.push((peer, lane, ix, incarnation, seq));
        }
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { node, process, op: Op::Append { rows }, reply: ReplyTo::Group(id) };
        let fall_back = self.rng.chance(500);
        let group = Group { node, process, members, request: request.clone(), fall_back, told: false };
        if full {
            return self.finish_group(group, GroupOutcome::Rejected);
        }
        if self.rng.chance(200) {
            return self.finish_group(group, GroupOutcome::WriteBehind);
        }
        if !group.members.is_empty() {
            trace!(self, "node {node}: group {id} of {:?}", group.members);
            self.groups.insert(id, group);
            self.submit(request);
        }
    }

    fn clear(&mut self, node: usize, lane: LaneNo) {
        let peer = self.plan.lanes[lane].receiver;
        let process = self.process_no(node);
        let Some(key) = self.peer(node, peer).and_then(|p| p.side(lane)).and_then(|s| s.key) else { return };
        self.hits.hit(Hit::ClearedLane);
        self.submit(Request { node, process, op: Op::Clear { lane, key }, reply: ReplyTo::Clear { peer } });
    }

    fn forget(&mut self, node: usize, lane: LaneNo) {
        let peer = self.plan.lanes[lane].receiver;
        let process = self.process_no(node);
        let Some(p) = self.peer(node, peer) else { return };
        let Some(side) = p.side(lane) else { return };
        let (Some(key), Some(ix)) = (side.key, side.ix) else { return };
        p.out.remove_lane(ix);
        // What the machine said before it forgot the lane still counts.
        self.drive(node, peer);
        let Some(side) = self.peer(node, peer).and_then(|p| p.side(lane)) else { return };
        side.reset();
        side.forgetting = true;
        self.hits.hit(Hit::ForgottenLane);
        trace!(self, "node {node}: forgets lane {lane}");
        self.checker.forget(lane);
        self.forget_route(node, lane);
        self.submit(Request { node, process, op: Op::Forget { lane, key }, reply: ReplyTo::Forget { peer } });
    }
}
