//! A brokerless messaging mesh of actors with at-least-once delivery.
//!
//! A program embeds a *node*: a running [`LinerSystem`] with a unique name and a topic of its own. Nodes find each other
//! through a catalogue in a shared store (SQLite, PostgreSQL, Redis) or through seeds, and send to topics over their own
//! TCP connections. There is no broker. The messages from one node to one topic of another form a *lane*: an ordered,
//! numbered stream with a queue in the sender's store and a cursor in the receiver's.
//!
//! ```
//! use liner::{Config, LinerSystem, Nack, Receive, SendTo};
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # let dir = tempfile::tempdir()?;
//!     # let file = dir.path().join("mesh.sqlite");
//!     let billing = LinerSystem::spawn(Config::sqlite("billing-1", "billing", &file)).await?;
//!     let (seen, mut invoices) = tokio::sync::mpsc::unbounded_channel();
//!     let receive = Receive::callback(move |delivery| {
//!         seen.send(delivery.payload.to_vec()).map_err(|_| Nack::new("the program ends"))
//!     });
//!     billing.send(receive).await??.detach();
//!
//!     let orders = LinerSystem::spawn(Config::sqlite("orders-1", "orders", &file)).await?;
//!     orders.send(SendTo::new("billing", "invoice 7")).await??;
//!     assert_eq!(invoices.recv().await.as_deref(), Some(&b"invoice 7"[..]));
//!     Ok(())
//! }
//! ```
//!
//! A node is an actor of [`actix`], and every operation is a message to its address. `send` returns two nested results: an
//! outer error means that the node has ended, and the inner result is that of the operation. [`LinerSystem::spawn`] also
//! works outside actix, for example under `#[tokio::main]`.
//!
//! # The guarantee
//!
//! A [`Receipt`] is the promise: the message is accepted with the durability of its [`Mode`].
//!
//! | mode | accepted when | survives |
//! |---|---|---|
//! | [`Mode::AtMostOnce`] | it is queued in memory, or was dropped and counted because the peer is away | nothing |
//! | [`Durability::WriteBehind`] | it is in memory; the store follows within 50 ms | network failures, the death of the receiver, an outage of the store |
//! | [`Durability::Committed`], the default | it is committed to the store | the death of any process |
//! | [`Durability::Synced`] | it is committed and flushed to the medium | a power loss |
//!
//! An accepted at-least-once message is sent until a subscriber has handled it. After
//! [`max_attempts`](Limits::max_attempts) failures, or if the receiver refuses it for good, it becomes a [`DeadLetter`].
//! First deliveries of a lane come in the order of acceptance. Around a crash or a lost link a message may be delivered more
//! than once. [`Delivery::id`] is the same each
//! time and identifies the duplicate; [`Delivery::redelivered`] marks every message that may be one. A [`SendError`] means
//! that the message will never be delivered, except for [`SendError::Indeterminate`], which leaves it open.
//!
//! # Where to go
//!
//! | task | items |
//! |---|---|
//! | start and end a node | [`Config`], [`LinerSystem::spawn`], [`Shutdown`] |
//! | send | [`SendTo`], [`SendAll`], [`SendBatch`], [`Publisher`] from [`GetPublisher`] |
//! | receive | [`Receive`] for the node's own topic, [`Subscribe`] for others, [`Delivery`], [`Nack`], [`Unsubscribe`] |
//! | observe | [`Stats`], [`PendingCount`], [`PendingByLane`], [`ObserveEvents`], [`WatchEvents`], [`WatchTopic`] |
//! | find nodes | [`ListAddresses`], [`RefreshAddresses`], [`GetAddresses`], [`Config::seed`] |
//! | deal with dead letters | [`ListDeadLetters`], [`ReplayDeadLetters`], [`PurgeDeadLetters`] |
//! | give up messages and peers | [`ForgetPeer`], [`ForgetLane`], [`ClearStoredMessages`], [`ClearAddresses`] |
//! | choose, wrap or inspect a store | [`stores`] |
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `sqlite`, on by default | `Config::sqlite`: the store in an SQLite file |
//! | `postgres` | `Config::postgres`: the store in a PostgreSQL database |
//! | `redis` | `Config::redis`: the store in a Redis server |
//!
//! The store in memory is always there. `default-features = false` leaves SQLite out of the build.
//!
//! # Guides
//!
//! The repository has guides in `docs`: `rust.md` for programs that embed a node, `operating.md` for those who run one,
//! `guarantees.md` for the promises in detail, `stores.md`, `postgres.md` and `redis.md` for the stores, `design.md` for the
//! protocol. `examples` has patterns of use as programs.

mod actors;
mod config;
mod error;
pub mod stores;
mod types;
// Public only for the tests and benches of this repository, which run the protocol without sockets. Not part of the
// interface that semantic versioning covers.
#[doc(hidden)]
pub mod wire;

pub use actors::messages::{
    Address, BatchNack, BatchReply, ClearAddresses, ClearStoredMessages, Delivery, DeliveryBatch, ForgetLane,
    ForgetPeer, Forgotten, GetAddresses, GetPublisher, IntoTopic, LanePending, LinkStats, ListAddresses,
    ListDeadLetters, MeshEvent, Nack, NodeAddresses, ObserveEvents, PendingByLane, PendingCount, PurgeDeadLetters,
    Receive, RefreshAddresses, ReplayDeadLetters, Replayed, SendAll, SendBatch, SendTo, Shutdown, ShutdownReport,
    Stats, StatsReport, Subscribe, Subscription, Unsubscribe, WatchEvents, WatchTopic,
};
pub use actors::{LinerSystem, Publisher, SendFuture};
pub use config::{Config, ConfigError, Durability, Limits, Mode, OnFull, Timing};
pub use error::{AdminError, SendBatchError, SendError, SpawnError, SubscribeError};
pub use stores::{
    Amount, DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin, OpenError, Route, StoreError, StoreFacts,
    TopicEntry,
};
pub use types::{
    Cursor, EmptyPayload, Epoch, Headers, HeadersBuilder, HeadersError, Incarnation, LaneId, LaneName, MAX_HEADERS,
    MAX_NAME, Message, MessageId, NameError, NodeId, Payload, RESERVED_PREFIX, Receipt, Seq, StoreId, Topic,
};

/// Runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Runs the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Guide;

/// Compiles the examples of the guide for operators.
#[cfg(doctest)]
#[doc = include_str!("../docs/operating.md")]
struct Operating;
