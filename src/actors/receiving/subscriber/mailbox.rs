//! The mailbox of a subscriber: puts messages into it and waits for the replies.

use actix::dev::RecipientRequest;
use actix::prelude::{MailboxError, Message, Recipient};
use futures::ready;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// The mailbox of a subscriber, with the requests that can be used again.
///
/// An address that met a full mailbox stays parked until the subscriber has taken its message, and a second request on it
/// would never be woken. Each message therefore has an address of its own. It is used again once the reply
/// has arrived, as is the memory of the request. The mailbox is bounded by `in_flight`.
pub(crate) struct Mailbox<M: Message + Send>(Rc<MailboxSlots<M>>)
where
    M::Result: Send;

struct MailboxSlots<M: Message + Send>
where
    M::Result: Send,
{
    first: Recipient<M>,
    idle: RefCell<Vec<RequestSlot<M>>>,
}

/// An address and the request made with it.
struct RequestSlot<M: Message + Send>
where
    M::Result: Send,
{
    handle: Recipient<M>,
    reply: Pin<Box<Option<RecipientRequest<M>>>>,
}

impl<M: Message + Send + 'static> Mailbox<M>
where
    M::Result: Send,
{
    pub(crate) fn new(first: Recipient<M>) -> Self {
        Mailbox(Rc::new(MailboxSlots { first, idle: RefCell::default() }))
    }

    pub(crate) fn connected(&self) -> bool {
        self.0.first.connected()
    }

    /// Puts a message into the mailbox.
    pub(crate) fn send(&self, message: M) -> MailboxRequest<M> {
        let idle = self.0.idle.borrow_mut().pop();
        let mut slot = idle.unwrap_or_else(|| RequestSlot { handle: self.0.first.clone(), reply: Box::pin(None) });
        let request = slot.handle.send(message);
        slot.reply.as_mut().set(Some(request));
        MailboxRequest { slot: Some(slot), mailbox: self.clone() }
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

/// A message in the mailbox, and the reply to it.
pub(crate) struct MailboxRequest<M: Message + Send>
where
    M::Result: Send,
{
    /// `None` once the reply was taken.
    slot: Option<RequestSlot<M>>,
    mailbox: Mailbox<M>,
}

impl<M: Message + Send + 'static> MailboxRequest<M>
where
    M::Result: Send,
{
    /// Returns the reply, once.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Result, MailboxError>> {
        let Some(request) = self.slot.as_mut().and_then(|slot| slot.reply.as_mut().as_pin_mut()) else {
            return Poll::Ready(Err(MailboxError::Closed));
        };
        let result = ready!(request.poll(cx));
        if let Some(mut slot) = self.slot.take() {
            slot.reply.as_mut().set(None);
            self.mailbox.0.idle.borrow_mut().push(slot);
        }
        Poll::Ready(result)
    }
}
