//! Making a lane's row, in one exchange with the server.
//!
//! Keys are given out one after the other, and a mesh that starts makes thousands of lanes at once: so nobody holds the
//! locks for as long as an answer takes to reach a node and the next question to come back. The catalogue's lock comes
//! first, as it does everywhere.

use super::error::Outcome;
use super::journal::Sending;
use super::lanes::{self, names, params};
use super::session::{Param, Session, boolean, in_order, int8, text};
use crate::stores::{Fence, LaneKey, naming};
use crate::types::LaneName;
use futures::FutureExt as _;
use tokio_postgres::types::Type;

const LOCK: &str = "SELECT catalogue FROM liner_state FOR UPDATE";

const COUNTER: &str = "INSERT INTO seq (id, v) VALUES (1, 0) ON CONFLICT (id) DO NOTHING";

const LOCK_COUNTER: &str = "SELECT v FROM seq WHERE id = 1 FOR UPDATE";

/// The rows of a lane whose key is `key.v`. `$1` to `$4` are the names, `$5` and `$6` the two composites. The composite is the
/// plain form, unless the route is a subscription or another lane has it. The form with the topic can only be taken by a
/// reference composite whose names contain colons; the key then tells the two apart. What an emptied store left behind
/// under a key that is given again goes.
macro_rules! rows {
    () => {
        "made AS (
        INSERT INTO conn_key_map (composite, connection_key, sender, source_topic, receiver, topic)
        SELECT CASE
                WHEN NOT EXISTS (SELECT 1 FROM topic_addr WHERE topic = $4 AND client_name = $3 AND subscription)
                    AND NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $5) THEN $5
                WHEN NOT EXISTS (SELECT 1 FROM conn_key_map WHERE composite = $6) THEN $6
                ELSE $6 || ':' || v
            END, v, $1, $2, $3, $4 FROM key
    ), origin AS (
        INSERT INTO conn_sender (connection_key, sender_topic) SELECT v, $2 FROM key
        ON CONFLICT (connection_key) DO UPDATE SET sender_topic = excluded.sender_topic
    ), spans AS (
        DELETE FROM liner_spans USING key WHERE connection_key = key.v
    )
    DELETE FROM liner_attempts USING key WHERE connection_key = key.v"
    };
}

/// The key is above every key in any table, whatever an operator or the reference left in them.
const CREATE: &str = concat!(
    "WITH key AS MATERIALIZED (
        SELECT 1 + greatest(
            (SELECT v::int8 FROM seq WHERE id = 1),
            (SELECT max(connection_key) FROM conn_key_map),
            (SELECT max(connection_key) FROM conn_sender),
            (SELECT max(connection_key) FROM conn_mess_number),
            (SELECT max(connection_key) FROM conn_messages)
        ) AS v WHERE NOT EXISTS (
            SELECT 1 FROM conn_key_map WHERE sender = $1 AND source_topic = $2 AND receiver = $3 AND topic = $4
        )
    ), counted AS (
        UPDATE seq SET v = key.v FROM key WHERE id = 1
    ), noted AS (
        UPDATE liner_state SET last_key = key.v FROM key
    ), ",
    rows!()
);

/// The key is `$7`.
const CLAIM: &str = concat!("WITH key AS (SELECT $7::int8 AS v), ", rows!());

/// Makes the lane, unless it is there.
pub(super) async fn create(db: &Session, fence: &Fence, lane: &LaneName) -> Outcome<()> {
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
    let named = Named::of(lane);
    let row = named.params();
    let mut sending = Sending::new(db);
    sending.batch(db.opening(false));
    sending.query(super::FENCE, &held);
    for sql in [LOCK, COUNTER, LOCK_COUNTER] {
        sending.query(sql, &[]);
    }
    sending.query(CREATE, &row);
    sending.commit().await.map(drop)
}

/// The lane's key, made if it is not there, in a transaction that is under way and holds the locks until it ends.
pub(super) async fn find_or_create(db: &Session, lane: &LaneName) -> Outcome<LaneKey> {
    if let Some(key) = lanes::find(db, lane).await? {
        return Ok(key);
    }
    for sql in [LOCK, COUNTER, LOCK_COUNTER] {
        db.query(sql, &[]).await?;
    }
    db.query(CREATE, &Named::of(lane).params()).await?;
    lanes::made(db, lane).await
}

/// Makes a connection key of the reference the key of a lane. No lock: receivers look for a lane once its sender has it.
pub(super) async fn claim(db: &Session, lane: &LaneName, key: LaneKey) -> Outcome<()> {
    db.execute("DELETE FROM conn_key_map WHERE connection_key = $1", &[int8(&key.0)]).await?;
    let named = Named::of(lane);
    let [sender, source, receiver, topic, plain, with_topic] = named.params();
    db.query(CLAIM, &[sender, source, receiver, topic, plain, with_topic, int8(&key.0)]).await?;
    Ok(())
}

/// What a lane's row says of it.
struct Named<'a> {
    names: [&'a str; 4],
    plain: String,
    with_topic: String,
}

impl<'a> Named<'a> {
    fn of(lane: &'a LaneName) -> Self {
        Named { names: names(lane), plain: naming::plain(lane), with_topic: naming::with_topic(lane) }
    }

    fn params(&self) -> [Param<'_>; 6] {
        let [sender, source, receiver, topic] = params(&self.names);
        [sender, source, receiver, topic, text(&self.plain), text(&self.with_topic)]
    }
}
