//! Has liner_broker 1.4.1 fill its stores, and writes what it left to files: `cargo run -- <directory>`.
//!
//! The story is the same on each kind of store; `tests/legacy_data.rs` of liner tells how it goes on. Receivers are
//! processes of their own, so that one can be killed before it withdraws its routes.

mod dump;
mod place;
mod story;

use place::Place;
use std::path::{Path, PathBuf};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", place, name, topic, subscription] => {
            story::receive(&Place::parse(place), name, topic, subscription);
        }
        [directory] => write(Path::new(directory)),
        _ => panic!("usage: liner-legacy-data <directory>"),
    }
}

fn write(directory: &Path) {
    let work = tempfile::tempdir().expect("temporary directory");
    let file = |name: &str| work.path().join(name);
    let keep = |name: &str| {
        std::fs::copy(file(name), directory.join(name)).expect("copies");
    };
    story::shared(&Place::Sqlite(file("shared.db")));
    keep("shared.db");
    let isolated: [PathBuf; 2] = [file("isolated-a.db"), file("isolated-b.db")];
    story::isolated(&isolated);
    keep("isolated-a.db");
    keep("isolated-b.db");

    let server = liner_test_servers::redis::Server::start(&[]);
    let place = Place::Redis(server.url(0));
    story::shared(&place);
    std::fs::write(directory.join("redis.txt"), dump::redis(&server.url(0))).expect("writes");

    let server = liner_test_servers::postgres::Server::start(&[]);
    let url = server.database("legacy");
    story::shared(&Place::Postgres(url.clone()));
    std::fs::write(directory.join("postgres.sql"), dump::postgres(&url)).expect("writes");
}
