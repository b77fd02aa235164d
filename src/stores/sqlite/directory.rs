//! The catalogue: registrations, leases, routes, tombstones, remembered peers.
//!
//! Leases count by SQLite's clock ([`NOW`]), so that all processes of a file agree. Changes of `topic_addr` are counted by
//! triggers, because operators write it too; other changes are counted by [`bump`].

use super::error::Outcome;
use super::lanes;
use crate::stores::MAX_LEASE;
use crate::stores::shared::routes::{RouteRow, gather};
use crate::stores::{CatalogueChange, Fence, Registration, StoreError, TopicEntry};
use crate::types::{Epoch, NodeId, Topic};
use rusqlite::{Connection, OptionalExtension as _};
use std::time::Duration;

/// Milliseconds since 1970.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// Refuses a process whose name has been registered again.
pub(super) fn check(db: &Connection, fence: &Fence) -> Outcome<()> {
    let sql = "SELECT epoch FROM liner_nodes WHERE name = ?1";
    let epoch: Option<i64> = db.prepare_cached(sql)?.query_row([fence.node.as_str()], |row| row.get(0)).optional()?;
    match epoch {
        Some(epoch) if epoch.cast_unsigned() > fence.epoch.get() => Err(StoreError::Fenced.into()),
        _ => Ok(()),
    }
}

pub(super) fn version(db: &Connection) -> Outcome<i64> {
    Ok(db.prepare_cached("SELECT catalogue FROM liner_state")?.query_row([], |row| row.get(0))?)
}

fn bump(db: &Connection) -> Outcome<()> {
    db.prepare_cached("UPDATE liner_state SET catalogue = catalogue + 1")?.execute([])?;
    Ok(())
}

pub(super) fn register(db: &Connection, node: &NodeId) -> Outcome<Registration> {
    let sql = "SELECT released FROM liner_nodes WHERE name = ?1";
    let released = db.prepare_cached(sql)?.query_row([node.as_str()], |row| row.get(0)).optional()?;
    let sql = "INSERT INTO liner_nodes (name, epoch, released) VALUES (?1, 1, 0)
        ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, released = 0 RETURNING epoch";
    let epoch: i64 = db.prepare_cached(sql)?.query_row([node.as_str()], |row| row.get(0))?;
    bump(db)?;
    Ok(Registration { epoch: Epoch::new(epoch.cast_unsigned()), clean: released.unwrap_or(true) })
}

/// Returns how many rows a change that deletes them has deleted.
pub(super) fn apply(db: &Connection, fence: &Fence, change: &CatalogueChange) -> Outcome<u64> {
    if change.is_fenced() {
        check(db, fence)?;
    }
    match change {
        CatalogueChange::Publish { topic, addr, subscription, lease } => {
            publish(db, fence, topic, addr, *subscription, *lease)?;
        }
        CatalogueChange::Unpublish { topic } => unpublish(db, fence, topic)?,
        CatalogueChange::Seed { topic, node, addr } => seed(db, topic, node, addr)?,
        CatalogueChange::SetTombstone { topic, node, unsubscribed } => set_tombstone(db, topic, node, *unsubscribed)?,
        CatalogueChange::Renew { lease } => renew(db, fence, *lease)?,
        CatalogueChange::Release => release(db, fence)?,
        CatalogueChange::ClearAddresses { topic } => return clear_addresses(db, topic),
        CatalogueChange::ForgetNode { node } => return forget_node(db, node),
        CatalogueChange::RememberPeer { peer, addr } => remember_peer(db, &fence.node, peer, addr)?,
    }
    Ok(0)
}

fn publish(
    db: &Connection,
    fence: &Fence,
    topic: &Topic,
    addr: &str,
    subscription: bool,
    lease: Duration,
) -> Outcome<()> {
    let node = fence.node.as_str();
    let others = "DELETE FROM topic_addr
        WHERE topic = ?1 AND client_name = ?2 AND addr <> ?3 AND lease_epoch IS NOT NULL";
    db.prepare_cached(others)?.execute((topic.as_str(), node, addr))?;
    // A row of an operator for this node keeps having no lease.
    let upsert =
        "INSERT INTO topic_addr (topic, addr, client_name, subscription, lease_epoch) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (topic, addr) DO UPDATE SET
            lease_epoch = CASE WHEN client_name = excluded.client_name AND lease_epoch IS NULL
                THEN NULL ELSE excluded.lease_epoch END,
            client_name = excluded.client_name,
            subscription = excluded.subscription";
    let epoch = fence.epoch.get().cast_signed();
    db.prepare_cached(upsert)?.execute((topic.as_str(), addr, node, subscription, epoch))?;
    remove_tombstone(db, topic, &fence.node)?;
    lanes::ensure_topic_key(db, topic)?;
    renew(db, fence, lease)
}

fn remove_tombstone(db: &Connection, topic: &Topic, node: &NodeId) -> Outcome<()> {
    let sql = "DELETE FROM liner_tombstones WHERE topic = ?1 AND node = ?2";
    if db.prepare_cached(sql)?.execute((topic.as_str(), node.as_str()))? > 0 {
        bump(db)?;
    }
    Ok(())
}

fn add_tombstone(db: &Connection, topic: &Topic, node: &NodeId, told: bool) -> Outcome<()> {
    let sql = "INSERT OR REPLACE INTO liner_tombstones (topic, node, told) VALUES (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute((topic.as_str(), node.as_str(), told))?;
    bump(db)
}

