//! Sending: from a send to the connection. A message is routed to its lanes, queued where it has to wait, accepted by
//! the link of its peer, and written by the Sender that drives that link.

pub(crate) mod link;
pub(crate) mod pending_send;
pub(crate) mod publisher;
pub(crate) mod queue;
pub(crate) mod route_table;
pub(crate) mod sender;
pub(crate) mod topics;

pub use publisher::{Publisher, SendFuture};
