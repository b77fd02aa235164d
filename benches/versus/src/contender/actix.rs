//! actix alone, as the measure of `SendTo` to an actor: three actors on three arbiters of one process, no network, no store.
//!
//! ```text
//!              Work                     Work
//! Producer ───────────▶ Relay ───────────────────▶ Worker
//!          ◀─ receipt ─       ◀─ reply per message ─
//! ```
//!
//! A message that liner sends with `SendTo` passes two mailboxes, that of `LinerSystem` and that of the subscriber, and the
//! subscriber replies to each message. It is the same here: the relay accepts a message, which is the receipt of `send`,
//! passes it on, and receives the worker's reply. Mailboxes hold a window of messages, and one task of the relay waits for
//! all replies. Both together are faster here than the default capacity of 16 messages, or a task per message.

use super::arbiter;
use actix::prelude::*;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::executor::block_on;
use futures::stream::{FuturesUnordered, iter};
use futures::{StreamExt, select};
use std::sync::{Arc, Mutex, PoisonError};
use versus_work::{Contender, Environment, Failure, Inbox, Load, Window};

/// The worker of this process. Both roles are in one process, and the sender finds the worker here.
static WORKER: Mutex<Option<Recipient<Work>>> = Mutex::new(None);

/// How the producer sends to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actix {
    /// Without waiting for the receipt.
    DoSend,
    /// With a window of receipts that it waits for.
    Send,
}

impl Contender for Actix {
    fn receive(&self, _: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn versus_work::Receiver>, Failure> {
        let (worker, _) = arbiter::start(Worker { inbox })?;
        *WORKER.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker.recipient());
        Ok(Box::new(ActixReceiver))
    }

    fn send(&self, _: &Environment, _: &str) -> Result<Box<dyn versus_work::Sender>, Failure> {
        let worker = WORKER.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let worker = worker.ok_or("the worker is not in this process")?;
        let (relay, _) = arbiter::start(Relay { worker, replies: None })?;
        let (producer, _) = arbiter::start(Producer { relay, api: *self })?;
        Ok(Box::new(ActixSender { producer }))
    }
}

struct ActixReceiver;

impl versus_work::Receiver for ActixReceiver {
    fn address(&self) -> String {
        "-".to_owned()
    }
}

struct ActixSender {
    producer: Addr<Producer>,
}

impl versus_work::Sender for ActixSender {
    fn send(&mut self, load: &Load) -> Result<(), Failure> {
        block_on(self.producer.send(Produce(load.clone())))?
    }
}

/// A message of the load.
#[derive(Message)]
#[rtype(result = "()")]
struct Work(Vec<u8>);

/// Has the producer send a burst.
#[derive(Message)]
#[rtype(result = "Result<(), Failure>")]
struct Produce(Load);

struct Producer {
    relay: Addr<Relay>,
    api: Actix,
}

impl Actor for Producer {
    type Context = Context<Self>;
}

impl Handler<Produce> for Producer {
    type Result = ResponseFuture<Result<(), Failure>>;

    fn handle(&mut self, Produce(load): Produce, _: &mut Self::Context) -> Self::Result {
        let (relay, api) = (self.relay.clone(), self.api);
        Box::pin(async move {
            match api {
                Actix::DoSend => load.messages().for_each(|message| relay.do_send(Work(message))),
                Actix::Send => {
                    let sends = iter(load.messages()).map(|message| relay.send(Work(message)));
                    let mut receipts = sends.buffered(Window::<()>::SIZE);
                    while let Some(receipt) = receipts.next().await {
                        receipt?;
                    }
                }
            }
            Ok(())
        })
    }
}

struct Relay {
    worker: Recipient<Work>,
    /// To the task that waits for replies. None before the relay has started.
    replies: Option<UnboundedSender<RecipientRequest<Work>>>,
}

impl Actor for Relay {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(Window::<()>::SIZE);
        let (replies, awaited) = unbounded();
        self.replies = Some(replies);
        actix::spawn(await_replies(awaited));
    }
}

/// Waits for the worker's replies, until the relay ends. The inbox reports a message that has no reply because it is lost.
async fn await_replies(mut awaited: UnboundedReceiver<RecipientRequest<Work>>) {
    let mut replies = FuturesUnordered::new();
    loop {
        select! {
            reply = awaited.next() => match reply {
                Some(reply) => replies.push(reply),
                None => return,
            },
            _ = replies.select_next_some() => {}
        }
    }
}

impl Handler<Work> for Relay {
    type Result = ();

    fn handle(&mut self, work: Work, _: &mut Self::Context) {
        let reply = self.worker.send(work);
        if let Some(replies) = &self.replies {
            let _ = replies.unbounded_send(reply);
        }
    }
}

struct Worker {
    inbox: Arc<Inbox>,
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(Window::<()>::SIZE);
    }
}

impl Handler<Work> for Worker {
    type Result = ();

    fn handle(&mut self, Work(message): Work, _: &mut Self::Context) {
        self.inbox.take(&message);
    }
}
