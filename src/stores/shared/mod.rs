//! What every backend shares: group commit, names of lanes, the bytes of a row, chains of incarnations, failures.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) mod admission;
pub(crate) mod chain;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) mod failure;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) mod group;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) mod naming;
pub(crate) mod routes;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "redis"))]
pub(crate) mod row;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) mod sql;
