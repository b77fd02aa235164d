//! Data that liner_broker 1.4.1 left in a store: how its rows read, and what becomes of each.

mod adoption;
mod catalogue;
mod rows;

pub(super) use adoption::{ADOPTED, AdoptedLane, AdoptionContext, QueueSplit, RowOutcome};
pub(super) use catalogue::{LegacyCatalogue, LegacyKey};
#[cfg(feature = "redis")]
pub(super) use catalogue::{LegacyConnection, RememberedRoute};
