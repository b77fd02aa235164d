//! A send in the queue of its topic: its messages, what was taken of them, and who waits for the result.

use crate::actors::messages::Outgoing;
use crate::actors::node::{Node, count};
use crate::actors::sending::link::Link;
use crate::actors::sending::route_table::{Acceptance, LinkTarget, Offer, RouteTable, Wake};
use crate::actors::sending::sender::stored;
use crate::config::{Durability, Mode};
use crate::error::{SendBatchError, SendError};
use crate::stores::Write;
use crate::types::{Message, Receipt};
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{Body, GroupOutcome};
use crate::wire::routing::selection::Blocked;
use crate::wire::send_queue::{self, Destination, QueueTicket, SendId};
use futures::FutureExt;
use futures::channel::oneshot;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

/// What is to be sent, and who waits for the result.
pub(crate) enum SendRequest {
    One(Outgoing, oneshot::Sender<Result<Receipt, SendError>>),
    All(Outgoing, oneshot::Sender<Result<Vec<Receipt>, SendError>>),
    Batch(Vec<Outgoing>, oneshot::Sender<Result<Vec<Receipt>, SendBatchError>>),
}

impl SendRequest {
    /// Replies that nothing was sent.
    pub(crate) fn refuse(self, error: SendError) {
        match self {
            SendRequest::One(_, reply) => drop(reply.send(Err(error))),
            SendRequest::All(_, reply) => drop(reply.send(Err(error))),
            SendRequest::Batch(_, reply) => drop(reply.send(Err(SendBatchError { accepted: Vec::new(), error }))),
        }
    }
}

/// A message that was accepted, or waits for its commit.
enum Taken {
    Accepted(Receipt),
    Committing(oneshot::Receiver<Result<Receipt, SendError>>),
}

impl Taken {
    async fn receipt(self) -> Result<Receipt, SendError> {
        match self {
            Taken::Accepted(receipt) => Ok(receipt),
            // Dropped by a system that ended meanwhile: the store may have the message.
            Taken::Committing(receipt) => receipt.await.unwrap_or(Err(SendError::Indeterminate)),
        }
    }
}

/// See the [module](self).
pub(crate) struct PendingSend {
    request: SendRequest,
    mode: Mode,
    deadline: Instant,
    taken: Vec<Taken>,
    /// The message to all, once it has been checked.
    message: Option<Message>,
    /// Why a message cannot be sent at all.
    refusal: Option<SendError>,
    /// Keeps later sends from overtaking this one.
    _ticket: QueueTicket,
}

impl PendingSend {
    pub(crate) fn new(request: SendRequest, mode: Mode, deadline: Instant, ticket: QueueTicket) -> Self {
        PendingSend { request, mode, deadline, taken: Vec::new(), message: None, refusal: None, _ticket: ticket }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.mode == Mode::AtLeastOnce(Durability::Synced)
    }

    fn message(&mut self, node: &Node, at: usize) -> Result<Message, SendError> {
        if node.is_closing() {
            return Err(SendError::Closed);
        }
        if let Some(message) = &self.message {
            return Ok(message.clone());
        }
        let outgoing = match &self.request {
            SendRequest::One(outgoing, _) | SendRequest::All(outgoing, _) => outgoing,
            SendRequest::Batch(messages, _) => &messages[at],
        };
        let message = outgoing.clone().check(node.max_message(self.mode.durability()))?;
        if let SendRequest::All(..) = self.request {
            self.message = Some(message.clone());
        }
        Ok(message)
    }

    /// Offers one of its messages.
    pub(crate) fn offer(
        &mut self,
        node: &Node,
        table: &RouteTable,
        targets: &[LinkTarget],
        (at, to): (usize, Destination),
        wake: &mut Vec<Arc<Link>>,
        group: Entry<'_, SendId, PendingGroup>,
    ) -> send_queue::Offered {
        let message = match self.message(node, at) {
            Ok(message) => message,
            Err(error) => {
                self.refusal = Some(error);
                return send_queue::Offered::Refused;
            }
        };
        let offered = match to {
            Destination::Next => self.offer_to(&message, wake, |offer| table.offer(offer)),
            Destination::Target(at) => match targets.get(at) {
                Some(target) => {
                    let blocked = |error| Blocked::new(error, target.clone());
                    self.offer_to(&message, wake, |offer| target.offer(offer).map_err(blocked))
                }
                None => Err(Blocked::NoRoute),
            },
            Destination::Reserve(at) => match targets.get(at) {
                Some(target) => group.or_insert_with(|| PendingGroup::new(&message)).reserve(target, &message),
                None => Err(Blocked::NoRoute),
            },
        };
        match offered {
            Ok(()) => send_queue::Offered::Taken,
            Err(blocked) => send_queue::Offered::Blocked(blocked.map(|target| target.link.peer.clone())),
        }
    }

