//! The limit of a store on SQLite: plain inserts, without messaging and without a reader.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::ops::Range;
use std::sync::Arc;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender};

/// Rows per transaction.
const TRANSACTION: u64 = 512;
/// Rows per statement. Faster than one row at a time; more rows are hardly faster.
const ROWS: u64 = 32;

/// Rows in one table, in the order of its key.
pub struct Inserts;

impl Contender for Inserts {
    fn receive(&self, _: &Environment, _: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        Err("this row has no receiver".into())
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        let db = Connection::open(environment.dir.join("limit.sqlite"))?;
        db.execute_batch(
            "PRAGMA journal_mode = wal; PRAGMA synchronous = normal; PRAGMA wal_autocheckpoint = 4096;
            CREATE TABLE messages (number INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
        )?;
        Ok(Box::new(InsertSender(db)))
    }
}

struct InsertSender(Connection);

impl Sender for InsertSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut inserted = 0;
        for first in load.numbers.clone().step_by(TRANSACTION as usize) {
            let transaction = self.0.transaction()?;
            for first in (first..load.numbers.end.min(first + TRANSACTION)).step_by(ROWS as usize) {
                inserted += insert(&transaction, load, first..load.numbers.end.min(first + ROWS))?;
            }
            transaction.commit()?;
        }
        if inserted == load.count() { Ok(()) } else { Err(format!("{inserted} rows were inserted").into()) }
    }
}

/// Inserts rows with one statement. Makes the messages here, as the senders of other contenders do.
fn insert(db: &Connection, load: &Load, numbers: Range<u64>) -> Result<u64, Failure> {
    let values = vec!["(?, ?)"; (numbers.end - numbers.start) as usize].join(", ");
    let mut statement = db.prepare_cached(&format!("INSERT INTO messages VALUES {values}"))?;
    let row = |number: u64| {
        let mut message = load.blank();
        load.write(number, &mut message);
        [Value::Integer(number.cast_signed()), Value::Blob(message)]
    };
    Ok(statement.execute(params_from_iter(numbers.flat_map(row)))? as u64)
}
