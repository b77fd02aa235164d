//! A subscriber's mailbox: putting messages into it, and waiting for the answers.

use crate::actors::receiving::subscriber::feed::Home;
use actix::dev::RecipientRequest;
use actix::prelude::{MailboxError, Message, Recipient};
use futures::ready;
use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A subscriber's mailbox, and what was used to put messages into it.
///
/// A handle that met a full mailbox is parked until the subscriber has taken what it brought, and a request made with it
/// before then is never woken. So each message has a handle of its own, which is used again once the answer is there, and
/// the memory of the request with it. What bounds the mailbox is `in_flight`.
pub(crate) struct Mailbox<M: Message + Send>(Rc<Slips<M>>)
where
    M::Result: Send;

struct Slips<M: Message + Send>
where
    M::Result: Send,
{
    first: Recipient<M>,
    idle: RefCell<Vec<Slip<M>>>,
}

/// One way into a mailbox, and the answer that comes back.
struct Slip<M: Message + Send>
where
    M::Result: Send,
{
    handle: Recipient<M>,
    answer: Pin<Box<Option<RecipientRequest<M>>>>,
}

impl<M: Message + Send + 'static> Mailbox<M>
where
    M::Result: Send,
{
    pub(crate) fn new(first: Recipient<M>) -> Self {
        Mailbox(Rc::new(Slips { first, idle: RefCell::default() }))
    }

    /// A handle on it for another thread.
    pub(crate) fn recipient(&self) -> Recipient<M> {
        self.0.first.clone()
    }

    pub(crate) fn connected(&self) -> bool {
        self.0.first.connected()
    }

    /// Puts a message into the mailbox. `home` is given where the subscriber's thread is looked for.
    pub(crate) fn send(&self, message: M, home: Option<Arc<Home>>) -> Request<M> {
        let idle = self.0.idle.borrow_mut().pop();
        let mut slip = idle.unwrap_or_else(|| Slip { handle: self.0.first.clone(), answer: Box::pin(None) });
        let request = slip.handle.send(message);
        slip.answer.as_mut().set(Some(request));
        Request { slip: Some(slip), mailbox: self.clone(), home }
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
pub(crate) struct Request<M: Message + Send>
where
    M::Result: Send,
{
    /// Gone with the answer.
    slip: Option<Slip<M>>,
    mailbox: Mailbox<M>,
    home: Option<Arc<Home>>,
}

impl<M: Message + Send + 'static> Request<M>
where
    M::Result: Send,
{
    /// The answer, once.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<M::Result, MailboxError>> {
        let finder = self.home.as_ref().and_then(|home| home.finder(cx.waker()));
        let mut context = Context::from_waker(finder.as_ref().unwrap_or(cx.waker()));
        let Some(request) = self.slip.as_mut().and_then(|slip| slip.answer.as_mut().as_pin_mut()) else {
            return Poll::Ready(Err(MailboxError::Closed));
        };
        let result = ready!(request.poll(&mut context));
        if let Some(mut slip) = self.slip.take() {
            slip.answer.as_mut().set(None);
            self.mailbox.0.idle.borrow_mut().push(slip);
        }
        Poll::Ready(result)
    }
}
