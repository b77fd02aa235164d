//! Applying a group of batches in one transaction, its statements sent in one go.
//!
//! Nothing in the group depends on a reply: the server refuses what must not be (fenced, no such lane), and what follows
//! in the transaction is refused with it. So the commit goes out with the rest, and a commit costs one exchange. Only
//! large appends are copied, which takes some more.

use super::dead_letters::{KEEP, KEEP_TYPES, REMOVE as UNKEEP};
use super::error::{Failure, Outcome, commit_failed, text as shown};
use super::plan::{Plan, Rows, Step};
use super::session::{DbSession, Param, boolean, byteas, in_order, int8, int8s, text};
use crate::stores::{Batch, Committed, Fence, LaneKey, StoreError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use tokio_postgres::Row;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;

/// From so many rows on, copying is worth its exchanges.
const COPY_ROWS: usize = 1024;

const LANES: &str = "SELECT liner_lanes($1, $2, $3, $4)";

/// Nothing is queued up to the floor before, and saying so keeps the server from walking, each time, over all that was
/// deleted since the last vacuum.
const TRIM: &str = "WITH asked AS MATERIALIZED (
        SELECT a.lane, a.through, m.acked AS floor FROM unnest($1::int8[], $2::int8[]) AS a(lane, through)
        JOIN conn_key_map AS m ON m.connection_key = a.lane WHERE m.acked < a.through
    ), raised AS (
        UPDATE conn_key_map AS m SET acked = a.through FROM asked AS a WHERE m.connection_key = a.lane
    )
    DELETE FROM conn_messages AS q USING asked AS a
    WHERE q.connection_key = a.lane AND q.number > a.floor AND q.number <= a.through";

const APPEND: &str = "INSERT INTO conn_messages (connection_key, number, payload)
    SELECT a.lane, a.number, a.payload FROM unnest($1::int8[], $2::int8[], $3::bytea[]) AS a(lane, number, payload)
    JOIN conn_key_map AS m ON m.connection_key = a.lane WHERE a.number > m.acked
    ON CONFLICT (connection_key, number) DO NOTHING";

/// Returns the lanes whose writer was wrong.
const ADVANCE: &str = "WITH asked AS MATERIALIZED (
        SELECT a.lane, a.incarnation, a.number, c.incarnation AS stored, c.v AS at,
            k.connection_key IS NOT NULL
                AND (c.incarnation = a.incarnation OR c.incarnation IS NOT DISTINCT FROM a.expected) IS TRUE AS agreed
        FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[]) AS a(lane, expected, incarnation, number)
        LEFT JOIN conn_key_map AS k ON k.connection_key = a.lane
        LEFT JOIN conn_mess_number AS c ON c.connection_key = a.lane AND c.incarnation IS NOT NULL
    ), moving AS MATERIALIZED (
        SELECT * FROM asked
        WHERE agreed AND (stored IS DISTINCT FROM incarnation OR at < number)
    ), moved AS (
        INSERT INTO conn_mess_number (connection_key, v, incarnation) SELECT lane, number, incarnation FROM moving
        ON CONFLICT (connection_key) DO UPDATE SET v = excluded.v, incarnation = excluded.incarnation
    ), forgotten AS (
        DELETE FROM liner_attempts AS t USING moving AS m WHERE t.connection_key = m.lane
            AND (t.number <= m.number OR (m.stored <> m.incarnation AND t.incarnation = m.stored))
    )
    SELECT lane FROM asked WHERE NOT agreed";

const REMOVE: &str = "WITH gone AS (
        DELETE FROM conn_messages WHERE connection_key = $1 AND number = $2 RETURNING number
    )
    UPDATE conn_key_map SET removed = greatest(removed, g.number) FROM gone AS g WHERE connection_key = $1";

const ATTEMPT: &str = "INSERT INTO liner_attempts (connection_key, incarnation, number, attempts)
    SELECT connection_key, $2, $3, $4 FROM conn_key_map WHERE connection_key = $1
    ON CONFLICT (connection_key, incarnation, number) DO UPDATE SET attempts = excluded.attempts";

const FLOORS: &str = "SELECT connection_key::int8, acked FROM conn_key_map WHERE connection_key = ANY ($1)";

const COPY: &str = "COPY conn_messages (connection_key, number, payload) FROM STDIN BINARY";

