//! The protocol without I/O: no sockets, no stores, no actors, no clock. Time and randomness are arguments.
//!
//! Two state machines do the work. [`outbound::Outbound`] is the sending half of a link: it numbers messages, keeps what is
//! not yet safe, sends within the receiver's credit, and sends again after a break. [`inbound::Inbound`] is the receiving
//! half: it checks order, drops duplicates, hands messages over, waits until they are handled, and acks them. Both have
//! four kinds of methods: getters, commands, `handle_*` inputs, and `poll_*` outputs. After any input, poll until every
//! `poll_*` method returns `None`. The whole protocol therefore runs in a test without a socket.
//!
//! Three more serve a whole node: [`routing`] decides which peers the messages of a topic can go to, [`send_queue`] what
//! sends wait for and when they are refused, and [`ack_tracking`] which rows of the durable queues may be deleted.

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
