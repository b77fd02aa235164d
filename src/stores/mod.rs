//! Persistence: narrow traits for what a node must not forget, which every backend implements alike.
//!
//! | trait | owns |
//! |---|---|
//! | [`Journal`] | the one way to change queues and cursors: a batch, all or nothing |
//! | [`Outbox`] | reading and administering the lanes this node sends on |
//! | [`Inbox`] | reading the lanes this node receives on |
//! | [`DeadLetters`] | reading and purging what could not be handled |
//! | [`Directory`] | who serves which topic where, leases, epochs |
//!
//! A store knows names, numbers and bytes. It knows nothing of frames, sockets or actors, and keeps no protocol state:
//! every fact it returns is on the medium. Every write carries a [`Fence`] and changes nothing when a newer process of
//! the same name has registered. All operations are idempotent, so that one whose outcome is unknown is simply repeated.
//!
//! Futures returned here may be dropped at any time; the operation then happens entirely or not at all.
//!
//! | module | what it is |
//! |---|---|
//! | `contract` | the traits and the values they exchange, re-exported here |
//! | [`memory`], `sqlite`, `postgres`, `redis` | the backends |
//! | `shared` | what all backends share: group commit, row format, names, chains of incarnations |
//! | `server` | what the backends on a server share: the queue of commits, runtime, notifications |
//! | `legacy` | what liner_broker 1.4.1 left in a store, and what becomes of it |

mod contract;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
mod legacy;
pub mod memory;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod server;
mod shared;
#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use contract::*;
