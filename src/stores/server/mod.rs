//! What the backends on a server share: the handle, the queue of commits, the runtime of their sockets, change notifications.

pub(crate) mod commit_queue;
pub(crate) mod runtime;
pub(crate) mod server_handle;
pub(crate) mod version_watch;
