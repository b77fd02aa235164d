//! The slow path of sending: what waits for a route, for a lane to be opened, or for room.
//!
//! Each topic has one queue and one task that works it off in order, so that a send never overtakes an earlier one to
//! the same topic. Waiting for a commit is not part of it: commits of many sends run together.

use super::link::{Link, Waiter};
use super::messages::{MeshEvent, Options, Outgoing, Receipt};
use super::node::{Node, count, random};
use super::routes::{Blocked, Board, Offer, Offered, Place, Target, Wake};
use super::sender::{gone, stored};
use super::store::{Commit, OpenOutbox};
use crate::config::{Durability, Mode, OnFull};
use crate::error::{SendBatchError, SendError};
use crate::stores::{StoreError, Write};
use crate::types::{Incarnation, Message as Payload, Topic};
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{AcceptMode, Body, GroupOutcome, OfferError};
use actix::prelude::*;
use futures::channel::{mpsc, oneshot};
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::time::Instant;
use tokio::time::timeout_at;

/// Look a topic up in the store, now.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), StoreError>")]
pub(super) struct Resolve(pub(super) Topic);

type Reply<T> = oneshot::Sender<T>;

/// A send that waits its turn.
pub(super) struct Waiting {
    pub(super) job: Job,
    pub(super) place: Place,
}

/// A publisher's send, for the queue of its topic. It has its place already.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Queue {
    pub(super) board: Arc<Board>,
    pub(super) waiting: Waiting,
}

impl Waiting {
    /// Answers that it was not sent.
    pub(super) fn refuse(self, error: SendError) {
        match self.job {
            Job::One(.., reply) => drop(reply.send(Err(error))),
            Job::All(.., reply) => drop(reply.send(Err(error))),
            Job::Batch(.., reply) => drop(reply.send(Err(SendBatchError { accepted: Vec::new(), error }))),
        }
    }
}

/// What is to be sent.
pub(super) enum Job {
    One(Outgoing, Options, Reply<Result<Receipt, SendError>>),
    All(Outgoing, Options, Reply<Result<Vec<Receipt>, SendError>>),
    Batch(Vec<Outgoing>, Options, Reply<Result<Vec<Receipt>, SendBatchError>>),
}

impl Job {
    fn options(&self) -> Options {
        match self {
            Job::One(_, options, _) | Job::All(_, options, _) | Job::Batch(_, options, _) => *options,
        }
    }
}

/// What the queues of all topics share.
#[derive(Clone)]
pub(super) struct SendContext {
    pub(super) node: Arc<Node>,
    pub(super) store: Recipient<Commit>,
    pub(super) open: Recipient<OpenOutbox>,
    pub(super) resolve: Recipient<Resolve>,
}

/// A message that was accepted, or waits for its commit.
enum Taken {
    Now(Receipt),
    Later(oneshot::Receiver<Result<Receipt, SendError>>),
}

impl Taken {
    async fn receipt(self) -> Result<Receipt, SendError> {
        match self {
            Taken::Now(receipt) => Ok(receipt),
            // Dropped by a system that ended meanwhile: the store may have the message.
            Taken::Later(receipt) => receipt.await.unwrap_or(Err(SendError::Indeterminate)),
        }
    }
}

/// Works a topic's queue off, until nobody can add to it any more.
pub(super) async fn work(context: SendContext, board: Arc<Board>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    while let Some(Waiting { job, place }) = queue.next().await {
        let on_full = job.options().on_full.unwrap_or(context.node.config.on_full);
        let worker = Worker { context: &context, board: &board, since: place.since, on_full };
        match job {
            Job::One(outgoing, options, reply) => match worker.one(outgoing, options).await {
                Ok(Taken::Now(receipt)) => drop(reply.send(Ok(receipt))),
                Ok(later) => drop(actix_rt::spawn(later.receipt().map(|result| reply.send(result)))),
                Err(error) => drop(reply.send(Err(error))),
            },
            Job::All(outgoing, options, reply) => drop(reply.send(worker.all(outgoing, options).await)),
            Job::Batch(messages, options, reply) => {
                let (taken, error) = worker.batch(messages, options).await;
                actix_rt::spawn(collect(taken, error).map(|result| reply.send(result)));
            }
        }
        drop(place);
    }
}

