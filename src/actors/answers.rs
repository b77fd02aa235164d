//! Answers that subscribers owe: one queue per lane, awaited in the order of hand-over.
//!
//! Order loses nothing. An ack is cumulative, so an early answer behind a late one could not be used; and after a nack
//! those already handed over are answered first anyway.

use super::messages::{BatchNack, Delivery, DeliveryBatch, Nack};
use crate::wire::inbound::{Answer, Slot};
use actix::MailboxError;
use actix::dev::RecipientRequest;
use futures::Stream;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What one message, or one batch, is waiting for.
enum Owed {
    One(u64, Pin<Box<RecipientRequest<Delivery>>>),
    /// A message that is overdue is `None`.
    Many(Vec<Option<u64>>, Pin<Box<RecipientRequest<DeliveryBatch>>>),
}

#[derive(Default)]
struct Queues {
    lanes: BTreeMap<Slot, VecDeque<Owed>>,
    waker: Option<Waker>,
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
    pub(super) fn await_one(&self, slot: Slot, token: u64, request: RecipientRequest<Delivery>) {
        self.push(slot, Owed::One(token, Box::pin(request)));
    }

    pub(super) fn await_many(&self, slot: Slot, tokens: Vec<u64>, request: RecipientRequest<DeliveryBatch>) {
        let tokens = tokens.into_iter().map(Some).collect();
        self.push(slot, Owed::Many(tokens, Box::pin(request)));
    }

    /// Nothing is owed for this message any more: it must not hold up those behind it.
    pub(super) fn forget(&self, slot: Slot, token: u64) {
        let mut queues = self.0.borrow_mut();
        let Some(owed) = queues.lanes.get_mut(&slot) else { return };
        owed.retain_mut(|owed| match owed {
            Owed::One(of, _) => *of != token,
            Owed::Many(of, _) => {
                of.iter_mut().filter(|of| **of == Some(token)).for_each(|of| *of = None);
                of.iter().any(Option::is_some)
            }
        });
        if let Some(waker) = queues.waker.take() {
            waker.wake();
        }
    }

    fn push(&self, slot: Slot, owed: Owed) {
        let mut queues = self.0.borrow_mut();
        queues.lanes.entry(slot).or_default().push_back(owed);
        if let Some(waker) = queues.waker.take() {
            waker.wake();
        }
    }
}

impl Stream for Answers {
    /// Everything that was answered at once.
    type Item = Vec<Answered>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queues = self.0.borrow_mut();
        let mut answered = Vec::new();
        queues.lanes.retain(|slot, owed| {
            while let Some(front) = owed.front_mut() {
                if !front.poll(*slot, cx, &mut answered) {
                    return true;
                }
                owed.pop_front();
            }
            false
        });
        queues.waker = Some(cx.waker().clone());
        if answered.is_empty() { Poll::Pending } else { Poll::Ready(Some(answered)) }
    }
}

impl Owed {
    /// Whether the answer is there; if so it is added.
    fn poll(&mut self, slot: Slot, cx: &mut Context<'_>, answered: &mut Vec<Answered>) -> bool {
        match self {
            Owed::One(token, request) => match request.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let answer = answer(result.unwrap_or_else(|e| Err(unanswered(e))));
                    answered.push(Answered { slot, token: *token, answer });
                    true
                }
            },
            Owed::Many(tokens, request) => match request.as_mut().poll(cx) {
                Poll::Pending => false,
                Poll::Ready(result) => {
                    let result = result.unwrap_or_else(|e| Err(BatchNack { at: 0, nack: unanswered(e) }));
                    let each = tokens
                        .iter()
                        .enumerate()
                        .filter_map(|(at, token)| Some(Answered { slot, token: (*token)?, answer: part(&result, at) }));
                    answered.extend(each);
                    true
                }
            },
        }
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

fn part(result: &Result<(), BatchNack>, at: usize) -> Answer {
    match result {
        Err(failed) if at == failed.at => answer(Err(failed.nack.clone())),
        Err(failed) if at > failed.at => Answer::Returned,
        _ => Answer::Done,
    }
}
