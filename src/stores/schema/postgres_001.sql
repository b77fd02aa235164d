-- Schema 1. The first eight tables are those of the reference implementation and may be there already; the runner has
-- then given them the columns they lack (ADDED_COLUMNS in postgres/schema.rs names the same columns as below). Its
-- connection keys are INTEGER, ours BIGINT: statements cast what they read.

CREATE TABLE IF NOT EXISTS seq (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    v BIGINT NOT NULL
);
INSERT INTO seq (id, v) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;

CREATE TABLE IF NOT EXISTS topic_addr (
    topic TEXT NOT NULL,
    addr TEXT NOT NULL,
    client_name TEXT NOT NULL,
    subscription BOOLEAN NOT NULL DEFAULT FALSE,
    lease_epoch BIGINT,
    PRIMARY KEY (topic, addr)
);

CREATE TABLE IF NOT EXISTS topic_key (
    topic TEXT PRIMARY KEY,
    k BIGINT NOT NULL
);

CREATE TABLE IF NOT EXISTS conn_key_map (
    composite TEXT PRIMARY KEY,
    connection_key BIGINT NOT NULL UNIQUE,
    sender TEXT,
    source_topic TEXT,
    receiver TEXT,
    topic TEXT,
    incarnation BIGINT,
    predecessor BIGINT,
    acked BIGINT NOT NULL DEFAULT 0,
    removed BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE IF NOT EXISTS conn_sender (
    connection_key BIGINT PRIMARY KEY,
    sender_topic TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS conn_mess_number (
    connection_key BIGINT PRIMARY KEY,
    v BIGINT NOT NULL,
    incarnation BIGINT
);

CREATE TABLE IF NOT EXISTS conn_messages (
    id BIGSERIAL PRIMARY KEY,
    connection_key BIGINT NOT NULL,
    payload BYTEA NOT NULL,
    number BIGINT
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

-- Messages that are worth it are compressed before they are stored.
ALTER TABLE conn_messages ALTER COLUMN payload SET STORAGE EXTERNAL;

-- A queue is written once and deleted once, so its dead rows are vacuumed by number, not by share, and at full speed.
-- A truncation at the end of the file would lock the table against its writers.
ALTER TABLE conn_messages SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
);
-- Few rows, updated with every batch: the pages have room for the next version of each row, and are vacuumed often.
ALTER TABLE conn_key_map SET (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
);
ALTER TABLE conn_mess_number SET (
    fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false
);

-- One row: `catalogue` counts changes of what a look-up of a topic returns, `last_key` is the highest connection key
-- given out. A `seq.v` below it means that an operator emptied the tables.
CREATE TABLE liner_state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    catalogue BIGINT NOT NULL,
    last_key BIGINT NOT NULL
) WITH (fillfactor = 50);
INSERT INTO liner_state (id, catalogue, last_key) VALUES (1, 0, 0);

-- The incarnations of a lane that may still have messages queued, oldest first by id.
CREATE TABLE liner_spans (
    id BIGSERIAL PRIMARY KEY,
    connection_key BIGINT NOT NULL,
    incarnation BIGINT NOT NULL,
    first BIGINT NOT NULL,
    UNIQUE (connection_key, incarnation)
);

CREATE TABLE liner_attempts (
    connection_key BIGINT NOT NULL,
    incarnation BIGINT NOT NULL,
    number BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    PRIMARY KEY (connection_key, incarnation, number)
);

-- Ids are never reused, so that a repeated removal cannot hit a later letter.
CREATE TABLE liner_dead_letters (
    id BIGSERIAL PRIMARY KEY,
    node TEXT NOT NULL,
    origin TEXT NOT NULL,
    sender TEXT NOT NULL,
    source_topic TEXT NOT NULL,
    receiver TEXT NOT NULL,
    topic TEXT NOT NULL,
    incarnation BIGINT NOT NULL,
    number BIGINT NOT NULL,
    headers BYTEA NOT NULL,
    payload BYTEA NOT NULL,
    reason TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    died_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX liner_dead_letter_message
    ON liner_dead_letters (sender, source_topic, receiver, topic, incarnation, number, origin);
CREATE INDEX liner_dead_letter_node ON liner_dead_letters (node, id);

-- `lease_until` is in milliseconds since 1970 by the server's clock.
CREATE TABLE liner_nodes (
    name TEXT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    released BOOLEAN NOT NULL,
    lease_until BIGINT NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- `told`: the news came over a link and counts although rows name the node; otherwise a row counts more.
CREATE TABLE liner_tombstones (
    topic TEXT NOT NULL,
    node TEXT NOT NULL,
    told BOOLEAN NOT NULL,
    PRIMARY KEY (topic, node)
);

CREATE TABLE liner_peers (
    node TEXT NOT NULL,
    peer TEXT NOT NULL,
    addr TEXT NOT NULL,
    PRIMARY KEY (node, peer)
);

-- Refuses a process whose name has been registered again, and keeps the name from being registered until the
-- transaction ends. `changing`: the transaction is going to change the node's row.
CREATE FUNCTION liner_fence(named TEXT, held BIGINT, changing BOOLEAN) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    present BIGINT;
BEGIN
    IF changing THEN
        SELECT epoch INTO present FROM liner_nodes WHERE name = named FOR NO KEY UPDATE;
    ELSE
        SELECT epoch INTO present FROM liner_nodes WHERE name = named FOR SHARE;
    END IF;
    IF present > held THEN
        RAISE EXCEPTION 'fenced' USING ERRCODE = 'LN001';
    END IF;
END $$;

-- Locks the lanes a batch touches, always in the same order, and refuses it when it appends to one that `named` has not
-- opened. An append and a trim of one lane wait for each other: neither must miss what the other does.
CREATE FUNCTION liner_lanes(named TEXT, appended BIGINT[], changed BIGINT[], kept BIGINT[])
RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
    missing BIGINT;
BEGIN
    PERFORM 1 FROM conn_key_map WHERE connection_key = ANY (changed) ORDER BY connection_key FOR NO KEY UPDATE;
    PERFORM 1 FROM conn_key_map WHERE connection_key = ANY (kept) ORDER BY connection_key FOR KEY SHARE;
    SELECT a.lane INTO missing FROM unnest(appended) WITH ORDINALITY AS a(lane, nth) WHERE NOT EXISTS (
        SELECT 1 FROM conn_key_map AS m
        WHERE m.connection_key = a.lane AND m.sender = named AND m.incarnation IS NOT NULL
    ) ORDER BY a.nth LIMIT 1;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION '%', missing USING ERRCODE = 'LN002';
    END IF;
END $$;

-- Notes a change of the catalogue and tells those who listen once it is committed. The search path is fixed because
-- operators write `topic_addr` with whatever path they have.
CREATE FUNCTION liner_bump() RETURNS VOID LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE liner_state SET catalogue = catalogue + 1;
    PERFORM pg_notify('liner_catalogue', '');
END $$;

CREATE FUNCTION liner_topic_addr_changed() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM liner_bump();
    ELSIF EXISTS (SELECT 1 FROM changed) THEN
        PERFORM liner_bump();
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER liner_topic_addr_insert AFTER INSERT ON topic_addr
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION liner_topic_addr_changed();
CREATE TRIGGER liner_topic_addr_update AFTER UPDATE ON topic_addr
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION liner_topic_addr_changed();
CREATE TRIGGER liner_topic_addr_delete AFTER DELETE ON topic_addr
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION liner_topic_addr_changed();
CREATE TRIGGER liner_topic_addr_truncate AFTER TRUNCATE ON topic_addr
    FOR EACH STATEMENT EXECUTE FUNCTION liner_topic_addr_changed();
