//! Pending replies of subscribers: one queue per lane, awaited in the order of hand-over.
//!
//! The order loses nothing. Acks are cumulative, so a reply that arrives before an earlier one cannot be used yet; and after
//! a nack, the messages already handed over are replied to first in any case.

use crate::actors::messages::{BatchAnswer, BatchNack, Delivery, DeliveryBatch, Nack};
use crate::actors::receiving::subscriber::mailbox::{Mailbox, MailboxRequest};
use crate::wire::inbound::{Disposition, LaneSlot};
use actix::prelude::MailboxError;
use futures::channel::oneshot;
use futures::task::noop_waker_ref;
use futures::{FutureExt, Stream};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
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
enum PendingReply {
    One(DeliveryTag, MailboxRequest<Delivery>),
    /// A message whose reply is no longer awaited is `None`.
    Many(Vec<Option<DeliveryTag>>, MailboxRequest<DeliveryBatch>),
    Handoff(Vec<Option<DeliveryTag>>, oneshot::Receiver<BatchAnswer>),
    /// The reply arrived before that of an earlier message.
    Early(Vec<ReplyRun>),
}

/// The pending replies of one lane, in the order of hand-over.
#[derive(Default)]
struct LaneReplies {
    owed: VecDeque<PendingReply>,
    /// The number of replies that arrived together the last time. About as many are worth waiting for the next time.
    gathered: usize,
}

#[derive(Default)]
struct ReplyQueues {
    lanes: BTreeMap<LaneSlot, LaneReplies>,
    waker: Option<Waker>,
    /// The timer that ends the gathering of replies.
    gathering: Option<Pin<Box<Sleep>>>,
}

/// The pending replies of a session or a feeder. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct PendingReplies(Rc<RefCell<ReplyQueues>>);

/// The reply to one message, or to several consecutive messages that were handled at the same attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplyRun {
    pub(crate) slot: LaneSlot,
    pub(crate) tokens: Range<u64>,
    pub(crate) attempt: u32,
    pub(crate) answer: Disposition,
}

impl ReplyRun {
    /// Creates the reply to one hand-over.
    pub(crate) fn one(slot: LaneSlot, DeliveryTag { token, attempt }: DeliveryTag, answer: Disposition) -> Self {
        ReplyRun { slot, tokens: token..token + 1, attempt, answer }
    }

    /// Appends the reply to others, as one with the last where possible.
    pub(crate) fn join(self, others: &mut Vec<ReplyRun>) {
        match others.last_mut() {
            Some(last) if last.is_followed_by(&self) => last.tokens.end = self.tokens.end,
            _ => others.push(self),
        }
    }

    fn is_followed_by(&self, next: &ReplyRun) -> bool {
        let done = self.answer == Disposition::Done && next.answer == Disposition::Done;
        done && (self.slot, self.attempt, self.tokens.end) == (next.slot, next.attempt, next.tokens.start)
    }

    /// Returns the number of messages it is for.
    pub(crate) fn messages(&self) -> usize {
        usize::try_from(self.tokens.end - self.tokens.start).unwrap_or(usize::MAX)
    }
}

impl PendingReplies {
    /// Adds the reply to a message that was put into a mailbox.
    pub(crate) fn expect_reply(&self, slot: LaneSlot, tag: DeliveryTag, request: MailboxRequest<Delivery>) {
        self.push(slot, PendingReply::One(tag, request));
    }

    /// Puts a batch into a mailbox and adds its reply.
    pub(crate) fn send_many(
        &self,
        slot: LaneSlot,
        tags: Vec<DeliveryTag>,
        mailbox: &Mailbox<DeliveryBatch>,
        deliveries: Vec<Delivery>,
    ) {
        let tags = tags.into_iter().map(Some).collect();
        self.push(slot, PendingReply::Many(tags, mailbox.send(DeliveryBatch(deliveries), None)));
    }

    /// Adds the reply to a batch that was handed off.
    pub(crate) fn expect_batch_reply(
        &self,
        slot: LaneSlot,
        tags: Vec<DeliveryTag>,
        answer: oneshot::Receiver<BatchAnswer>,
    ) {
        self.push(slot, PendingReply::Handoff(tags.into_iter().map(Some).collect(), answer));
    }

    /// Stops waiting for the reply to this message, so that it does not delay later ones.
    pub(crate) fn forget(&self, slot: LaneSlot, tag: DeliveryTag) {
        let mut queues = self.0.borrow_mut();
        if let Some(lane) = queues.lanes.get_mut(&slot) {
            lane.forget(tag);
        }
        // The reply that would have woken the owner may be gone.
        queues.wake();
    }

    /// Returns the number of messages and batches of a lane with a pending reply.
    pub(crate) fn owed(&self, slot: LaneSlot) -> usize {
        self.0.borrow().lanes.get(&slot).map_or(0, |lane| lane.owed.len())
    }

