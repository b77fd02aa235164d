//! A brokerless messaging mesh.

pub mod stores;
pub mod types;
pub mod wire;

pub use types::*;
