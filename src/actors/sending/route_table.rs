//! RouteTable: the targets of one topic, shared by everybody who sends to it. It is a snapshot that is replaced as a whole
//! and read without a lock.

use crate::actors::messages::{MeshEvent, Options};
use crate::actors::node::Node;
use crate::actors::sending::link::{Link, ReceiptSender};
use crate::config::{Durability, Mode};
use crate::error::SendError;
use crate::types::{EmptyPayload, Headers, NodeId, Receipt, Topic};
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{AcceptMode, Body, OfferError};
use crate::wire::routing::RouteState;
use crate::wire::routing::selection::{self, Blocked, Guarantee};
use crate::wire::send_queue::{QueueTicket, Tickets};
use arc_swap::ArcSwap;
use futures::channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// One node that a topic's messages can go to.
#[derive(Clone)]
pub(crate) struct LinkTarget {
    pub(crate) link: Arc<Link>,
    pub(crate) lane: LaneIx,
    pub(crate) state: RouteState,
}

impl selection::Target for LinkTarget {
    fn node(&self) -> &NodeId {
        &self.link.peer
    }

    #[inline]
    fn state(&self) -> RouteState {
        self.state
    }

    fn is_up(&self) -> bool {
        self.link.is_up()
    }
}

/// A topic and its targets.
pub(crate) struct RouteTable {
    pub(crate) topic: Topic,
    /// The best state first.
    targets: ArcSwap<Vec<LinkTarget>>,
    /// Whose turn it is.
    next: AtomicUsize,
    /// Sends in this topic's queue; a later one must not overtake them.
    tickets: Arc<Tickets>,
}

/// How a target took a message.
pub(crate) enum Acceptance {
    Accepted(Receipt),
    /// The waiter gets the receipt after the commit.
    Committing,
}

impl RouteTable {
    pub(crate) fn new(topic: Topic) -> Self {
        RouteTable { topic, targets: ArcSwap::default(), next: AtomicUsize::new(0), tickets: Arc::default() }
    }

    /// Takes a ticket for the topic's queue.
    ///
    /// # Errors
    /// [`SendError::QueueFull`] when as many sends wait as may.
    pub(crate) fn take_ticket(&self, node: &Node) -> Result<QueueTicket, SendError> {
        self.tickets.take(node.config.limits.waiting_sends).ok_or_else(|| {
            node.event(MeshEvent::BackPressure { topic: self.topic.clone() });
            SendError::QueueFull
        })
    }

    /// Returns how many sends wait in the topic's queue or are on their way into it.
    pub(crate) fn waiting(&self) -> usize {
        self.tickets.waiting()
    }

    /// Replaces the targets, the best first.
    pub(crate) fn set(&self, targets: Vec<LinkTarget>) {
        self.targets.store(Arc::new(targets));
    }

    /// Returns the targets as they are now.
    pub(crate) fn load(&self) -> Arc<Vec<LinkTarget>> {
        self.targets.load_full()
    }

    /// Returns whose turn it is.
    pub(crate) fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Offers a message to the next target, those with a live link first.
    #[inline(always)]
    pub(crate) fn offer(&self, offer: &mut Offer<'_>) -> Result<Acceptance, Blocked<LinkTarget>> {
        let targets = self.targets.load();
        match selection::usable(&targets, guarantee(offer.mode)) {
            [only] => only.offer(offer).map_err(|error| Blocked::new(error, only.clone())),
            targets => self.offer_in_turn(targets, offer),
        }
    }

    fn offer_in_turn(&self, targets: &[LinkTarget], offer: &mut Offer<'_>) -> Result<Acceptance, Blocked<LinkTarget>> {
        selection::offer_in_turn(targets, self.turn(), |target| target.offer(offer))
            .map_err(|b| b.map(LinkTarget::clone))
    }
}

/// Returns the target at a node.
pub(crate) fn find<'t>(targets: &'t [LinkTarget], node: &NodeId) -> Option<&'t LinkTarget> {
    targets.iter().find(|target| target.link.peer == *node)
}

/// How often a message of this mode may arrive.
#[inline]
pub(crate) fn guarantee(mode: Mode) -> Guarantee {
    match mode {
        Mode::AtMostOnce => Guarantee::AtMostOnce,
        Mode::AtLeastOnce(_) => Guarantee::AtLeastOnce,
    }
}

