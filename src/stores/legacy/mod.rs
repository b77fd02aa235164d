//! Data that liner_broker 1.4.1 left in a store: how its rows read, and what becomes of each.

pub(crate) mod adoption;
pub(crate) mod rows;
