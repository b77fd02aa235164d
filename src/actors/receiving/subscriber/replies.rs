//! Pending replies of a subscriber: one queue per lane, awaited in the order of hand-over.
//!
//! The order loses nothing. Acks are cumulative, so a reply that arrives before an earlier one cannot be used yet; and after
//! a nack, the messages already handed over are replied to first in any case. Only where messages have a timeout is each
//! reply reported as it arrives, so that a message that was handled in time does not time out because of an earlier one.

use crate::actors::messages::{BatchNack, BatchOutcome, Delivery, DeliveryBatch, Nack};
use crate::actors::receiving::subscriber::mailbox::MailboxRequest;
use crate::wire::inbound::{Disposition, LaneSlot};
use actix::prelude::MailboxError;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::task::noop_waker_ref;
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// The largest number of replies that are gathered before their owner is woken. Waking another thread costs more than
/// handling a message.
const MAX_GATHERED: usize = 64;
/// The longest time the oldest reply waits while others are gathered.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// Identifies one hand-over of a message of a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeliveryTag {
    pub(crate) token: u64,
    pub(crate) attempt: u32,
}

/// The pending reply to one message or one batch.
pub(crate) enum PendingReply {
    One(DeliveryTag, MailboxRequest<Delivery>),
    /// A message whose reply is no longer awaited is `None`.
    Many(Vec<Option<DeliveryTag>>, MailboxRequest<DeliveryBatch>),
    Handoff(Vec<Option<DeliveryTag>>, oneshot::Receiver<BatchOutcome>),
    /// The reply arrived before that of an earlier message.
    Early(Vec<ReplyRun>),
}

/// The pending replies of one lane, in the order of hand-over.
#[derive(Default)]
struct LaneReplies {
    pending: VecDeque<PendingReply>,
    /// The number of replies that arrived together the last time. About as many are worth waiting for the next time.
    gathered: usize,
}

/// The pending replies of a subscriber.
pub(crate) struct PendingReplies {
    /// Whether the replies of a lane are reported in order.
    in_order: bool,
    lanes: BTreeMap<LaneSlot, LaneReplies>,
    waker: Option<Waker>,
    /// The timer that ends the gathering of replies.
    gathering: Option<Pin<Box<Sleep>>>,
}

/// The reply to one message, or to several consecutive messages that were handled at the same attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplyRun {
    pub(crate) slot: LaneSlot,
    pub(crate) tokens: Range<u64>,
    pub(crate) attempt: u32,
    pub(crate) disposition: Disposition,
}

impl ReplyRun {
    /// Creates the reply to one hand-over.
    pub(crate) fn one(slot: LaneSlot, DeliveryTag { token, attempt }: DeliveryTag, disposition: Disposition) -> Self {
        ReplyRun { slot, tokens: token..token + 1, attempt, disposition }
    }

    /// Appends the reply to others, as one with the last where possible.
    pub(crate) fn join(self, others: &mut Vec<ReplyRun>) {
        match others.last_mut() {
            Some(last) if last.is_followed_by(&self) => last.tokens.end = self.tokens.end,
            _ => others.push(self),
        }
    }

    fn is_followed_by(&self, next: &ReplyRun) -> bool {
        let done = self.disposition == Disposition::Done && next.disposition == Disposition::Done;
        done && (self.slot, self.attempt, self.tokens.end) == (next.slot, next.attempt, next.tokens.start)
    }

    /// Returns the number of messages it is for.
    pub(crate) fn messages(&self) -> usize {
        usize::try_from(self.tokens.end - self.tokens.start).unwrap_or(usize::MAX)
    }
}

impl PendingReplies {
    /// Creates an empty set of replies that are reported in order, or as they arrive.
    pub(crate) fn new(in_order: bool) -> Self {
        PendingReplies { in_order, lanes: BTreeMap::new(), waker: None, gathering: None }
    }

    /// Adds a pending reply.
    pub(crate) fn push(&mut self, slot: LaneSlot, reply: PendingReply) {
        let lane = self.lanes.entry(slot).or_default();
        lane.pending.push_back(reply);
        // In order, the first wakes the owner, and the others may wait for it.
        if lane.pending.len() == 1 || !self.in_order {
            self.wake();
        }
    }

