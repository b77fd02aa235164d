//! Subscribers: how messages reach them, and how their acks come back.

pub(crate) mod answers;
pub(crate) mod feed;
pub(crate) mod feeder;
pub(crate) mod mailbox;