/// Prepares everything a commit may need, in one exchange, so that later the first poll of a statement sends it.
pub(super) async fn prepare(db: &DbSession) -> Result<(), tokio_postgres::Error> {
    const ARRAY: Type = Type::INT8_ARRAY;
    const NUMBER: Type = Type::INT8;
    let statements: [(&'static str, &[Type]); 10] = [
        (super::FENCE, &[Type::TEXT, NUMBER, Type::BOOL]),
        (LANES, &[Type::TEXT, ARRAY, ARRAY, ARRAY]),
        (TRIM, &[ARRAY, ARRAY]),
        (APPEND, &[ARRAY, ARRAY, Type::BYTEA_ARRAY]),
        (ADVANCE, &[ARRAY, ARRAY, ARRAY, ARRAY]),
        (REMOVE, &[NUMBER, NUMBER]),
        (ATTEMPT, &[NUMBER, NUMBER, NUMBER, NUMBER]),
        (KEEP, &KEEP_TYPES),
        (UNKEEP, &[NUMBER, Type::TEXT]),
        (FLOORS, &[ARRAY]),
    ];
    let preparing = statements.iter().map(|(sql, types)| db.prepare(sql, types).boxed()).collect();
    in_order(preparing).await.into_iter().collect()
}

type Sent<'a> = BoxFuture<'a, Result<Vec<Row>, tokio_postgres::Error>>;

/// The transaction that is being sent. Its statements have been prepared.
pub(super) struct Pipeline<'a> {
    db: &'a DbSession,
    waiting: Vec<Sent<'a>>,
}

impl<'a> Pipeline<'a> {
    pub(super) fn new(db: &'a DbSession) -> Self {
        Pipeline { db, waiting: Vec::new() }
    }

