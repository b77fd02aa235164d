//! liner, with what an application would use: defaults everywhere, and a mode per row.

use super::arbiter;
use actix::prelude::*;
use futures::StreamExt;
use futures::stream::iter;
use liner::{
    Config, Delivery, Durability, GetPublisher, LinerSystem, ListAddresses, Mode, Nack, PendingCount, Publisher,
    Receive, SendBatch, SendTo, Topic,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::sleep;
use versus_work::{Contender, Failure, Inbox, Load, Place, Window};

const TOPIC: &str = "work";
const RECEIVER: &str = "receiver";
/// Messages of one [`SendBatch`].
const BATCH: u64 = 512;

const MEMORY: Mode = Mode::AtLeastOnce(Durability::WriteBehind);
const COMMITTED: Mode = Mode::AtLeastOnce(Durability::Committed);
const SYNCED: Mode = Mode::AtLeastOnce(Durability::Synced);

/// What the application sends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Publisher,
    /// `SendTo`, without waiting for the receipt.
    DoSend,
    /// `SendTo`, with a window of receipts that are waited for.
    Send,
    Batch,
}

/// What it receives with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Callback,
    Actor,
}

/// Where the nodes keep what they must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// A file each.
    Files,
    /// One file.
    File,
    Postgres,
    Redis,
}

#[derive(Debug, Clone, Copy)]
pub struct Liner {
    mode: Mode,
    by: By,
    to: To,
    on: On,
    /// Whether the receiver comes after the burst.
    absent: bool,
    /// Further topics that the sender knows.
    topics: u32,
}

impl Liner {
    pub fn find(row: &str) -> Option<Liner> {
        let (mode, by, to, on) = match row {
            "liner-amo" => (Mode::AtMostOnce, By::Publisher, To::Callback, On::Files),
            "liner-wb" => (MEMORY, By::Publisher, To::Callback, On::Files),
            "liner-wb-postgres" => (MEMORY, By::Publisher, To::Callback, On::Postgres),
            "liner-wb-redis" => (MEMORY, By::Publisher, To::Callback, On::Redis),
            "liner-wb-dosend" => (MEMORY, By::DoSend, To::Actor, On::Files),
            "liner-wb-send" => (MEMORY, By::Send, To::Actor, On::Files),
            "liner-committed" => (COMMITTED, By::Publisher, To::Callback, On::Files),
            "liner-committed-shared" => (COMMITTED, By::Publisher, To::Callback, On::File),
            "liner-committed-postgres" => (COMMITTED, By::Publisher, To::Callback, On::Postgres),
            "liner-committed-redis" => (COMMITTED, By::Publisher, To::Callback, On::Redis),
            "liner-committed-batch" => (COMMITTED, By::Batch, To::Callback, On::Files),
            "liner-synced" => (SYNCED, By::Publisher, To::Callback, On::Files),
            "liner-synced-shared" => (SYNCED, By::Publisher, To::Callback, On::File),
            // For the growth scenarios.
            "liner-absent" => (COMMITTED, By::Publisher, To::Callback, On::File),
            "liner-topics" => (MEMORY, By::Publisher, To::Callback, On::Files),
            _ => return None,
        };
        let topics = if row == "liner-topics" { 100_000 } else { 0 };
        Some(Liner { mode, by, to, on, absent: row == "liner-absent", topics })
    }

    /// Whether a receipt takes a commit.
    fn waits(&self) -> bool {
        !matches!(self.mode, Mode::AtMostOnce | MEMORY)
    }

    fn config(&self, place: &Place, name: &str, topic: &str) -> Config {
        let file = |file: &str| place.dir.join(file).with_extension("sqlite");
        let server = place.server.as_deref().unwrap_or_default();
        let config = match self.on {
            On::Files => Config::sqlite(name, topic, file(name)),
            On::File => Config::sqlite(name, topic, file("mesh")),
            On::Postgres => Config::postgres(name, topic, server),
            On::Redis => Config::redis(name, topic, format!("redis://{server}/")),
        };
        match self.mode {
            Mode::AtMostOnce => config.at_most_once(),
            Mode::AtLeastOnce(durability) => config.durability(durability),
        }
    }
}

