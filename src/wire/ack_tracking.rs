//! Ack tracking: how far every lane is acked, which rows may be deleted, and who waits for that.
//!
//! Acks arrive far more often than rows need to be deleted. While one deletion runs, floors only rise; when it has ended, one
//! ranged deletion per lane follows for all lanes that moved. What was acked before it was stored has no rows: its floor
//! is written after a while, or with the next deletion.
//!
//! ```text
//!   handle_acked ────┐                  ┌──▶ Trim       delete the rows up to these floors
//!   handle_trimmed ──┼──▶  floors   ────┼──▶ Resolved   a waiter has what it waits for
//!   handle_idle ─────┤     waiters      └──▶ poll_timeout
//!   handle_timeout ──┘
//! ```
//!
//! After any input call `poll_event` until it returns `None`, then arm a timer for `poll_timeout`.

use crate::types::{NodeId, Seq};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Identifies a waiter. 64 bits never run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaiterId(u64);

/// What the owner has to do or to know. `K` is the key of a lane in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AckEvent<K> {
    /// Delete the rows of each lane up to its floor, then call [`AckTracking::handle_trimmed`]. One at a time.
    Trim(Vec<(K, Seq)>),
    /// What this waiter waits for has come about.
    Resolved(WaiterId),
}

/// The ack floors of a node's lanes. See the [module](self).
#[derive(Debug)]
pub struct AckTracking<K> {
    floor_delay: Duration,
    /// Floors that the store was not given yet.
    due: BTreeMap<K, Seq>,
    /// When floors must be written that have no rows.
    write_at: Option<Instant>,
    /// Rows are to be deleted, so that floors are written at once.
    is_urgent: bool,
    /// A deletion is under way.
    is_trimming: bool,
    /// They wait until the store has every floor.
    settling: Vec<WaiterId>,
    /// They wait until each of these links has been idle once.
    idling: BTreeMap<WaiterId, BTreeSet<NodeId>>,
    last_waiter: u64,
    resolved: VecDeque<WaiterId>,
}

impl<K: Copy + Ord> AckTracking<K> {
    /// Returns a tracker without lanes. `floor_delay` is how long the floor of a lane without rows may wait.
    pub fn new(floor_delay: Duration) -> Self {
        AckTracking {
            floor_delay,
            due: BTreeMap::new(),
            write_at: None,
            is_urgent: false,
            is_trimming: false,
            settling: Vec::new(),
            idling: BTreeMap::new(),
            last_waiter: 0,
            resolved: VecDeque::new(),
        }
    }

    // ---- commands ----

    /// Waits until the store has every floor known now and until then. They are written at once.
    pub fn wait_settled(&mut self) -> WaiterId {
        let waiter = self.waiter();
        self.settling.push(waiter);
        waiter
    }

    /// Waits until the link to each of these peers has been idle: nothing waits for its acks, or it is lost.
    pub fn wait_idle(&mut self, peers: impl IntoIterator<Item = NodeId>) -> WaiterId {
        let waiter = self.waiter();
        let peers: BTreeSet<_> = peers.into_iter().collect();
        if peers.is_empty() {
            self.resolved.push_back(waiter);
        } else {
            self.idling.insert(waiter, peers);
        }
        waiter
    }

    // ---- inputs ----

    /// The receiver is done with everything on the lane up to `through`. `has_rows` says whether the store has rows up to
    /// there.
    pub fn handle_acked(&mut self, now: Instant, lane: K, through: Seq, has_rows: bool) {
        let floor = self.due.entry(lane).or_insert(through);
        *floor = (*floor).max(through);
        self.is_urgent |= has_rows;
        self.write_at.get_or_insert(now + self.floor_delay);
    }

    /// The deletion ended.
    pub fn handle_trimmed(&mut self) {
        self.is_trimming = false;
    }

    /// The link to a peer is idle: nothing waits for its acks any more, or it is lost.
    pub fn handle_idle(&mut self, peer: &NodeId) {
        self.idling.retain(|waiter, peers| {
            peers.remove(peer);
            if peers.is_empty() {
                self.resolved.push_back(*waiter);
            }
            !peers.is_empty()
        });
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.write_at.is_some_and(|at| at <= now) {
            self.is_urgent = true;
        }
    }

    // ---- outputs ----

