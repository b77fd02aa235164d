//! RefusedMessage: a message that the receiver will never take becomes a dead letter in the sender's store.

use super::*;

/// What a receiver said when it refused a message.
pub(super) struct RefusedMessage {
    pub(super) seq: Seq,
    pub(super) incarnation: Incarnation,
    pub(super) message: Option<Body>,
    pub(super) code: RefuseCode,
    pub(super) text: String,
}

impl Sender {
    /// Keeps a refused message as a dead letter. Its body may have to be read first.
    pub(super) fn refused(&mut self, ctx: &mut Context<Self>, lane: LaneIx, refusal: RefusedMessage) {
        let (Some(key), id) = self.link.lane(lane) else { return };
        if refusal.message.is_none() {
            let limit = PageLimit { messages: 1, bytes: usize::MAX };
            let load = self.peers.load.send(Load { lane: key, after: refusal.seq.prev(), limit });
            ctx.spawn(load.into_actor(self).map(move |page, actor, ctx| match page {
                Ok(Ok(page)) => {
                    let found = page.messages.into_iter().find(|m| m.seq == refusal.seq);
                    match found {
                        Some(found) => {
                            actor.refused(ctx, lane, RefusedMessage { message: Some(found.message), ..refusal });
                        }
                        // Cleared meanwhile: there is nothing to keep.
                        None => actor.settle_refused(ctx, lane, refusal.seq),
                    }
                }
                Ok(Err(error)) if !error.is_retryable() => actor.node.store_failed(&error),
                _ => {
                    let wait = actor.node.config.timing.store_retry;
                    ctx.run_later(wait, move |actor, ctx| actor.refused(ctx, lane, refusal));
                }
            }));
            return;
        }
        let Some(message) = refusal.message else { return };
        let reason = format!("{:?}: {}", refusal.code, refusal.text);
        let id = MessageId { lane: id, incarnation: refusal.incarnation, seq: refusal.seq };
        let letter = DeadLetter {
            id: id.clone(),
            origin: DeadLetterOrigin::Refused,
            message,
            reason: reason.clone(),
            attempts: 0,
            died_ms: wall_ms(),
        };
        let writes = vec![Write::DeadLetter(Box::new(letter)), Write::Remove { lane: key, seq: refusal.seq }];
        let commit = self.peers.store.send(Commit::persistent(writes));
        ctx.spawn(commit.into_actor(self).map(move |result, actor, ctx| {
            if let Ok(Ok(_)) = result {
                count(&actor.node.counters.dead_lettered, 1);
                actor.node.event(MeshEvent::DeadLettered { id, reason });
                actor.settle_refused(ctx, lane, refusal.seq);
            }
        }));
    }

    pub(super) fn settle_refused(&mut self, ctx: &mut Context<Self>, lane: LaneIx, seq: Seq) {
        self.link.refused(lane, seq);
        self.drive(ctx);
    }
}
