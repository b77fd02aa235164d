//! Deadlines of the receiving half.

use super::lane::RecvLane;
use super::{Disposition, Inbound, InboundEvent, LaneSlot};
use crate::wire::codec;
use crate::wire::frame::Frame;
use crate::wire::heartbeat::{Heartbeat, Silence};
use std::time::Instant;

impl Inbound {
    /// Returns when to call [`Inbound::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let lanes = self.schedule.timed().filter_map(|slot| self.deadline(slot)).min();
        let heartbeat = self.heartbeat.as_ref().map(Heartbeat::deadline);
        let acks = self.acks.due().filter(|_| heartbeat.is_some());
        [lanes, heartbeat, acks].into_iter().flatten().min()
    }

    fn deadline(&self, slot: LaneSlot) -> Option<Instant> {
        let lane = &self.lanes[slot];
        let blocked = lane.gate.deadline().filter(|_| !self.draining);
        [blocked, lane.cursors.commit_deadline(), subscriber_deadline(lane)].into_iter().flatten().min()
    }

    /// Handles that time has passed. `random` is any 64 random bits.
    pub fn handle_timeout(&mut self, now: Instant, random: u64) {
        if let Some(heartbeat) = &mut self.heartbeat {
            match heartbeat.check(now) {
                Silence::Fine => {}
                Silence::Ask => codec::encode(&Frame::Ping(0), &mut self.tx),
                Silence::Dead => self.events.push_back(InboundEvent::Silent),
            }
        }
        self.acks.handle_timeout(now);
        let due = |slot: &LaneSlot| self.deadline(*slot).is_some_and(|d| d <= now);
        let due: Vec<_> = self.schedule.timed().filter(due).collect();
        for slot in due {
            self.expire(now, slot, random);
            let lane = &mut self.lanes[slot];
            if lane.cursors.commit_due().is_some_and(|d| d <= now) {
                self.schedule.commit(slot);
            }
            self.schedule.enqueue(slot, lane);
        }
        self.schedule.retain_timed(|slot| is_timed(&self.lanes[slot]));
    }

    /// Fails the messages that the subscriber has had for too long.
    fn expire(&mut self, now: Instant, slot: LaneSlot, random: u64) {
        let lane = &self.lanes[slot];
        let Some(timeout) = lane.gate.subscriber().and_then(|s| s.timeout) else { return };
        let late = lane.queue.iter().filter(|(_, e)| e.handed_since().is_some_and(|since| since + timeout <= now));
        let overdue: Vec<_> = late.map(|(token, e)| (token, e.handed)).collect();
        for (token, attempt) in overdue {
            self.events.push_back(InboundEvent::Overdue { slot, token, attempt });
            let reason = format!("no reply within {timeout:?}");
            self.handle_disposition(now, slot, token, attempt, Disposition::Failed { delay: None, reason }, || random);
        }
    }
}

/// When the subscriber has had a message for too long.
fn subscriber_deadline(lane: &RecvLane) -> Option<Instant> {
    let timeout = lane.gate.subscriber()?.timeout?;
    lane.queue.iter().filter_map(|(_, e)| e.handed_since()).min().map(|since| since + timeout)
}

/// Whether a lane may have a deadline.
fn is_timed(lane: &RecvLane) -> bool {
    lane.gate.is_blocked() || lane.cursors.commit_due().is_some() || lane.gate.outstanding() > 0
}
