//! What a server holds, as text that can be read and compared, and given to another server.

use redis::Commands as _;
use std::fmt::Write as _;

/// A command a line, its words separated by blanks; bytes that are not plain text are percent-encoded.
pub(crate) fn redis(url: &str) -> String {
    let mut db = redis::Client::open(url).and_then(|client| client.get_connection()).expect("connects");
    let mut keys: Vec<String> = db.keys("lnr_*").expect("lists");
    keys.sort();
    let mut text = String::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query(&mut db).expect("reads");
        let (command, values): (_, Vec<Vec<u8>>) = match kind.as_str() {
            "string" => ("SET", vec![db.get(&key).expect("reads")]),
            "list" => ("RPUSH", db.lrange(&key, 0, -1).expect("reads")),
            "hash" => ("HSET", db.hgetall(&key).expect("reads")),
            other => panic!("{key} is a {other}"),
        };
        if !values.is_empty() {
            let words = std::iter::once(key.as_bytes()).chain(values.iter().map(Vec::as_slice));
            let words: Vec<_> = words.map(encoded).collect();
            writeln!(text, "{command} {}", words.join(" ")).expect("a string takes it");
        }
    }
    text
}

fn encoded(word: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    word.iter().map(|byte| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02x}") }).collect()
}

/// The tables as the broker makes them, and their rows.
pub(crate) fn postgres(url: &str) -> String {
    let mut db = postgres::Client::connect(url, postgres::NoTls).expect("connects");
    let mut text = String::new();
    let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1";
    for table in db.query(tables, &[]).expect("reads").iter().map(|row| row.get::<_, String>(0)) {
        let columns = "SELECT column_name::text, data_type::text, coalesce(column_default, '')::text
            FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
        let columns: Vec<(String, String, String)> = db
            .query(columns, &[&table])
            .expect("reads")
            .iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect();
        let declared: Vec<_> = columns.iter().map(|(name, kind, default)| declared(name, kind, default)).collect();
        let keys = "SELECT pg_get_constraintdef(oid)::text FROM pg_constraint
            WHERE conrelid = $1::text::regclass AND contype IN ('c', 'p', 'u') ORDER BY conname";
        let keys: Vec<String> = db.query(keys, &[&table]).expect("reads").iter().map(|row| row.get(0)).collect();
        let parts = [declared, keys].concat().join(", ");
        writeln!(text, "CREATE TABLE {table} ({parts});").expect("a string takes it");
        let indexes = "SELECT pg_get_indexdef(indexrelid)::text FROM pg_index AS i WHERE indrelid = $1::text::regclass
            AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid) ORDER BY 1";
        for index in db.query(indexes, &[&table]).expect("reads").iter().map(|row| row.get::<_, String>(0)) {
            writeln!(text, "{};", index.replace(" public.", " ")).expect("a string takes it");
        }
        let names: Vec<_> = columns.iter().map(|(name, ..)| name.clone()).collect();
        let values: Vec<_> = names.iter().map(|name| format!("quote_literal({name})")).collect();
        let rows = format!("SELECT concat_ws(', ', {}) FROM {table} ORDER BY 1", values.join(", "));
        for row in db.query(&rows, &[]).expect("reads").iter().map(|row| row.get::<_, String>(0)) {
            writeln!(text, "INSERT INTO {table} ({}) VALUES ({row});", names.join(", ")).expect("a string takes it");
        }
    }
    text + "SELECT setval('conn_messages_id_seq', (SELECT max(id) FROM conn_messages));\n"
}

fn declared(name: &str, kind: &str, default: &str) -> String {
    let serial = default.starts_with("nextval");
    let kind = if serial { "BIGSERIAL".to_owned() } else { kind.to_uppercase() };
    let default = if serial || default.is_empty() { String::new() } else { format!(" DEFAULT {default}") };
    format!("{name} {kind} NOT NULL{default}")
}