/// Awaits the commits of a batch.
async fn collect(taken: Vec<Taken>, error: Option<SendError>) -> Result<Vec<Receipt>, SendBatchError> {
    let mut accepted = Vec::with_capacity(taken.len());
    for one in taken {
        match one.receipt().await {
            Ok(receipt) => accepted.push(receipt),
            Err(error) => return Err(SendBatchError { accepted, error }),
        }
    }
    match error {
        None => Ok(accepted),
        Some(error) => Err(SendBatchError { accepted, error }),
    }
}

/// One send at the head of a topic's queue.
struct Worker<'a> {
    context: &'a SendContext,
    board: &'a Arc<Board>,
    since: Instant,
    on_full: OnFull,
}

impl Worker<'_> {
    fn mode(&self, options: Options) -> Mode {
        options.mode.unwrap_or(self.context.node.config.mode)
    }

    fn deadline(&self, options: Options) -> Instant {
        self.since + options.deadline.unwrap_or(self.context.node.config.timing.send_deadline)
    }

    fn check(&self, outgoing: Outgoing, mode: Mode) -> Result<Payload, SendError> {
        if self.context.node.is_closing() {
            return Err(SendError::Closed);
        }
        outgoing.check(self.context.node.max_message(mode.durability()))
    }

    async fn one(&self, outgoing: Outgoing, options: Options) -> Result<Taken, SendError> {
        let mode = self.mode(options);
        let message = self.check(outgoing, mode)?;
        self.take(&message, mode, self.deadline(options)).await
    }

    async fn batch(&self, messages: Vec<Outgoing>, options: Options) -> (Vec<Taken>, Option<SendError>) {
        let mode = self.mode(options);
        let deadline = self.deadline(options);
        let mut taken = Vec::with_capacity(messages.len());
        let mut lane: Option<Target> = None;
        for outgoing in messages {
            let result = match self.check(outgoing, mode) {
                Ok(message) => self.take_on(&mut lane, &message, mode, deadline).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(one) => taken.push(one),
                Err(error) => return (taken, Some(error)),
            }
        }
        (taken, None)
    }

    fn on_offer<'m>(&'m self, message: &'m Payload, mode: Mode, deadline: Instant, waiter: Waiter) -> Offer<'m> {
        Offer {
            headers: &message.headers,
            body: Body::Shared(&message.payload),
            mode,
            deadline: Some(deadline),
            waiter: Some(waiter),
            wake: Wake::Now,
            ahead: None,
        }
    }

    /// Takes a message on whichever lane is next.
    async fn take(&self, message: &Payload, mode: Mode, deadline: Instant) -> Result<Taken, SendError> {
        loop {
            let (waiter, commit) = oneshot::channel();
            match self.board.offer(&mut self.on_offer(message, mode, deadline, waiter)) {
                Ok(Offered::Accepted(receipt)) => return Ok(Taken::Now(receipt)),
                Ok(Offered::Committing) => return Ok(Taken::Later(commit)),
                Err(blocked) => self.unblock(blocked, mode, deadline).await?,
            }
        }
    }

    /// Takes a message on one lane: the first that is chosen.
    async fn take_on(
        &self,
        lane: &mut Option<Target>,
        message: &Payload,
        mode: Mode,
        deadline: Instant,
    ) -> Result<Taken, SendError> {
        loop {
            let targets = self.board.targets(mode);
            let Some(target) = lane.clone().or_else(|| self.board.pick(&targets)) else {
                self.unblock(Blocked::NoRoute, mode, deadline).await?;
                continue;
            };
            *lane = Some(target.clone());
            let (waiter, commit) = oneshot::channel();
            match target.offer(&mut self.on_offer(message, mode, deadline, waiter)) {
                Ok(Offered::Accepted(receipt)) => return Ok(Taken::Now(receipt)),
                Ok(Offered::Committing) => return Ok(Taken::Later(commit)),
                Err(blocked) => self.unblock(blocked, mode, deadline).await?,
            }
        }
    }

    /// Removes what stands in the way of a message, or says why that cannot be done.
    async fn unblock(&self, blocked: Blocked, mode: Mode, deadline: Instant) -> Result<(), SendError> {
        let node = &self.context.node;
        match blocked {
            Blocked::NoRoute => {
                self.resolve(deadline).await?;
                if self.board.targets(mode).is_empty() {
                    return Err(SendError::NoRoute(self.board.topic.clone()));
                }
                Ok(())
            }
            Blocked::NotOpen(target) => self.open(&target, deadline).await,
            Blocked::Full(_) if self.on_full == OnFull::Reject => Err(SendError::QueueFull),
            Blocked::LaneFull => Err(SendError::QueueFull),
            Blocked::Full(link) => {
                node.event(MeshEvent::BackPressure(self.board.topic.clone()));
                self.wait_for_room(&link, deadline).await
            }
        }
    }

    async fn resolve(&self, deadline: Instant) -> Result<(), SendError> {
        let look = self.context.resolve.send(Resolve(self.board.topic.clone()));
        match timeout_at(deadline.into(), look).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(SendError::Store(error)),
            Ok(Err(_)) => Err(SendError::Closed),
            Err(_) => Err(SendError::Deadline),
        }
    }

    async fn open(&self, target: &Target, deadline: Instant) -> Result<(), SendError> {
        match timeout_at(deadline.into(), open_lane(&self.context.open, &target.link, target.lane)).await {
            Ok(result) => result.map_err(SendError::Store),
            Err(_) => Err(SendError::Deadline),
        }
    }

    async fn wait_for_room(&self, link: &Arc<Link>, deadline: Instant) -> Result<(), SendError> {
        let room = link.room.notified();
        if link.has_room() {
            return Ok(());
        }
        timeout_at(deadline.into(), room).await.map_err(|_| SendError::Deadline)
    }

    // ---- all ----

    async fn all(&self, outgoing: Outgoing, options: Options) -> Result<Vec<Receipt>, SendError> {
        let mode = self.mode(options);
        let deadline = self.deadline(options);
        let message = self.check(outgoing, mode)?;
        if self.board.targets(mode).is_empty() {
            self.unblock(Blocked::NoRoute, mode, deadline).await?;
        }
        match mode {
            Mode::AtMostOnce => self.all_direct(&message, mode, deadline).await,
            Mode::AtLeastOnce(durability) => {
                let group = self.reserve(&message, mode, deadline).await?;
                self.commit(group, durability, deadline).await
            }
        }
    }

    async fn all_direct(&self, message: &Payload, mode: Mode, deadline: Instant) -> Result<Vec<Receipt>, SendError> {
        let mut receipts = Vec::new();
        let mut full = None;
        for target in self.board.targets(mode) {
            match self.take_on(&mut Some(target), message, mode, deadline).await {
                Ok(taken) => receipts.push(taken.receipt().await?),
                // A node that is behind costs the others nothing.
                Err(SendError::QueueFull) => full = Some(SendError::QueueFull),
                Err(error) => return Err(error),
            }
        }
        full.map_or(Ok(receipts), Err)
    }

    /// Gives the message a place on every lane of the topic, or on none.
    async fn reserve(&self, message: &Payload, mode: Mode, deadline: Instant) -> Result<Group, SendError> {
        loop {
            let mut group = Group { node: self.context.node.clone(), places: Vec::new(), size: message.size() };
            match group.reserve(&self.board.every(mode), message) {
                Ok(()) => return Ok(group),
                Err(blocked) => {
                    group.finish(GroupOutcome::Rejected);
                    self.unblock(blocked, mode, deadline).await?;
                }
            }
        }
    }

    async fn commit(&self, group: Group, durability: Durability, deadline: Instant) -> Result<Vec<Receipt>, SendError> {
        if durability == Durability::WriteBehind {
            return Ok(group.finish(GroupOutcome::WriteBehind));
        }
        let commit = Commit { writes: group.rows(), synced: durability == Durability::Synced, persistent: true };
        let commit = self.context.store.send(commit);
        // The commit goes on whatever the caller does: only its end says whether the message exists.
        let (done, answer) = oneshot::channel();
        actix_rt::spawn(async move {
            let result = commit.await.unwrap_or_else(|e| Err(gone(&e)));
            let receipts = group.finish(if result.is_ok() { GroupOutcome::Committed } else { GroupOutcome::Rejected });
            let _ = done.send(result.map(|_| receipts));
        });
        match timeout_at(deadline.into(), answer).await {
            Ok(Ok(result)) => result.map_err(SendError::Store),
            Ok(Err(_)) => Err(SendError::Indeterminate),
            Err(_) => Err(SendError::Indeterminate),
        }
    }
}

