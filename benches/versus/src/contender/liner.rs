//! liner with default settings, and the mode of the row.

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
use versus_work::{Contender, Environment, Failure, Inbox, Load, Window};

const TOPIC: &str = "work";
const RECEIVER: &str = "receiver";
/// Messages per [`SendBatch`].
const BATCH: u64 = 512;

const MEMORY: Mode = Mode::AtLeastOnce(Durability::WriteBehind);
const COMMITTED: Mode = Mode::AtLeastOnce(Durability::Committed);
const SYNCED: Mode = Mode::AtLeastOnce(Durability::Synced);

/// How the application sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SendApi {
    Publisher,
    /// `SendTo`, without waiting for the receipt.
    DoSend,
    /// `SendTo`, with a window of receipts that it waits for.
    Send,
    Batch,
}

/// How the application receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SubscriberKind {
    Callback,
    Actor,
}

/// Where the two nodes have their stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StoreLayout {
    /// One file per node.
    Files,
    /// One file that both nodes share.
    File,
    Postgres,
    Redis,
}

#[derive(Debug, Clone, Copy)]
pub struct Liner {
    mode: Mode,
    api: SendApi,
    subscriber: SubscriberKind,
    layout: StoreLayout,
    /// Whether the receiver starts after the burst.
    absent: bool,
    /// Number of further topics that the sender knows.
    topics: u32,
}

impl Liner {
    pub fn find(row: &str) -> Option<Liner> {
        let (mode, api, subscriber, layout) = match row {
            "liner-amo" => (Mode::AtMostOnce, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Files),
            "liner-wb" => (MEMORY, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Files),
            "liner-wb-postgres" => (MEMORY, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Postgres),
            "liner-wb-redis" => (MEMORY, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Redis),
            "liner-wb-dosend" => (MEMORY, SendApi::DoSend, SubscriberKind::Actor, StoreLayout::Files),
            "liner-wb-send" => (MEMORY, SendApi::Send, SubscriberKind::Actor, StoreLayout::Files),
            "liner-committed" => (COMMITTED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Files),
            "liner-committed-shared" => (COMMITTED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::File),
            "liner-committed-postgres" => {
                (COMMITTED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Postgres)
            }
            "liner-committed-redis" => (COMMITTED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Redis),
            "liner-committed-batch" => (COMMITTED, SendApi::Batch, SubscriberKind::Callback, StoreLayout::Files),
            "liner-synced" => (SYNCED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Files),
            "liner-synced-shared" => (SYNCED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::File),
            // For the growth scenarios.
            "liner-absent" => (COMMITTED, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::File),
            "liner-topics" => (MEMORY, SendApi::Publisher, SubscriberKind::Callback, StoreLayout::Files),
            _ => return None,
        };
        let topics = if row == "liner-topics" { 100_000 } else { 0 };
        Some(Liner { mode, api, subscriber, layout, absent: row == "liner-absent", topics })
    }

    /// Returns whether a receipt waits for a commit.
    fn waits(&self) -> bool {
        !matches!(self.mode, Mode::AtMostOnce | MEMORY)
    }

    fn config(&self, environment: &Environment, name: &str, topic: &str) -> Config {
        let file = |file: &str| environment.dir.join(file).with_extension("sqlite");
        let server = environment.server.as_deref().unwrap_or_default();
        let config = match self.layout {
            StoreLayout::Files => Config::sqlite(name, topic, file(name)),
            StoreLayout::File => Config::sqlite(name, topic, file("mesh")),
            StoreLayout::Postgres => Config::postgres(name, topic, server),
            StoreLayout::Redis => Config::redis(name, topic, format!("redis://{server}/")),
        };
        match self.mode {
            Mode::AtMostOnce => config.at_most_once(),
            Mode::AtLeastOnce(durability) => config.durability(durability),
        }
    }
}

impl Contender for Liner {
    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn versus_work::Receiver>, Failure> {
        let runtime = Runtime::new()?;
        let (system, addr) = runtime.block_on(async {
            let system = LinerSystem::spawn(self.config(environment, RECEIVER, TOPIC)).await?;
            let addr = system.send(liner::Stats).await??.published;
            let receive = match self.subscriber {
                SubscriberKind::Callback => Receive::callback(move |delivery| {
                    inbox.take(&delivery.payload);
                    Ok(())
                }),
                SubscriberKind::Actor => {
                    let (subscriber, arbiter) = arbiter::start(Subscriber { inbox })?;
                    Receive::new(subscriber.recipient()).on(&arbiter)
                }
            };
            system.send(receive).await??.detach();
            Ok::<_, Failure>((system, addr))
        })?;
        Ok(Box::new(LinerReceiver { addr, _system: system, _runtime: runtime }))
    }

    fn send(&self, environment: &Environment, peer: &str) -> Result<Box<dyn versus_work::Sender>, Failure> {
        let runtime = Runtime::new()?;
        let mut config = self.config(environment, "sender", "source");
        if self.absent {
            // The receiver is announced by a seed; nothing listens there yet.
            config = config.seed(TOPIC, RECEIVER, "127.0.0.1:1");
        } else if self.layout == StoreLayout::Files {
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
        Ok(Box::new(LinerSender { row: *self, runtime, system, publisher, topic }))
    }
}

// ---- receiving ----

struct LinerReceiver {
    addr: String,
    _system: Addr<LinerSystem>,
    _runtime: Runtime,
}

impl versus_work::Receiver for LinerReceiver {
    fn address(&self) -> String {
        self.addr.clone()
    }
}

struct Subscriber {
    inbox: Arc<Inbox>,
}

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Subscriber {
    type Result = Result<(), Nack>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        self.inbox.take(&delivery.payload);
        Ok(())
    }
}

// ---- sending ----

struct LinerSender {
    row: Liner,
    runtime: Runtime,
    system: Addr<LinerSystem>,
    publisher: Publisher,
    topic: Topic,
}

impl versus_work::Sender for LinerSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        match self.row.api {
            SendApi::Publisher if self.row.waits() => self.runtime.block_on(publish_ahead(&self.publisher, load)),
            SendApi::Publisher => self.runtime.block_on(publish(&self.publisher, load)),
            SendApi::DoSend => {
                load.messages().for_each(|message| self.system.do_send(SendTo::new(&self.topic, message)));
                Ok(())
            }
            SendApi::Send => self.runtime.block_on(send(&self.system, &self.topic, load)),
            SendApi::Batch => self.runtime.block_on(send_batches(&self.system, &self.topic, load)),
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

/// Sends one message at a time. A receipt exists as soon as the message is in memory.
async fn publish(publisher: &Publisher, load: &Load) -> Result<(), Failure> {
    let mut message = load.blank();
    for number in load.numbers.clone() {
        load.write(number, &mut message);
        publisher.send(&message).await?;
    }
    Ok(())
}

/// Sends a window of messages ahead of their receipts, which wait for a commit.
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

/// Sends two batches at a time: one is committed while the next is made.
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
