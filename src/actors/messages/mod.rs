//! The messages of the public interface, with their replies.

mod addresses;
mod admin;
mod dead_letters;
mod delivery;
mod events;
mod send;
mod stats;
mod subscribe;

pub use addresses::{
    Address, ClearAddresses, GetAddresses, ListAddresses, NodeAddresses, RefreshAddresses, WatchTopic,
};
pub use admin::{ClearStoredMessages, ForgetLane, ForgetPeer, Forgotten, Shutdown, ShutdownReport};
pub use dead_letters::{ListDeadLetters, PurgeDeadLetters, ReplayDeadLetters, Replayed};
pub use delivery::{BatchNack, Delivery, DeliveryBatch, Nack};
pub use events::{MeshEvent, ObserveEvents, WatchEvents};
pub use send::{GetPublisher, IntoTopic, SendAll, SendBatch, SendTo};
pub(crate) use send::{Options, Outgoing};
pub use stats::{LanePending, LinkStats, PendingByLane, PendingCount, Stats, StatsReport};
pub(crate) use subscribe::{BatchOutcome, Callback, FedSink, Handoff, Sink, SubscriptionGuard};
pub use subscribe::{BatchReply, Receive, Subscribe, Subscription, Unsubscribe};
