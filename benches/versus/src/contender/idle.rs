//! liner with a thousand idle links.

use super::nodes::{self, Nodes};
use actix::Addr;
use futures::future::try_join_all;
use liner::stores::memory::MemoryStore;
use liner::{Config, Durability, LinerSystem, SendTo};
use std::sync::Arc;
use tokio::runtime::Runtime;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender};

const NODES: usize = 1_000;

/// A thousand nodes on one store in memory, with a topic each. The one message to each opens a link.
pub struct Idle;

impl Contender for Idle {
    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let store = MemoryStore::default();
        let config = move |at| Config::memory(nodes::name(at), nodes::name(at), &store);
        Ok(Box::new(Nodes::start((0..NODES).map(config), move |_, message| inbox.take(message))?))
    }

    fn send(&self, environment: &Environment, peers: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let config = Config::sqlite("sender", "source", environment.dir.join("sender.sqlite"));
        let config = nodes::seed(config.durability(Durability::WriteBehind), peers, nodes::name);
        let system = runtime.block_on(LinerSystem::spawn(config))?;
        Ok(Box::new(IdleSender { runtime, system }))
    }
}

struct IdleSender {
    runtime: Runtime,
    system: Addr<LinerSystem>,
}

impl Sender for IdleSender {
    /// Sends one message to each node.
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        let messages = load.numbers.clone().zip(load.messages());
        let sends =
            messages.map(|(number, message)| self.system.send(SendTo::new(nodes::name(number as usize), message)));
        for receipt in self.runtime.block_on(try_join_all(sends.collect::<Vec<_>>()))? {
            receipt?;
        }
        Ok(())
    }
}
