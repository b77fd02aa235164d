//! liner for programs without actors: in C and C++ (`include/liner.h`), in Python, and in Rust.
//!
//! The library is `libliner_broker`. Rust programs have two types that say the same: [`Client`], whose constructors answer
//! `None`, and [`Liner`], whose constructors panic.
//!
//! ```text
//! abi/        the functions of liner.h: pointers are checked here, and nowhere else followed
//! handles     which client a handle stands for                client, liner   the same for Rust
//! core        one client: who it is, whether it runs          open, sending, admin   what it does
//! running     what a running client has                       publishers  the way of a message out
//! desk        the thread that calls callbacks                 callbacks, status, waits
//! ```
//!
//! A message goes out on the thread that sends it. One that comes in is left at the client's desk by the thread that drives
//! the connection, and handed over by the client's callback thread, which may block as long as it likes.

mod abi;
mod admin;
mod callbacks;
mod client;
mod core;
mod desk;
mod error;
mod handles;
mod kept;
mod liner_type;
mod log;
mod open;
mod publishers;
mod running;
mod sending;
mod settings;
mod status;
mod wait;
mod waits;

pub use abi::*;
pub use client::{Client, ReceiveCallback, StatusCallback};
pub use error::ErrorCode;
pub use liner_type::Liner;
pub use settings::{
    compress_threshold, max_message_size, max_send_queue, set_compress_threshold, set_max_message_size,
    set_max_send_queue,
};
pub use status::{
    LNR_LISTENER_STORE_ERROR, LNR_PEER_CONNECTED, LNR_PEER_DISCONNECTED, LNR_PEER_SUBSCRIBED, LNR_PEER_UNSUBSCRIBED,
    LNR_SENDER_BUSY, LNR_SENDER_ROUTE_LOST, LNR_SENDER_SEND_ERROR, LNR_SENDER_STORE_ERROR,
};

/// The version of the library.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
