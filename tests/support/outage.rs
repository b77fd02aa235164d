//! Two nodes on a server that fails, one of which sends to the other meanwhile: what has to hold on every such store.

use super::{Inbox, Node, until};
use liner::{Config, Durability, SendTo, Timing};
use std::time::Duration;

/// Two nodes on a server, and what was sent so far.
pub(crate) struct World<S> {
    /// Away while an outage has it.
    server: Option<S>,
    orders: Node,
    billing: Node,
    inbox: Inbox,
    /// The texts that were accepted, in order.
    accepted: Vec<String>,
}

impl<S: Send + 'static> World<S> {
    /// `config` is given the name and the topic of a node.
    pub(crate) async fn new(server: S, config: impl Fn(&str, &str) -> Config) -> World<S> {
        let node = |topic: &str| {
            let timing = Timing::default().lease(Duration::from_secs(3));
            config(&format!("{topic}-1"), topic).timing(timing)
        };
        let orders = Node::start(node("orders")).await;
        let billing = Node::start(node("billing")).await;
        let inbox = Inbox::at(&billing).await;
        World { server: Some(server), orders, billing, inbox, accepted: Vec::new() }
    }

    pub(crate) fn server(&mut self) -> &mut S {
        self.server.as_mut().expect("no outage has it")
    }

    /// Sends one message after the other while the outage lasts, and twenty before and after it.
    pub(crate) async fn during(&mut self, outage: impl FnOnce(&mut S) + Send + 'static) {
        self.send(20).await;
        let mut server = self.server.take().expect("no outage has it");
        let mut outage = tokio::task::spawn_blocking(move || {
            outage(&mut server);
            server
        });
        let server = loop {
            tokio::select! {
                done = &mut outage => break done.expect("the outage ends"),
                () = self.send(1) => {}
            }
        };
        self.server = Some(server);
        self.send(20).await;
    }

    async fn send(&mut self, n: usize) {
        for _ in 0..n {
            let text = format!("{}", self.accepted.len());
            // What is not accepted is sent again under the same text: it may arrive twice, in its place.
            until("a send is accepted", || async {
                self.orders.call(SendTo::new("billing", text.clone())).await.is_ok()
            })
            .await;
            self.accepted.push(text);
        }
    }

    /// Everything accepted arrives, in order, and the queues end up empty: `queued` counts what is in them.
    pub(crate) async fn check(mut self, queued: impl Fn(&mut S) -> u64) {
        let mut last = None;
        while last.as_ref() != self.accepted.last() {
            let text = self.inbox.text().await;
            let at: usize = text.parse().expect("a number");
            let next = last.as_ref().map_or(0, |last: &String| last.parse::<usize>().expect("a number") + 1);
            assert!(at == next || (at + 1 == next), "{at} came instead of {next}");
            last = Some(text);
        }
        self.orders.settled().await;
        let mut server = self.server.take().expect("no outage has it");
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while queued(&mut server) > 0 {
            assert!(std::time::Instant::now() < deadline, "the queues do not become empty");
            tokio::time::sleep(super::LOOK).await;
        }
        assert!(self.billing.addr.connected() && self.orders.addr.connected(), "nobody needed a restart");
    }

    /// While the server stands still for ten seconds, what does not need it goes on, and a commit waits.
    pub(crate) async fn stands_still(mut self, stop: impl Fn(&mut S), go_on: impl Fn(&mut S)) {
        self.send(5).await;
        self.inbox.texts(5).await;
        // Both lanes are open before the server is stopped.
        for durability in [Durability::WriteBehind, Durability::Committed] {
            self.orders.call(SendTo::new("billing", "before").durability(durability)).await.expect("accepted");
            assert_eq!(self.inbox.text().await, "before");
        }
        stop(self.server());
        let stopped = tokio::time::Instant::now();
        let committed = actix_rt::spawn(self.orders.addr.send(SendTo::new("billing", "committed")));
        for n in 0..20 {
            let once = SendTo::new("billing", format!("once {n}")).at_most_once();
            self.orders.call(once).await.expect("queued");
            assert_eq!(self.inbox.text().await, format!("once {n}"));
        }
        tokio::time::sleep_until(stopped + Duration::from_secs(10)).await;
        assert!(!committed.is_finished(), "a commit waits for the server");
        go_on(self.server());
        committed.await.expect("runs").expect("the node lives").expect("accepted once the server goes on");
        assert_eq!(self.inbox.text().await, "committed");
        self.orders.settled().await;
    }

    /// Write-behind messages arrive while the server is away or stands still, and are settled when it is back.
    pub(crate) async fn write_behind_flows(mut self, away: impl Fn(&mut S), back: impl Fn(&mut S)) {
        let send = |n: usize| SendTo::new("billing", n.to_string()).durability(Durability::WriteBehind);
        self.orders.call(send(0)).await.expect("accepted");
        assert_eq!(self.inbox.text().await, "0");
        self.orders.settled().await;
        away(self.server());
        for n in 1..200 {
            self.orders.call(send(n)).await.expect("accepted");
            assert_eq!(self.inbox.text().await, n.to_string());
        }
        back(self.server());
        self.orders.settled().await;
    }
}