    /// Stops waiting for the reply to this message, so that it does not delay later ones.
    pub(crate) fn forget(&mut self, slot: LaneSlot, tag: DeliveryTag) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.forget(tag);
        }
        // The reply that would have woken the owner may be gone.
        self.wake();
    }

    /// Returns the number of messages and batches of a lane with a pending reply.
    pub(crate) fn len(&self, slot: LaneSlot) -> usize {
        self.lanes.get(&slot).map_or(0, |lane| lane.pending.len())
    }

    /// Returns whether no reply is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.values().all(|lane| lane.pending.is_empty())
    }

    /// Stops waiting. Messages without a reply have failed.
    ///
    /// A message whose reply is not awaited any more is taken out of the mailbox. The last of a lane goes first, so that the
    /// subscriber, which may run at the same time, has none whose predecessor is gone.
    pub(crate) fn abandon(&mut self) -> Vec<ReplyRun> {
        let mut replies = Vec::new();
        for (slot, lane) in std::mem::take(&mut self.lanes) {
            let mut last_first = Vec::with_capacity(lane.pending.len());
            for reply in lane.pending.into_iter().rev() {
                let mut runs = Vec::new();
                reply.abandon(slot, &mut runs);
                last_first.push(runs);
            }
            replies.extend(last_first.into_iter().rev().flatten());
        }
        replies
    }

    /// Returns the replies that have arrived, at least one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<ReplyRun>> {
        let timed_out = self.gathering.as_ref().is_some_and(|timer| timer.is_elapsed());
        let mut replies = Vec::new();
        let mut gathers = false;
        self.lanes.retain(|slot, lane| {
            let before = replies.len();
            if self.in_order {
                gathers |= lane.poll(*slot, cx, timed_out, &mut replies);
            } else {
                lane.pending.retain_mut(|reply| !reply.poll(*slot, cx, &mut replies));
            }
            !lane.pending.is_empty() || replies.len() > before
        });
        self.gathering = self.gathering.take().filter(|_| gathers);
        if gathers {
            let end = Instant::now() + GATHER_TIME;
            let timer = self.gathering.get_or_insert_with(|| Box::pin(sleep_until(end)));
            timer.as_mut().reset(end);
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        self.waker = Some(cx.waker().clone());
        if replies.is_empty() { Poll::Pending } else { Poll::Ready(replies) }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl LaneReplies {
    fn forget(&mut self, tag: DeliveryTag) {
        self.pending.retain_mut(|reply| match reply {
            PendingReply::One(of, _) => *of != tag,
            PendingReply::Many(of, _) | PendingReply::Handoff(of, _) => {
                let mut part = of.iter_mut().filter(|of| **of == Some(tag));
                part.next().map(Option::take);
                of.iter().any(Option::is_some)
            }
            // Its attempt tells the receiver that it is out of date.
            PendingReply::Early(_) => true,
        });
    }

    /// Takes the replies that have arrived and registers for the next ones. Returns whether the owner may be woken later than
    /// at the first of these.
    fn poll(&mut self, slot: LaneSlot, cx: &mut Context<'_>, timed_out: bool, replies: &mut Vec<ReplyRun>) -> bool {
        loop {
            let before = self.pending.len();
            let mut quiet = Context::from_waker(noop_waker_ref());
            while let Some(front) = self.pending.front_mut()
                && front.poll(slot, &mut quiet, replies)
            {
                self.pending.pop_front();
            }
            match before - self.pending.len() {
                0 if timed_out => self.gathered = 0,
                0 => {}
                gathered => self.gathered = gathered,
            }
            let Some(last) = self.pending.len().checked_sub(1) else { return false };
            let mut awaited = (self.gathered / 2).min(MAX_GATHERED).min(last);
            while self.pending[awaited].poll_early(slot, cx) {
                if awaited == 0 {
                    break;
                }
                awaited /= 2;
            }
            if !matches!(self.pending[awaited], PendingReply::Early(_)) {
                return awaited > 0;
            }
        }
    }
}

impl PendingReply {
    /// Adds the reply if it has arrived, and returns whether it has.
    fn poll(&mut self, slot: LaneSlot, cx: &mut Context<'_>, replies: &mut Vec<ReplyRun>) -> bool {
        match self {
            PendingReply::One(tag, request) => match request.poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let result = result.unwrap_or_else(|e| Err(unanswered(e)));
                    ReplyRun::one(slot, *tag, disposition(result)).join(replies);
                    true
                }
            },
            PendingReply::Many(tags, request) => match request.poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let result = result.unwrap_or_else(|e| Err(BatchNack { at: 0, nack: unanswered(e) }));
                    parts(slot, tags, &result.into(), replies);
                    true
                }
            },
            PendingReply::Handoff(tags, outcome) => match outcome.poll_unpin(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let dropped = |_| BatchOutcome { handled: 0, nack: Some(Nack::new("the batch was dropped")) };
                    parts(slot, tags, &result.unwrap_or_else(dropped), replies);
                    true
                }
            },
            PendingReply::Early(early) => {
                replies.append(early);
                true
            }
        }
    }

    /// Waits for the reply to a message that is not part of a queue, and returns whether it was handled.
    pub(crate) async fn handled(self) -> bool {
        match self {
            PendingReply::One(_, mut request) => matches!(poll_fn(|cx| request.poll(cx)).await, Ok(Ok(()))),
            PendingReply::Many(_, mut request) => match poll_fn(|cx| request.poll(cx)).await {
                Ok(result) => BatchOutcome::from(result).handled > 0,
                Err(_) => false,
            },
            PendingReply::Handoff(_, outcome) => outcome.await.is_ok_and(|outcome| outcome.handled > 0),
            PendingReply::Early(replies) => replies.iter().all(|reply| reply.disposition == Disposition::Done),
        }
    }

    /// Adds the reply; one that has not arrived is a failure.
    fn abandon(mut self, slot: LaneSlot, replies: &mut Vec<ReplyRun>) {
        if self.poll(slot, &mut Context::from_waker(noop_waker_ref()), replies) {
            return;
        }
        let mut fail = |tag| ReplyRun::one(slot, tag, disposition(Err(unanswered(MailboxError::Closed)))).join(replies);
        match self {
            PendingReply::One(tag, _) => fail(tag),
            // Any of them may have been handled: each counts as an attempt.
            PendingReply::Many(tags, _) | PendingReply::Handoff(tags, _) => tags.into_iter().flatten().for_each(fail),
            PendingReply::Early(_) => {}
        }
    }

    /// Like `poll`, for a reply that is not at the front: it is kept until it is.
    fn poll_early(&mut self, slot: LaneSlot, cx: &mut Context<'_>) -> bool {
        let mut early = Vec::new();
        let is_there = self.poll(slot, cx, &mut early);
        if is_there {
            *self = PendingReply::Early(early);
        }
        is_there
    }
}

/// Returns the nack of a message whose handler panicked, or whose actor stopped before handling it.
fn unanswered(error: MailboxError) -> Nack {
    Nack::new(format!("subscriber gave no answer: {error}"))
}

/// Converts the result of a subscriber.
pub(crate) fn disposition(result: Result<(), Nack>) -> Disposition {
    match result {
        Ok(()) => Disposition::Done,
        Err(Nack { delay, reason }) => Disposition::Failed { delay, reason },
    }
}

/// Converts the reply to a batch into one for each of its messages.
fn parts(slot: LaneSlot, tags: &[Option<DeliveryTag>], batch: &BatchOutcome, replies: &mut Vec<ReplyRun>) {
    let part = |at: usize| match &batch.nack {
        _ if at < batch.handled => Disposition::Done,
        Some(nack) if at == batch.handled => disposition(Err(nack.clone())),
        _ => Disposition::Untried,
    };
    for (at, tag) in tags.iter().enumerate() {
        if let Some(tag) = tag {
            ReplyRun::one(slot, *tag, part(at)).join(replies);
        }
    }
}
