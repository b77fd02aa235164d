//! The tables of a legacy SQL database, the same in SQLite and PostgreSQL.

/// A table and the columns by which it is recognised.
pub(in crate::stores) type LegacyTable = (&'static str, &'static [&'static str]);

/// Every table of a legacy database.
pub(in crate::stores) const LEGACY_TABLES: &[LegacyTable] = &[
    ("seq", &["id", "v"]),
    ("topic_addr", &["topic", "addr", "client_name"]),
    ("topic_key", &["topic", "k"]),
    ("conn_key_map", &["composite", "connection_key"]),
    ("conn_sender", &["connection_key", "sender_topic"]),
    ("conn_mess_number", &["connection_key", "v"]),
    ("conn_messages", &["id", "connection_key", "payload"]),
    ("sender_listener", &["sender_key", "addr", "listener_topic"]),
];
