//! Data that liner_broker 1.4.1 left in a store, and how it becomes data of this library.
//!
//! | module | contents |
//! |---|---|
//! | `rows` | the encoding of a queued message, the same in every backend |
//! | `catalogue` | topics, routes and connection keys, and what they mean |
//! | `adoption` | decides for every row whether it moves to a lane, becomes a dead letter or is deleted |
//! | `tables`, [`sqlite`], `postgres`, `redis`, `lua` | where each backend keeps the data |
//!
//! Nothing here knows a backend's lanes. A backend's `adopt` reads with these functions and statements, and does with its own
//! lanes what `adoption` decides.

mod adoption;
mod catalogue;
#[cfg(feature = "postgres")]
pub(super) mod postgres;
#[cfg(feature = "redis")]
pub(super) mod redis;
mod rows;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod tables;

pub(super) use adoption::{ADOPTED, AdoptedLane, AdoptionContext, QueueSplit, RowOutcome};
pub(super) use catalogue::LegacyCatalogue;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) use catalogue::LegacyKey;
#[cfg(feature = "redis")]
pub(super) use catalogue::{LegacyConnection, RememberedRoute};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(super) use tables::LEGACY_TABLES;
