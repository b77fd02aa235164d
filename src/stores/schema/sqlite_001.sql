-- Schema 1. The first eight tables are those of the reference implementation and may be there already; the runner has
-- then given them the columns they lack (ADDED_COLUMNS in sqlite/schema.rs names the same columns as below).

CREATE TABLE IF NOT EXISTS seq (
    id INTEGER PRIMARY KEY,
    v INTEGER NOT NULL
);
INSERT OR IGNORE INTO seq (id, v) VALUES (1, 0);

CREATE TABLE IF NOT EXISTS topic_addr (
    topic TEXT NOT NULL,
    addr TEXT NOT NULL,
    client_name TEXT NOT NULL,
    subscription INTEGER NOT NULL DEFAULT 0,
    lease_epoch INTEGER,
    PRIMARY KEY (topic, addr)
);

CREATE TABLE IF NOT EXISTS topic_key (
    topic TEXT PRIMARY KEY,
    k INTEGER NOT NULL
);

CREATE TABLE IF NOT EXISTS conn_key_map (
    composite TEXT PRIMARY KEY,
    connection_key INTEGER NOT NULL UNIQUE,
    sender TEXT,
    source_topic TEXT,
    receiver TEXT,
    topic TEXT,
    incarnation INTEGER,
    predecessor INTEGER,
    acked INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS conn_sender (
    connection_key INTEGER PRIMARY KEY,
    sender_topic TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS conn_mess_number (
    connection_key INTEGER PRIMARY KEY,
    v INTEGER NOT NULL,
    incarnation INTEGER
);

CREATE TABLE IF NOT EXISTS conn_messages (
    id INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL,
    payload BLOB NOT NULL,
    number INTEGER
);

CREATE TABLE IF NOT EXISTS sender_listener (
    sender_key TEXT NOT NULL,
    addr TEXT NOT NULL,
    listener_topic TEXT NOT NULL,
    client_name TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (sender_key, addr)
);

CREATE UNIQUE INDEX liner_lane_name ON conn_key_map (sender, source_topic, receiver, topic);
CREATE UNIQUE INDEX liner_message_number ON conn_messages (connection_key, number);

-- One row: `catalogue` counts changes of what a look-up of a topic returns, `last_key` is the highest connection key
-- given out. A `seq.v` below it means that an operator emptied the tables.
CREATE TABLE liner_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    catalogue INTEGER NOT NULL,
    last_key INTEGER NOT NULL
);
INSERT INTO liner_state (id, catalogue, last_key) VALUES (1, 0, 0);

-- Operators write routes, too, so the table itself notices.
CREATE TRIGGER liner_topic_addr_insert AFTER INSERT ON topic_addr
    BEGIN UPDATE liner_state SET catalogue = catalogue + 1; END;
CREATE TRIGGER liner_topic_addr_update AFTER UPDATE ON topic_addr
    BEGIN UPDATE liner_state SET catalogue = catalogue + 1; END;
CREATE TRIGGER liner_topic_addr_delete AFTER DELETE ON topic_addr
    BEGIN UPDATE liner_state SET catalogue = catalogue + 1; END;

-- The incarnations of a lane that may still have messages queued, oldest first by id.
CREATE TABLE liner_spans (
    id INTEGER PRIMARY KEY,
    connection_key INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    first INTEGER NOT NULL,
    UNIQUE (connection_key, incarnation)
);

CREATE TABLE liner_attempts (
    connection_key INTEGER NOT NULL,
    incarnation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    PRIMARY KEY (connection_key, incarnation, number)
) WITHOUT ROWID;

-- Ids are never reused, so that a repeated removal cannot hit a later letter.
CREATE TABLE liner_dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    node TEXT NOT NULL,
    origin TEXT NOT NULL,
    sender TEXT NOT NULL,
    source_topic TEXT NOT NULL,
    receiver TEXT NOT NULL,
    topic TEXT NOT NULL,
    incarnation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    headers BLOB NOT NULL,
    payload BLOB NOT NULL,
    reason TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    died_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX liner_dead_letter_message
    ON liner_dead_letters (sender, source_topic, receiver, topic, incarnation, number, origin);
CREATE INDEX liner_dead_letter_node ON liner_dead_letters (node, id);

-- `lease_until` is in milliseconds since 1970 by this store's clock.
CREATE TABLE liner_nodes (
    name TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL,
    released INTEGER NOT NULL,
    lease_until INTEGER NOT NULL DEFAULT 0
);

-- `told`: the news came over a link and counts although rows name the node; otherwise a row counts more.
CREATE TABLE liner_tombstones (
    topic TEXT NOT NULL,
    node TEXT NOT NULL,
    told INTEGER NOT NULL,
    PRIMARY KEY (topic, node)
);

CREATE TABLE liner_peers (
    node TEXT NOT NULL,
    peer TEXT NOT NULL,
    addr TEXT NOT NULL,
    PRIMARY KEY (node, peer)
);