impl Contender for Liner {
    fn receive(&self, place: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn versus_work::Receiver>, Failure> {
        let runtime = Runtime::new()?;
        let (system, addr) = runtime.block_on(async {
            let system = LinerSystem::spawn(self.config(place, RECEIVER, TOPIC)).await?;
            let addr = system.send(liner::Stats).await??.published;
            let receive = match self.to {
                To::Callback => Receive::callback(move |delivery| {
                    inbox.take(&delivery.payload);
                    Ok(())
                }),
                To::Actor => Receive::new(arbiter::start(Worker { inbox })?.recipient()),
            };
            system.send(receive).await??.detach();
            Ok::<_, Failure>((system, addr))
        })?;
        Ok(Box::new(Receiving { addr, _system: system, _runtime: runtime }))
    }

    fn send(&self, place: &Place, peer: &str) -> Result<Box<dyn versus_work::Sender>, Failure> {
        let runtime = Runtime::new()?;
        let mut config = self.config(place, "sender", "source");
        if self.absent {
            // An operator has announced it.
            config = config.seed(TOPIC, RECEIVER, "127.0.0.1:1");
        } else if self.on == On::Files {
            config = config.seed(TOPIC, RECEIVER, peer);
        }
        for topic in 0..self.topics {
            config = config.seed(format!("topic-{topic}"), RECEIVER, peer);
        }
        let topic = Topic::new(TOPIC)?;
        let (system, publisher) = runtime.block_on(async {
            let system = LinerSystem::spawn(config).await?;
            while system.send(ListAddresses::new(TOPIC)).await??.is_empty() {
                sleep(Duration::from_millis(1)).await;
            }
            let publisher = system.send(GetPublisher::new(&topic)).await??;
            Ok::<_, Failure>((system, publisher))
        })?;
        Ok(Box::new(Sending { row: *self, runtime, system, publisher, topic }))
    }
}

// ---- receiving ----

struct Receiving {
    addr: String,
    _system: Addr<LinerSystem>,
    _runtime: Runtime,
}

impl versus_work::Receiver for Receiving {
    fn address(&self) -> String {
        self.addr.clone()
    }
}

struct Worker {
    inbox: Arc<Inbox>,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Worker {
    type Result = Result<(), Nack>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        self.inbox.take(&delivery.payload);
        Ok(())
    }
}

// ---- sending ----

struct Sending {
    row: Liner,
    runtime: Runtime,
    system: Addr<LinerSystem>,
    publisher: Publisher,
    topic: Topic,
}

impl versus_work::Sender for Sending {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        match self.row.by {
            By::Publisher if self.row.waits() => self.runtime.block_on(publish_ahead(&self.publisher, load)),
            By::Publisher => self.runtime.block_on(publish(&self.publisher, load)),
            By::DoSend => {
                load.messages().for_each(|message| self.system.do_send(SendTo::new(&self.topic, message)));
                Ok(())
            }
            By::Send => self.runtime.block_on(send(&self.system, &self.topic, load)),
            By::Batch => self.runtime.block_on(send_batches(&self.system, &self.topic, load)),
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        if !self.row.waits() || self.row.absent {
            return Ok(());
        }
        self.runtime.block_on(async {
            while self.system.send(PendingCount).await?? > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
    }
}

/// Each receipt is there when the message is in memory, which is at once.
async fn publish(publisher: &Publisher, load: &Load) -> Result<(), Failure> {
    let mut message = load.blank();
    for number in load.numbers.clone() {
        load.write(number, &mut message);
        publisher.send(&message).await?;
    }
    Ok(())
}

/// Receipts come with a commit: others are sent meanwhile.
async fn publish_ahead(publisher: &Publisher, load: &Load) -> Result<(), Failure> {
    let mut message = load.blank();
    let mut window = Window::default();
    for number in load.numbers.clone() {
        load.write(number, &mut message);
        if let Some(oldest) = window.push(publisher.send(&message)) {
            oldest.await?;
        }
    }
    for sending in window.drain() {
        sending.await?;
    }
    Ok(())
}

async fn send(system: &Addr<LinerSystem>, topic: &Topic, load: &Load) -> Result<(), Failure> {
    let sends = iter(load.messages()).map(|message| system.send(SendTo::new(topic, message)));
    let mut receipts = sends.buffered(Window::<()>::SIZE);
    while let Some(receipt) = receipts.next().await {
        receipt??;
    }
    Ok(())
}

/// Two batches at a time: one is being committed while the next is made.
async fn send_batches(system: &Addr<LinerSystem>, topic: &Topic, load: &Load) -> Result<(), Failure> {
    let batch = |first: u64| {
        let load = Load { numbers: first..load.numbers.end.min(first + BATCH), ..load.clone() };
        system.send(SendBatch::new(topic, load.messages()))
    };
    let mut receipts = iter(load.numbers.clone().step_by(BATCH as usize)).map(batch).buffered(2);
    while let Some(accepted) = receipts.next().await {
        accepted??;
    }
    Ok(())
}
