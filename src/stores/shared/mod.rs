//! What every backend shares: how a lane is named, how a message lies in a row, which incarnations a lane has.

pub(crate) mod admission;
pub(crate) mod chain;
pub(crate) mod failure;
pub(crate) mod group;
pub(crate) mod naming;
pub(crate) mod routes;
pub(crate) mod row;
pub(crate) mod sql;
