//! liner with many nodes in the receiving process: a topic that a hundred serve, and a thousand that hardly do anything.

use futures::future::try_join_all;
use liner::{Config, Durability, GetPublisher, LinerSystem, Publisher, Receive, SendTo};
use std::sync::Arc;
use tokio::runtime::Runtime;
use versus_work::{Contender, Failure, Inbox, Load, Place, Receiver, Sender};

const FAN: usize = 100;
const IDLE: usize = 1_000;
const TOPIC: &str = "work";

/// The nodes that receive; they live as long as the process.
struct Nodes {
    addrs: Vec<String>,
    _systems: Vec<actix::Addr<LinerSystem>>,
    _runtime: Runtime,
}

impl Nodes {
    fn start(configs: impl Iterator<Item = Config>, inbox: &Arc<Inbox>) -> Result<Nodes, Failure> {
        let runtime = Runtime::new()?;
        let (mut systems, mut addrs) = (Vec::new(), Vec::new());
        for config in configs {
            let inbox = inbox.clone();
            let receive = Receive::callback(move |delivery| {
                inbox.take(&delivery.payload);
                Ok(())
            });
            let (system, addr) = runtime.block_on(async {
                let system = LinerSystem::spawn(config).await?;
                system.send(receive).await??.detach();
                let addr = system.send(liner::Stats).await??.published;
                Ok::<_, Failure>((system, addr))
            })?;
            systems.push(system);
            addrs.push(addr);
        }
        Ok(Nodes { addrs, _systems: systems, _runtime: runtime })
    }
}

impl Receiver for Nodes {
    fn address(&self) -> String {
        self.addrs.join(",")
    }
}

fn node(at: usize) -> String {
    format!("receiver-{at}")
}

fn sender(place: &Place) -> Config {
    Config::sqlite("sender", "source", place.dir.join("sender.sqlite")).durability(Durability::WriteBehind)
}

/// A hundred nodes on a file each serve one topic; the sender takes them in turn.
pub struct Fan;

impl Contender for Fan {
    fn receive(&self, place: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let config = |at| Config::sqlite(node(at), TOPIC, place.dir.join(node(at)).with_extension("sqlite"));
        Ok(Box::new(Nodes::start((0..FAN).map(config), &inbox)?))
    }

    fn send(&self, place: &Place, peers: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let seed = |config: Config, (at, peer): (usize, &str)| config.seed(TOPIC, node(at), peer);
        let config = peers.split(',').enumerate().fold(sender(place), seed);
        let (system, publisher) = runtime.block_on(async {
            let system = LinerSystem::spawn(config).await?;
            let publisher = system.send(GetPublisher::new(TOPIC)).await??;
            Ok::<_, Failure>((system, publisher))
        })?;
        Ok(Box::new(Fanning { runtime, _system: system, publisher }))
    }
}

struct Fanning {
    runtime: Runtime,
    _system: actix::Addr<LinerSystem>,
    publisher: Publisher,
}

impl Sender for Fanning {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        self.runtime.block_on(async {
            for number in load.numbers.clone() {
                load.write(number, &mut message);
                self.publisher.send(&message).await?;
            }
            Ok(())
        })
    }
}

/// A thousand nodes on one store in memory, with a topic each. A message opens a link, and nothing follows.
pub struct Idle;

impl Contender for Idle {
    fn receive(&self, _: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let store = liner::stores::memory::MemoryStore::default();
        let config = move |at| Config::memory(node(at), node(at), &store);
        Ok(Box::new(Nodes::start((0..IDLE).map(config), &inbox)?))
    }

    fn send(&self, place: &Place, peers: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let seed = |config: Config, (at, peer): (usize, &str)| config.seed(node(at), node(at), peer);
        let config = peers.split(',').enumerate().fold(sender(place), seed);
        let system = runtime.block_on(LinerSystem::spawn(config))?;
        Ok(Box::new(Opening { runtime, system }))
    }
}

struct Opening {
    runtime: Runtime,
    system: actix::Addr<LinerSystem>,
}

impl Sender for Opening {
    /// One message to each node.
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let mut message = load.blank();
        let sends = load.numbers.clone().map(|number| {
            load.write(number, &mut message);
            self.system.send(SendTo::new(node(number as usize), message.clone()))
        });
        for receipt in self.runtime.block_on(try_join_all(sends.collect::<Vec<_>>()))? {
            receipt?;
        }
        Ok(())
    }
}
