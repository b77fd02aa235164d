//! The connection that is attached to a session, and its read and write loops.

use super::*;
use crate::actors::connection::{Connection, ConnectionError, read_loop, write_loop};
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The connection of a session, if there is one.
pub(super) struct Attachment {
    write_slot: Option<Rc<WriteSlot>>,
    tasks: Vec<JoinHandle<()>>,
    /// Counts the connections. What the loops of an earlier one send is ignored.
    generation: u64,
    /// Whether there is a connection, for the listener.
    connected: Arc<AtomicBool>,
}

/// The buffer for the write loop. There is one at a time, so that acks gather in the machine while the socket is busy.
#[derive(Default)]
struct WriteSlot {
    bytes: RefCell<Option<Bytes>>,
    ready: Notify,
    /// Whether the session has more to write.
    session_has_more: Cell<bool>,
}

impl Attachment {
    pub(super) fn new(connected: Arc<AtomicBool>) -> Self {
        Attachment { write_slot: None, tasks: Vec::new(), generation: 0, connected }
    }

    pub(super) fn is_open(&self) -> bool {
        self.write_slot.is_some()
    }

    /// Returns whether this is the connection with that number.
    pub(super) fn is_current(&self, generation: u64) -> bool {
        self.generation == generation
    }

    /// Starts the loops of a new connection.
    fn open(&mut self, Attach { connection, permit }: Attach, session: Addr<Session>) {
        self.connected.store(true, Ordering::Release);
        let Connection { stream, decoder } = connection;
        let generation = self.generation;
        let slot = Rc::new(WriteSlot::default());
        self.write_slot = Some(slot.clone());
        let (reader, writer) = stream.into_split();
        let addr = session.clone();
        let read = async move {
            let take = |chunk| {
                let arrived = addr.send(Arrived { generation, chunk });
                async move { arrived.await.map_err(|_| ConnectionError::Closed)?.map_err(ConnectionError::from) }
            };
            let reason = read_loop(reader, decoder, take).await.to_string();
            addr.do_send(ConnectionEnded { generation, reason });
            drop(permit);
        };
        let write = async move {
            let next = || {
                let bytes = slot.bytes.take();
                if bytes.is_some() && slot.session_has_more.take() {
                    session.do_send(Writable);
                }
                bytes
            };
            let error = write_loop(writer, next, drop, || slot.ready.notified()).await;
            session.do_send(ConnectionEnded { generation, reason: error.to_string() });
        };
        self.tasks = vec![actix_rt::spawn(read), actix_rt::spawn(write)];
    }

    /// Ends the connection, if there is one.
    fn close(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.connected.store(false, Ordering::Release);
        self.write_slot = None;
        self.generation += 1;
    }

    /// Passes bytes to the write loop if it has none.
    fn write(&self, next: impl FnOnce() -> Option<Bytes>) {
        let Some(slot) = &self.write_slot else { return };
        if slot.bytes.borrow().is_some() {
            slot.session_has_more.set(true);
        } else if let Some(bytes) = next() {
            slot.bytes.replace(Some(bytes));
            slot.ready.notify_one();
        }
    }
}

impl Session {
    /// Ends the connection, if there is one.
    pub(super) fn detach(&mut self) {
        self.attachment.close();
        self.inbound.handle_disconnected();
    }

    pub(super) fn transmit(&mut self) {
        self.attachment.write(|| self.inbound.poll_transmit());
    }
}

impl Handler<Attach> for Session {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        self.detach();
        self.inbound.handle_connected(Instant::now());
        for topic in &self.withdrawn {
            self.inbound.announce(topic.clone(), false);
        }
        self.attachment.open(attach, ctx.address());
        tracing::info!(node = %self.node.id, peer = %self.peer, "session open");
        self.drive(ctx);
    }
}

impl Handler<Writable> for Session {
    type Result = ();

    fn handle(&mut self, _: Writable, _: &mut Self::Context) {
        self.transmit();
    }
}