/// One message with a place on several lanes.
struct Group {
    node: Arc<Node>,
    places: Vec<(Arc<Link>, LaneIx, Receipt)>,
    size: usize,
}

impl Group {
    fn reserve(&mut self, targets: &[Target], message: &Payload) -> Result<(), Blocked> {
        for target in targets {
            let body = Body::Shared(&message.payload);
            let offered = target.link.offer(target.lane, &message.headers, body, AcceptMode::Group, &mut None);
            match offered {
                Ok((receipt, _)) => self.places.push((target.link.clone(), target.lane, receipt)),
                Err(OfferError::NotOpen) => return Err(Blocked::NotOpen(target.clone())),
                Err(OfferError::LaneFull) => return Err(Blocked::LaneFull),
                Err(OfferError::Full | OfferError::Unreachable) => return Err(Blocked::Full(target.link.clone())),
            }
        }
        Ok(())
    }

    fn rows(&self) -> Vec<Write> {
        let rows = |(link, lane, receipt): &(Arc<Link>, LaneIx, Receipt)| {
            let key = link.lane(*lane).0?;
            Some(Write::Append { lane: key, messages: stored(link.group_rows(*lane, receipt.id.seq)) })
        };
        self.places.iter().filter_map(rows).collect()
    }

    /// See [`Outbound::finish_group`](crate::wire::outbound::Outbound::finish_group).
    fn finish(self, outcome: GroupOutcome) -> Vec<Receipt> {
        let finish = |(link, lane, receipt): (Arc<Link>, LaneIx, Receipt)| {
            link.finish_group(lane, receipt.id.seq, outcome);
            receipt
        };
        let receipts: Vec<_> = self.places.into_iter().map(finish).collect();
        if outcome != GroupOutcome::Rejected {
            count(&self.node.counters.accepted, receipts.len() as u64);
            count(&self.node.counters.bytes_accepted, (receipts.len() * self.size) as u64);
        }
        receipts
    }
}

/// Opens a lane in the store under an incarnation of its own, unless it is open.
pub(super) async fn open_lane(open: &Recipient<OpenOutbox>, link: &Arc<Link>, lane: LaneIx) -> Result<(), StoreError> {
    if link.is_durable(lane) {
        return Ok(());
    }
    let (_, id) = link.lane(lane);
    let request = OpenOutbox { lane: id, incarnation: Incarnation::new(random()) };
    let record = open.send(request).await.unwrap_or_else(|e| Err(gone(&e)))?;
    link.open_lane(lane, record);
    Ok(())
}
