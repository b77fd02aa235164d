//! What every backend shares: group commit, names of lanes, the bytes of a row, chains of incarnations, failures.

pub(crate) mod admission;
pub(crate) mod chain;
pub(crate) mod failure;
pub(crate) mod group;
pub(crate) mod naming;
pub(crate) mod routes;
pub(crate) mod row;
pub(crate) mod sql;
