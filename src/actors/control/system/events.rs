//! Events of the node, for those who watch them.

use super::*;

/// The recipients of events.
#[derive(Default)]
pub(super) struct Watchers {
    actors: Vec<Recipient<MeshEvent>>,
    functions: Vec<ObserveEvents>,
}

impl Watchers {
    fn notify(&mut self, event: &MeshEvent) {
        self.actors.retain(Recipient::connected);
        for actor in &self.actors {
            actor.do_send(event.clone());
        }
        for ObserveEvents { observer } in &mut self.functions {
            observer(event);
        }
    }
}

impl Handler<WatchEvents> for LinerSystem {
    type Result = ();

    fn handle(&mut self, WatchEvents { watcher }: WatchEvents, _: &mut Self::Context) {
        self.watchers.actors.push(watcher);
    }
}

impl Handler<ObserveEvents> for LinerSystem {
    type Result = ();

    fn handle(&mut self, observer: ObserveEvents, _: &mut Self::Context) {
        self.watchers.functions.push(observer);
    }
}

impl Handler<MeshEvent> for LinerSystem {
    type Result = ();

    fn handle(&mut self, event: MeshEvent, ctx: &mut Self::Context) {
        self.watchers.notify(&event);
        if matches!(event, MeshEvent::Fenced) {
            tracing::error!(node = %self.node.id, "a newer process runs under this node's name: stopping");
            self.stop_fenced(ctx);
        }
    }
}
