//! Storing: the two actors through which every change of queues and cursors goes to the store.

pub(crate) mod ack_tracker;
pub(crate) mod link_thread;
pub(crate) mod store;
