//! Publisher: sends to one topic without a message to an actor.

use crate::actors::messages::{Options, Outgoing};
use crate::actors::node::Node;
use crate::actors::sending::pending_send::SendRequest;
use crate::actors::sending::queue::{Arrival, Enqueue};
use crate::actors::sending::route_table::{RouteTable, TrySend, Wake, try_send};
use crate::config::OnFull;
use crate::error::SendError;
use crate::types::{Headers, Receipt, Topic};
use crate::wire::outbound::Body;
use actix::Recipient;
use bytes::Bytes;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::executor::block_on;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// Sends to one topic without a message to an actor: the payload is encoded straight into the link's buffer.
///
/// The semantics are those of [`SendTo`](crate::SendTo). Messages sent both ways on one lane are ordered by acceptance.
/// [`GetPublisher`](crate::GetPublisher) returns a publisher. Clones are cheap, and any thread may use one, inside a runtime
/// or not.
///
/// # Examples
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// use liner::GetPublisher;
///
/// let billing = orders.send(GetPublisher::new("billing")).await??;
/// let receipt = billing.send("invoice 7").await?;
/// println!("accepted as {}", receipt.id);
/// # let thread =
/// std::thread::spawn(move || billing.send_blocking("invoice 8"));
/// # tokio::task::spawn_blocking(|| thread.join().expect("does not panic")).await??;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Publisher {
    node: Arc<Node>,
    table: Arc<RouteTable>,
    system: Recipient<Enqueue>,
    options: Options,
}

impl Publisher {
    pub(crate) fn new(node: Arc<Node>, table: Arc<RouteTable>, system: Recipient<Enqueue>, options: Options) -> Self {
        Publisher { node, table, system, options }
    }

    /// Returns the topic.
    pub fn topic(&self) -> &Topic {
        &self.table.topic
    }

    /// Sends a message to one of the topic's nodes.
    ///
    /// The message is offered by the call itself, so messages are accepted in the order of the calls. The future resolves
    /// when the message is accepted with the durability of its mode, and a connection that lags has caught up.
    ///
    /// # Errors
    /// Returns the same errors as [`SendTo`](crate::SendTo).
    ///
    /// # Cancellation
    /// Dropping the future does not withdraw the message.
    pub fn send(&self, payload: impl AsRef<[u8]>) -> SendFuture {
        self.send_with(&Headers::EMPTY, payload)
    }

    /// Sends a message with headers. Otherwise the same as [`Publisher::send`].
    ///
    /// # Errors
    /// Returns the same errors as [`SendTo`](crate::SendTo).
    pub fn send_with(&self, headers: &Headers, payload: impl AsRef<[u8]>) -> SendFuture {
        self.send_bytes(headers, payload.as_ref())
    }

    fn send_bytes(&self, headers: &Headers, payload: &[u8]) -> SendFuture {
        let body = Body::Borrowed(payload);
        SendFuture(match try_send(&self.node, &self.table, headers, body, self.options, Wake::Now) {
            TrySend::Done(result) => SendState::Done(Some(result)),
            TrySend::Ahead(receipt, link) if self.node.config.on_full == OnFull::Wait => {
                SendState::Pacing(Some(receipt), Box::pin(async move { link.flow.progress().await }))
            }
            TrySend::Ahead(receipt, _) => SendState::Done(Some(Ok(receipt))),
            TrySend::Committing(commit) => SendState::Committing(commit),
            TrySend::Blocked => self.queue(headers, payload),
        })
    }

    /// Sends a message from a thread without a runtime, and blocks until [`Publisher::send`] would resolve.
    ///
    /// # Errors
    /// Returns the same errors as [`SendTo`](crate::SendTo).
    pub fn send_blocking(&self, payload: impl AsRef<[u8]>) -> Result<Receipt, SendError> {
        match self.send(payload) {
            SendFuture(SendState::Done(Some(result))) => result,
            sending => block_on(sending),
        }
    }

    /// Sends an at-most-once or write-behind message without waiting.
    ///
    /// # Errors
    /// Returns [`SendError::QueueFull`] if the send would have to wait, or its mode needs a commit. Otherwise returns the
    /// same errors as [`SendTo`](crate::SendTo).
    pub fn try_send(&self, payload: impl AsRef<[u8]>) -> Result<Receipt, SendError> {
        if self.options.mode.unwrap_or(self.node.config.mode).commits() {
            return Err(SendError::QueueFull);
        }
        let body = Body::Borrowed(payload.as_ref());
        match try_send(&self.node, &self.table, &Headers::EMPTY, body, self.options, Wake::Now) {
            TrySend::Done(result) => result,
            TrySend::Ahead(receipt, _) => Ok(receipt),
            TrySend::Committing(_) | TrySend::Blocked => Err(SendError::QueueFull),
        }
    }

    /// Adds the message to the topic's queue, after those that wait there already.
    fn queue(&self, headers: &Headers, payload: &[u8]) -> SendState {
        let ticket = match self.table.take_ticket(&self.node) {
            Ok(ticket) => ticket,
            Err(error) => return SendState::Done(Some(Err(error))),
        };
        let outgoing = Outgoing { headers: headers.clone(), payload: Bytes::copy_from_slice(payload) };
        let (reply, result) = oneshot::channel();
        let request = SendRequest::One(outgoing, reply);
        let arrival = Arrival { request, options: self.options, since: Instant::now(), ticket };
        self.system.do_send(Enqueue { table: self.table.clone(), arrival });
        SendState::Committing(result)
    }
}

/// What a [`SendFuture`] waits for.
enum SendState {
    Done(Option<Result<Receipt, SendError>>),
    Committing(oneshot::Receiver<Result<Receipt, SendError>>),
    /// Accepted; the future resolves when the connection has caught up.
    Pacing(Option<Receipt>, Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Future of [`Publisher::send`]. It resolves to the receipt of the message.
///
/// # Cancellation
/// Dropping the future does not withdraw the message.
///
/// # Examples
/// Messages that are sent together share a commit:
///
/// ```
/// # use liner::{Config, LinerSystem, stores::memory::MemoryStore};
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let store = MemoryStore::new();
/// # let orders = LinerSystem::spawn(Config::memory("orders-1", "orders", &store)).await?;
/// # let _billing = LinerSystem::spawn(Config::memory("billing-1", "billing", &store)).await?;
/// # let billing = orders.send(liner::GetPublisher::new("billing")).await??;
/// let sends: Vec<liner::SendFuture> = (7..10).map(|n| billing.send(format!("invoice {n}"))).collect();
/// for send in sends {
///     println!("accepted as {}", send.await?.id);
/// }
/// # Ok(()) }
/// ```
#[must_use = "a message may be refused"]
pub struct SendFuture(SendState);

impl SendFuture {
    /// Returns whether the message is accepted, so that the future only waits for the connection to catch up.
    pub fn is_accepted(&self) -> bool {
        matches!(self.0, SendState::Done(Some(Ok(_))) | SendState::Pacing(..))
    }
}

impl Future for SendFuture {
    type Output = Result<Receipt, SendError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            SendState::Done(result) => Poll::Ready(result.take().unwrap_or(Err(SendError::Closed))),
            SendState::Committing(commit) => {
                commit.poll_unpin(cx).map(|result| result.unwrap_or(Err(SendError::Indeterminate)))
            }
            SendState::Pacing(receipt, caught_up) => {
                caught_up.as_mut().poll(cx).map(|()| receipt.take().ok_or(SendError::Closed))
            }
        }
    }
}

impl fmt::Debug for SendFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendFuture")
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("topic", &self.table.topic).field("options", &self.options).finish()
    }
}
