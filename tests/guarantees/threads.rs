//! Where subscribers run: on the arbiter that the subscription names, on another one, or on one that ends.

use crate::support::*;
use actix::prelude::*;
use liner::{BatchNack, Delivery, DeliveryBatch, Nack, Receive};
use std::thread::{self, ThreadId};
use std::time::Duration;
use tokio::sync::mpsc;

/// What a subscriber was given: number, attempt, and the thread that it was handled on.
type Seen = (u32, u32, ThreadId);

struct Counter(mpsc::UnboundedSender<Seen>);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Delivery> for Counter {
    type Result = Result<(), Nack>;

    fn handle(&mut self, delivery: Delivery, _: &mut Self::Context) -> Self::Result {
        let number = inbox::text(&delivery).parse().map_err(|_| Nack::new("not a number"))?;
        self.0.send((number, delivery.attempt, thread::current().id())).map_err(|_| Nack::new("the test is over"))
    }
}

impl Handler<DeliveryBatch> for Counter {
    type Result = Result<(), BatchNack>;

    fn handle(&mut self, DeliveryBatch(batch): DeliveryBatch, ctx: &mut Self::Context) -> Self::Result {
        for (at, delivery) in batch.into_iter().enumerate() {
            self.handle(delivery, ctx).map_err(|nack| BatchNack::new(at, nack))?;
        }
        Ok(())
    }
}

const MESSAGES: usize = 300;

/// Receives until each message was seen. No message may be seen for the first time before an earlier one.
async fn first_seen_in_order(got: &mut mpsc::UnboundedReceiver<Seen>) -> Vec<Seen> {
    let mut seen: Vec<Seen> = Vec::new();
    let mut next = 0;
    while next < MESSAGES as u32 {
        let delivery = soon("a delivery", got.recv()).await.expect("the actor lives");
        assert!(delivery.0 <= next, "{} overtook {next}", delivery.0);
        next = next.max(delivery.0 + 1);
        seen.push(delivery);
    }
    seen
}

async fn an_actor_is_fed_on_the_arbiter_that_is_named_or_on_any_other(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    let arbiter = Arbiter::new().handle();
    for (name, is_named) in [("named", true), ("elsewhere", false)] {
        let billing = Node::start(mesh.config(name)).await;
        let (seen, mut got) = mpsc::unbounded_channel();
        let receive = Receive::new(Counter::start_in_arbiter(&arbiter, |_| Counter(seen)).recipient());
        let receive = if is_named { receive.on(&arbiter) } else { receive };
        billing.call(receive).await.expect("receives").detach();
        orders.send_all(name, &texts("", MESSAGES)).await;
        let seen = first_seen_in_order(&mut got).await;
        assert_eq!(seen.len(), MESSAGES, "each is delivered once");
        assert!(seen.iter().all(|(_, attempt, at)| (*attempt, *at == thread::current().id()) == (1, false)));
        orders.settled().await;
    }
}

async fn a_subscription_made_outside_actix_delivers_all_the_same(mesh: Mesh) {
    let (orders, billing) = (Node::start(mesh.config("orders")).await, Node::start(mesh.config("billing")).await);
    let (seen, mut got) = mpsc::unbounded_channel();
    let recipient = Counter(seen).start().recipient();
    let receive = thread::spawn(move || Receive::new(recipient).in_flight(1)).join().expect("no panic");
    billing.call(receive).await.expect("receives").detach();
    orders.send_all("billing", &texts("", MESSAGES)).await;
    assert_eq!(first_seen_in_order(&mut got).await.len(), MESSAGES);
    orders.settled().await;
}

async fn an_arbiter_that_ends_loses_nothing_and_keeps_the_order(mesh: Mesh) {
    let orders = Node::start(mesh.config("orders")).await;
    for (name, in_flight) in [("one", 1), ("many", 256)] {
        let billing = Node::start(mesh.config(name)).await;
        let arbiter = Arbiter::new();
        let (seen, mut got) = mpsc::unbounded_channel();
        let receive = Receive::new(Counter(seen).start().recipient()).in_flight(in_flight).on(&arbiter.handle());
        billing.call(receive).await.expect("receives").detach();
        orders.send_all(name, &texts("", MESSAGES / 2)).await;
        arbiter.stop();
        let later: Vec<_> = (MESSAGES / 2..MESSAGES).map(|n| n.to_string()).collect();
        orders.send_all(name, &later).await;
        first_seen_in_order(&mut got).await;
        orders.settled().await;
    }
}

async fn a_batch_whose_arbiter_ends_counts_as_an_attempt(mesh: Mesh) {
    let (orders, billing) = (Node::start(mesh.config("orders")).await, Node::start(mesh.config("billing")).await);
    let arbiter = Arbiter::new();
    let (seen, mut got) = mpsc::unbounded_channel();
    let receive = Receive::batch(Counter(seen).start().recipient()).on(&arbiter.handle());
    billing.call(receive).await.expect("receives").detach();
    orders.send_all("billing", &texts("", MESSAGES / 2)).await;
    arbiter.stop();
    orders.send_all("billing", &(MESSAGES / 2..MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>()).await;
    let mut attempts = vec![0; MESSAGES];
    for (number, attempt, _) in first_seen_in_order(&mut got).await {
        let seen = &mut attempts[number as usize];
        assert!(attempt > *seen, "a repeated delivery of {number} counts as another attempt");
        *seen = attempt;
    }
    orders.settled().await;
}

async fn an_arbiter_that_has_ended_before_is_no_obstacle(mesh: Mesh) {
    let (orders, billing) = (Node::start(mesh.config("orders")).await, Node::start(mesh.config("billing")).await);
    let arbiter = Arbiter::new();
    let handle = arbiter.handle();
    arbiter.stop();
    arbiter.join().expect("it ends");
    let (seen, mut got) = mpsc::unbounded_channel();
    let receive = Receive::new(Counter(seen).start().recipient()).timeout(Duration::from_secs(60)).on(&handle);
    billing.call(receive).await.expect("receives").detach();
    orders.send_all("billing", &texts("", MESSAGES)).await;
    assert_eq!(first_seen_in_order(&mut got).await.len(), MESSAGES, "each is delivered once");
    orders.settled().await;
}

on_each_store!(
    an_actor_is_fed_on_the_arbiter_that_is_named_or_on_any_other,
    a_subscription_made_outside_actix_delivers_all_the_same,
    an_arbiter_that_ends_loses_nothing_and_keeps_the_order,
    a_batch_whose_arbiter_ends_counts_as_an_attempt,
    an_arbiter_that_has_ended_before_is_no_obstacle,
);
