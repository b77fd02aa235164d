//! The connection of a session: attached, written to and closed.

use super::*;

impl Session {
    fn attach(&mut self, ctx: &mut Context<Self>, Attach { connection, permit }: Attach) {
        self.detach();
        self.connected.store(true, Ordering::Release);
        let Connection { stream, decoder } = connection;
        self.inbound.handle_connected(Instant::now());
        for topic in &self.withdrawn {
            self.inbound.announce(topic.clone(), false);
        }
        let generation = self.generation;
        let outlet = Rc::new(WriteSlot::default());
        self.outlet = Some(outlet.clone());
        let (reader, writer) = stream.into_split();
        let addr = ctx.address();
        let read = async move {
            let take = |chunk| {
                let arrived = addr.send(Arrived { generation, chunk });
                async move { arrived.await.map_err(|_| ConnectionError::Closed)?.map_err(ConnectionError::from) }
            };
            let reason = read_loop(reader, decoder, take).await.to_string();
            addr.do_send(Ended { generation, reason });
            drop(permit);
        };
        let addr = ctx.address();
        let write = async move {
            let next = || {
                let bytes = outlet.bytes.take();
                if bytes.is_some() && outlet.starved.take() {
                    addr.do_send(Writable);
                }
                bytes
            };
            let error = write_loop(writer, next, drop, || outlet.ready.notified()).await;
            addr.do_send(Ended { generation, reason: error.to_string() });
        };
        self.tasks = vec![actix_rt::spawn(read), actix_rt::spawn(write)];
        tracing::info!(node = %self.node.id, peer = %self.peer, "session open");
        self.drive(ctx);
    }

    /// Ends the connection, if there is one.
    pub(super) fn detach(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
        self.connected.store(false, Ordering::Release);
        self.outlet = None;
        self.generation += 1;
        self.inbound.handle_disconnected();
    }

    pub(super) fn transmit(&mut self) {
        let Some(outlet) = &self.outlet else { return };
        if outlet.bytes.borrow().is_some() {
            outlet.starved.set(true);
        } else if let Some(bytes) = self.inbound.poll_transmit() {
            outlet.bytes.replace(Some(bytes));
            outlet.ready.notify_one();
        }
    }
}

impl Handler<Attach> for Session {
    type Result = ();

    fn handle(&mut self, attach: Attach, ctx: &mut Self::Context) {
        self.attach(ctx, attach);
    }
}

impl Handler<Writable> for Session {
    type Result = ();

    fn handle(&mut self, _: Writable, _: &mut Self::Context) {
        self.transmit();
    }
}
