//! A brokerless messaging mesh of actors, with delivery at least once.
//!
//! A *node* is one running [`LinerSystem`] with a unique name and a topic of its own. It listens on TCP, finds peers through
//! a catalogue in its store or through seeds, and sends to topics over its own connections. Messages from one node to one
//! topic of another make a *lane*: one ordered stream with numbers, a queue at the sender and a cursor at the receiver.
//!
//! # The guarantee
//!
//! [`Receipt`] is the promise: the message is accepted at the level of its [`Mode`], which by default is committed to the
//! sender's store. An accepted message is sent until a subscriber answers `Ok`, or has failed it so often
//! ([`Limits::max_attempts`]) that it is kept as a [`DeadLetter`]. First deliveries of a lane come in the order of acceptance.
//! A message may come twice around a crash or a lost link; [`Delivery::id`] is the same both times, and tells a duplicate.
//! [`Delivery::redelivered`] marks what may be one: also what waited in the sender's store and comes for the first time. An error means that the message will never be delivered; only [`SendError::Indeterminate`] leaves it open.
//!
//! # Example
//!
//! A program without an actix system of its own:
//!
//! ```
//! use liner::{Config, Delivery, Durability, GetPublisher, LinerSystem, Nack, Subscribe};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let dir = tempfile::tempdir()?;
//!     let file = dir.path().join("mesh.sqlite");
//!     let meter = LinerSystem::spawn(Config::sqlite("meter-1", "meters", &file)).await?;
//!     let board = LinerSystem::spawn(Config::sqlite("board-1", "boards", &file)).await?;
//!
//!     let (seen, mut readings) = tokio::sync::mpsc::unbounded_channel();
//!     let read = move |delivery: &Delivery| match std::str::from_utf8(&delivery.payload) {
//!         Ok(text) => seen.send(text.to_owned()).map_err(|_| Nack::new("nobody reads")),
//!         Err(error) => Err(Nack::new(error.to_string())),
//!     };
//!     let _subscription = board.send(Subscribe::callback("readings", read)).await??;
//!
//!     let publisher = meter.send(GetPublisher::new("readings").durability(Durability::WriteBehind)).await??;
//!     for n in 1..=3 {
//!         publisher.send(format!("{n} kWh")).await?;
//!     }
//!     for n in 1..=3 {
//!         assert_eq!(readings.recv().await, Some(format!("{n} kWh")));
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Layout
//!
//! | to | there is |
//! |---|---|
//! | start and end a node | [`Config`], [`LinerSystem::spawn`], [`Shutdown`] |
//! | send | [`SendTo`], [`SendAll`], [`SendBatch`], [`GetPublisher`] and [`Publisher`] |
//! | receive | [`Receive`] (the node's own topic), [`Subscribe`] (others), [`Delivery`], [`Nack`], [`Unsubscribe`] |
//! | look in | [`Stats`], [`PendingCount`], [`PendingByLane`], [`ListAddresses`], [`GetAddresses`], [`WatchEvents`], [`ObserveEvents`], [`WatchTopic`] |
//! | deal with what failed | [`ListDeadLetters`], [`ReplayDeadLetters`], [`PurgeDeadLetters`] |
//! | administer | [`RefreshAddresses`], [`ForgetPeer`], [`ForgetLane`], [`ClearStoredMessages`], [`ClearAddresses`] |
//!
//! All of these are messages for the actor that [`LinerSystem::spawn`] answers. Applications need nothing but this list.
//! Two modules are public besides, for tests, tools and benches:
//!
//! - [`stores`]: the traits a store keeps, and its backends in memory and in SQLite. It knows nothing of the network.
//! - [`wire`]: the protocol without sockets and clocks: frames, handshake, the two machines of a link.
//!
//! The actors, which are private, join both to sockets and timers.

mod actors;
mod config;
mod error;
pub mod stores;
mod types;
pub mod wire;

pub use actors::messages::{
    Address, BatchNack, BatchReply, ClearAddresses, ClearStoredMessages, Delivery, DeliveryBatch, ForgetLane,
    ForgetPeer, Forgotten, GetAddresses, GetPublisher, IntoTopic, LanePending, LinkStats, ListAddresses,
    ListDeadLetters, MeshEvent, Nack, NodeAddresses, ObserveEvents, PendingByLane, PendingCount, PurgeDeadLetters,
    Receipt, Receive, RefreshAddresses, ReplayDeadLetters, Replayed, SendAll, SendBatch, SendTo, Shutdown,
    ShutdownReport, Stats, StatsReport, Subscribe, Subscription, Unsubscribe, WatchEvents, WatchTopic,
};
pub use actors::{LinerSystem, Publisher, SendFuture};
pub use config::{Config, ConfigError, Durability, Limits, Mode, OnFull, Timing};
pub use error::{AdminError, SendBatchError, SendError, SpawnError, SubscribeError};
pub use stores::{
    Amount, DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin, OpenError, StoreError, StoreFacts,
};
pub use types::*;

/// The example of the README compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Those of the guide, too.
#[cfg(doctest)]
#[doc = include_str!("../docs/rust.md")]
struct Guide;

/// Those for operators compile.
#[cfg(doctest)]
#[doc = include_str!("../docs/operating.md")]
struct Operating;
