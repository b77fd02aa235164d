//! Control: the actor applications talk to, how a system starts and ends, and its administration.

mod admin;
mod lifecycle;
mod replay;
mod system;
mod threads;

pub use system::LinerSystem;
