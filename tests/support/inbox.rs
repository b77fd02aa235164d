//! A subscriber that records its deliveries and replies by a script.

use super::{Node, soon};
use actix::prelude::*;
use liner::{Delivery, Nack, Receive, Subscribe, Subscription};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, oneshot};

/// What a subscriber does with a message.
pub(crate) enum Reply {
    Ok,
    Nack(Nack),
    Panic,
    /// Withholds the reply until [`Inbox::release`].
    Hold,
}

type Script = Box<dyn FnMut(&Delivery) -> Reply + Send>;
type Held = Arc<Mutex<Vec<oneshot::Sender<Result<(), Nack>>>>>;

struct Recorder {
    script: Script,
    seen: mpsc::UnboundedSender<Delivery>,
    held: Held,
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Recorder {
    type Result = ResponseFuture<Result<(), Nack>>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        let reply = (self.script)(&delivery);
        let (release, answer) = oneshot::channel();
        if matches!(reply, Reply::Hold) {
            self.held.lock().expect("not poisoned").push(release);
        }
        let _ = self.seen.send(delivery);
        match reply {
            Reply::Ok => Box::pin(async { Ok(()) }),
            Reply::Nack(nack) => Box::pin(async { Err(nack) }),
            Reply::Panic => panic!("the script says so"),
            Reply::Hold => Box::pin(async { answer.await.unwrap_or_else(|_| Err(Nack::new("never answered"))) }),
        }
    }
}

/// The test's end of a subscriber.
pub(crate) struct Inbox {
    pub(crate) recipient: Recipient<Delivery>,
    seen: mpsc::UnboundedReceiver<Delivery>,
    held: Held,
}

impl Inbox {
    /// Replies with `Ok`.
    pub(crate) fn new() -> Self {
        Self::scripted(|_| Reply::Ok)
    }

    pub(crate) fn scripted(script: impl FnMut(&Delivery) -> Reply + Send + 'static) -> Self {
        let (told, seen) = mpsc::unbounded_channel();
        let held = Held::default();
        let recorder = Recorder { script: Box::new(script), seen: told, held: held.clone() };
        Inbox { recipient: recorder.start().recipient(), seen, held }
    }

    /// Takes the messages of a node's own topic.
    pub(crate) async fn receive(&self, node: &Node) {
        node.call(Receive::new(self.recipient.clone())).await.expect("receives").detach();
    }

    /// The same, and an inbox with it.
    pub(crate) async fn at(node: &Node) -> Self {
        let inbox = Inbox::new();
        inbox.receive(node).await;
        inbox
    }

    pub(crate) async fn subscribe(&self, node: &Node, topic: &str) -> Subscription {
        node.call(Subscribe::new(topic, self.recipient.clone())).await.expect("subscribes")
    }

    /// The next message.
    pub(crate) async fn next(&mut self) -> Delivery {
        soon("a delivery", self.seen.recv()).await.expect("the subscriber lives")
    }

    /// The next message as text.
    pub(crate) async fn text(&mut self) -> String {
        text(&self.next().await)
    }

    /// The next messages as text.
    pub(crate) async fn texts(&mut self, n: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(n);
        while texts.len() < n {
            texts.push(self.text().await);
        }
        texts
    }

    /// What came so far and was not taken yet.
    pub(crate) fn so_far(&mut self) -> Vec<Delivery> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }

    /// How many messages are held.
    pub(crate) fn holds(&self) -> usize {
        self.held.lock().expect("not poisoned").len()
    }

    /// Replies to all deliveries that are held, in order.
    pub(crate) fn release(&self, answer: &Result<(), Nack>) {
        for held in self.held.lock().expect("not poisoned").drain(..) {
            let _ = held.send(answer.clone());
        }
    }
}

pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.payload).into_owned()
}
