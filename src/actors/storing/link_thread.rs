//! LinkThread: a thread that drives connections, and the store actor on it.

use crate::actors::node::Node;
use crate::actors::storing::store::StoreActor;
use actix::prelude::*;
use actix_rt::ArbiterHandle;
use std::sync::Arc;

/// A thread for senders and sessions. What they commit goes from it to the store's writer and back, through no other
/// thread.
#[derive(Clone)]
pub(crate) struct LinkThread {
    pub(crate) handle: ArbiterHandle,
    pub(crate) store: Addr<StoreActor>,
}

impl LinkThread {
    /// Starts a store actor on the thread.
    pub(crate) fn new(handle: &ArbiterHandle, node: Arc<Node>) -> Self {
        let store = StoreActor::start_in_arbiter(handle, |_| StoreActor::new(node));
        LinkThread { handle: handle.clone(), store }
    }
}
