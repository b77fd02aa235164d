//! The limit of a store on PostgreSQL: rows copied into one table, without messaging and without a reader.

use std::pin::pin;
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender};

/// Rows per COPY, which is a transaction.
const ROWS: u64 = 8192;

pub struct Copy;

impl Contender for Copy {
    fn receive(&self, _: &Environment, _: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        Err("this row has no receiver".into())
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let client = runtime.block_on(async {
            let server = environment.server.as_deref().ok_or("there is no server")?;
            let (client, connection) = tokio_postgres::connect(server, NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute("CREATE TABLE messages (number BIGINT PRIMARY KEY, payload BYTEA NOT NULL)").await?;
            Ok::<_, Failure>(client)
        })?;
        Ok(Box::new(CopySender { runtime, client }))
    }
}

struct CopySender {
    runtime: Runtime,
    client: Client,
}

impl Sender for CopySender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let copied = self.runtime.block_on(copy(&self.client, load))?;
        if copied == load.count() { Ok(()) } else { Err(format!("{copied} rows were copied").into()) }
    }
}

async fn copy(client: &Client, load: &Load) -> Result<u64, Failure> {
    let (mut copied, mut message) = (0, load.blank());
    for first in load.numbers.clone().step_by(ROWS as usize) {
        let sink = client.copy_in("COPY messages (number, payload) FROM STDIN BINARY").await?;
        let mut rows = pin!(BinaryCopyInWriter::new(sink, &[Type::INT8, Type::BYTEA]));
        for number in first..load.numbers.end.min(first + ROWS) {
            load.write(number, &mut message);
            rows.as_mut().write(&[&number.cast_signed(), &message]).await?;
        }
        copied += rows.finish().await?;
    }
    Ok(copied)
}