fn unpublish(db: &Connection, fence: &Fence, topic: &Topic) -> Outcome<()> {
    let sql = "DELETE FROM topic_addr WHERE topic = ?1 AND client_name = ?2";
    db.prepare_cached(sql)?.execute((topic.as_str(), fence.node.as_str()))?;
    add_tombstone(db, topic, &fence.node, false)
}

fn seed(db: &Connection, topic: &Topic, node: &NodeId, addr: &str) -> Outcome<()> {
    let sql = "INSERT OR IGNORE INTO topic_addr (topic, addr, client_name) VALUES (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute((topic.as_str(), addr, node.as_str()))?;
    Ok(())
}

fn set_tombstone(db: &Connection, topic: &Topic, node: &NodeId, unsubscribed: bool) -> Outcome<()> {
    if unsubscribed { add_tombstone(db, topic, node, true) } else { remove_tombstone(db, topic, node) }
}

fn renew(db: &Connection, fence: &Fence, lease: Duration) -> Outcome<()> {
    let node = fence.node.as_str();
    let sql = format!("SELECT 1 FROM liner_nodes WHERE name = ?1 AND lease_until > {NOW}");
    let live = db.prepare_cached(&sql)?.exists([node])?;
    let lease = lease.min(MAX_LEASE).as_millis();
    let sql = format!(
        "INSERT INTO liner_nodes (name, epoch, released, lease_until) VALUES (?1, ?2, 0, {NOW} + ?3)
        ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until"
    );
    let lease = i64::try_from(lease).unwrap_or(i64::MAX);
    db.prepare_cached(&sql)?.execute((node, fence.epoch.get().cast_signed(), lease))?;
    if live { Ok(()) } else { bump(db) }
}

fn release(db: &Connection, fence: &Fence) -> Outcome<()> {
    let node = fence.node.as_str();
    let sql = "DELETE FROM topic_addr WHERE client_name = ?1 AND lease_epoch IS NOT NULL";
    db.prepare_cached(sql)?.execute([node])?;
    let sql = "UPDATE liner_nodes SET released = 1, lease_until = 0 WHERE name = ?1";
    db.prepare_cached(sql)?.execute([node])?;
    bump(db)
}

pub(super) fn topic(db: &Connection, topic: &Topic) -> Outcome<TopicEntry> {
    let sql = format!(
        "SELECT a.client_name, a.addr, a.lease_epoch IS NULL OR (n.epoch = a.lease_epoch AND n.lease_until > {NOW}),
            a.subscription, a.lease_epoch IS NULL
        FROM topic_addr AS a LEFT JOIN liner_nodes AS n ON n.name = a.client_name WHERE a.topic = ?1"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([topic.as_str()])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let name: String = row.get(0)?;
        // An operator can write any text; what is no name of a node is no route to one.
        let Ok(node) = NodeId::new(&name) else { continue };
        let live = row.get::<_, Option<bool>>(2)?.unwrap_or(false);
        let subscription = row.get::<_, Option<bool>>(3)?.unwrap_or(false);
        rows.push(RouteRow { node, unleased: row.get(4)?, addr: row.get(1)?, live, subscription });
    }
    Ok(gather(rows, tombstones(db, topic)?))
}

fn tombstones(db: &Connection, topic: &Topic) -> Outcome<Vec<NodeId>> {
    let sql = "SELECT node FROM liner_tombstones AS t WHERE topic = ?1 AND (told <> 0 OR NOT EXISTS (
            SELECT 1 FROM topic_addr AS a WHERE a.topic = t.topic AND a.client_name = t.node
        ))";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([topic.as_str()])?;
    let mut nodes = Vec::new();
    while let Some(row) = rows.next()? {
        nodes.push(NodeId::new(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(nodes)
}

fn clear_addresses(db: &Connection, topic: &Topic) -> Outcome<u64> {
    let deleted = db.prepare_cached("DELETE FROM topic_addr WHERE topic = ?1")?.execute([topic.as_str()])?;
    Ok(deleted as u64)
}

fn forget_node(db: &Connection, node: &NodeId) -> Outcome<u64> {
    let mut deleted = 0;
    for (table, column) in [("topic_addr", "client_name"), ("liner_tombstones", "node"), ("liner_peers", "peer")] {
        let sql = format!("DELETE FROM {table} WHERE {column} = ?1");
        deleted += db.prepare_cached(&sql)?.execute([node.as_str()])? as u64;
    }
    db.prepare_cached("DELETE FROM sender_listener WHERE client_name = ?1")?.execute([node.as_str()])?;
    bump(db)?;
    Ok(deleted)
}

fn remember_peer(db: &Connection, node: &NodeId, peer: &NodeId, addr: &str) -> Outcome<()> {
    let sql = "INSERT OR REPLACE INTO liner_peers (node, peer, addr) VALUES (?1, ?2, ?3)";
    db.prepare_cached(sql)?.execute((node.as_str(), peer.as_str(), addr))?;
    Ok(())
}

pub(super) fn peers(db: &Connection, node: &NodeId) -> Outcome<Vec<(NodeId, String)>> {
    let mut statement = db.prepare_cached("SELECT peer, addr FROM liner_peers WHERE node = ?1 ORDER BY peer")?;
    let mut rows = statement.query([node.as_str()])?;
    let mut peers = Vec::new();
    while let Some(row) = rows.next()? {
        let peer = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        peers.push((NodeId::new(peer)?, row.get(1)?));
    }
    Ok(peers)
}
