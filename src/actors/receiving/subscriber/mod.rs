//! Subscribers: how messages reach them, and how their replies come back.

pub(crate) mod call;
pub(crate) mod exchange;
pub(crate) mod feeder;
pub(crate) mod handle;
pub(crate) mod mailbox;
pub(crate) mod outlet;
pub(crate) mod replies;
