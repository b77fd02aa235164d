//! The shared end of a link: the sending machine under one short lock, and those who wait for commits.
//!
//! A sender takes the lock for the time it takes to encode a message into the transmit buffer. The write loop takes
//! it to swap that buffer. Nothing is awaited, and no store is asked, under it.

mod connection;
mod contents;
mod flow;

use crate::actors::node::{Node, count};
use crate::error::SendError;
use crate::stores::{LaneKey, OutboxLane, StoreError};
use crate::types::{Amount, Headers, Incarnation, LaneId, LaneName, MessageId, NodeId, Receipt, Seq, Topic};
use crate::wire::error::LinkError;
use crate::wire::frame::LaneIx;
use crate::wire::outbound::{
    AcceptMode, AppendOutcome, Body, GroupOutcome, LaneRecord, LoadedPage, Numbered, OfferError, Outbound,
    OutboundEvent, PeerLimits, Rejection,
};
use actix::prelude::{Message, Recipient};
use bytes::Bytes;
use flow::Flow;
use futures::channel::oneshot;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

/// There is something for the sender to do.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Drive;

/// The reply to a send that waits for its commit.
pub(crate) type ReceiptSender = oneshot::Sender<Result<Receipt, SendError>>;

/// What an offer leaves to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AfterOffer {
    /// The write loop does not know that there is something to transmit: the caller has to call [`Flow::wake`].
    pub(crate) wake: bool,
    /// The connection is slower than those who send: see [`Flow::progress`].
    pub(crate) ahead: bool,
}

/// At-most-once messages have no number.
const NO_INCARNATION: Incarnation = Incarnation::new(0);

struct LaneEnd {
    id: LaneId,
    /// Known once the lane was opened in the store.
    key: Option<LaneKey>,
    /// Of the messages accepted now.
    incarnation: Incarnation,
    /// In number order.
    waiters: VecDeque<(Seq, ReceiptSender)>,
}

struct LinkState {
    outbound: Outbound,
    lanes: Vec<LaneEnd>,
    /// A `Drive` is on its way.
    scheduled: bool,
    /// The sender's timer covers what only memory holds.
    armed: bool,
    /// The write loop found nothing to transmit, and nobody is about to wake it.
    is_idle: bool,
    /// Accepted, and not in the node's counters yet.
    uncounted: Amount,
    /// The store's last error, for those it concerns.
    store_error: Option<StoreError>,
    /// The actor that drives the link, until it is stopped.
    sender: Option<Recipient<Drive>>,
}

/// The shared end of a link.
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    node: Arc<Node>,
    state: Mutex<LinkState>,
    up: AtomicBool,
    /// Where the peer can be dialled, as far as known.
    addrs: Mutex<Vec<String>>,
    pub(crate) flow: Flow,
    /// There is room again.
    pub(crate) room: Notify,
    /// The store has everything that only memory held.
    pub(crate) stored: Notify,
}

impl Link {
    pub(crate) fn new(peer: NodeId, node: Arc<Node>) -> Self {
        let state = LinkState {
            outbound: Outbound::new(node.outbound()),
            lanes: Vec::new(),
            scheduled: false,
            armed: false,
            is_idle: false,
            uncounted: Amount::default(),
            store_error: None,
            sender: None,
        };
        Link {
            peer,
            node,
            state: Mutex::new(state),
            up: AtomicBool::new(false),
            addrs: Mutex::new(Vec::new()),
            flow: Flow::default(),
            room: Notify::new(),
            stored: Notify::new(),
        }
    }

