//! What a node reports.

use super::{Node, soon};
use actix::prelude::*;
use liner::{MeshEvent, WatchEvents};
use tokio::sync::mpsc;

struct Watcher(mpsc::UnboundedSender<MeshEvent>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<MeshEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, _: &mut Self::Context) {
        let _ = self.0.send(event);
    }
}

/// The events of one node since it was made.
pub(crate) struct Events(mpsc::UnboundedReceiver<MeshEvent>);

impl Events {
    pub(crate) async fn of(node: &Node) -> Self {
        let (told, events) = mpsc::unbounded_channel();
        node.call(WatchEvents::new(Watcher(told).start().recipient())).await;
        Events(events)
    }

    /// Waits for the first event that matches, and returns it.
    pub(crate) async fn wait(&mut self, what: &str, matches: impl Fn(&MeshEvent) -> bool) -> MeshEvent {
        let found = async {
            loop {
                let event = self.0.recv().await.expect("the node lives");
                if matches(&event) {
                    return event;
                }
            }
        };
        soon(what, found).await
    }

    /// What was reported so far and was not taken yet.
    pub(crate) fn so_far(&mut self) -> Vec<MeshEvent> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }

    pub(crate) async fn peer_up(&mut self, peer: &str) {
        self.wait("link up", |e| matches!(e, MeshEvent::PeerUp { peer: up, .. } if up.as_str() == peer)).await;
    }

    pub(crate) async fn peer_down(&mut self, peer: &str) {
        self.wait("link down", |e| matches!(e, MeshEvent::PeerDown { peer: down, .. } if down.as_str() == peer)).await;
    }
}
