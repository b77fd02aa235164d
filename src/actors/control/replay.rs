//! Replay of dead letters.

use crate::actors::messages::{Delivery, Replayed, Sink};
use crate::actors::node::{Node, count};
use crate::actors::receiving::subscriber::outlet::deliver_once;
use crate::actors::sending::link::Link;
use crate::actors::sending::queue::{LaneOpened, open_lane};
use crate::actors::sending::sender::stored;
use crate::actors::storing::store::store_gone;
use crate::actors::storing::store::{Commit, OpenOutbox};
use crate::error::AdminError;
use crate::stores::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin, StoreError, Write};
use crate::types::{LaneId, Topic};
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{Body, GroupOutcome};
use actix::prelude::*;
use std::sync::Arc;

/// The number of letters read at a time.
const PAGE: usize = 256;

/// Requests the subscriber of a topic.
#[derive(Debug, Message)]
#[rtype(result = "Option<Sink>")]
pub(crate) struct FindSink(pub(crate) Topic);

/// Requests the link and lane that a message of this node is sent on.
#[derive(Debug, Message)]
#[rtype(result = "ReplayLane")]
pub(crate) struct FindLane(pub(crate) LaneId);

/// One end of a lane.
pub(crate) struct ReplayLane {
    pub(crate) link: Arc<Link>,
    pub(crate) lane: LaneIx,
}

/// The parts of the system that a replay needs.
pub(crate) struct Replay {
    pub(crate) node: Arc<Node>,
    pub(crate) store: Recipient<Commit>,
    pub(crate) open: Recipient<OpenOutbox>,
    pub(crate) opened: Recipient<LaneOpened>,
    pub(crate) system: Addr<crate::actors::control::system::LinerSystem>,
}

/// Replays every letter that the filter selects, once.
pub(crate) async fn replay(context: Replay, filter: DeadLetterFilter) -> Result<Replayed, AdminError> {
    let mut replayed = Replayed::default();
    let mut after = None;
    loop {
        let node = &context.node;
        let letters = node.store.dead_letters(&node.id, &filter, after, PAGE).await?;
        let Some((last, _)) = letters.last() else { return Ok(replayed) };
        after = Some(*last);
        for (id, letter) in letters {
            let done = match letter.origin {
                DeadLetterOrigin::Handler => context.hand_over(id, letter).await?,
                DeadLetterOrigin::Refused => context.append(id, letter).await?,
            };
            if done {
                replayed.done += 1;
            } else {
                replayed.failed += 1;
            }
        }
    }
}

impl Replay {
    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let commit = Commit { writes, synced: false, persistent: false };
        self.store.send(commit).await.unwrap_or_else(|e| Err(store_gone(&e))).map(|_| ())
    }

    /// Hands a letter to the subscriber that failed it. The letter is removed once the message is handled.
    async fn hand_over(&self, id: DeadLetterId, letter: DeadLetter) -> Result<bool, AdminError> {
        let topic = letter.id.lane.topic().clone();
        let Ok(Some(sink)) = self.system.send(FindSink(topic)).await else { return Ok(false) };
        let delivery = Delivery {
            id: letter.id,
            attempt: letter.attempts + 1,
            redelivered: true,
            headers: letter.message.headers,
            payload: letter.message.payload,
        };
        if !deliver_once(sink, delivery).await {
            return Ok(false);
        }
        self.commit(vec![Write::RemoveDeadLetter(id)]).await?;
        Ok(true)
    }

    /// Appends a letter to its lane under a new number. The letter is removed in the same transaction.
    async fn append(&self, id: DeadLetterId, letter: DeadLetter) -> Result<bool, AdminError> {
        let found = self.system.send(FindLane(letter.id.lane)).await;
        let Ok(ReplayLane { link, lane }) = found else { return Ok(false) };
        open_lane(&self.open, &self.opened, &link, lane).await?;
        let body = Body::Shared(&letter.message.payload);
        let Ok(receipt) = link.reserve(lane, &letter.message.headers, body) else { return Ok(false) };
        let Some(key) = link.lane(lane).0 else { return Ok(false) };
        let seq = receipt.id.seq;
        let append = Write::Append { lane: key, messages: stored(link.group_rows(lane, seq)) };
        let result = self.commit(vec![append, Write::RemoveDeadLetter(id)]).await;
        link.finish_group(lane, seq, if result.is_ok() { GroupOutcome::Committed } else { GroupOutcome::Rejected });
        result?;
        count(&self.node.counters.accepted, 1);
        count(&self.node.counters.bytes_accepted, letter.message.size() as u64);
        Ok(true)
    }
}
