//! The statements that read and move legacy data of a PostgreSQL database, and the readers of their rows.

use super::{LegacyCatalogue, LegacyKey};
use crate::stores::LaneKey;
use crate::types::NodeId;
use tokio_postgres::{Error, Row};

/// Selects the legacy connection keys of the sender `$1`, and its lanes that hold legacy rows. See [`keys`].
pub(in crate::stores) const KEYS: &str = "SELECT connection_key::int8 FROM conn_key_map
    WHERE sender IS NULL AND left(composite, length($1) + 1) = $1 || ':'
    UNION SELECT connection_key::int8 FROM conn_key_map AS k WHERE sender = $1 AND EXISTS (
        SELECT 1 FROM conn_messages AS m WHERE m.connection_key = k.connection_key AND m.number IS NULL
    ) ORDER BY 1";

/// Selects who serves which topic.
pub(in crate::stores) const SERVED: &str = "SELECT topic, client_name FROM topic_addr";

/// Selects the topics and their numbers.
pub(in crate::stores) const TOPICS: &str = "SELECT topic, k::int8 FROM topic_key";

/// Selects the remembered routes.
pub(in crate::stores) const ROUTES: &str =
    "SELECT l.sender_key, l.listener_topic, coalesce(nullif(l.client_name, ''), a.client_name)
    FROM sender_listener AS l LEFT JOIN topic_addr AS a ON a.topic = l.listener_topic AND a.addr = l.addr";

/// Selects a row if a node other than `$1` has sent from this store.
pub(in crate::stores) const OTHER_SENDERS: &str = "SELECT 1 FROM conn_key_map
    WHERE (sender IS NULL AND left(composite, length($1) + 1) <> $1 || ':')
        OR (sender <> $1 AND incarnation IS NOT NULL) LIMIT 1";

/// Selects the connection key `$1` and its records. See [`key`].
pub(in crate::stores) const KEY: &str =
    "SELECT k.composite, k.sender, k.source_topic, k.receiver, s.sender_topic, coalesce(n.v, 0)::int8
    FROM conn_key_map AS k LEFT JOIN conn_sender AS s ON s.connection_key = k.connection_key
    LEFT JOIN conn_mess_number AS n ON n.connection_key = k.connection_key AND n.incarnation IS NULL
    WHERE k.connection_key = $1";

/// Selects a page of the legacy rows of the key `$1` after the row `$2`: at most `$3` rows, and `$4` bytes unless the first
/// row alone has more.
pub(in crate::stores) const PAGE: &str = "SELECT id, payload FROM (
        SELECT id, payload, row_number() OVER page AS nth, sum(octet_length(payload)) OVER page AS through
        FROM (
            SELECT id, payload FROM conn_messages WHERE connection_key = $1 AND number IS NULL AND id > $2
            ORDER BY id LIMIT $3
        ) AS found
        WINDOW page AS (ORDER BY id)
    ) AS counted
    WHERE nth = 1 OR through <= $4 ORDER BY id";

/// Moves the rows `$1` to the lanes `$2`, with the numbers `$3` and the bytes `$4`.
pub(in crate::stores) const MOVE: &str =
    "UPDATE conn_messages AS m SET connection_key = a.lane, number = a.number, payload = a.payload
    FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::bytea[]) AS a(id, lane, number, payload) WHERE m.id = a.id";

/// Delete the connection key `$1` and its records.
pub(in crate::stores) const DELETE_KEY: [&str; 3] = [
    "DELETE FROM conn_key_map WHERE connection_key = $1",
    "DELETE FROM conn_sender WHERE connection_key = $1",
    "DELETE FROM conn_mess_number WHERE connection_key = $1",
];

/// Reads the rows of [`KEYS`].
pub(in crate::stores) fn keys(rows: &[Row]) -> Result<Vec<LaneKey>, Error> {
    rows.iter().map(|row| Ok(LaneKey(row.try_get(0)?))).collect()
}

/// Reads the rows of [`SERVED`], [`TOPICS`] and [`ROUTES`]. Returns the catalogue as `node` sees it.
pub(in crate::stores) fn catalogue(
    node: &NodeId,
    [served, topics, routes]: [&[Row]; 3],
    others_send: bool,
) -> Result<LegacyCatalogue, Error> {
    let mut catalogue = LegacyCatalogue { others_send, ..LegacyCatalogue::default() };
    for row in served {
        catalogue.served.push((row.try_get(0)?, row.try_get(1)?));
    }
    for row in topics {
        catalogue.number(row.try_get(0)?, row.try_get(1)?);
    }
    for row in routes {
        catalogue.remember(node, row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    }
    Ok(catalogue)
}

/// Reads a row of [`KEY`].
pub(in crate::stores) fn key(key: LaneKey, row: &Row) -> Result<LegacyKey, Error> {
    let lane = match row.try_get::<_, Option<String>>(1)? {
        Some(sender) => Some([sender, row.try_get(2)?, row.try_get(3)?]),
        None => None,
    };
    let (composite, source, handled) = (row.try_get(0)?, row.try_get(4)?, row.try_get(5)?);
    Ok(LegacyKey { key: key.0, composite, lane, source, handled })
}
