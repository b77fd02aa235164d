//! The queue of a topic: one task per topic carries out what its [`SendQueue`] decides. Sends arrive from publishers and
//! from the system; look-ups, lanes, room and commits are awaited here.

use crate::actors::messages::{MeshEvent, Options};
use crate::actors::node::{Node, random};
use crate::actors::sending::link::Link;
use crate::actors::sending::pending_send::{PendingGroup, PendingSend, SendRequest};
use crate::actors::sending::route_table::{LinkTarget, RouteTable, find, guarantee};
use crate::actors::storing::store::{Commit, OpenOutbox, store_gone};
use crate::error::SendError;
use crate::stores::StoreError;
use crate::types::{Incarnation, LaneId, NodeId, Topic};
use crate::wire::frame::LaneIx;
use crate::wire::send_queue::{
    QueueLookUpId, QueueTicket, QueuedSend, SendId, SendOutcome, SendQueue, SendQueueEvent, Shape,
};
use actix::prelude::*;
use futures::channel::mpsc;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::collections::HashMap;
use std::future::pending;
use std::iter;
use std::sync::Arc;
use std::time::Instant;
use tokio::select;
use tokio::time::sleep_until;

/// Look a topic up in the store.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(crate) struct LookUp(pub(crate) Topic);

/// A lane was opened in the store.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LaneOpened(pub(crate) LaneId);

/// A send on its way into the queue of its topic.
pub(crate) struct Arrival {
    pub(crate) request: SendRequest,
    pub(crate) options: Options,
    /// Its deadline counts from here.
    pub(crate) since: Instant,
    pub(crate) ticket: QueueTicket,
}

/// A publisher's send, for the queue of its topic.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Enqueue {
    pub(crate) table: Arc<RouteTable>,
    pub(crate) arrival: Arrival,
}

/// What the queues of all topics share.
#[derive(Clone)]
pub(crate) struct SendContext {
    pub(crate) node: Arc<Node>,
    pub(crate) store: Recipient<Commit>,
    pub(crate) open: Recipient<OpenOutbox>,
    pub(crate) look_up: Recipient<LookUp>,
    pub(crate) opened: Recipient<LaneOpened>,
}

/// Further sends that are taken together with one that arrived: the links are woken once for all of them.
const ARRIVALS: usize = 63;

/// Something that the queue waited for has ended.
enum Completion {
    LookedUp(QueueLookUpId, Result<(), SendError>),
    Opened(NodeId, Result<(), SendError>),
    Room(NodeId),
    Committed(SendId, Result<(), SendError>),
}

/// Runs the queue of a topic, until no send can arrive and all are finished.
pub(crate) async fn run(context: SendContext, table: Arc<RouteTable>, mut arrivals: mpsc::UnboundedReceiver<Arrival>) {
    let mut queue = TopicQueue {
        context,
        table,
        machine: SendQueue::new(),
        sends: HashMap::new(),
        groups: HashMap::new(),
        awaited: FuturesUnordered::new(),
        to_wake: Vec::new(),
        error: None,
    };
    let mut is_open = true;
    while is_open || !queue.machine.is_idle() {
        let deadline = queue.machine.poll_timeout();
        select! {
            biased;
            arrival = arrivals.next(), if is_open => match arrival {
                Some(arrival) => {
                    queue.enqueue(arrival);
                    let more = iter::from_fn(|| arrivals.try_recv().ok());
                    more.take(ARRIVALS).for_each(|arrival| queue.enqueue(arrival));
                }
                None => is_open = false,
            },
            Some(completion) = queue.awaited.next(), if !queue.awaited.is_empty() => queue.complete(completion),
            () = expiry(deadline) => queue.machine.handle_timeout(Instant::now()),
        }
        queue.drive();
        queue.to_wake.drain(..).for_each(|link| link.flow.wake());
    }
}

