//! The catalogue: registrations, leases, routes, tombstones, remembered peers.
//!
//! Leases count by the server's clock, so that all nodes agree. Changes of `topic_addr` are noted by triggers, because
//! operators write it too; other changes are noted by [`bump`]. Every change of the catalogue locks its
//! version first, so that two of us never wait for each other.

use super::error::Outcome;
use super::lanes::{self, only};
use super::pool::NodeRow;
use super::session::{DbSession, boolean, int8, text};
use crate::stores::shared::routes::{RouteRow, gather};
use crate::stores::{CatalogueChange, Fence, MAX_LEASE, Registration, TopicEntry};
use crate::types::{Epoch, NodeId, Topic};
use std::collections::HashMap;
use std::time::Duration;
use tokio_postgres::Row;

pub(super) const VERSION: &str = "SELECT catalogue FROM liner_state";

pub(super) async fn lock(db: &DbSession) -> Outcome<()> {
    db.query("SELECT catalogue FROM liner_state FOR UPDATE", &[]).await?;
    Ok(())
}

async fn bump(db: &DbSession) -> Outcome<()> {
    db.query("SELECT liner_bump()", &[]).await?;
    Ok(())
}

pub(super) async fn register(db: &DbSession, node: &NodeId) -> Outcome<Registration> {
    let name = node.as_str();
    let sql = "INSERT INTO liner_nodes (name, epoch, released) VALUES ($1, 0, TRUE) ON CONFLICT (name) DO NOTHING";
    db.execute(sql, &[text(&name)]).await?;
    let sql = "SELECT released::int::int8 FROM liner_nodes WHERE name = $1 FOR UPDATE";
    let released = only(db.first(sql, &[text(&name)]).await?)? != 0;
    let sql = "UPDATE liner_nodes SET epoch = epoch + 1, released = FALSE WHERE name = $1 RETURNING epoch";
    let epoch = only(db.first(sql, &[text(&name)]).await?)?;
    bump(db).await?;
    Ok(Registration { epoch: Epoch::new(epoch.cast_unsigned()), clean: released })
}

/// What a change does with the row of its node.
pub(super) fn node_row(change: &CatalogueChange) -> NodeRow {
    use CatalogueChange::{Publish, Release, Renew};
    if matches!(change, Publish { .. } | Renew { .. } | Release) { NodeRow::Changes } else { NodeRow::Reads }
}

/// Returns how many rows a change that deletes them has deleted.
pub(super) async fn apply(db: &DbSession, fence: &Fence, change: &CatalogueChange) -> Outcome<u64> {
    match change {
        CatalogueChange::Publish { topic, addr, subscription, lease } => {
            publish(db, fence, topic, addr, *subscription, *lease).await?;
        }
        CatalogueChange::Unpublish { topic } => unpublish(db, fence, topic).await?,
        CatalogueChange::Seed { topic, node, addr } => seed(db, topic, node, addr).await?,
        CatalogueChange::SetTombstone { topic, node, unsubscribed } => {
            set_tombstone(db, topic, node, *unsubscribed).await?;
        }
        CatalogueChange::Renew { lease } => renew(db, fence, *lease).await?,
        CatalogueChange::Release => release(db, fence).await?,
        CatalogueChange::ClearAddresses { topic } => return clear_addresses(db, topic).await,
        CatalogueChange::ForgetNode { node } => return forget_node(db, node).await,
        CatalogueChange::RememberPeer { peer, addr } => remember_peer(db, &fence.node, peer, addr).await?,
    }
    Ok(0)
}

