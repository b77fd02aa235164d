//! What the backends on a server share: group commit, the runtime of their sockets, failures, change notifications.

pub(crate) mod failure;
pub(crate) mod group;
pub(crate) mod runtime;
pub(crate) mod told;