async fn expiry(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

struct TopicQueue {
    context: SendContext,
    table: Arc<RouteTable>,
    machine: SendQueue,
    sends: HashMap<SendId, PendingSend>,
    /// Places of messages to all, until they are settled.
    groups: HashMap<SendId, PendingGroup>,
    awaited: FuturesUnordered<LocalBoxFuture<'static, Completion>>,
    /// Links with something to transmit that do not know it yet.
    to_wake: Vec<Arc<Link>>,
    /// Why what ended last has failed.
    error: Option<SendError>,
}

impl TopicQueue {
    fn enqueue(&mut self, Arrival { request, options, since, ticket }: Arrival) {
        let config = &self.context.node.config;
        let mode = options.mode.unwrap_or(config.mode);
        let deadline = since + options.deadline.unwrap_or(config.timing.send_deadline);
        let on_full = options.on_full.unwrap_or(config.on_full);
        let shape = match &request {
            SendRequest::One(..) => Shape::One,
            SendRequest::All(..) => Shape::All { commits: mode.commits() },
            SendRequest::Batch(messages, _) => Shape::Batch(messages.len()),
        };
        let id = self.machine.enqueue(QueuedSend { shape, guarantee: guarantee(mode), deadline, on_full });
        self.sends.insert(id, PendingSend::new(request, mode, deadline, ticket));
    }

    fn complete(&mut self, completion: Completion) {
        let mut failed = |result: Result<(), SendError>| {
            self.error = result.err();
            self.error.is_none()
        };
        match completion {
            Completion::LookedUp(id, result) => self.machine.handle_looked_up(id, failed(result)),
            Completion::Opened(node, result) => self.machine.handle_opened(&node, failed(result)),
            Completion::Room(node) => self.machine.handle_room(&node),
            Completion::Committed(send, result) => self.machine.handle_committed(send, failed(result)),
        }
    }

    /// Carries out what the machine wants done.
    fn drive(&mut self) {
        loop {
            let targets = self.table.load();
            let Some(event) = self.machine.poll_event(&targets, || self.table.turn()) else { return };
            match event {
                SendQueueEvent::Offer { send, message, to } => {
                    let Some(pending) = self.sends.get_mut(&send) else { continue };
                    let group = self.groups.entry(send);
                    let (node, wake) = (&self.context.node, &mut self.to_wake);
                    let offered = pending.offer(node, &self.table, &targets, (message, to), wake, group);
                    self.machine.handle_offered(send, offered);
                }
                SendQueueEvent::LookUp(id) => self.look_up(id),
                SendQueueEvent::OpenLane(node) => match find(&targets, &node) {
                    Some(target) => self.open_lane(node, target.link.clone(), target.lane),
                    // The target is gone: there is nothing to open, and the send chooses again.
                    None => self.machine.handle_opened(&node, true),
                },
                SendQueueEvent::AwaitRoom(node) => {
                    self.context.node.event(MeshEvent::BackPressure { topic: self.table.topic.clone() });
                    match find(&targets, &node) {
                        Some(LinkTarget { link, .. }) => self.await_room(node, link.clone()),
                        None => self.machine.handle_room(&node),
                    }
                }
                SendQueueEvent::Commit(send) => self.commit(send),
                SendQueueEvent::Settle { send, outcome } => {
                    if let Some(group) = self.groups.remove(&send) {
                        let receipts = group.finish(&self.context.node, outcome);
                        if let Some(pending) = self.sends.get_mut(&send) {
                            pending.settled(receipts);
                        }
                    }
                }
                SendQueueEvent::Finished { send, outcome } => self.finish(send, outcome),
            }
        }
    }

    fn finish(&mut self, send: SendId, outcome: SendOutcome) {
        let Some(pending) = self.sends.remove(&send) else { return };
        let error = match outcome {
            SendOutcome::Accepted => return pending.accepted(),
            SendOutcome::NoRoute => SendError::NoRoute(self.table.topic.clone()),
            SendOutcome::QueueFull => SendError::QueueFull,
            SendOutcome::Deadline => SendError::Deadline,
            SendOutcome::Indeterminate => SendError::Indeterminate,
            SendOutcome::Failed => self.error.clone().unwrap_or(SendError::Closed),
            SendOutcome::Refused => pending.refusal(),
        };
        pending.failed(error);
    }

    fn look_up(&mut self, id: QueueLookUpId) {
        let look_up = self.context.look_up.send(LookUp(self.table.topic.clone()));
        let result = look_up.map(|result| match result {
            Ok(result) => result.map_err(SendError::Store),
            Err(_) => Err(SendError::Closed),
        });
        self.awaited.push(result.map(move |result| Completion::LookedUp(id, result)).boxed_local());
    }

    fn open_lane(&mut self, node: NodeId, link: Arc<Link>, lane: LaneIx) {
        let (open, opened) = (self.context.open.clone(), self.context.opened.clone());
        let opening = async move {
            let result = open_lane(&open, &opened, &link, lane).await;
            Completion::Opened(node, result.map_err(SendError::Store))
        };
        self.awaited.push(opening.boxed_local());
    }

    fn await_room(&mut self, node: NodeId, link: Arc<Link>) {
        let room = async move {
            let room = link.room.notified();
            if !link.has_room() {
                room.await;
            }
            Completion::Room(node)
        };
        self.awaited.push(room.boxed_local());
    }

    fn commit(&mut self, send: SendId) {
        let writes = self.groups.get(&send).map(PendingGroup::rows).unwrap_or_default();
        let synced = self.sends.get(&send).is_some_and(PendingSend::is_synced);
        let commit = self.context.store.send(Commit { writes, synced, persistent: true });
        let committed = async move {
            let result = commit.await.unwrap_or_else(|e| Err(store_gone(&e)));
            Completion::Committed(send, result.map(|_| ()).map_err(SendError::of_commit))
        };
        self.awaited.push(committed.boxed_local());
    }
}

/// Opens a lane in the store under an incarnation of its own, unless it is open.
pub(crate) async fn open_lane(
    open: &Recipient<OpenOutbox>,
    opened: &Recipient<LaneOpened>,
    link: &Arc<Link>,
    lane: LaneIx,
) -> Result<(), StoreError> {
    if link.is_durable(lane) {
        return Ok(());
    }
    let (_, id) = link.lane(lane);
    let request = OpenOutbox { lane: id.clone(), incarnation: Incarnation::new(random()) };
    let record = open.send(request).await.unwrap_or_else(|e| Err(store_gone(&e)))?;
    link.open_lane(lane, record);
    opened.do_send(LaneOpened(id));
    Ok(())
}
