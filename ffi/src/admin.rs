//! Inspects and administers a client. Most operations need only the store and work whether or not the client runs.

use crate::callback_thread::current_client;
use crate::client_state::ClientState;
use crate::error::{ErrorCode, Failure};
use crate::wait::{ask, wait, wait_for};
use liner::Epoch;
use liner::stores::Fence;
use liner::{
    DeadLetter, DeadLetterFilter, DeadLetterId, LaneId, NodeId, PendingByLane, PurgeDeadLetters, ReplayDeadLetters,
    Replayed, Stats, Topic,
};
use serde_json::json;
use std::sync::atomic::Ordering;

/// The number of dead letters read at a time.
const PAGE: usize = 256;

/// The pending messages of one receiver and topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PendingRow {
    pub(crate) addr: String,
    pub(crate) lane: LaneId,
    pub(crate) messages: u64,
}

/// Returns a fence to write with while the client does not run. Its epoch is above every epoch in use, and is not registered,
/// so it fences no other process.
pub(crate) fn unstarted_fence(node: &NodeId) -> Fence {
    Fence { node: node.clone(), epoch: Epoch::new(i64::MAX.cast_unsigned()) }
}

impl ClientState {
    /// Returns such a fence for this client. Fails if the client runs or was fenced.
    pub(crate) fn fence(&self) -> Result<Fence, Failure> {
        match *self.look() {
            Some(_) => Err(Failure::not_running()),
            None => Ok(unstarted_fence(&self.node)),
        }
    }

    /// Returns the addresses of a topic in the store, each with the name of its node.
    pub(crate) fn addresses(&self, topic: &str) -> Result<Vec<(String, String)>, Failure> {
        let entry = wait(self.store.topic(&Topic::new(topic)?))?;
        let rows = entry.routes.iter().flat_map(|r| r.addrs.iter().map(|addr| (addr.clone(), r.node.to_string())));
        Ok(rows.collect())
    }

    /// Returns the pending messages by receiver and topic.
    pub(crate) fn pending(&self) -> Result<Vec<PendingRow>, Failure> {
        let mut rows: Vec<PendingRow> = match self.running() {
            Ok(running) => {
                let lanes = ask(&running.system, PendingByLane)?.into_iter();
                lanes.map(|p| PendingRow { addr: p.addr, lane: p.lane, messages: p.amount.messages }).collect()
            }
            Err(_) => {
                let lanes = wait(self.store.pending(&self.node))?.into_iter();
                lanes.map(|p| PendingRow { addr: String::new(), lane: p.lane, messages: p.amount.messages }).collect()
            }
        };
        for row in rows.iter_mut().filter(|row| row.addr.is_empty()) {
            let routes = wait(self.store.topic(row.lane.topic()))?.routes;
            let route = routes.into_iter().find(|route| route.node == *row.lane.receiver());
            row.addr = route.and_then(|route| route.addrs.into_iter().next()).unwrap_or_default();
        }
        Ok(rows)
    }

    /// Deletes the client's lanes and the messages queued on them.
    pub(crate) fn clear_stored_messages(&self) -> Result<(), Failure> {
        self.while_idle(ErrorCode::ClearWhileRunning, || {
            let fence = self.fence()?;
            for lane in wait(self.store.lanes(&self.node))? {
                wait(self.store.forget_lane(&fence, lane.name()))?;
            }
            Ok(())
        })
    }

    /// Deletes all addresses of the client's own topic.
    pub(crate) fn clear_addresses(&self) -> Result<(), Failure> {
        self.while_idle(ErrorCode::ClearWhileRunning, || {
            wait(self.store.clear_addresses(&self.fence()?, &self.topic)).map(drop)
        })
    }

    // ---- dead letters ----

    /// Returns all dead letters, or those of one topic.
    pub(crate) fn dead_letters(&self, topic: Option<&str>) -> Result<Vec<(DeadLetterId, DeadLetter)>, Failure> {
        let filter = filter(topic, 0)?;
        let mut letters = Vec::new();
        loop {
            let after = letters.last().map(|(id, _)| *id);
            let page = wait(self.store.dead_letters(&self.node, &filter, after, PAGE))?;
            if page.is_empty() {
                return Ok(letters);
            }
            letters.extend(page);
        }
    }

    /// Replays dead letters. Inside a callback it does not wait for the outcome, since the replay may need that callback.
    pub(crate) fn replay(&self, topic: Option<&str>, id: i64) -> Result<Replayed, Failure> {
        let running = self.running()?;
        let replay = running.system.send(ReplayDeadLetters::new(filter(topic, id)?));
        if current_client().is_some() {
            return Ok(Replayed::default());
        }
        // Without a deadline: a callback may take any time.
        let replayed = wait_for(replay, None).and_then(Result::ok).ok_or_else(Failure::not_running)?;
        Ok(replayed?)
    }

    /// Deletes dead letters.
    pub(crate) fn purge(&self, topic: Option<&str>, id: i64) -> Result<u64, Failure> {
        let filter = filter(topic, id)?;
        match self.running() {
            Ok(running) => ask(&running.system, PurgeDeadLetters::new(filter)),
            Err(_) => wait(self.store.purge_dead_letters(&self.fence()?, &filter)),
        }
    }

    // ---- statistics ----

    /// Returns the statistics of the running client as JSON.
    pub(crate) fn stats(&self) -> Result<String, Failure> {
        let running = self.running()?;
        let stats = ask(&running.system, Stats)?;
        let link = |link: &liner::LinkStats| {
            json!({
                "peer": link.peer.as_str(),
                "up": link.up,
                "pending": link.pending.messages,
                "pending_bytes": link.pending.bytes,
                "memory": link.memory.messages,
                "memory_bytes": link.memory.bytes,
            })
        };
        let report = json!({
            "node": stats.node.as_str(),
            "bound": stats.bound.to_string(),
            "published": stats.published,
            "store": stats.store.description,
            "store_durability": stats.store.durability,
            "accepted": stats.accepted,
            "delivered": stats.delivered,
            "handled": stats.handled,
            "acked": stats.acked,
            "redelivered": stats.redelivered,
            "nacked": stats.nacked,
            "dead_lettered": stats.dead_lettered,
            "dropped": stats.dropped + running.dropped.load(Ordering::Relaxed),
            "duplicates": stats.duplicates,
            "bytes_accepted": stats.bytes_accepted,
            "bytes_delivered": stats.bytes_delivered,
            "pending": stats.pending,
            "oldest_pending_ms": stats.oldest_pending.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            "waiting_sends": stats.waiting_sends,
            "links": stats.links.iter().map(link).collect::<Vec<_>>(),
        });
        Ok(report.to_string())
    }
}

fn filter(topic: Option<&str>, id: i64) -> Result<DeadLetterFilter, Failure> {
    let mut filter = DeadLetterFilter::default();
    filter.topic = topic.map(Topic::new).transpose()?;
    if id != 0 {
        filter = filter.id(DeadLetterId::new(id));
    }
    Ok(filter)
}
