//! Making a lane's row, in one exchange with the server.
//!
//! Keys are given out one after the other, and a mesh that starts makes thousands of lanes at once: so nobody holds the
//! locks for as long as a reply takes to reach a node and the next request to come back. The catalogue's lock comes
//! first, as it does everywhere.

use super::error::Outcome;
use super::journal::Pipeline;
use super::lanes::names;
use super::session::{DbSession, boolean, in_order, int8, text};
use crate::stores::Fence;
use crate::stores::shared::naming;
use crate::types::LaneName;
use futures::FutureExt as _;
use tokio_postgres::types::Type;

const LOCK: &str = "SELECT catalogue FROM liner_state FOR UPDATE";

const COUNTER: &str = "INSERT INTO seq (id, v) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";

const LOCK_COUNTER: &str = "SELECT v FROM seq WHERE id = 1 FOR UPDATE";

/// `$1` to `$4` are the names, `$5` and `$6` the two composites. The key is above every key in any table, whatever an
/// operator or liner_broker left in them. The composite is the plain form, unless the route is a subscription or another
/// lane has it. The form with the topic can only be taken by a liner_broker composite whose names contain colons; the key
/// then tells the two apart. What an emptied store left under a key that is given again goes.
const CREATE: &str = "WITH key AS MATERIALIZED (
        SELECT 1 + greatest(
            (SELECT v::int8 FROM seq WHERE id = 1),
            (SELECT max(connection_key) FROM conn_key_map),
            (SELECT max(connection_key) FROM conn_sender),
            (SELECT max(connection_key) FROM conn_mess_number),
            (SELECT max(connection_key) FROM conn_messages)
        ) AS v WHERE NOT EXISTS (
            SELECT 1 FROM conn_key_map WHERE sender = $1 AND source_topic = $2 AND receiver = $3 AND topic = $4
        )
    ), made AS (
        INSERT INTO conn_key_map (composite, connection_key, sender, source_topic, receiver, topic)
        SELECT CASE
                WHEN NOT EXISTS (SELECT 1 FROM topic_addr WHERE topic = $4 AND client_name = $3 AND subscription)
                    AND NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $5) THEN $5
                WHEN NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $6) THEN $6
                ELSE $6 || ':' || v
            END, v, $1, $2, $3, $4 FROM key
    ), counted AS (
        UPDATE seq SET v = key.v FROM key WHERE id = 1
    ), noted AS (
        UPDATE liner_state SET last_key = key.v FROM key
    ), origin AS (
        INSERT INTO conn_sender (connection_key, sender_topic) SELECT v, $2 FROM key
        ON CONFLICT (connection_key) DO UPDATE SET sender_topic = excluded.sender_topic
    ), spans AS (
        DELETE FROM liner_spans USING key WHERE connection_key = key.v
    )
    DELETE FROM liner_attempts USING key WHERE connection_key = key.v";

/// Makes the lane, unless it is there.
pub(super) async fn create(db: &DbSession, fence: &Fence, lane: &LaneName) -> Outcome<()> {
    const NAMES: [Type; 6] = [Type::TEXT; 6];
    let statements: [(&'static str, &[Type]); 5] = [
        (super::FENCE, &[Type::TEXT, Type::INT8, Type::BOOL]),
        (LOCK, &[]),
        (COUNTER, &[]),
        (LOCK_COUNTER, &[]),
        (CREATE, &NAMES),
    ];
    let preparing = statements.iter().map(|(sql, types)| db.prepare(sql, types).boxed()).collect();
    in_order(preparing).await.into_iter().collect::<Result<(), _>>()?;
    let (node, epoch) = (fence.node.as_str(), fence.epoch.get().cast_signed());
    let held = [text(&node), int8(&epoch), boolean(&false)];
    let ([sender, source, receiver, topic], plain, with_topic) =
        (names(lane), naming::plain(lane), naming::with_topic(lane));
    let row = [text(&sender), text(&source), text(&receiver), text(&topic), text(&plain), text(&with_topic)];
    let mut pipeline = Pipeline::new(db);
    pipeline.batch(db.opening(false));
    pipeline.query(super::FENCE, &held);
    for sql in [LOCK, COUNTER, LOCK_COUNTER] {
        pipeline.query(sql, &[]);
    }
    pipeline.query(CREATE, &row);
    pipeline.commit().await.map(drop)
}

/// Makes the lane in a transaction that goes on, and holds the counter for as long as that does. The catalogue is read only.
pub(super) async fn create_within(db: &DbSession, lane: &LaneName) -> Outcome<()> {
    let ([sender, source, receiver, topic], plain, with_topic) =
        (names(lane), naming::plain(lane), naming::with_topic(lane));
    let row = [text(&sender), text(&source), text(&receiver), text(&topic), text(&plain), text(&with_topic)];
    for sql in [COUNTER, LOCK_COUNTER] {
        db.query(sql, &[]).await?;
    }
    db.query(CREATE, &row).await?;
    Ok(())
}
