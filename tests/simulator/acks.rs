//! Acks at a node: floors go to the store, and a stop waits until it has them.

use crate::counters::Hit;
use crate::mesh::Step;
use crate::store::{Op, ReplyTo, Request};
use crate::world::{Coming, World};
use liner::Seq;
use liner::wire::ack_tracking::{AckEvent, WaiterId};
use liner::wire::frame::LaneIx;
use std::time::Duration;

impl World {
    /// The receiver is done with everything on the lane up to `through`.
    pub(crate) fn acked(&mut self, node: usize, peer: usize, lane: LaneIx, through: Seq, has_rows: bool) {
        self.hits.hit(Hit::Acked);
        let now = self.instant();
        let Some(key) = self.keyed(node, peer, lane) else { return };
        let name = self.plan.names[peer].clone();
        let is_idle = self.peer(node, peer).is_some_and(|p| !p.out.has_work());
        let Some(mesh) = self.mesh(node) else { return };
        let floor = mesh.floors.entry(key).or_insert(through);
        *floor = (*floor).max(through);
        mesh.acks.handle_acked(now, key, through, has_rows);
        if is_idle {
            mesh.acks.handle_idle(&name);
        }
        self.drive_acks(node);
    }

    /// The link to a peer is lost.
    pub(crate) fn link_lost(&mut self, node: usize, peer: usize) {
        let name = self.plan.names[peer].clone();
        if let Some(mesh) = self.mesh(node) {
            mesh.acks.handle_idle(&name);
        }
        self.drive_acks(node);
    }

    pub(crate) fn acks_due(&mut self, node: usize) {
        let now = self.instant();
        if let Some(mesh) = self.mesh(node) {
            mesh.acks.handle_timeout(now);
        }
        self.drive_acks(node);
    }

    pub(crate) fn trimmed(&mut self, node: usize) {
        if let Some(mesh) = self.mesh(node) {
            mesh.acks.handle_trimmed();
        }
        self.drive_acks(node);
    }

    pub(crate) fn drive_acks(&mut self, node: usize) {
        let process = self.process_no(node);
        while let Some(event) = self.mesh(node).and_then(|mesh| mesh.acks.poll_event()) {
            match event {
                AckEvent::Trim(floors) => {
                    self.hits.hit(if floors.len() > 1 { Hit::TrimOfSeveral } else { Hit::Trim });
                    let floors = floors.into_iter().map(|((lane, key), through)| (lane, key, through)).collect();
                    let request = Request { node, process, op: Op::Trim { floors }, reply: ReplyTo::Trim };
                    let wait = self.rng.millis(0, 15);
                    self.after(wait, Coming::Submit { request: Box::new(request) });
                }
                AckEvent::Resolved(waiter) => self.resolved(node, waiter),
            }
        }
        let (now, base) = (self.instant(), self.base);
        if let Some(at) = self.mesh(node).and_then(|mesh| mesh.acks.poll_timeout()) {
            let armed = at.max(now).duration_since(base);
            if self.mesh(node).is_some_and(|mesh| mesh.acks_armed.replace(armed) != Some(armed)) {
                self.step_later(node, at.saturating_duration_since(now), Step::Acks);
            }
        }
    }

    /// A stop waits for links to be idle and for the store to have all floors.
    pub(crate) fn wait_idle(&mut self, node: usize) {
        let busy = |peer: &usize| {
            let process = self.nodes[node].process.as_ref();
            process.and_then(|p| p.peers[*peer].as_ref()).is_some_and(|p| p.out.is_up() && p.out.has_work())
        };
        let busy: Vec<_> = (0..self.plan.nodes).filter(busy).map(|peer| self.plan.names[peer].clone()).collect();
        if let Some(mesh) = self.mesh(node) {
            mesh.acks.wait_idle(busy);
        }
        self.drive_acks(node);
    }

    /// Whether the store has every floor; if not, it is waited for.
    pub(crate) fn is_settled(&mut self, node: usize) -> bool {
        let Some(mesh) = self.mesh(node) else { return false };
        if !mesh.is_settled && mesh.settling.is_none() {
            let waiter = mesh.acks.wait_settled();
            mesh.settling = Some((waiter, mesh.floors.clone()));
            self.drive_acks(node);
        }
        self.mesh(node).is_some_and(|mesh| mesh.is_settled)
    }

    fn resolved(&mut self, node: usize, waiter: WaiterId) {
        let Some(mesh) = self.mesh(node) else { return };
        let Some((_, floors)) = mesh.settling.take_if(|(settling, _)| *settling == waiter) else {
            return self.hits.hit(Hit::LinksIdle);
        };
        mesh.is_settled = true;
        self.hits.hit(Hit::Settled);
        let store = self.plan.store_of[node];
        for ((lane, key), floor) in floors {
            let Some(l) = self.stores[store].send.get(&lane).filter(|l| l.key == key) else { continue };
            if l.acked < floor {
                let acked = l.acked;
                self.checker
                    .fail(20, format!("lane {lane}: all is settled, and {floor} is acked, {acked} in the store"));
            }
        }
        let (process, peer) = (self.process_no(node), (node + 1) % self.plan.nodes);
        self.after(Duration::ZERO, Coming::Drive { node, process, peer });
    }
}