    /// The actor that drives this link, from before anything is offered until it stops: the two hold each other.
    pub(crate) fn attach(&self, sender: Option<Recipient<Drive>>) {
        let mut state = self.state.lock();
        self.count(&mut state);
        state.sender = sender;
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(crate) fn addrs(&self) -> Vec<String> {
        self.addrs.lock().clone()
    }

    /// Returns whether they changed.
    pub(crate) fn set_addrs(&self, addrs: Vec<String>) -> bool {
        let mut current = self.addrs.lock();
        let changed = *current != addrs;
        *current = addrs;
        changed
    }

    // ---- lanes ----

    /// Finds or adds the lane from `source` to `topic`.
    pub(crate) fn add_lane(&self, source: &Topic, topic: &Topic) -> (LaneIx, LaneId) {
        let mut state = self.state.lock();
        let ix = state.outbound.add_lane(source, topic);
        if ix.0 as usize == state.lanes.len() {
            let name = LaneName {
                sender: self.node.id.clone(),
                source: source.clone(),
                receiver: self.peer.clone(),
                topic: topic.clone(),
            };
            let (id, incarnation) = (LaneId::new(name), NO_INCARNATION);
            state.lanes.push(LaneEnd { id, key: None, incarnation, waiters: VecDeque::new() });
        }
        (ix, state.lanes[ix.0 as usize].id.clone())
    }

    pub(crate) fn open_lane(&self, lane: LaneIx, record: OutboxLane) {
        let mut state = self.state.lock();
        state.lanes[lane.0 as usize].key = Some(record.key);
        let record = LaneRecord {
            spans: record.spans.iter().map(|s| (s.incarnation, s.first)).collect(),
            predecessor: record.predecessor,
            next: record.next,
            acked: record.acked,
            pending: record.pending,
        };
        state.outbound.open_lane(lane, record);
        state.lanes[lane.0 as usize].incarnation = state.outbound.incarnation(lane).unwrap_or(NO_INCARNATION);
        self.schedule(&mut state);
    }

    pub(crate) fn is_durable(&self, lane: LaneIx) -> bool {
        self.state.lock().outbound.is_durable(lane)
    }

    /// The lane's key in the store and its names; the key is there once the lane was opened.
    pub(crate) fn lane(&self, lane: LaneIx) -> (Option<LaneKey>, LaneId) {
        let state = self.state.lock();
        let end = &state.lanes[lane.0 as usize];
        (end.key, end.id.clone())
    }

    pub(crate) fn lanes(&self) -> Vec<(LaneIx, LaneId)> {
        let state = self.state.lock();
        state.outbound.lanes().map(|(ix, ..)| (ix, state.lanes[ix.0 as usize].id.clone())).collect()
    }

    pub(crate) fn remove_lane(&self, lane: LaneIx) {
        let mut state = self.state.lock();
        state.outbound.remove_lane(lane);
        self.schedule(&mut state);
    }

    pub(crate) fn clear(&self) {
        let mut state = self.state.lock();
        let lanes: Vec<_> = state.outbound.lanes().map(|(ix, ..)| ix).collect();
        for lane in lanes {
            state.outbound.clear_lane(lane);
        }
        self.schedule(&mut state);
    }

    // ---- sending ----

    #[inline]
    fn receipt(state: &LinkState, lane: LaneIx, seq: Seq) -> Receipt {
        let end = &state.lanes[lane.0 as usize];
        let incarnation = if seq == Seq::ZERO { NO_INCARNATION } else { end.incarnation };
        Receipt { id: MessageId { lane: end.id.clone(), incarnation, seq } }
    }

    /// Offers an at-least-once message. With [`AcceptMode::Stored`], `waiter` gets the receipt after the commit; otherwise
    /// the receipt is valid at once.
    pub(crate) fn offer(
        &self,
        lane: LaneIx,
        headers: &Headers,
        body: Body<'_>,
        promise: AcceptMode,
        waiter: &mut Option<ReceiptSender>,
    ) -> Result<(Receipt, AfterOffer), OfferError> {
        let mut state = self.state.lock();
        let seq = state.outbound.offer(Instant::now, lane, headers, body, promise)?;
        if let AcceptMode::Stored { .. } = promise
            && let Some(waiter) = waiter.take()
        {
            state.lanes[lane.0 as usize].waiters.push_back((seq, waiter));
        }
        if !state.armed || !matches!(promise, AcceptMode::WriteBehind) {
            self.schedule(&mut state);
        }
        Ok(self.taken(&mut state, lane, seq, headers, body))
    }

    /// Reserves a place for a message that is accepted together with others, or not at all. [`Link::finish_group`] settles
    /// it, and the caller counts the message then.
    pub(crate) fn reserve(&self, lane: LaneIx, headers: &Headers, body: Body<'_>) -> Result<Receipt, OfferError> {
        let mut state = self.state.lock();
        let seq = state.outbound.offer(Instant::now, lane, headers, body, AcceptMode::Group)?;
        self.schedule(&mut state);
        self.wake(&mut state);
        Ok(Self::receipt(&state, lane, seq))
    }

    /// Offers an at-most-once message. One that cannot be sent is dropped and counted.
    pub(crate) fn offer_direct(
        &self,
        lane: LaneIx,
        headers: &Headers,
        body: Body<'_>,
    ) -> Result<(Receipt, AfterOffer), OfferError> {
        let mut state = self.state.lock();
        match state.outbound.offer_direct(lane, headers, body) {
            Ok(()) => {}
            Err(OfferError::Unreachable) => count(&self.node.counters.dropped, 1),
            Err(full) => return Err(full),
        }
        Ok(self.taken(&mut state, lane, Seq::ZERO, headers, body))
    }

    #[inline]
    fn taken(
        &self,
        state: &mut LinkState,
        lane: LaneIx,
        seq: Seq,
        headers: &Headers,
        body: Body<'_>,
    ) -> (Receipt, AfterOffer) {
        state.uncounted.add(headers.encoded().len() + body.bytes().len());
        let ahead = state.outbound.is_congested();
        if ahead {
            self.flow.fall_behind();
        }
        (Self::receipt(state, lane, seq), AfterOffer { wake: Self::is_wake_due(state), ahead })
    }

    /// Whether the caller is the one that has to wake the write loop.
    fn is_wake_due(state: &mut LinkState) -> bool {
        let due = state.is_idle && state.outbound.has_transmit();
        state.is_idle &= !due;
        due
    }

    /// Wakes the write loop if there is something it does not know of.
    fn wake(&self, state: &mut LinkState) {
        if Self::is_wake_due(state) {
            self.flow.wake();
        }
    }

    fn count(&self, state: &mut LinkState) {
        let Amount { messages, bytes } = std::mem::take(&mut state.uncounted);
        if messages > 0 {
            count(&self.node.counters.accepted, messages);
            count(&self.node.counters.bytes_accepted, bytes);
        }
    }

    fn note_progress(&self, state: &LinkState) {
        if state.outbound.has_caught_up() {
            self.flow.caught_up();
        }
    }

    /// The rows a group append must write for this link.
    pub(crate) fn group_rows(&self, lane: LaneIx, seq: Seq) -> Vec<Numbered> {
        self.state.lock().outbound.group_rows(lane, seq)
    }

    pub(crate) fn finish_group(&self, lane: LaneIx, seq: Seq, outcome: GroupOutcome) {
        let mut state = self.state.lock();
        state.outbound.finish_group(lane, seq, outcome);
        self.schedule(&mut state);
        self.wake(&mut state);
    }

    fn schedule(&self, state: &mut LinkState) {
        if !std::mem::replace(&mut state.scheduled, true)
            && let Some(sender) = &state.sender
        {
            sender.do_send(Drive);
        }
    }

    // ---- for the sender ----

    /// Lets time pass and collects what is to be done, and when to come back.
    pub(crate) fn drive(&self, now: Instant) -> (Vec<OutboundEvent>, Option<Instant>) {
        let mut state = self.state.lock();
        state.scheduled = false;
        state.outbound.handle_timeout(now);
        let mut events = Vec::new();
        while let Some(event) = state.outbound.poll_event() {
            match event {
                OutboundEvent::Accepted { lane, through } => Self::accepted(&mut state, lane, through),
                OutboundEvent::Rejected { lane, seq, why } => Self::rejected(&mut state, lane, seq, why),
                OutboundEvent::Indeterminate { lane, seq } => {
                    Self::fail(&mut state, lane, seq, SendError::Indeterminate)
                }
                event => events.push(event),
            }
        }
        state.armed = state.outbound.has_unstored();
        if !state.armed {
            self.stored.notify_waiters();
        }
        self.count(&mut state);
        self.wake(&mut state);
        (events, state.outbound.poll_timeout())
    }

    fn accepted(state: &mut LinkState, lane: LaneIx, through: Seq) {
        while let Some((seq, waiter)) = state.lanes[lane.0 as usize].waiters.pop_front_if(|(seq, _)| *seq <= through) {
            let _ = waiter.send(Ok(Self::receipt(state, lane, seq)));
        }
    }

    fn rejected(state: &mut LinkState, lane: LaneIx, seq: Seq, why: Rejection) {
        let error = match (why, &state.store_error) {
            (Rejection::Store, Some(error)) if error.is_definite() => SendError::Store(error.clone()),
            // An unknown outcome is that of other messages: this one was not given to the store.
            (Rejection::Store | Rejection::Deadline, _) => SendError::Deadline,
        };
        Self::fail(state, lane, seq, error);
    }

    fn fail(state: &mut LinkState, lane: LaneIx, seq: Seq, error: SendError) {
        let waiters = &mut state.lanes[lane.0 as usize].waiters;
        if let Ok(at) = waiters.binary_search_by_key(&seq, |(seq, _)| *seq)
            && let Some((_, waiter)) = waiters.remove(at)
        {
            let _ = waiter.send(Err(error));
        }
    }

    pub(crate) fn appended(&self, lane: LaneIx, outcome: AppendOutcome, error: Option<StoreError>) {
        let mut state = self.state.lock();
        state.store_error = error;
        state.outbound.handle_append(Instant::now(), lane, outcome);
    }

    pub(crate) fn loaded(&self, lane: LaneIx, id: u64, page: Option<LoadedPage>) {
        self.state.lock().outbound.handle_loaded(Instant::now(), lane, id, page);
    }

    pub(crate) fn refused(&self, lane: LaneIx, seq: Seq) {
        self.state.lock().outbound.handle_refused(lane, seq);
    }
}
