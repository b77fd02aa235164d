//! liner for programs without actors: in C and C++ (`include/liner.h`), in Python, and in Rust.
//!
//! The library is `libliner_broker`. Rust programs have two types with the same methods: the constructors of [`Client`]
//! return `None` on failure, those of [`Liner`] panic.
//!
//! ```text
//! abi/             the functions of liner.h; the only place that checks and follows pointers
//! handles          the client of each handle                      client, liner_type   the interface for Rust
//! client_state     one client: its identity, whether it runs      open, sending, admin   its operations
//! running_client   the parts of a running client                  publishers   publishers by topic
//! callback_queue   the thread that calls callbacks                callbacks, status, deadlock
//! ```
//!
//! A message is sent on the thread of the caller. A received message is put into the client's callback queue by the thread
//! that drives the connection, and passed to the callback by the client's callback thread, which may block.

mod abi;
mod admin;
mod c_strings;
mod callback_queue;
mod callback_thread;
mod callbacks;
mod client;
mod client_state;
mod deadlock;
mod error;
mod handles;
mod liner_type;
mod log;
mod open;
mod publishers;
mod running_client;
mod sending;
mod settings;
mod status;
mod wait;

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

/// Returns the version of the library.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
