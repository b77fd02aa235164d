//! The messages that could not be handled: `lnr_dead_letter:{id}`, and their ids by owner. Keyed by names, so a letter
//! outlives its lane.

use super::connection::RetryingConnection;
use super::directory::parsed;
use super::error::Outcome;
use super::script::PURGE;
use crate::stores::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin, Fence, StoreError};
use crate::types::{Headers, Incarnation, LaneId, LaneName, Message, MessageId, NodeId, Payload, Seq, Topic};
use std::collections::HashMap;
use std::str::FromStr;

/// Letters looked at, or deleted, in one step.
const STEP: usize = 100;

type Fields = HashMap<String, Vec<u8>>;

pub(super) async fn list(
    db: &RetryingConnection,
    node: &NodeId,
    filter: &DeadLetterFilter,
    after: Option<DeadLetterId>,
    limit: usize,
) -> Outcome<Vec<(DeadLetterId, DeadLetter)>> {
    let mut found = Vec::new();
    let mut after = after.map_or(0, DeadLetterId::get);
    while found.len() < limit {
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range.arg(format!("lnr_dead_letters:{node}")).arg(format!("({after}")).arg("+inf");
        let ids: Vec<i64> = parsed(db.read(range.arg("LIMIT").arg(0).arg(STEP)).await?)?;
        let Some(last) = ids.last() else { break };
        after = *last;
        for id in ids.into_iter().map(DeadLetterId) {
            if found.len() == limit || !(filter.ids.is_empty() || filter.ids.contains(&id)) {
                continue;
            }
            let fields: Fields =
                parsed(db.read(redis::cmd("HGETALL").arg(format!("lnr_dead_letter:{}", id.0))).await?)?;
            // Without fields it went while this was looking.
            if !fields.is_empty() {
                let letter = letter(&fields)?;
                found.extend(filter.matches(id, &letter).then_some((id, letter)));
            }
        }
    }
    Ok(found)
}

pub(super) async fn purge(db: &RetryingConnection, fence: &Fence, filter: &DeadLetterFilter) -> Outcome<u64> {
    let mut gone = 0;
    let mut after = None;
    loop {
        let found = list(db, &fence.node, filter, after, STEP).await?;
        let mut call = PURGE.call().text(fence.node.as_str()).number(fence.epoch.get());
        for (id, _) in &found {
            call.add(id.0);
        }
        // With nothing to delete, too: a process that is fenced must be refused.
        gone += db.write(&call).await?.number()?;
        match found.last() {
            Some((last, _)) => after = Some(*last),
            None => return Ok(gone),
        }
    }
}

fn field<'a>(fields: &'a Fields, name: &str) -> Result<&'a [u8], StoreError> {
    let missing = || StoreError::Damaged(format!("a dead letter has no {name}").into());
    fields.get(name).map(Vec::as_slice).ok_or_else(missing)
}

fn text(fields: &Fields, name: &str) -> Result<String, StoreError> {
    Ok(String::from_utf8_lossy(field(fields, name)?).into_owned())
}

fn number<T: FromStr>(fields: &Fields, name: &str) -> Result<T, StoreError> {
    let unreadable = |_| StoreError::Damaged(format!("{name} of a dead letter is no number").into());
    text(fields, name)?.parse().map_err(unreadable)
}

fn letter(fields: &Fields) -> Outcome<DeadLetter> {
    let lane = LaneName {
        sender: NodeId::new(&text(fields, "sender")?)?,
        source: Topic::new(&text(fields, "source_topic")?)?,
        receiver: NodeId::new(&text(fields, "receiver")?)?,
        topic: Topic::new(&text(fields, "topic")?)?,
    };
    let origin = DeadLetterOrigin::parse(&text(fields, "origin")?)?;
    let headers = Headers::decode(field(fields, "headers")?.to_vec().into())?;
    let payload = Payload::new(field(fields, "payload")?.to_vec())?;
    let id = MessageId {
        lane: LaneId::new(lane),
        incarnation: Incarnation::new(number(fields, "incarnation")?),
        seq: Seq::new(number(fields, "number")?),
    };
    Ok(DeadLetter {
        id,
        origin,
        message: Message { headers, payload },
        reason: text(fields, "reason")?,
        attempts: number(fields, "attempts")?,
        died_ms: number(fields, "died_ms")?,
    })
}
