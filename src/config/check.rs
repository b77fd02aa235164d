//! Validation of a configuration.

use super::{Config, Seed};
use crate::types::{NameError, NodeId, Topic};

/// Headers of full size and a part next to them must fit one frame.
const MIN_FRAME: u32 = 128 * 1024;

/// An invalid configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The name of the node is invalid.
    #[error("invalid node name: {0}")]
    Name(#[source] NameError),
    /// The node's own topic is invalid.
    #[error("invalid topic: {0}")]
    Topic(#[source] NameError),
    /// A seed is invalid.
    #[error("invalid seed {topic:?} {node:?} {addr:?}: {reason}")]
    Seed {
        /// The topic as configured.
        topic: String,
        /// The name of the node as configured.
        node: String,
        /// The address as configured.
        addr: String,
        /// The reason, for people to read.
        reason: String,
    },
    /// An address does not have the form `host:port`.
    #[error("invalid address {0:?}: expected host:port")]
    Address(String),
    /// A limit or an interval is out of range.
    #[error("{0}")]
    Limit(&'static str),
}

/// The parsed names of a valid configuration.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) node: NodeId,
    pub(crate) topic: Topic,
    pub(crate) seeds: Vec<(Topic, NodeId, String)>,
}

impl Config {
    /// Checks everything that can be checked without touching the system. [`LinerSystem::spawn`](crate::LinerSystem::spawn)
    /// does the same first.
    ///
    /// # Errors
    /// Returns the first [`ConfigError`] found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.names().map(|_| ())
    }

    /// Validates the configuration and returns its names.
    pub(crate) fn names(&self) -> Result<Names, ConfigError> {
        let node = NodeId::new(&self.name).map_err(ConfigError::Name)?;
        let topic = Topic::new(&self.topic).map_err(ConfigError::Topic)?;
        check_addr(&self.listen)?;
        self.advertise.as_deref().map_or(Ok(()), check_addr)?;
        let seeds = self.seeds.iter().map(check_seed).collect::<Result<_, _>>()?;
        self.check_limits()?;
        Ok(Names { node, topic, seeds })
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let l = &self.limits;
        let smallest = [
            l.max_message,
            u64::from(l.max_frame),
            l.link_messages,
            l.link_bytes,
            l.at_most_once_messages,
            l.at_most_once_bytes,
            l.lane_messages,
            l.lane_bytes,
            l.window_messages,
            l.window_bytes,
            l.max_lanes as u64,
            l.max_connections as u64,
            l.waiting_sends as u64,
            u64::from(l.max_attempts),
            self.link_threads as u64,
        ];
        if smallest.contains(&0) {
            return Err(ConfigError::Limit("limits must not be zero"));
        }
        if l.max_frame < MIN_FRAME {
            return Err(ConfigError::Limit("max_frame must be at least 128 KiB, for headers and a part"));
        }
        if self.timing.heartbeat.is_zero() || self.timing.lease.is_zero() || self.timing.connect_timeout.is_zero() {
            return Err(ConfigError::Limit("heartbeat, lease and connect_timeout must not be zero"));
        }
        Ok(())
    }
}

fn check_addr(addr: &str) -> Result<(), ConfigError> {
    let port = addr.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(ConfigError::Address(addr.to_owned())),
    }
}

fn check_seed(seed: &Seed) -> Result<(Topic, NodeId, String), ConfigError> {
    let refused = |reason: String| ConfigError::Seed {
        topic: seed.topic.clone(),
        node: seed.node.clone(),
        addr: seed.addr.clone(),
        reason,
    };
    let topic = Topic::new(&seed.topic).map_err(|e| refused(e.to_string()))?;
    let node = NodeId::new(&seed.node).map_err(|e| refused(e.to_string()))?;
    check_addr(&seed.addr).map_err(|e| refused(e.to_string()))?;
    Ok((topic, node, seed.addr.clone()))
}

#[cfg(test)]
mod tests {
    use super::super::Limits;
    use super::*;

    #[test]
    fn mistakes_are_found_before_anything_is_touched() {
        let good = Config::sqlite("n", "t", "x.sqlite");
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(Config::sqlite("", "t", "x").validate(), Err(ConfigError::Name(NameError::Empty)));
        assert_eq!(Config::sqlite("n", "__#x", "x").validate(), Err(ConfigError::Topic(NameError::Reserved)));
        for addr in ["", "localhost", ":80", "host:port", "host:70000"] {
            let error = good.clone().listen(addr).validate();
            assert_eq!(error, Err(ConfigError::Address(addr.to_owned())));
        }
        assert!(matches!(good.clone().seed("t", "", "h:1").validate(), Err(ConfigError::Seed { .. })));
        let zero = good.clone().limits(Limits::default().window_messages(0));
        assert!(matches!(zero.validate(), Err(ConfigError::Limit(_))));
        assert_eq!(good.listen("[::1]:0").validate(), Ok(()));
    }
}
