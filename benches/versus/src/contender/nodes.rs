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
    /// Starts a node for each configuration. `take` is called with the node's index and the message.
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
    /// Returns the addresses of all nodes, separated by commas.
    fn address(&self) -> String {
        self.addrs.join(",")
    }
}

/// Returns the name of the node with this index.
pub fn name(at: usize) -> String {
    format!("receiver-{at}")
}

/// Adds a seed for each of `addrs`, the addresses that [`Nodes`] returned. `topic` maps an index to the node's topic.
pub fn seed(config: Config, addrs: &str, topic: impl Fn(usize) -> String) -> Config {
    let each = |config: Config, (at, addr): (usize, &str)| config.seed(topic(at), name(at), addr);
    addrs.split(',').enumerate().fold(config, each)
}
