//! Subscribers: how messages reach them, and how their replies come back.
//!
//! The public messages carry a [`Sink`](crate::actors::messages::Sink). A callback is called by the session. For anything
//! else the session has a [`handle`] on a [`feeder`], which runs on the subscriber's thread and hands messages to an
//! [`outlet`], a [`mailbox`] or a function. [`replies`] gathers the results, and [`exchange`] has what session and feeder send
//! each other. A panic of a subscriber is caught in [`call`].

pub(crate) mod call;
pub(crate) mod exchange;
pub(crate) mod feeder;
pub(crate) mod handle;
pub(crate) mod mailbox;
pub(crate) mod outlet;
pub(crate) mod replies;