impl LinkTarget {
    // Its result is large, and mostly used at once.
    #[inline(always)]
    pub(crate) fn offer(&self, offer: &mut Offer<'_>) -> Result<Acceptance, OfferError> {
        let (headers, body) = (offer.headers, offer.body);
        let taken = match offer.mode {
            Mode::AtMostOnce => self.link.offer_direct(self.lane, headers, body),
            Mode::AtLeastOnce(durability) => {
                let promise = offer.promise(durability);
                self.link.offer(self.lane, headers, body, promise, &mut offer.waiter)
            }
        };
        let (receipt, after) = taken?;
        if after.wake {
            offer.wake.wake(&self.link);
        }
        offer.ahead = after.ahead.then(|| self.link.clone());
        Ok(if offer.mode.commits() { Acceptance::Committing } else { Acceptance::Accepted(receipt) })
    }
}

/// A message on offer.
pub(crate) struct Offer<'a> {
    pub(crate) headers: &'a Headers,
    pub(crate) body: Body<'a>,
    pub(crate) mode: Mode,
    /// Needed when the message waits for a commit.
    pub(crate) deadline: Option<Instant>,
    /// Taken when the message waits for a commit.
    pub(crate) waiter: Option<ReceiptSender>,
    pub(crate) wake: Wake<'a>,
    /// Set when the link that accepted the message is congested.
    pub(crate) ahead: Option<Arc<Link>>,
}

impl Offer<'_> {
    fn promise(&self, durability: Durability) -> AcceptMode {
        let stored = |synced| AcceptMode::Stored { deadline: self.deadline.unwrap_or_else(Instant::now), synced };
        match durability {
            Durability::WriteBehind => AcceptMode::WriteBehind,
            Durability::Committed => stored(false),
            Durability::Synced => stored(true),
        }
    }
}

/// When the write loop of a link is notified that there is something to transmit.
pub(crate) enum Wake<'a> {
    Now,
    /// The caller wakes these, after a while: waking another thread costs more than sending a message.
    Later(&'a mut Vec<Arc<Link>>),
}

impl Wake<'_> {
    fn wake(&mut self, link: &Arc<Link>) {
        match self {
            Wake::Now => link.flow.wake(),
            Wake::Later(links) => links.push(link.clone()),
        }
    }
}

/// The result of [`try_send`].
pub(crate) enum TrySend {
    Done(Result<Receipt, SendError>),
    Committing(oneshot::Receiver<Result<Receipt, SendError>>),
    /// Accepted by a link that is congested.
    Ahead(Receipt, Arc<Link>),
    /// It must wait its turn.
    Blocked,
}

/// Offers a message without waiting for anything.
pub(crate) fn try_send(
    node: &Node,
    table: &RouteTable,
    headers: &Headers,
    body: Body<'_>,
    options: Options,
    wake: Wake<'_>,
) -> TrySend {
    let mode = options.mode.unwrap_or(node.config.mode);
    let size = (headers.encoded().len() + body.bytes().len()) as u64;
    let max = node.max_message(mode.durability());
    if node.is_closing() {
        return TrySend::Done(Err(SendError::Closed));
    }
    if body.bytes().is_empty() {
        return TrySend::Done(Err(EmptyPayload.into()));
    }
    if size > max {
        return TrySend::Done(Err(SendError::TooLarge { size, max }));
    }
    if !table.tickets.may_pass() {
        return TrySend::Blocked;
    }
    let mut offer = Offer { headers, body, mode, deadline: None, waiter: None, wake, ahead: None };
    let commit = mode.commits().then(|| {
        let (waiter, commit) = oneshot::channel();
        offer.deadline = Some(Instant::now() + options.deadline.unwrap_or(node.config.timing.send_deadline));
        offer.waiter = Some(waiter);
        commit
    });
    match (table.offer(&mut offer), commit) {
        (Ok(_), Some(commit)) => TrySend::Committing(commit),
        (Ok(Acceptance::Accepted(receipt)), None) => match offer.ahead {
            None => TrySend::Done(Ok(receipt)),
            Some(link) => TrySend::Ahead(receipt, link),
        },
        _ => TrySend::Blocked,
    }
}
