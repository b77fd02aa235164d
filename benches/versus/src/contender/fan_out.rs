//! liner to many receivers: `SendAll` to a topic that a hundred nodes serve, on a file each.

use super::nodes::{self, Nodes};
use crate::rows::FAN_OUT;
use actix::Addr;
use futures::StreamExt;
use futures::stream::iter;
use liner::{Config, Durability, LinerSystem, Mode, SendAll, Topic};
use std::sync::Arc;
use tokio::runtime::Runtime;
use versus_work::{Contender, Environment, Failure, Inbox, Load, Receiver, Sender, Window};

const TOPIC: &str = "work";

/// Each message goes to every node.
pub struct FanOut {
    pub mode: Mode,
}

impl FanOut {
    pub const AT_MOST_ONCE: FanOut = FanOut { mode: Mode::AtMostOnce };
    pub const WRITE_BEHIND: FanOut = FanOut { mode: Mode::AtLeastOnce(Durability::WriteBehind) };

    fn config(&self, environment: &Environment, name: &str, topic: &str) -> Config {
        let config = Config::sqlite(name, topic, environment.dir.join(name).with_extension("sqlite"));
        match self.mode {
            Mode::AtMostOnce => config.at_most_once(),
            Mode::AtLeastOnce(durability) => config.durability(durability),
        }
    }
}

impl Contender for FanOut {
    fn receivers(&self) -> usize {
        FAN_OUT
    }

    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure> {
        let config = |at| self.config(environment, &nodes::name(at), TOPIC);
        Ok(Box::new(Nodes::start((0..FAN_OUT).map(config), move |at, message| inbox.take_at(at, message))?))
    }

    fn send(&self, environment: &Environment, peers: &str) -> Result<Box<dyn Sender>, Failure> {
        let runtime = Runtime::new()?;
        let config = nodes::seed(self.config(environment, "sender", "source"), peers, |_| TOPIC.to_owned());
        let system = runtime.block_on(LinerSystem::spawn(config))?;
        Ok(Box::new(FanOutSender { runtime, system, topic: Topic::new(TOPIC)? }))
    }
}

struct FanOutSender {
    runtime: Runtime,
    system: Addr<LinerSystem>,
    topic: Topic,
}

impl Sender for FanOutSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        self.runtime.block_on(async {
            let sends = iter(load.messages()).map(|message| self.system.send(SendAll::new(&self.topic, message)));
            let mut receipts = sends.buffered(Window::<()>::SIZE);
            while let Some(receipt) = receipts.next().await {
                let sent = receipt??.len();
                if sent != FAN_OUT {
                    return Err(format!("a message was sent to {sent} receivers").into());
                }
            }
            Ok(())
        })
    }
}
