//! Every message of the public interface, with its reply.

mod admin;
mod send;
mod subscribe;

pub use admin::{
    Address, ClearAddresses, ClearStoredMessages, ForgetLane, ForgetPeer, Forgotten, LinkStats, ListAddresses,
    ListDeadLetters, MeshEvent, ObserveEvents, PeerPending, PendingByPeer, PendingCount, PurgeDeadLetters,
    RefreshAddresses, ReplayDeadLetters, Replayed, Shutdown, ShutdownReport, Stats, StatsReport, WatchEvents,
    WatchTopic, WhereAmI, Whereabouts,
};
pub use send::{GetPublisher, Receipt, SendAll, SendBatch, SendTo, ToTopic};
pub(crate) use send::{Options, Outgoing};
pub(crate) use subscribe::{BatchAnswer, Callback, Handoff, Sink, SubscriptionGuard};
pub use subscribe::{
    BatchNack, BatchReply, Delivery, DeliveryBatch, Nack, Receive, Subscribe, Subscription, Unsubscribe,
};
