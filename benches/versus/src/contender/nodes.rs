//! Many nodes of liner in the receiving process.

use actix::Addr;
use liner::{Config, Delivery, LinerSystem, Receive, Stats};
use tokio::runtime::Runtime;
use versus_work::{Failure, Receiver};

/// Running nodes, each with a callback. They live as long as the process.
pub struct Nodes {
    addrs: Vec<String>,
    _systems: Vec<Addr<LinerSystem>>,
    _runtime: Runtime,
}

impl Nodes {
    /// Starts a node for each configuration. `take` gets the node's place among them, and the message.
    pub fn start<F>(configs: impl Iterator<Item = Config>, take: F) -> Result<Nodes, Failure>
    where
        F: Fn(usize, &[u8]) + Clone + Send + Sync + 'static,
    {
        let runtime = Runtime::new()?;
        let (mut systems, mut addrs) = (Vec::new(), Vec::new());
        for (at, config) in configs.enumerate() {
            let take = take.clone();
            let receive = Receive::callback(move |delivery: &Delivery| {
                take(at, &delivery.payload);
                Ok(())
            });
            let (system, addr) = runtime.block_on(async {
                let system = LinerSystem::spawn(config).await?;
                system.send(receive).await??.detach();
                let addr = system.send(Stats).await??.published;
                Ok::<_, Failure>((system, addr))
            })?;
            systems.push(system);
            addrs.push(addr);
        }
        Ok(Nodes { addrs, _systems: systems, _runtime: runtime })
    }
}

impl Receiver for Nodes {
    /// The addresses of all, separated by commas.
    fn address(&self) -> String {
        self.addrs.join(",")
    }
}

/// Returns the name of the node at this place.
pub fn name(at: usize) -> String {
    format!("receiver-{at}")
}

/// Adds the nodes at `addrs`, which [`Nodes::address`] returned, as seeds of the topic that `topic` returns for each.
pub fn seed(config: Config, addrs: &str, topic: impl Fn(usize) -> String) -> Config {
    let each = |config: Config, (at, addr): (usize, &str)| config.seed(topic(at), name(at), addr);
    addrs.split(',').enumerate().fold(config, each)
}