async fn publish(
    db: &DbSession,
    fence: &Fence,
    topic: &Topic,
    addr: &str,
    subscription: bool,
    lease: Duration,
) -> Outcome<()> {
    lock(db).await?;
    let (name, node) = (topic.as_str(), fence.node.as_str());
    let others = "DELETE FROM topic_addr
        WHERE topic = $1 AND client_name = $2 AND addr <> $3 AND lease_epoch IS NOT NULL";
    db.execute(others, &[text(&name), text(&node), text(&addr)]).await?;
    // A row of an operator for this node keeps having no lease.
    let upsert =
        "INSERT INTO topic_addr (topic, addr, client_name, subscription, lease_epoch) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (topic, addr) DO UPDATE SET
            lease_epoch = CASE WHEN topic_addr.client_name = excluded.client_name AND topic_addr.lease_epoch IS NULL
                THEN NULL ELSE excluded.lease_epoch END,
            client_name = excluded.client_name,
            subscription = excluded.subscription";
    let epoch = fence.epoch.get().cast_signed();
    db.execute(upsert, &[text(&name), text(&addr), text(&node), boolean(&subscription), int8(&epoch)]).await?;
    remove_tombstone(db, topic, &fence.node).await?;
    lanes::ensure_topic_key(db, topic).await?;
    renew(db, fence, lease).await
}

async fn remove_tombstone(db: &DbSession, topic: &Topic, node: &NodeId) -> Outcome<()> {
    let sql = "DELETE FROM liner_tombstones WHERE topic = $1 AND node = $2";
    if db.execute(sql, &[text(&topic.as_str()), text(&node.as_str())]).await? > 0 {
        bump(db).await?;
    }
    Ok(())
}

async fn add_tombstone(db: &DbSession, topic: &Topic, node: &NodeId, told: bool) -> Outcome<()> {
    let sql = "INSERT INTO liner_tombstones (topic, node, told) VALUES ($1, $2, $3)
        ON CONFLICT (topic, node) DO UPDATE SET told = excluded.told";
    db.execute(sql, &[text(&topic.as_str()), text(&node.as_str()), boolean(&told)]).await?;
    bump(db).await
}

async fn unpublish(db: &DbSession, fence: &Fence, topic: &Topic) -> Outcome<()> {
    lock(db).await?;
    let sql = "DELETE FROM topic_addr WHERE topic = $1 AND client_name = $2";
    db.execute(sql, &[text(&topic.as_str()), text(&fence.node.as_str())]).await?;
    add_tombstone(db, topic, &fence.node, false).await
}

async fn seed(db: &DbSession, topic: &Topic, node: &NodeId, addr: &str) -> Outcome<()> {
    lock(db).await?;
    let sql = "INSERT INTO topic_addr (topic, addr, client_name) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    db.execute(sql, &[text(&topic.as_str()), text(&addr), text(&node.as_str())]).await?;
    Ok(())
}

async fn set_tombstone(db: &DbSession, topic: &Topic, node: &NodeId, unsubscribed: bool) -> Outcome<()> {
    lock(db).await?;
    if unsubscribed { add_tombstone(db, topic, node, true).await } else { remove_tombstone(db, topic, node).await }
}

async fn renew(db: &DbSession, fence: &Fence, lease: Duration) -> Outcome<()> {
    let node = fence.node.as_str();
    let sql = "SELECT 1 FROM liner_nodes
        WHERE name = $1 AND lease_until > (extract(epoch FROM clock_timestamp()) * 1000)::int8";
    let live = db.first(sql, &[text(&node)]).await?.is_some();
    let sql = "INSERT INTO liner_nodes (name, epoch, released, lease_until)
        VALUES ($1, $2, FALSE, (extract(epoch FROM clock_timestamp()) * 1000)::int8 + $3)
        ON CONFLICT (name) DO UPDATE SET lease_until = excluded.lease_until";
    let lease = i64::try_from(lease.min(MAX_LEASE).as_millis()).unwrap_or(i64::MAX);
    db.execute(sql, &[text(&node), int8(&fence.epoch.get().cast_signed()), int8(&lease)]).await?;
    if live { Ok(()) } else { bump(db).await }
}

async fn release(db: &DbSession, fence: &Fence) -> Outcome<()> {
    lock(db).await?;
    let node = fence.node.as_str();
    let sql = "DELETE FROM topic_addr WHERE client_name = $1 AND lease_epoch IS NOT NULL";
    db.execute(sql, &[text(&node)]).await?;
    let sql = "UPDATE liner_nodes SET released = TRUE, lease_until = 0 WHERE name = $1";
    db.execute(sql, &[text(&node)]).await?;
    bump(db).await
}

