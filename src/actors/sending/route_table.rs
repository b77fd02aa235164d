//! Where a topic's messages can go, as everybody who sends sees it: a snapshot per topic, read without a lock.

use crate::actors::messages::{MeshEvent, Options, Receipt};
use crate::actors::node::Node;
use crate::actors::sending::link::{Link, Waiter};
use crate::config::{Durability, Mode};
use crate::error::SendError;
use crate::types::{EmptyPayload, Headers, NodeId, Topic};
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{Body, OfferError, Promise};
use arc_swap::ArcSwap;
use futures::channel::oneshot;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// How good a way a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RouteState {
    /// The catalogue names it.
    Live,
    /// The catalogue names it, but its lease has expired.
    Expired,
    /// It was released, and a lane remembers it: at-least-once messages still go there.
    Released,
}

/// One node that a topic's messages can go to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) link: Arc<Link>,
    pub(crate) lane: LaneIx,
    pub(crate) state: RouteState,
}

/// A topic and its targets.
pub(crate) struct RouteTable {
    pub(crate) topic: Topic,
    /// By state, the best first.
    targets: ArcSwap<Vec<Target>>,
    /// Whose turn it is.
    next: AtomicUsize,
    /// Sends that wait in this topic's queue; a later one must not overtake them.
    waiting: AtomicUsize,
}

/// A send's ticket in its topic's queue. While there is one, the fast path is closed: the ticket is taken where the send
/// was found to be blocked, so that the caller's next send does not overtake it on its way into the queue.
pub(crate) struct QueueTicket {
    table: Arc<RouteTable>,
    /// Since when it waits: its deadline counts from here.
    pub(crate) since: Instant,
}

