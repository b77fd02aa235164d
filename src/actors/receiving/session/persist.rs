//! The requests of a session to the store, and how their results are handled.

use super::*;
use crate::actors::storing::store::store_gone;
use crate::stores::Write;

impl Session {
    pub(super) fn open(&mut self, ctx: &mut Context<Self>, slot: LaneSlot, lane: LaneId) {
        let open = self.peers.open.send(OpenInbox { lane: lane.clone() });
        ctx.spawn(open.into_actor(self).map(move |result, actor, ctx| {
            match result.unwrap_or_else(|e| Err(store_gone(&e))) {
                Ok(found) => {
                    actor.check_withdrawn(ctx, lane.topic().clone());
                    actor.keys.insert(slot, found.key);
                    actor.inbound.handle_opened(slot, found.cursor, found.attempts);
                    actor.drive(ctx);
                }
                Err(error) => {
                    actor.node.inbox_failed(&error);
                    if error.is_retryable() {
                        let wait = actor.node.config.timing.store_retry;
                        ctx.run_later(wait, move |actor, ctx| actor.open(ctx, slot, lane));
                    }
                }
            }
        }));
    }

    /// Looks up whether an earlier process of this name unsubscribed from the topic, and announces it if so.
    pub(super) fn check_withdrawn(&mut self, ctx: &mut Context<Self>, topic: Topic) {
        let node = self.node.clone();
        let look = async move {
            let entry = node.store.topic(&topic).await;
            let withdrawn = entry.is_ok_and(|entry| entry.tombstones.contains(&node.id));
            (topic, withdrawn)
        };
        ctx.spawn(look.into_actor(self).map(|(topic, withdrawn), actor, ctx| {
            if withdrawn && actor.withdrawn.insert(topic.clone()) {
                actor.inbound.announce(topic, false);
                actor.drive(ctx);
            }
        }));
    }

    pub(super) fn advance(
        &mut self,
        ctx: &mut Context<Self>,
        slot: LaneSlot,
        expected: Option<Incarnation>,
        cursor: Cursor,
    ) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let commit = self.peers.store.send(Commit::persistent(vec![Write::Advance { lane, expected, cursor }]));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            let Ok(Ok(committed)) = result else { return };
            if committed.stale.contains(&lane) {
                actor.reread(ctx, slot);
            } else {
                actor.inbound.handle_advanced(slot, Ok(()));
                actor.drive(ctx);
            }
        }));
    }

    /// Reads the stored cursor again: it is not the expected one.
    pub(super) fn reread(&mut self, ctx: &mut Context<Self>, slot: LaneSlot) {
        let open = self.peers.open.send(OpenInbox { lane: self.inbound.lane(slot).clone() });
        ctx.spawn(open.into_actor(self).map(move |result, actor, ctx| match result {
            Ok(Ok(found)) => {
                actor.keys.insert(slot, found.key);
                actor.inbound.handle_advanced(slot, Err(found.cursor));
                actor.drive(ctx);
            }
            _ => {
                let wait = actor.node.config.timing.store_retry;
                ctx.run_later(wait, move |actor, ctx| actor.reread(ctx, slot));
            }
        }));
    }

    pub(super) fn commit(
        &mut self,
        ctx: &mut Context<Self>,
        slot: LaneSlot,
        write: impl FnOnce(LaneKey) -> Write,
        done: impl FnOnce(&mut Self) + 'static,
    ) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let commit = self.peers.store.send(Commit::persistent(vec![write(lane)]));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            if let Ok(Ok(_)) = result {
                done(actor);
                actor.drive(ctx);
            }
        }));
    }

    pub(super) fn dead_letter(
        &mut self,
        ctx: &mut Context<Self>,
        slot: LaneSlot,
        token: u64,
        letter: DeadLetter,
        advance: Option<(Option<Incarnation>, Cursor)>,
    ) {
        let Some(lane) = self.keys.get(&slot).copied() else { return };
        let (id, reason) = (letter.id.clone(), letter.reason.clone());
        let mut writes = vec![Write::DeadLetter(Box::new(letter))];
        writes.extend(advance.map(|(expected, cursor)| Write::Advance { lane, expected, cursor }));
        let commit = self.peers.store.send(Commit::persistent(writes));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            if let Ok(Ok(_)) = result {
                count(&actor.node.counters.dead_lettered, 1);
                actor.node.event(MeshEvent::DeadLettered { id, reason });
                actor.inbound.handle_dead_lettered(Instant::now(), slot, token);
                actor.drive(ctx);
            }
        }));
    }
}
