//! Finding, opening, reading and dropping lanes.

use super::commit::{Known, capped};
use super::connection::RetryingConnection;
use super::error::Outcome;
use super::script::{CLEAR, FORGET, LANE, LANES, LOAD, OPEN, ScriptReply};
use crate::stores::shared::chain::Chain;
use crate::stores::shared::{naming, row};
use crate::stores::{Amount, Fence, InboxLane, LaneKey, OutboxLane, Page, PageLimit, PendingLane, Span, StoreError};
use crate::types::{Cursor, Incarnation, LaneId, LaneName, NodeId, Seq, Topic};

/// How often an opening is tried again because its sender appends meanwhile, which it does not.
const ATTEMPTS: usize = 16;

/// Where a row says when its message was accepted.
const ACCEPTED: std::ops::Range<usize> = 17..25;

/// A lane as the script describes it.
struct Found {
    key: LaneKey,
    born: String,
    /// As they are stored.
    spans: String,
    chain: Chain,
    acked: Seq,
    /// Above every number that was ever queued or acked.
    next: Seq,
    pending: Amount,
    /// Nothing is queued up to here.
    floor: Seq,
    cursor: Option<Cursor>,
    attempts: Vec<(Incarnation, Seq, u32)>,
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} of a lane cannot be read").into())
}

fn number(text: &str, what: &str) -> Result<u64, StoreError> {
    text.parse().map_err(|_| damaged(what))
}

fn incarnation(text: &str) -> Result<Option<Incarnation>, StoreError> {
    if text.is_empty() { Ok(None) } else { Ok(Some(Incarnation::new(number(text, "an incarnation")?))) }
}

/// `incarnation:number`.
fn numbered(text: &str) -> Result<(Incarnation, Seq), StoreError> {
    let (of, seq) = text.split_once(':').ok_or_else(|| damaged("a number"))?;
    Ok((Incarnation::new(number(of, "an incarnation")?), Seq::new(number(seq, "a number")?)))
}

/// `incarnation:first`, separated by commas, oldest first.
fn spans(text: &str) -> Result<Vec<Span>, StoreError> {
    let span = |part: &str| numbered(part).map(|(incarnation, first)| Span { incarnation, first });
    text.split(',').filter(|part| !part.is_empty()).map(span).collect()
}

fn spans_text(spans: &[Span]) -> String {
    let parts: Vec<_> = spans.iter().map(|s| format!("{}:{}", s.incarnation.get(), s.first.get())).collect();
    parts.join(",")
}

impl Found {
    fn read(mut reply: ScriptReply) -> Outcome<Found> {
        let key = LaneKey(i64::try_from(reply.number()?).unwrap_or(0));
        let (born, spans_found) = (reply.text()?, reply.text()?);
        let chain = Chain { spans: spans(&spans_found)?, predecessor: incarnation(&reply.text()?)? };
        let (acked, last) = (Seq::new(reply.number()?), Seq::new(reply.number()?));
        let pending = Amount { messages: reply.number()?, bytes: reply.number()? };
        let first = reply.text()?;
        let first = if first.is_empty() { last.next() } else { Seq::new(number(&first, "a number")?) };
        let (of, seq) = (incarnation(&reply.text()?)?, Seq::new(reply.number()?));
        let mut attempts = Vec::new();
        while !reply.is_over() {
            let (of, seq) = numbered(&reply.text()?)?;
            attempts.push((of, seq, u32::try_from(reply.number()?).unwrap_or(u32::MAX)));
        }
        attempts.sort_by_key(|(of, seq, _)| (*seq, *of));
        let cursor = of.map(|incarnation| Cursor { incarnation, seq });
        Ok(Found {
            key,
            born,
            spans: spans_found,
            chain,
            acked,
            pending,
            next: last.next(),
            floor: first.prev(),
            cursor,
            attempts,
        })
    }
}

/// The lanes of a node, on a connection.
pub(super) struct Lanes<'a> {
    pub(super) connection: &'a RetryingConnection,
    pub(super) known: &'a Known,
}

