//! A brokerless messaging mesh.

pub mod stores;
pub mod types;
pub mod wire;
pub mod actors;
pub mod config;
pub mod error;

pub use types::*;
