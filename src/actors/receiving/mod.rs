//! Receiving: from a connection to the subscriber. The Listener accepts connections, a Session per peer feeds what
//! arrives to the receiving machine, and subscribers get their messages and return their acks.

pub(crate) mod listener;
pub(crate) mod session;
pub(crate) mod subscriber;
