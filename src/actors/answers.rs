//! Answers that subscribers owe: one queue per lane, awaited in the order of hand-over.
//!
//! Order loses nothing. An ack is cumulative, so an early answer behind a late one could not be used; and after a nack
//! those already handed over are answered first anyway.

use super::feeder::Home;
use super::messages::{BatchAnswer, BatchNack, Delivery, DeliveryBatch, Nack};
use crate::wire::inbound::{Answer, Slot};
use actix::dev::RecipientRequest;
use actix::prelude::{MailboxError, Message, Recipient};
use futures::channel::oneshot;
use futures::task::noop_waker_ref;
use futures::{FutureExt, Stream};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// Most answers gathered before the session is woken. Waking another thread costs more than handling a message.
const MAX_GATHERED: usize = 64;
/// How long the oldest answer may lie while others are gathered.
const GATHER_TIME: Duration = Duration::from_millis(1);

/// The handles on a subscriber's mailbox.
///
/// A handle that met a full mailbox is parked until the subscriber has taken what it brought, and a request made with it
/// before then is never woken. So each message has a handle of its own, which is used again once the answer is there.
/// What bounds the mailbox is `in_flight`.
pub(super) struct Mailbox<M: Message + Send>(Rc<Handles<M>>)
where
    M::Result: Send;

struct Handles<M: Message + Send>
where
    M::Result: Send,
{
    first: Recipient<M>,
    idle: RefCell<Vec<Recipient<M>>>,
}

impl<M: Message + Send + 'static> Mailbox<M>
where
    M::Result: Send,
{
    pub(super) fn new(first: Recipient<M>) -> Self {
        Mailbox(Rc::new(Handles { first, idle: RefCell::default() }))
    }

    pub(super) fn connected(&self) -> bool {
        self.0.first.connected()
    }

    /// A handle for one message.
    pub(super) fn handle(&self) -> Recipient<M> {
        self.0.idle.borrow_mut().pop().unwrap_or_else(|| self.0.first.clone())
    }
}

impl<M: Message + Send> Clone for Mailbox<M>
where
    M::Result: Send,
{
    fn clone(&self) -> Self {
        Mailbox(self.0.clone())
    }
}

/// A message on its way to a subscriber and back.
pub(super) struct Request<M: Message + Send>
where
    M::Result: Send,
{
    answer: Pin<Box<RecipientRequest<M>>>,
    handle: Option<Recipient<M>>,
    /// The subscriber's thread is looked for.
    home: Option<Arc<Home>>,
}

impl<M: Message + Send + 'static> Request<M>
where
    M::Result: Send,
{
    /// Puts the message into the mailbox.
    pub(super) fn new(handle: Recipient<M>, message: M, home: Option<Arc<Home>>) -> Self {
        Request { answer: Box::pin(handle.send(message)), handle: Some(handle), home }
    }

    fn poll(&mut self, mailbox: Option<&Mailbox<M>>, cx: &mut Context<'_>) -> Poll<Result<M::Result, MailboxError>> {
        let finder = self.home.as_ref().and_then(|home| home.finder(cx.waker()));
        let result = match &finder {
            Some(finder) => self.answer.as_mut().poll(&mut Context::from_waker(finder)),
            None => self.answer.as_mut().poll(cx),
        };
        if result.is_ready()
            && let Some(mailbox) = mailbox
        {
            mailbox.0.idle.borrow_mut().extend(self.handle.take());
        }
        result
    }
}

/// What one message, or one batch, is waiting for.
enum Owed {
    One(u64, Request<Delivery>, Option<Mailbox<Delivery>>),
    /// A message that is overdue is `None`.
    Many(Vec<Option<u64>>, Request<DeliveryBatch>, Mailbox<DeliveryBatch>),
    Handoff(Vec<Option<u64>>, oneshot::Receiver<BatchAnswer>),
    /// Answered ahead of its turn.
    Early(Vec<Answered>),
}

/// What the subscriber owes for one lane, in the order of hand-over.
#[derive(Default)]
struct Lane {
    owed: VecDeque<Owed>,
    /// Answers that were there together when last there were any: about as many are worth waiting for the next time.
    gathered: usize,
}

#[derive(Default)]
struct Queues {
    lanes: BTreeMap<Slot, Lane>,
    /// Messages nothing is owed for that were not put into the mailbox yet.
    overdue: HashSet<(Slot, u64)>,
    waker: Option<Waker>,
    /// Ends the gathering of answers.
    gathering: Option<Pin<Box<Sleep>>>,
}

/// The answers owed to one session. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Answers(Rc<RefCell<Queues>>);

/// One answer.
pub(super) struct Answered {
    pub(super) slot: Slot,
    pub(super) token: u64,
    pub(super) answer: Answer,
}

impl Answers {
    /// A message was put into a mailbox, to which its handle is given back if it is still in use.
    pub(super) fn await_one(
        &self,
        slot: Slot,
        token: u64,
        request: Request<Delivery>,
        mailbox: Option<Mailbox<Delivery>>,
    ) {
        if !self.0.borrow_mut().overdue.remove(&(slot, token)) {
            self.push(slot, Owed::One(token, request, mailbox));
        }
    }

