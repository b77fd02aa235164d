//! The protocol, pure: no sockets, no stores, no actors, no clock. Time and randomness are arguments.
//!
//! Two machines do the work. [`outbound::Outbound`] is the sending half of a link: it numbers messages, keeps what is
//! not yet safe, sends within the credit it was given, and sends again after a break. [`inbound::Inbound`] is the
//! receiving half: it checks order, drops duplicates, hands over, waits for answers and acks. Both have four kinds of
//! methods: getters, commands, `handle_*` inputs, and `poll_*` outputs; after any input, poll until every `poll_*`
//! answers `None`. The whole protocol therefore runs in a test without a socket.
//!
//! Two machines serve a whole node: [`routing`] says which peers the messages of a topic can go to, and [`ack_tracking`]
//! which rows of the durable queues may be deleted.

pub mod ack_tracking;
pub mod backoff;
pub mod codec;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod heartbeat;
pub mod inbound;
pub mod outbound;
pub mod routing;
pub mod send_queue;