    fn offer_to(
        &mut self,
        message: &Message,
        wake: &mut Vec<Arc<Link>>,
        offer: impl FnOnce(&mut Offer<'_>) -> Result<Acceptance, Blocked<LinkTarget>>,
    ) -> Result<(), Blocked<LinkTarget>> {
        let (waiter, commit) = if self.mode.commits() { Some(oneshot::channel()) } else { None }.unzip();
        let offered = offer(&mut Offer {
            headers: &message.headers,
            body: Body::Shared(&message.payload),
            mode: self.mode,
            deadline: Some(self.deadline),
            waiter,
            wake: Wake::Later(wake),
            ahead: None,
        })?;
        self.taken.extend(match offered {
            Acceptance::Accepted(receipt) => Some(Taken::Accepted(receipt)),
            Acceptance::Committing => commit.map(Taken::Committing),
        });
        Ok(())
    }

    /// The places of a message to all were settled.
    pub(crate) fn settled(&mut self, receipts: Vec<Receipt>) {
        self.taken = receipts.into_iter().map(Taken::Accepted).collect();
    }

    /// Returns why a message cannot be sent at all.
    pub(crate) fn refusal(&self) -> SendError {
        self.refusal.clone().unwrap_or(SendError::Closed)
    }

    /// Replies with the receipts, once the messages that wait for commits have them.
    pub(crate) fn accepted(self) {
        let mut taken = self.taken;
        match self.request {
            SendRequest::One(_, reply) => match taken.pop() {
                Some(Taken::Accepted(receipt)) => drop(reply.send(Ok(receipt))),
                Some(later) => drop(actix_rt::spawn(later.receipt().map(|result| reply.send(result)))),
                None => drop(reply.send(Err(SendError::Closed))),
            },
            SendRequest::All(_, reply) => {
                let receipt = |taken| match taken {
                    Taken::Accepted(receipt) => Some(receipt),
                    Taken::Committing(_) => None,
                };
                let _ = reply.send(Ok(taken.into_iter().filter_map(receipt).collect()));
            }
            SendRequest::Batch(_, reply) => {
                drop(actix_rt::spawn(collect(taken, None).map(|result| reply.send(result))));
            }
        }
    }

    /// Replies with an error, after the receipts of what was taken.
    pub(crate) fn failed(self, error: SendError) {
        match self.request {
            SendRequest::One(_, reply) => drop(reply.send(Err(error))),
            SendRequest::All(_, reply) => drop(reply.send(Err(error))),
            SendRequest::Batch(_, reply) => {
                drop(actix_rt::spawn(collect(self.taken, Some(error)).map(|result| reply.send(result))));
            }
        }
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

/// One message with a place on several lanes.
pub(crate) struct PendingGroup {
    places: Vec<(Arc<Link>, LaneIx, Receipt)>,
    size: usize,
}

impl PendingGroup {
    fn new(message: &Message) -> Self {
        PendingGroup { places: Vec::new(), size: message.size() }
    }

    fn reserve(&mut self, target: &LinkTarget, message: &Message) -> Result<(), Blocked<LinkTarget>> {
        let body = Body::Shared(&message.payload);
        let reserved = target.link.reserve(target.lane, &message.headers, body);
        let receipt = reserved.map_err(|error| Blocked::new(error, target.clone()))?;
        self.places.push((target.link.clone(), target.lane, receipt));
        Ok(())
    }

    /// The rows of the transaction that commits the message on every lane.
    pub(crate) fn rows(&self) -> Vec<Write> {
        let rows = |(link, lane, receipt): &(Arc<Link>, LaneIx, Receipt)| {
            let key = link.lane(*lane).0?;
            Some(Write::Append { lane: key, messages: stored(link.group_rows(*lane, receipt.id.seq)) })
        };
        self.places.iter().filter_map(rows).collect()
    }

    /// Settles the places, and returns their receipts. See
    /// [`Outbound::finish_group`](crate::wire::outbound::Outbound::finish_group).
    pub(crate) fn finish(self, node: &Node, outcome: GroupOutcome) -> Vec<Receipt> {
        let finish = |(link, lane, receipt): (Arc<Link>, LaneIx, Receipt)| {
            link.finish_group(lane, receipt.id.seq, outcome);
            receipt
        };
        let receipts: Vec<_> = self.places.into_iter().map(finish).collect();
        if outcome != GroupOutcome::Rejected {
            count(&node.counters.accepted, receipts.len() as u64);
            count(&node.counters.bytes_accepted, (receipts.len() * self.size) as u64);
        }
        receipts
    }
}