impl Drop for QueueTicket {
    fn drop(&mut self) {
        self.table.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A message that was offered.
pub(crate) enum Offered {
    Accepted(Receipt),
    /// The waiter hears of the commit.
    Committing,
}

/// Why no target took a message.
pub(crate) enum Blocked {
    /// There is no target.
    NoRoute,
    /// The target's lane is not open in the store yet.
    NotOpen(Target),
    /// The target has no room just now.
    Full(Arc<Link>),
    /// Every target's outbox limit is reached.
    LaneFull,
}

impl RouteTable {
    pub(crate) fn new(topic: Topic) -> Self {
        RouteTable { topic, targets: ArcSwap::default(), next: AtomicUsize::new(0), waiting: AtomicUsize::new(0) }
    }

    /// Takes a ticket in the topic's queue, unless as many wait as may.
    pub(crate) fn take_ticket(self: &Arc<Self>, node: &Node) -> Result<QueueTicket, SendError> {
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= node.config.limits.waiting_sends {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            node.event(MeshEvent::BackPressure(self.topic.clone()));
            return Err(SendError::QueueFull);
        }
        Ok(QueueTicket { table: self.clone(), since: Instant::now() })
    }

    /// Sends that wait in the topic's queue, or are on their way into it.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// The nodes with a lane for the topic: they stay targets when they are released.
    pub(crate) fn opened(&self) -> Vec<NodeId> {
        let targets = self.targets.load();
        targets.iter().filter(|t| t.link.is_durable(t.lane)).map(|t| t.link.peer.clone()).collect()
    }

    pub(crate) fn set(&self, mut targets: Vec<Target>) {
        targets.sort_by_key(|t| t.state);
        self.targets.store(Arc::new(targets));
    }

    /// The targets a mode may use.
    pub(crate) fn targets(&self, mode: Mode) -> Vec<Target> {
        usable(&self.targets.load(), mode).to_vec()
    }

    /// Every node of the topic: whatever its lease, and only if there is none, those that lanes remember.
    pub(crate) fn every(&self, mode: Mode) -> Vec<Target> {
        let targets = self.targets.load();
        let named: Vec<_> = targets.iter().filter(|t| t.state != RouteState::Released).cloned().collect();
        if named.is_empty() { self.targets(mode) } else { named }
    }

    /// The next of some targets, one with a live link if there is any.
    pub(crate) fn pick(&self, targets: &[Target]) -> Option<Target> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = || (0..targets.len()).map(|at| &targets[(turn + at) % targets.len()]);
        in_turn().find(|t| t.link.is_up()).or_else(|| in_turn().next()).cloned()
    }

    pub(crate) fn remove(&self, node: &NodeId) {
        let targets = self.targets.load();
        self.set(targets.iter().filter(|t| t.link.peer != *node).cloned().collect());
    }

    /// Offers a message to the next target, those with a live link first.
    #[inline(always)]
    pub(crate) fn offer(&self, offer: &mut Offer<'_>) -> Result<Offered, Blocked> {
        let targets = self.targets.load();
        match usable(&targets, offer.mode) {
            [only] => only.offer(offer),
            targets => self.offer_in_turn(targets, offer),
        }
    }

    fn offer_in_turn(&self, targets: &[Target], offer: &mut Offer<'_>) -> Result<Offered, Blocked> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let mut blocked = Blocked::NoRoute;
        let in_turn = || (0..targets.len()).map(|at| &targets[(turn + at) % targets.len()]);
        let up_first = in_turn().filter(|t| t.link.is_up()).chain(in_turn().filter(|t| !t.link.is_up()));
        for target in up_first {
            match target.offer(offer) {
                Ok(offered) => return Ok(offered),
                Err(Blocked::NotOpen(target)) => return Err(Blocked::NotOpen(target)),
                Err(Blocked::LaneFull) if !matches!(blocked, Blocked::NoRoute) => {}
                Err(other) => blocked = other,
            }
        }
        Err(blocked)
    }
}

/// Those of the best state there is, of targets that are ordered by it. At most once never goes to a released node.
fn usable(targets: &[Target], mode: Mode) -> &[Target] {
    let Some(best) = targets.first().map(|t| t.state) else { return &[] };
    if mode == Mode::AtMostOnce && best == RouteState::Released {
        return &[];
    }
    &targets[..targets.partition_point(|t| t.state == best)]
}

impl Target {
    // What it answers is large, and mostly looked at at once.
    #[inline(always)]
    pub(crate) fn offer(&self, offer: &mut Offer<'_>) -> Result<Offered, Blocked> {
        let (headers, body) = (offer.headers, offer.body);
        let taken = match offer.mode {
            Mode::AtMostOnce => self.link.offer_direct(self.lane, headers, body),
            Mode::AtLeastOnce(durability) => {
                let promise = offer.promise(durability);
                self.link.offer(self.lane, headers, body, promise, &mut offer.waiter)
            }
        };
        match taken {
            Ok((receipt, after)) => {
                if after.wake {
                    offer.wake.wake(&self.link);
                }
                offer.ahead = after.ahead.then(|| self.link.clone());
                Ok(if offer.mode.commits() { Offered::Committing } else { Offered::Accepted(receipt) })
            }
            Err(OfferError::NotOpen) => Err(Blocked::NotOpen(self.clone())),
            Err(OfferError::LaneFull) => Err(Blocked::LaneFull),
            Err(OfferError::Full | OfferError::Unreachable) => Err(Blocked::Full(self.link.clone())),
        }
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
    pub(crate) waiter: Option<Waiter>,
    pub(crate) wake: Wake<'a>,
    /// Set when the message was taken by a link that is behind those who send.
    pub(crate) ahead: Option<Arc<Link>>,
}

impl Offer<'_> {
    fn promise(&self, durability: Durability) -> Promise {
        let stored = |synced| Promise::Stored { deadline: self.deadline.unwrap_or_else(Instant::now), synced };
        match durability {
            Durability::WriteBehind => Promise::WriteBehind,
            Durability::Committed => stored(false),
            Durability::Synced => stored(true),
        }
    }
}

/// When the write loop of a link hears that there is something to transmit.
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

/// What came of trying the fast path.
pub(crate) enum TrySend {
    Done(Result<Receipt, SendError>),
    Committing(oneshot::Receiver<Result<Receipt, SendError>>),
    /// Accepted by a link that is behind those who send.
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
    if table.waiting() > 0 {
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
        (Ok(Offered::Accepted(receipt)), None) => match offer.ahead {
            None => TrySend::Done(Ok(receipt)),
            Some(link) => TrySend::Ahead(receipt, link),
        },
        _ => TrySend::Blocked,
    }
}
