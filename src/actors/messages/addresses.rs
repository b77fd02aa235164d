//! Messages about addresses: those of the node itself, and those the catalogue has for a topic.

use super::IntoTopic;
use crate::error::AdminError;
use crate::types::{NameError, NodeId, Topic};
use actix::prelude::Message as ActixMessage;
use std::net::SocketAddr;

/// Declares a message about a topic.
macro_rules! topic_message {
    ($(#[$doc:meta])* $name:ident -> $result:literal, $(#[$new:meta])*) => {
        $(#[$doc])*
        #[derive(Debug, ActixMessage)]
        #[rtype(result = $result)]
        pub struct $name {
            pub(crate) topic: Result<Topic, NameError>,
        }

        impl $name {
            $(#[$new])*
            pub fn new(topic: impl IntoTopic) -> Self {
                $name { topic: topic.into_topic() }
            }
        }
    };
}

topic_message! {
    /// Reads the catalogue of a topic again and returns its addresses.
    ///
    /// Normal operation does not need it: changes of the catalogue are seen within 100 ms.
    ///
    /// # Errors
    /// Replies with [`AdminError`]; a topic without addresses is [`AdminError::NoRoute`].
    ///
    /// # Examples
    /// ```
    /// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
    /// use liner::{AdminError, RefreshAddresses};
    ///
    /// let nobody = orders.send(RefreshAddresses::new("billing")).await?;
    /// assert!(matches!(nobody, Err(AdminError::NoRoute(topic)) if topic.as_str() == "billing"));
    /// # Ok(()) }
    /// ```
    RefreshAddresses -> "Result<Vec<Address>, AdminError>",
    /// Creates a request to read the catalogue of `topic`.
}

topic_message! {
    /// Lists the addresses that the catalogue in the store has for a topic now. An unknown topic has none.
    ///
    /// # Errors
    /// Replies with [`AdminError`].
    ///
    /// # Examples
    /// ```
    /// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
    /// use liner::ListAddresses;
    ///
    /// let addresses = orders.send(ListAddresses::new("orders")).await??;
    /// assert_eq!(addresses[0].node.as_str(), "orders-1");
    /// assert!(orders.send(ListAddresses::new("billing")).await??.is_empty());
    /// # Ok(()) }
    /// ```
    ListAddresses -> "Result<Vec<Address>, AdminError>",
    /// Creates a request for the addresses of `topic`.
}

topic_message! {
    /// Reports catalogue changes of a topic as [`MeshEvent::TopicChanged`](crate::MeshEvent::TopicChanged). Topics that this
    /// node sends to are watched anyway.
    ///
    /// # Errors
    /// Replies with [`AdminError`].
    ///
    /// # Examples
    /// ```
    /// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new();
    /// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
    /// use liner::{MeshEvent, ObserveEvents, WatchTopic};
    ///
    /// let (changed, mut changes) = tokio::sync::mpsc::unbounded_channel();
    /// let observe = move |event: &MeshEvent| {
    ///     if let MeshEvent::TopicChanged { entry, .. } = event {
    ///         let _ = changed.send(entry.routes.len());
    ///     }
    /// };
    /// orders.send(ObserveEvents::new(observe)).await?;
    /// orders.send(WatchTopic::new("billing")).await??;
    /// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
    /// // The node billing-1 starts.
    /// while changes.recv().await != Some(1) {}
    /// # Ok(()) }
    /// ```
    WatchTopic -> "Result<(), AdminError>",
    /// Creates a request to report changes of `topic`.
}

/// An address of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The node that listens at the address.
    pub node: NodeId,
    /// The address, `host:port`, as the node published it or an operator wrote it.
    pub addr: String,
    /// Whether the node's lease is in force. An address without a lease is always live.
    pub live: bool,
}

/// Deletes the catalogue rows of this node's own topic, and returns how many there were.
///
/// Rows that others wrote go as well, so other nodes of the topic are not found any more either.
///
/// # Errors
/// Replies with [`AdminError`].
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &MemoryStore::new())).await?;
/// use liner::ClearAddresses;
///
/// assert_eq!(orders.send(ClearAddresses).await??, 1);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "Result<u64, AdminError>")]
pub struct ClearAddresses;

/// Returns the addresses of the node.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config = Config::memory("orders-1", "orders", &MemoryStore::new());
/// use liner::GetAddresses;
///
/// let orders = LinerSystem::spawn(config.advertise("orders.example:0")).await?;
/// let at = orders.send(GetAddresses).await?;
/// assert_eq!(at.published, format!("orders.example:{}", at.bound.port()));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, ActixMessage)]
#[rtype(result = "NodeAddresses")]
pub struct GetAddresses;

/// The addresses of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeAddresses {
    /// The address the node listens on.
    pub bound: SocketAddr,
    /// The address the node publishes to its peers, `host:port`.
    pub published: String,
}