/// Topics of one [`TOPICS`]: a few milliseconds of the server's time.
pub(super) const TOPICS_AT_ONCE: usize = 1000;

/// Rows of the topics `$1`, marked TRUE, and their tombstones: all of one moment.
pub(super) const TOPICS: &str = "SELECT TRUE, a.client_name, a.addr, a.lease_epoch IS NULL
            OR (n.epoch = a.lease_epoch
                AND n.lease_until > (extract(epoch FROM clock_timestamp()) * 1000)::int8) IS TRUE,
        a.lease_epoch IS NULL, a.topic, a.subscription IS TRUE
    FROM topic_addr AS a LEFT JOIN liner_nodes AS n ON n.name = a.client_name WHERE a.topic = ANY ($1)
    UNION ALL
    SELECT FALSE, t.node, '', FALSE, FALSE, t.topic, FALSE FROM liner_tombstones AS t
    WHERE t.topic = ANY ($1) AND (t.told OR NOT EXISTS (
        SELECT 1 FROM topic_addr AS a WHERE a.topic = t.topic AND a.client_name = t.node
    ))";

/// What the rows of [`TOPICS`] say of each of the topics asked for.
pub(super) fn topics(asked: &[Topic], rows: &[Row]) -> Outcome<Vec<TopicEntry>> {
    let mut found: HashMap<&str, (Vec<RouteRow>, Vec<NodeId>)> = HashMap::new();
    for row in rows {
        let name: &str = row.try_get(1)?;
        let (routes, tombstones) = found.entry(row.try_get(5)?).or_default();
        if row.try_get(0)? {
            // An operator can write any text; what is no name of a node is no route to one.
            let Ok(node) = NodeId::new(name) else { continue };
            let (addr, live) = (row.try_get(2)?, row.try_get(3)?);
            routes.push(RouteRow { node, unleased: row.try_get(4)?, addr, live, subscription: row.try_get(6)? });
        } else {
            tombstones.push(NodeId::new(name)?);
        }
    }
    let entry = |topic: &Topic| {
        let (routes, tombstones) = found.get(topic.as_str()).cloned().unwrap_or_default();
        gather(routes, tombstones)
    };
    Ok(asked.iter().map(entry).collect())
}

async fn clear_addresses(db: &DbSession, topic: &Topic) -> Outcome<u64> {
    lock(db).await?;
    db.execute("DELETE FROM topic_addr WHERE topic = $1", &[text(&topic.as_str())]).await
}

async fn forget_node(db: &DbSession, node: &NodeId) -> Outcome<u64> {
    lock(db).await?;
    let name = node.as_str();
    let mut deleted = 0;
    for sql in [
        "DELETE FROM topic_addr WHERE client_name = $1",
        "DELETE FROM liner_tombstones WHERE node = $1",
        "DELETE FROM liner_peers WHERE peer = $1",
    ] {
        deleted += db.execute(sql, &[text(&name)]).await?;
    }
    db.execute("DELETE FROM sender_listener WHERE client_name = $1", &[text(&name)]).await?;
    bump(db).await?;
    Ok(deleted)
}

async fn remember_peer(db: &DbSession, node: &NodeId, peer: &NodeId, addr: &str) -> Outcome<()> {
    let sql = "INSERT INTO liner_peers (node, peer, addr) VALUES ($1, $2, $3)
        ON CONFLICT (node, peer) DO UPDATE SET addr = excluded.addr";
    db.execute(sql, &[text(&node.as_str()), text(&peer.as_str()), text(&addr)]).await?;
    Ok(())
}

/// `$1` is the node.
pub(super) const PEERS: &str = "SELECT peer, addr FROM liner_peers WHERE node = $1 ORDER BY peer COLLATE \"C\"";

pub(super) fn peers(rows: &[Row]) -> Outcome<Vec<(NodeId, String)>> {
    rows.iter().map(|row| Ok((NodeId::new(row.try_get::<_, &str>(0)?)?, row.try_get(1)?))).collect()
}