    pub(super) fn query(&mut self, sql: &'static str, params: &'a [Param<'a>]) {
        self.waiting.push(self.db.query(sql, params).boxed());
    }

    pub(super) fn batch(&mut self, sql: &'a str) {
        let db = self.db;
        self.waiting.push(async move { db.batch(sql).await.map(|()| Vec::new()) }.boxed());
    }

    fn step(&mut self, step: &'a Step<'a>, node: &'a str) {
        let db = self.db;
        self.waiting.push(run(db, step, node).boxed());
    }

    /// Sends what waits and awaits the replies, without ending the transaction. Commits nothing.
    async fn flush(&mut self) -> Outcome<Vec<Vec<Row>>> {
        let replies = in_order(std::mem::take(&mut self.waiting)).await;
        Ok(replies.into_iter().collect::<Result<_, _>>()?)
    }

    /// Sends the rest and the commit.
    pub(super) async fn commit(mut self) -> Outcome<Vec<Vec<Row>>> {
        self.batch("COMMIT");
        let mut replies = in_order(self.waiting).await;
        let Some(end) = replies.pop() else { return Ok(Vec::new()) };
        let mut rows = Vec::with_capacity(replies.len());
        for reply in replies {
            rows.push(reply.map_err(|error| match error.as_db_error() {
                // What the server refused takes the transaction along.
                Some(_) => Failure::from(error),
                // Without its word it may have come as far as the commit.
                None => Failure { error: StoreError::Indeterminate(shown(&error).into()), again: true },
            })?);
        }
        end.map_err(|error| commit_failed(&error))?;
        Ok(rows)
    }
}

async fn run(db: &DbSession, step: &Step<'_>, node: &str) -> Result<Vec<Row>, tokio_postgres::Error> {
    match step {
        Step::Trim { lanes, through } => db.query(TRIM, &[int8s(lanes), int8s(through)]).await,
        Step::Append(rows) => {
            let payloads = rows.payloads();
            db.query(APPEND, &[int8s(&rows.lanes), int8s(&rows.numbers), byteas(&payloads)]).await
        }
        Step::Advance(moves) => {
            let params =
                [int8s(&moves.lanes), int8s(&moves.expected), int8s(&moves.incarnations), int8s(&moves.numbers)];
            db.query(ADVANCE, &params).await
        }
        Step::Remove(row) => db.query(REMOVE, &row.each_ref().map(int8)).await,
        Step::Attempt(row) => db.query(ATTEMPT, &row.each_ref().map(int8)).await,
        Step::Keep(letter) => letter.keep(db).await,
        Step::Unkeep(id) => db.query(UNKEEP, &[int8(id), text(&node)]).await,
    }
}

/// Applies the batches in one transaction. Returns what became of each.
pub(super) async fn commit(db: &DbSession, fence: &Fence, batches: &[&Batch]) -> Outcome<Vec<Committed>> {
    let plan = Plan::new(batches.iter().copied());
    let synced = batches.iter().any(|batch| batch.synced);
    db.busy();
    let replies = send(db, fence, &plan, synced).await;
    // Refused or done, the commit has ended the transaction; after anything else the connection goes.
    let ended = match &replies {
        Ok(_) => true,
        Err(failure) => !failure.again && failure.error.is_definite() && !copies(db, &plan),
    };
    if ended {
        db.clean();
    }
    let mut wrong = Vec::new();
    for (step, rows) in replies? {
        if let Step::Advance(moves) = step {
            for row in rows {
                let lane = row.try_get::<_, i64>(0)?;
                wrong.extend(moves.owners(lane).iter().map(|owner| (*owner, LaneKey(lane))));
            }
        }
    }
    wrong.sort_unstable();
    let stale = |place| wrong.iter().filter(|((batch, _), _)| *batch == place).map(|(_, lane)| *lane).collect();
    Ok((0..batches.len()).map(|place| Committed { stale: stale(place) }).collect())
}

fn is_copied(db: &DbSession, step: &Step<'_>) -> bool {
    matches!(step, Step::Append(rows) if rows.lanes.len() >= COPY_ROWS) && db.copies()
}

fn copies(db: &DbSession, plan: &Plan<'_>) -> bool {
    plan.steps.iter().any(|step| is_copied(db, step))
}

/// Sends the plan. Returns each step that is not copied, with the rows it returned.
async fn send<'p>(
    db: &DbSession,
    fence: &Fence,
    plan: &'p Plan<'p>,
    synced: bool,
) -> Outcome<Vec<(&'p Step<'p>, Vec<Row>)>> {
    let list = |lanes: &BTreeSet<i64>| lanes.iter().copied().collect::<Vec<_>>();
    let (changed, kept) = (list(&plan.changed), list(&plan.kept));
    let (node, epoch) = (fence.node.as_str(), fence.epoch.get().cast_signed());
    let held = [text(&node), int8(&epoch), boolean(&false)];
    let lanes = [text(&node), int8s(&plan.appended), int8s(&changed), int8s(&kept)];
    let mut pipeline = Pipeline::new(db);
    pipeline.batch(db.opening(synced));
    pipeline.query(super::FENCE, &held);
    pipeline.query(LANES, &lanes);
    let mut done: Vec<(&Step<'_>, Vec<Row>)> = Vec::new();
    let mut pending: Vec<&Step<'_>> = Vec::new();
    for step in &plan.steps {
        match step {
            Step::Append(rows) if is_copied(db, step) => {
                let replies = pipeline.flush().await?;
                let intermediate = replies.len() - pending.len();
                done.extend(pending.drain(..).zip(replies.into_iter().skip(intermediate)));
                copy(db, rows).await?;
            }
            _ => {
                pipeline.step(step, node);
                pending.push(step);
            }
        }
    }
    let replies = pipeline.commit().await?;
    let intermediate = replies.len() - pending.len();
    done.extend(pending.into_iter().zip(replies.into_iter().skip(intermediate)));
    Ok(done)
}

/// COPY knows no conflicts and no floor: what is acked is left out here, and if a number is there already the rows go the
/// other way.
async fn copy(db: &DbSession, rows: &Rows) -> Outcome<()> {
    let mut lanes = rows.lanes.clone();
    lanes.dedup();
    let mut floors = BTreeMap::new();
    for row in db.query(FLOORS, &[int8s(&lanes)]).await? {
        floors.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?);
    }
    db.batch("SAVEPOINT liner_copy").await?;
    let Err(error) = copy_rows(db, rows, &floors).await else { return Ok(()) };
    if error.as_db_error().is_none() {
        return Err(error.into());
    }
    db.batch("ROLLBACK TO SAVEPOINT liner_copy").await?;
    let payloads = rows.payloads();
    db.query(APPEND, &[int8s(&rows.lanes), int8s(&rows.numbers), byteas(&payloads)]).await?;
    Ok(())
}

async fn copy_rows(db: &DbSession, rows: &Rows, floors: &BTreeMap<i64, i64>) -> Result<(), tokio_postgres::Error> {
    let sink = db.copy_in(COPY).await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::INT8, Type::INT8, Type::BYTEA]));
    for ((lane, number), payload) in rows.lanes.iter().zip(&rows.numbers).zip(rows.payloads()) {
        if floors.get(lane).is_none_or(|floor| number > floor) {
            writer.as_mut().write(&[lane, number, &payload]).await?;
        }
    }
    writer.finish().await.map(drop)
}
