//! A brokerless messaging mesh.

mod actors;
mod config;
mod error;
pub mod stores;
mod types;
pub mod wire;

pub use actors::messages::{
    Address, BatchNack, ClearAddresses, ClearStoredMessages, Delivery, DeliveryBatch, ForgetLane, ForgetPeer,
    Forgotten, GetPublisher, LinkStats, ListAddresses, ListDeadLetters, MeshEvent, Nack, PeerPending, PendingByPeer,
    PendingCount, PurgeDeadLetters, Receipt, Receive, RefreshAddresses, ReplayDeadLetters, Replayed, SendAll,
    SendBatch, SendTo, Shutdown, ShutdownReport, Stats, StatsReport, Subscribe, Subscription, ToTopic, Unsubscribe,
    WatchEvents,
};
pub use actors::{LinerSystem, Publisher, Sending};
pub use config::{Config, ConfigError, Durability, Limits, Mode, OnFull, Seed, StoreConfig, Timing};
pub use error::{AdminError, SendBatchError, SendError, SpawnError, SubscribeError};
pub use types::*;
