//! The catalogue: registrations, leases, routes, tombstones, remembered peers. The rules are in `lua/directory.lua`.

use super::connection::RetryingConnection;
use super::error::Outcome;
use super::script::{Call, DIRECTORY, ScriptReply, TOPICS};
use crate::stores::shared::routes::{RouteRow, gather};
use crate::stores::{CatalogueChange, Fence, MAX_LEASE, Registration, StoreError, TopicEntry};
use crate::types::{Epoch, NodeId, Topic};
use redis::Value;
use std::time::Duration;

/// Names in one call, below what a script can take apart at once.
const NAMES: usize = 2000;

/// Topics looked up in one call, which holds the server for a millisecond or so.
const TOPICS_AT_ONCE: usize = 200;

/// Keys looked at in one step of a scan.
const SCANNED: usize = 1000;

pub(super) fn fenced(fence: &Fence, op: &str) -> Call {
    DIRECTORY.call().text(fence.node.as_str()).number(fence.epoch.get()).text(op)
}

fn lease_ms(lease: Duration) -> u64 {
    u64::try_from(lease.min(MAX_LEASE).as_millis()).unwrap_or(u64::MAX)
}

pub(super) async fn register(db: &RetryingConnection, node: &NodeId) -> Outcome<Registration> {
    let call = DIRECTORY.call().text(node.as_str()).number(0).text("register");
    let mut reply = db.write(&call).await?;
    Ok(Registration { epoch: Epoch::new(reply.number()?), clean: reply.number()? == 1 })
}

/// Returns how many rows a change that deletes them has deleted.
pub(super) async fn apply(db: &RetryingConnection, fence: &Fence, change: &CatalogueChange) -> Outcome<u64> {
    let op = |name: &str| fenced(fence, name);
    let call = match change {
        CatalogueChange::Publish { topic, addr, subscription, lease } => {
            let call = op("publish").text(topic.as_str()).text(addr);
            call.number(u64::from(*subscription)).number(lease_ms(*lease))
        }
        CatalogueChange::Unpublish { topic } => op("unpublish").text(topic.as_str()),
        CatalogueChange::Seed { topic, node, addr } => op("seed").text(topic.as_str()).text(node.as_str()).text(addr),
        CatalogueChange::SetTombstone { topic, node, unsubscribed } => {
            op("tombstone").text(topic.as_str()).text(node.as_str()).number(u64::from(*unsubscribed))
        }
        CatalogueChange::Renew { lease } => op("renew").number(lease_ms(*lease)),
        CatalogueChange::Release => op("release"),
        CatalogueChange::ClearAddresses { topic } => {
            return db.write(&op("clear").text(topic.as_str())).await?.number();
        }
        CatalogueChange::ForgetNode { node } => return forget_node(db, fence, node).await,
        CatalogueChange::RememberPeer { peer, addr } => op("remember").text(peer.as_str()).text(addr),
    };
    db.write(&call).await.map(|_| 0)
}

pub(super) async fn topics(db: &RetryingConnection, topics: &[Topic]) -> Outcome<Vec<TopicEntry>> {
    let mut entries = Vec::with_capacity(topics.len());
    for part in topics.chunks(TOPICS_AT_ONCE) {
        let mut call = TOPICS.call().text("").number(0).text("topics");
        for topic in part {
            call.add(topic.as_str());
        }
        let mut reply = db.write(&call).await?;
        for _ in part {
            entries.push(entry(&mut reply)?);
        }
    }
    Ok(entries)
}

/// The next topic's rows and tombstones.
fn entry(reply: &mut ScriptReply) -> Outcome<TopicEntry> {
    let (mut rows, mut tombstones) = (reply.parts()?, reply.parts()?);
    let (mut found, mut gone): (Vec<RouteRow>, Vec<NodeId>) = (Vec::new(), Vec::new());
    while !rows.is_over() {
        let mut row = rows.parts()?;
        let (name, addr) = (row.bytes()?, row.bytes()?);
        let (unleased, live, subscription) = (row.number()? == 1, row.number()? == 1, row.number()? == 1);
        // An operator can write anything; what is no name of a node or no text is no route to one.
        let (Ok(name), Ok(addr)) = (std::str::from_utf8(&name), std::str::from_utf8(&addr)) else { continue };
        let Ok(node) = NodeId::new(name) else { continue };
        found.push(RouteRow { node, unleased, addr: addr.to_owned(), live, subscription });
    }
    while !tombstones.is_over() {
        gone.push(NodeId::new(&tombstones.text()?)?);
    }
    Ok(gather(found, gone))
}

/// Operators add routes under any topic, so all topics there are have to be looked through. They are found in steps,
/// between which the server does other things.
async fn forget_node(db: &RetryingConnection, fence: &Fence, node: &NodeId) -> Outcome<u64> {
    let (mut topics, mut peers) = (Vec::new(), Vec::new());
    for key in hashes(db).await? {
        let topic = key.strip_prefix("lnr_topic:");
        if let Some(topic) = topic.and_then(|t| t.strip_suffix(":addr").or_else(|| t.strip_suffix(":tombstones"))) {
            topics.push(topic.to_owned());
        } else if let Some(name) = key.strip_prefix("lnr_peers:") {
            peers.push(name.to_owned());
        }
    }
    for names in [&mut topics, &mut peers] {
        names.sort();
        names.dedup();
    }
    let none: &[String] = &[];
    let mut parts: Vec<_> = topics.chunks(NAMES).map(|part| (part, part.len())).collect();
    parts.extend(peers.chunks(NAMES).map(|part| (part, 0)));
    if parts.is_empty() {
        parts.push((none, 0));
    }
    let mut gone = 0;
    for (names, topics) in parts {
        let mut call = fenced(fence, "forget").text(node.as_str()).text(&topics.to_string());
        for name in names {
            call.add(name.as_str());
        }
        gone += db.write(&call).await?.number()?;
    }
    Ok(gone)
}

/// The hashes of the catalogue, by a scan.
async fn hashes(db: &RetryingConnection) -> Outcome<Vec<String>> {
    let (mut found, mut cursor) = (Vec::new(), "0".to_owned());
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg("lnr_[tp]*").arg("COUNT").arg(SCANNED).arg("TYPE").arg("hash");
        let (next, keys): (String, Vec<Vec<u8>>) = parsed(db.read(&scan).await?)?;
        found.extend(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()));
        if next == "0" {
            return Ok(found);
        }
        cursor = next;
    }
}

pub(super) async fn peers(db: &RetryingConnection, node: &NodeId) -> Outcome<Vec<(NodeId, String)>> {
    let value = db.read(redis::cmd("HGETALL").arg(format!("lnr_peers:{node}"))).await?;
    let pairs: Vec<(String, String)> = parsed(value)?;
    let mut peers = Vec::new();
    for (peer, addr) in pairs {
        peers.push((NodeId::new(&peer)?, addr));
    }
    peers.sort();
    Ok(peers)
}

pub(super) fn parsed<T: redis::FromRedisValue>(value: Value) -> Outcome<T> {
    redis::from_redis_value(value).map_err(|error| StoreError::Damaged(error.to_string().into()).into())
}