    /// Returns when to call [`AckTracking::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.write_at.filter(|_| !self.is_urgent)
    }

    /// Returns the next thing for the owner to do.
    pub fn poll_event(&mut self) -> Option<AckEvent<K>> {
        if !self.is_trimming && self.due.is_empty() {
            self.resolved.extend(self.settling.drain(..));
        }
        if let Some(waiter) = self.resolved.pop_front() {
            return Some(AckEvent::Resolved(waiter));
        }
        let is_due = self.is_urgent || !self.settling.is_empty();
        if self.is_trimming || self.due.is_empty() || !is_due {
            return None;
        }
        self.is_trimming = true;
        self.is_urgent = false;
        self.write_at = None;
        Some(AckEvent::Trim(std::mem::take(&mut self.due).into_iter().collect()))
    }

    fn waiter(&mut self) -> WaiterId {
        self.last_waiter += 1;
        WaiterId(self.last_waiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(500);

    fn tracker() -> (AckTracking<u32>, Instant) {
        (AckTracking::new(DELAY), Instant::now())
    }

    fn peer(name: &str) -> NodeId {
        NodeId::new(name).expect("valid")
    }

    fn trim(floors: &[(u32, u64)]) -> Option<AckEvent<u32>> {
        Some(AckEvent::Trim(floors.iter().map(|(lane, through)| (*lane, Seq::new(*through))).collect()))
    }

    #[test]
    fn one_deletion_is_under_way_and_floors_that_rise_meanwhile_are_the_next() {
        let (mut acks, now) = tracker();
        acks.handle_acked(now, 1, Seq::new(3), true);
        assert_eq!(acks.poll_event(), trim(&[(1, 3)]));
        acks.handle_acked(now, 1, Seq::new(5), true);
        acks.handle_acked(now, 2, Seq::new(7), false);
        acks.handle_acked(now, 1, Seq::new(4), true);
        assert_eq!(acks.poll_event(), None);
        acks.handle_trimmed();
        assert_eq!(acks.poll_event(), trim(&[(1, 5), (2, 7)]));
        acks.handle_trimmed();
        assert_eq!((acks.poll_event(), acks.poll_timeout()), (None, None));
    }

    #[test]
    fn the_floor_of_a_lane_without_rows_waits_and_not_for_longer_because_it_rises() {
        let (mut acks, now) = tracker();
        acks.handle_acked(now, 1, Seq::new(1), false);
        acks.handle_acked(now + DELAY / 2, 1, Seq::new(2), false);
        assert_eq!((acks.poll_event(), acks.poll_timeout()), (None, Some(now + DELAY)));
        acks.handle_timeout(now + DELAY / 2);
        assert_eq!(acks.poll_event(), None);
        acks.handle_timeout(now + DELAY);
        assert_eq!(acks.poll_event(), trim(&[(1, 2)]));
    }

    #[test]
    fn all_is_settled_when_the_store_has_every_floor_and_not_before() {
        let (mut acks, now) = tracker();
        let at_once = acks.wait_settled();
        assert_eq!(acks.poll_event(), Some(AckEvent::Resolved(at_once)));
        acks.handle_acked(now, 1, Seq::new(1), true);
        assert_eq!(acks.poll_event(), trim(&[(1, 1)]));
        let waiter = acks.wait_settled();
        assert_eq!(acks.poll_event(), None, "the deletion is under way");
        acks.handle_acked(now, 2, Seq::new(9), false);
        acks.handle_trimmed();
        assert_eq!(acks.poll_event(), trim(&[(2, 9)]), "who waits hurries floors without rows");
        acks.handle_trimmed();
        assert_eq!(acks.poll_event(), Some(AckEvent::Resolved(waiter)));
        assert_eq!(acks.poll_event(), None);
    }

    #[test]
    fn links_are_idle_when_each_has_been() {
        let (mut acks, _) = tracker();
        let nobody = acks.wait_idle([]);
        assert_eq!(acks.poll_event(), Some(AckEvent::Resolved(nobody)));
        let both = acks.wait_idle([peer("a"), peer("b")]);
        let one = acks.wait_idle([peer("b")]);
        acks.handle_idle(&peer("b"));
        acks.handle_idle(&peer("c"));
        assert_eq!(acks.poll_event(), Some(AckEvent::Resolved(one)));
        assert_eq!(acks.poll_event(), None);
        acks.handle_idle(&peer("a"));
        assert_eq!(acks.poll_event(), Some(AckEvent::Resolved(both)));
    }
}
