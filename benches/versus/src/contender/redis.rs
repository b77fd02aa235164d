//! Redis Streams as a queue: XADD, and a consumer group that reads, acknowledges and deletes. Also the limit of a store on
//! Redis: a list that grows, without messaging and without a reader.

use redis::streams::StreamReadReply;
use redis::{Client, Commands, Connection, Value, cmd, pipe};
use std::sync::Arc;
use std::thread::{self, sleep};
use std::time::Duration;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender, Window};

const STREAM: &str = "work";
const GROUP: &str = "workers";
/// Entries per read.
const READ: usize = 1024;

pub struct Streams;

fn connect(environment: &Environment) -> Result<Connection, Failure> {
    let server = environment.server.as_deref().ok_or("there is no server")?;
    Ok(Client::open(format!("redis://{server}/"))?.get_connection()?)
}

impl Contender for Streams {
    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let mut redis = connect(environment)?;
        let () = cmd("XGROUP").arg(&["CREATE", STREAM, GROUP, "0", "MKSTREAM"]).query(&mut redis)?;
        thread::spawn(move || read(&mut redis, &inbox));
        Ok(Box::new(StreamReceiver))
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        Ok(Box::new(StreamSender(connect(environment)?)))
    }
}

struct StreamReceiver;

impl Receiver for StreamReceiver {
    fn address(&self) -> String {
        "-".to_owned()
    }
}

fn read(redis: &mut Connection, inbox: &Inbox) -> redis::RedisResult<()> {
    loop {
        let mut command = cmd("XREADGROUP");
        command.arg(&["GROUP", GROUP, "one", "COUNT"]).arg(READ).arg(&["BLOCK", "0", "STREAMS", STREAM, ">"]);
        let reply: StreamReadReply = command.query(redis)?;
        let entries = reply.keys.into_iter().flat_map(|key| key.ids);
        let mut ids = Vec::with_capacity(READ);
        for entry in entries {
            if let Some(Value::BulkString(message)) = entry.map.get("m") {
                inbox.take(message);
            }
            ids.push(entry.id);
        }
        let () = pipe().xack(STREAM, GROUP, &ids).ignore().xdel(STREAM, &ids).ignore().query(redis)?;
    }
}

struct StreamSender(Connection);

/// Sends one command per message, a window of messages per pipeline.
fn pipelined(redis: &mut Connection, load: &Load, command: &[&str]) -> Result<(), Failure> {
    let mut message = load.blank();
    let mut number = load.numbers.start;
    while number < load.numbers.end {
        let mut batch = pipe();
        let next = load.numbers.end.min(number + Window::<()>::SIZE as u64);
        for number in number..next {
            load.write(number, &mut message);
            batch.cmd(command[0]).arg(&command[1..]).arg(&message[..]).ignore();
        }
        let () = batch.query(redis)?;
        number = next;
    }
    Ok(())
}

impl Sender for StreamSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        pipelined(&mut self.0, load, &["XADD", STREAM, "*", "m"])
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.0.xlen::<_, u64>(STREAM)? > 0 {
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

pub struct Lists;

impl Contender for Lists {
    fn receive(&self, _: &Environment, _: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        Err("this row has no receiver".into())
    }

    fn send(&self, environment: &Environment, _: &str) -> Result<Box<dyn Sender>, Failure> {
        Ok(Box::new(ListSender(connect(environment)?)))
    }
}

struct ListSender(Connection);

impl Sender for ListSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let before: u64 = self.0.llen(STREAM)?;
        pipelined(&mut self.0, load, &["RPUSH", STREAM])?;
        let pushed = self.0.llen::<_, u64>(STREAM)? - before;
        if pushed == load.count() { Ok(()) } else { Err(format!("{pushed} messages were pushed").into()) }
    }
}
