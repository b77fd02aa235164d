//! Every message of the public interface, with its reply.

mod admin;
mod send;
mod subscribe;

pub use admin::{
    Address, ClearAddresses, ClearStoredMessages, ForgetLane, ForgetPeer, Forgotten, GetAddresses, LanePending,
    LinkStats, ListAddresses, ListDeadLetters, MeshEvent, NodeAddresses, ObserveEvents, PendingByLane, PendingCount,
    PurgeDeadLetters, RefreshAddresses, ReplayDeadLetters, Replayed, Shutdown, ShutdownReport, Stats, StatsReport,
    WatchEvents, WatchTopic,
};
pub use send::{GetPublisher, IntoTopic, Receipt, SendAll, SendBatch, SendTo};
pub(crate) use send::{Options, Outgoing};
pub(crate) use subscribe::{BatchAnswer, Callback, Handoff, Sink, SubscriptionGuard};
pub use subscribe::{
    BatchNack, BatchReply, Delivery, DeliveryBatch, Nack, Receive, Subscribe, Subscription, Unsubscribe,
};