impl Lanes<'_> {
    async fn find(&self, fence: &Fence, lane: &LaneName, sends: bool) -> Outcome<Found> {
        let born = getrandom::u64().map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
        let sender_key = if sends { naming::sender_key(lane) } else { String::new() };
        let call = LANE.call().text(fence.node.as_str()).number(fence.epoch.get());
        let call = call.text(lane.sender.as_str()).text(lane.source.as_str());
        let call = call.text(lane.receiver.as_str()).text(lane.topic.as_str());
        let call = call.text(&naming::plain(lane)).text(&naming::with_topic(lane)).text(&sender_key).number(born);
        let found = Found::read(self.connection.write(&call).await?)?;
        self.known.met(found.key, found.born.clone());
        Ok(found)
    }

    pub(super) async fn open(&self, fence: &Fence, lane: &LaneName, incarnation: Incarnation) -> Outcome<OutboxLane> {
        for _ in 0..ATTEMPTS {
            let found = self.find(fence, lane, true).await?;
            let mut chain = found.chain.clone();
            chain.open(incarnation, found.floor, found.next);
            if chain != found.chain && !self.store(fence, &found, &chain).await? {
                continue;
            }
            return Ok(OutboxLane {
                key: found.key,
                id: LaneId::new(lane.clone()),
                spans: chain.spans,
                predecessor: chain.predecessor,
                next: found.next,
                acked: found.acked,
                pending: found.pending,
            });
        }
        Err(StoreError::Busy.into())
    }

    /// Whether the lane was still as it had been found.
    async fn store(&self, fence: &Fence, found: &Found, chain: &Chain) -> Outcome<bool> {
        let text = |of: Option<Incarnation>| of.map_or(String::new(), |of| of.get().to_string());
        let newest = chain.spans.last().map(|span| span.incarnation);
        let call = OPEN.call().text(fence.node.as_str()).number(fence.epoch.get());
        let call = call.text(&found.key.0.to_string()).text(&found.born).text(&found.spans);
        let call = call.number(found.next.prev().get()).text(&spans_text(&chain.spans));
        let call = call.text(&text(newest)).text(&text(chain.predecessor));
        Ok(self.connection.try_write(&call).await?.is_some())
    }

    pub(super) async fn receive(&self, fence: &Fence, lane: &LaneName) -> Outcome<InboxLane> {
        let found = self.find(fence, lane, false).await?;
        Ok(InboxLane { key: found.key, cursor: found.cursor, attempts: found.attempts })
    }

    /// In name order.
    pub(super) async fn opened(&self, sender: &NodeId) -> Outcome<Vec<LaneId>> {
        Ok(self.list(sender, false).await?.into_iter().map(|lane| lane.lane).collect())
    }

    /// In name order, those with something queued.
    pub(super) async fn pending(&self, sender: &NodeId) -> Outcome<Vec<PendingLane>> {
        self.list(sender, true).await
    }

    async fn list(&self, sender: &NodeId, queued: bool) -> Outcome<Vec<PendingLane>> {
        let call = LANES.call().text(sender.as_str()).number(u64::from(queued));
        let mut reply = self.connection.run(&call).await?;
        let mut lanes = Vec::new();
        while !reply.is_over() {
            let mut lane = reply.parts()?;
            lane.number()?;
            let (sender, source) = (NodeId::new(&lane.text()?)?, Topic::new(&lane.text()?)?);
            let (receiver, topic) = (NodeId::new(&lane.text()?)?, Topic::new(&lane.text()?)?);
            let amount = Amount { messages: lane.number()?, bytes: lane.number()? };
            let oldest = lane.bytes()?;
            let oldest_ms = oldest.get(ACCEPTED).and_then(|ms| ms.first_chunk()).map(|ms| u64::from_le_bytes(*ms));
            let lane = LaneId::new(LaneName { sender, source, receiver, topic });
            lanes.push(PendingLane { lane, amount, oldest_ms });
        }
        lanes.sort_by(|a, b| a.lane.name().cmp(b.lane.name()));
        Ok(lanes)
    }

    pub(super) async fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> Outcome<Page> {
        let most = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX).min(1 << 52);
        let call = LOAD.call().text(&lane.0.to_string()).number(capped(after));
        let mut reply = self.connection.run(&call.number(most(limit.messages)).number(most(limit.bytes))).await?;
        let mut page = Page { messages: Vec::new(), end: reply.number()? != 0 };
        while !reply.is_over() {
            page.messages.push(row::decode(reply.bytes()?)?);
        }
        Ok(page)
    }

    pub(super) async fn clear(&self, fence: &Fence) -> Outcome<Amount> {
        let call = CLEAR.call().text(fence.node.as_str()).number(fence.epoch.get());
        dropped(self.connection.write(&call).await?)
    }

    pub(super) async fn forget(&self, fence: &Fence, lane: &LaneName) -> Outcome<Amount> {
        let call = FORGET.call().text(fence.node.as_str()).number(fence.epoch.get()).text(lane.sender.as_str());
        let call = call.text(&naming::with_topic(lane)).text(&naming::sender_key(lane));
        dropped(self.connection.write(&call.text(lane.receiver.as_str()).text(lane.topic.as_str())).await?)
    }
}

fn dropped(mut reply: ScriptReply) -> Outcome<Amount> {
    Ok(Amount { messages: reply.number()?, bytes: reply.number()? })
}
