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
    fn new(handle: &ArbiterHandle, node: Arc<Node>) -> Self {
        let store = StoreActor::start_in_arbiter(handle, |_| StoreActor::new(node));
        LinkThread { handle: handle.clone(), store }
    }
}

/// The link threads of a node, used in turn.
#[derive(Clone)]
pub(crate) struct LinkThreads {
    threads: Vec<LinkThread>,
    next: usize,
}

impl LinkThreads {
    /// Starts a store actor on each thread. There is at least one.
    pub(crate) fn new(threads: &[ArbiterHandle], node: &Arc<Node>) -> Self {
        LinkThreads { threads: threads.iter().map(|thread| LinkThread::new(thread, node.clone())).collect(), next: 0 }
    }

    /// Returns the thread for the next link or session.
    pub(crate) fn next(&mut self) -> &LinkThread {
        self.next = (self.next + 1) % self.threads.len();
        &self.threads[self.next]
    }
}