    /// Hands a batch over.
    pub(super) fn send_many(
        &self,
        slot: Slot,
        tokens: Vec<u64>,
        mailbox: &Mailbox<DeliveryBatch>,
        deliveries: Vec<Delivery>,
    ) {
        let tokens = tokens.into_iter().map(Some).collect();
        let request = Request::new(mailbox.handle(), DeliveryBatch(deliveries), None);
        self.push(slot, Owed::Many(tokens, request, mailbox.clone()));
    }

    /// A batch was handed off.
    pub(super) fn await_batch(&self, slot: Slot, tokens: Vec<u64>, answer: oneshot::Receiver<BatchAnswer>) {
        self.push(slot, Owed::Handoff(tokens.into_iter().map(Some).collect(), answer));
    }

    /// Nothing is owed for this message any more: it must not hold up those behind it.
    pub(super) fn forget(&self, slot: Slot, token: u64) {
        let mut queues = self.0.borrow_mut();
        if !queues.lanes.get_mut(&slot).is_some_and(|lane| lane.forget(token)) {
            // It is still on its way to the mailbox.
            queues.overdue.insert((slot, token));
        }
        // The one that was to wake the session may be gone.
        queues.wake();
    }

    fn push(&self, slot: Slot, owed: Owed) {
        let mut queues = self.0.borrow_mut();
        let lane = queues.lanes.entry(slot).or_default();
        lane.owed.push_back(owed);
        if lane.owed.len() == 1 {
            queues.wake();
        }
    }
}

impl Queues {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Answers {
    /// Everything that was answered at once.
    type Item = Vec<Answered>;

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

impl Lane {
    /// Answers whether the message was owed.
    fn forget(&mut self, token: u64) -> bool {
        let mut found = false;
        self.owed.retain_mut(|owed| match owed {
            Owed::One(of, ..) => {
                found |= *of == token;
                *of != token
            }
            Owed::Many(of, ..) | Owed::Handoff(of, _) => {
                let mut part = of.iter_mut().filter(|of| **of == Some(token));
                found |= part.next().map(Option::take).is_some();
                of.iter().any(Option::is_some)
            }
            Owed::Early(answered) => {
                let before = answered.len();
                answered.retain(|a| a.token != token);
                found |= answered.len() < before;
                !answered.is_empty()
            }
        });
        found
    }

    /// Takes what is there, and has the session woken when the next answers are. Answers whether that may be later than
    /// the first of them.
    fn poll(&mut self, slot: Slot, cx: &mut Context<'_>, timed_out: bool, answered: &mut Vec<Answered>) -> bool {
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
            if !matches!(self.owed[awaited], Owed::Early(_)) {
                return awaited > 0;
            }
        }
    }
}

impl Owed {
    /// Whether the answer is there; if so it is added.
    fn poll(&mut self, slot: Slot, cx: &mut Context<'_>, answered: &mut Vec<Answered>) -> bool {
        match self {
            Owed::One(token, request, mailbox) => match request.poll(mailbox.as_ref(), cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let answer = answer(result.unwrap_or_else(|e| Err(unanswered(e))));
                    if answered.capacity() == 0 {
                        answered.reserve(MAX_GATHERED);
                    }
                    answered.push(Answered { slot, token: *token, answer });
                    true
                }
            },
            Owed::Many(tokens, request, mailbox) => match request.poll(Some(mailbox), cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let result = result.unwrap_or_else(|e| Err(BatchNack { at: 0, nack: unanswered(e) }));
                    answered.extend(parts(slot, tokens, &result.into()));
                    true
                }
            },
            Owed::Handoff(tokens, answer) => match answer.poll_unpin(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let dropped = |_| BatchAnswer { handled: 0, nack: Some(Nack::new("the batch was dropped")) };
                    answered.extend(parts(slot, tokens, &result.unwrap_or_else(dropped)));
                    true
                }
            },
            Owed::Early(early) => {
                answered.append(early);
                true
            }
        }
    }

    /// The same, for one that is not at the front: its answer is kept until it is.
    fn poll_early(&mut self, slot: Slot, cx: &mut Context<'_>) -> bool {
        let mut early = Vec::new();
        let is_there = self.poll(slot, cx, &mut early);
        if is_there {
            *self = Owed::Early(early);
        }
        is_there
    }
}

/// The handler panicked, or its actor stopped with the message in its mailbox.
fn unanswered(error: MailboxError) -> Nack {
    Nack::new(format!("subscriber gave no answer: {error}"))
}

/// What a subscriber's result means.
pub(super) fn answer(result: Result<(), Nack>) -> Answer {
    match result {
        Ok(()) => Answer::Done,
        Err(Nack { delay, reason }) => Answer::Failed { delay, reason },
    }
}

/// What the answer to a batch means for each of its messages.
fn parts(slot: Slot, tokens: &[Option<u64>], batch: &BatchAnswer) -> impl Iterator<Item = Answered> {
    let part = |at: usize| match &batch.nack {
        _ if at < batch.handled => Answer::Done,
        Some(nack) if at == batch.handled => answer(Err(nack.clone())),
        _ => Answer::Untried,
    };
    tokens.iter().enumerate().filter_map(move |(at, token)| Some(Answered { slot, token: (*token)?, answer: part(at) }))
}