    /// Returns whether no reply is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().lanes.values().all(|lane| lane.owed.is_empty())
    }

    /// Stops waiting. Messages without a reply have failed.
    pub(crate) fn abandon(&self) -> Vec<ReplyRun> {
        let lanes = std::mem::take(&mut self.0.borrow_mut().lanes);
        let mut answered = Vec::new();
        for (slot, lane) in lanes {
            lane.owed.into_iter().for_each(|owed| owed.abandon(slot, &mut answered));
        }
        answered
    }

    fn push(&self, slot: LaneSlot, owed: PendingReply) {
        let mut queues = self.0.borrow_mut();
        let lane = queues.lanes.entry(slot).or_default();
        lane.owed.push_back(owed);
        if lane.owed.len() == 1 {
            queues.wake();
        }
    }
}

impl ReplyQueues {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for PendingReplies {
    /// All replies that arrived.
    type Item = Vec<ReplyRun>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queues = self.0.borrow_mut();
        let timed_out = queues.gathering.as_ref().is_some_and(|timer| timer.is_elapsed());
        let mut answered = Vec::new();
        let mut gathers = false;
        queues.lanes.retain(|slot, lane| {
            let before = answered.len();
            gathers |= lane.poll(*slot, cx, timed_out, &mut answered);
            !lane.owed.is_empty() || answered.len() > before
        });
        queues.gathering = queues.gathering.take().filter(|_| gathers);
        if gathers {
            let end = Instant::now() + GATHER_TIME;
            let timer = queues.gathering.get_or_insert_with(|| Box::pin(sleep_until(end)));
            timer.as_mut().reset(end);
            if timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        queues.waker = Some(cx.waker().clone());
        if answered.is_empty() { Poll::Pending } else { Poll::Ready(Some(answered)) }
    }
}

impl LaneReplies {
    fn forget(&mut self, tag: DeliveryTag) {
        self.owed.retain_mut(|owed| match owed {
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
    fn poll(&mut self, slot: LaneSlot, cx: &mut Context<'_>, timed_out: bool, answered: &mut Vec<ReplyRun>) -> bool {
        loop {
            let before = self.owed.len();
            let mut quiet = Context::from_waker(noop_waker_ref());
            while let Some(front) = self.owed.front_mut()
                && front.poll(slot, &mut quiet, answered)
            {
                self.owed.pop_front();
            }
            match before - self.owed.len() {
                0 if timed_out => self.gathered = 0,
                0 => {}
                gathered => self.gathered = gathered,
            }
            let Some(last) = self.owed.len().checked_sub(1) else { return false };
            let mut awaited = (self.gathered / 2).min(MAX_GATHERED).min(last);
            while self.owed[awaited].poll_early(slot, cx) {
                if awaited == 0 {
                    break;
                }
                awaited /= 2;
            }
            if !matches!(self.owed[awaited], PendingReply::Early(_)) {
                return awaited > 0;
            }
        }
    }
}

impl PendingReply {
    /// Adds the reply if it has arrived, and returns whether it has.
    fn poll(&mut self, slot: LaneSlot, cx: &mut Context<'_>, answered: &mut Vec<ReplyRun>) -> bool {
        match self {
            PendingReply::One(tag, request) => match request.poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let answer = answer(result.unwrap_or_else(|e| Err(unanswered(e))));
                    ReplyRun::one(slot, *tag, answer).join(answered);
                    true
                }
            },
            PendingReply::Many(tags, request) => match request.poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let result = result.unwrap_or_else(|e| Err(BatchNack { at: 0, nack: unanswered(e) }));
                    parts(slot, tags, &result.into(), answered);
                    true
                }
            },
            PendingReply::Handoff(tags, answer) => match answer.poll_unpin(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let dropped = |_| BatchAnswer { handled: 0, nack: Some(Nack::new("the batch was dropped")) };
                    parts(slot, tags, &result.unwrap_or_else(dropped), answered);
                    true
                }
            },
            PendingReply::Early(early) => {
                answered.append(early);
                true
            }
        }
    }

    /// Adds the reply; one that has not arrived is a failure.
    fn abandon(mut self, slot: LaneSlot, answered: &mut Vec<ReplyRun>) {
        if self.poll(slot, &mut Context::from_waker(noop_waker_ref()), answered) {
            return;
        }
        match &self {
            PendingReply::One(tag, _) => {
                ReplyRun::one(slot, *tag, answer(Err(unanswered(MailboxError::Closed)))).join(answered);
            }
            PendingReply::Many(tags, _) | PendingReply::Handoff(tags, _) => {
                let nack = Some(unanswered(MailboxError::Closed));
                parts(slot, tags, &BatchAnswer { handled: 0, nack }, answered);
            }
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
pub(crate) fn answer(result: Result<(), Nack>) -> Disposition {
    match result {
        Ok(()) => Disposition::Done,
        Err(Nack { delay, reason }) => Disposition::Failed { delay, reason },
    }
}

/// Converts the reply to a batch into one for each of its messages.
fn parts(slot: LaneSlot, tags: &[Option<DeliveryTag>], batch: &BatchAnswer, answered: &mut Vec<ReplyRun>) {
    let part = |at: usize| match &batch.nack {
        _ if at < batch.handled => Disposition::Done,
        Some(nack) if at == batch.handled => answer(Err(nack.clone())),
        _ => Disposition::Untried,
    };
    for (at, tag) in tags.iter().enumerate() {
        if let Some(tag) = tag {
            ReplyRun::one(slot, *tag, part(at)).join(answered);
        }
    }
}
