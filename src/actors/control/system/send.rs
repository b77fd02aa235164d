//! Taking messages to send, and replying to those who wait for their receipts.

use super::*;
use std::time::Instant;

/// Messages taken from the mailbox before links are woken and replies are sent.
const FLUSH_EVERY: usize = 64;

/// The result of a [`SendTo`].
type SendResult = Result<Receipt, SendError>;

/// The replies to sends. Waking another thread costs more than taking a message, so they are sent together.
#[derive(Default)]
pub(super) struct Replies {
    /// Known, and not sent yet.
    known: RefCell<Vec<(OneshotSender<SendResult>, SendResult)>>,
    delayed: RefCell<FuturesUnordered<DelayedReply>>,
}

/// A reply that is not known yet. It is sent as soon as it is.
struct DelayedReply {
    result: oneshot::Receiver<SendResult>,
    reply: Option<OneshotSender<SendResult>>,
}

impl DelayedReply {
    fn give(&mut self, result: SendResult) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(result);
        }
    }
}

impl Future for DelayedReply {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        self.result.poll_unpin(cx).map(|result| self.give(result.unwrap_or_else(|_| SendResult::closed())))
    }
}

impl Replies {
    fn send_known(&self) {
        for (reply, result) in self.known.borrow_mut().drain(..) {
            let _ = reply.send(result);
        }
    }

    fn close(&self) {
        for mut delayed in self.delayed.take() {
            let result = delayed.result.try_recv().ok().flatten();
            delayed.give(result.unwrap_or_else(SendResult::closed));
        }
    }
}

/// What sending keeps between two messages of the mailbox.
#[derive(Default)]
pub(super) struct Sends {
    /// The table of the last send: the next one mostly has the same.
    pub(super) last_table: Option<Arc<RouteTable>>,
    /// Links with something to transmit that do not know it yet.
    to_wake: Vec<Arc<Link>>,
    replies: Rc<Replies>,
    /// Messages taken since the mailbox was empty.
    unflushed: usize,
}

impl Sends {
    /// A mailbox that does not become empty must not keep links and callers waiting.
    fn flush_now_and_then(&mut self) {
        self.unflushed += 1;
        if self.unflushed.is_multiple_of(FLUSH_EVERY) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for link in self.to_wake.drain(..) {
            link.flow.wake();
        }
        self.replies.send_known();
    }

    /// Ends: replies that are not known by now will not be.
    pub(super) fn close(&mut self) {
        self.flush();
        self.replies.close();
    }
}

/// Wakes the links that have something to transmit, and sends the replies. It is a future of the actor, and as such polled
/// whenever the mailbox is empty.
pub(crate) struct Flush;

impl ActorFuture<LinerSystem> for Flush {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        system: &mut LinerSystem,
        _: &mut Context<LinerSystem>,
        cx: &mut task::Context<'_>,
    ) -> Poll<()> {
        system.sends.unflushed = 0;
        system.sends.flush();
        while let Poll::Ready(Some(())) = system.sends.replies.delayed.borrow_mut().poll_next_unpin(cx) {}
        Poll::Pending
    }
}

impl LinerSystem {
    pub(super) fn check_topic(&self, topic: Result<Topic, NameError>) -> Result<Topic, SendError> {
        let topic = topic?;
        if topic == self.node.topic { Err(SendError::SelfTopic(topic)) } else { Ok(topic) }
    }

    /// Adds a send to the queue of its topic.
    fn queue(
        &mut self,
        ctx: &Context<Self>,
        table: &Arc<RouteTable>,
        request: SendRequest,
        options: Options,
    ) -> Result<(), SendError> {
        if self.node.is_closing() {
            return Err(SendError::Closed);
        }
        let ticket = table.take_ticket(&self.node)?;
        self.enqueue(ctx, table, Arrival { request, options, since: Instant::now(), ticket })
    }

    fn enqueue(&mut self, ctx: &Context<Self>, table: &Arc<RouteTable>, arrival: Arrival) -> Result<(), SendError> {
        if !self.queues.contains_key(&table.topic) {
            let (queue, arrivals) = mpsc::unbounded();
            let open: Recipient<OpenOutbox> = self.store.clone().recipient();
            let context = SendContext {
                node: self.node.clone(),
                store: self.store.clone().recipient(),
                open,
                look_up: ctx.address().recipient(),
                opened: ctx.address().recipient(),
            };
            actix_rt::spawn(run(context, table.clone(), arrivals));
            self.queues.insert(table.topic.clone(), queue);
        }
        let queue = self.queues.get(&table.topic).ok_or(SendError::Closed)?;
        queue.unbounded_send(arrival).map_err(|_| SendError::Closed)
    }

    /// Ends the queues, after what is in them.
    pub(crate) fn close_queues(&mut self) {
        self.queues.clear();
    }

    pub(crate) fn waiting_sends(&self) -> usize {
        self.topics.waiting_sends()
    }

    pub(super) fn send_to(&mut self, ctx: &mut Context<Self>, send: SendTo) -> Reply<SendResult> {
        self.sends.flush_now_and_then();
        let SendTo { topic, outgoing, options } = send;
        let table = match self.sends.last_table.take() {
            Some(table) if topic.as_ref().is_ok_and(|topic| *topic == table.topic) => table,
            _ => match self.check_topic(topic) {
                Ok(topic) => self.table(ctx, &topic),
                Err(error) => return Reply::Now(Err(error)),
            },
        };
        let payload = match Payload::new(outgoing.payload) {
            Ok(payload) => payload,
            Err(error) => return Reply::Now(Err(error.into())),
        };
        let body = Body::Shared(&payload);
        let reply = match try_send(
            &self.node,
            &table,
            &outgoing.headers,
            body,
            options,
            Wake::Later(&mut self.sends.to_wake),
        ) {
            TrySend::Done(result) => Reply::Now(result),
            TrySend::Ahead(receipt, _) => Reply::Now(Ok(receipt)),
            TrySend::Committing(commit) => Reply::Later(commit),
            TrySend::Blocked => {
                let outgoing = Outgoing { headers: outgoing.headers, payload: payload.into_bytes() };
                self.later(ctx, &table, options, |reply| SendRequest::One(outgoing, reply))
            }
        };
        self.sends.last_table = Some(table);
        reply
    }

    pub(super) fn later<T>(
        &mut self,
        ctx: &Context<Self>,
        table: &Arc<RouteTable>,
        options: Options,
        request: impl FnOnce(oneshot::Sender<Result<T, SendError>>) -> SendRequest,
    ) -> Reply<Result<T, SendError>> {
        let (reply, result) = oneshot::channel();
        match self.queue(ctx, table, request(reply), options) {
            Ok(()) => Reply::Later(result),
            Err(error) => Reply::Now(Err(error)),
        }
    }
}

/// A reply that is known, or will be. As public as the handlers whose result it is.
#[allow(unreachable_pub)]
pub enum Reply<T> {
    /// It is known.
    Now(T),
    /// It will be.
    Later(oneshot::Receiver<T>),
}

/// The reply when the system ended before there was a result.
pub(super) trait Closed {
    fn closed() -> Self;
}

impl<T> Closed for Result<T, SendError> {
    fn closed() -> Self {
        Err(SendError::Indeterminate)
    }
}

impl<T> Closed for Result<T, SendBatchError> {
    fn closed() -> Self {
        Err(SendBatchError { accepted: Vec::new(), error: SendError::Indeterminate })
    }
}

impl<A, M> MessageResponse<A, M> for Reply<M::Result>
where
    A: Actor,
    M: Message,
    M::Result: Closed + Send,
{
    fn handle(self, _: &mut A::Context, reply: Option<OneshotSender<M::Result>>) {
        let Some(reply) = reply else { return };
        match self {
            Reply::Now(result) => drop(reply.send(result)),
            Reply::Later(result) => drop(actix_rt::spawn(result.map(|result| {
                let _ = reply.send(result.unwrap_or_else(|_| M::Result::closed()));
            }))),
        }
    }
}

/// The reply to a [`SendTo`], sent together with others.
#[allow(unreachable_pub)]
pub struct CoalescedReply {
    reply: Reply<SendResult>,
    replies: Rc<Replies>,
}

impl MessageResponse<LinerSystem, SendTo> for CoalescedReply {
    fn handle(self, _: &mut Context<LinerSystem>, reply: Option<OneshotSender<SendResult>>) {
        let Some(reply) = reply else { return };
        match self.reply {
            Reply::Now(result) => self.replies.known.borrow_mut().push((reply, result)),
            Reply::Later(result) => self.replies.delayed.borrow_mut().push(DelayedReply { result, reply: Some(reply) }),
        }
    }
}

impl Handler<SendTo> for LinerSystem {
    type Result = CoalescedReply;

    fn handle(&mut self, send: SendTo, ctx: &mut Self::Context) -> Self::Result {
        CoalescedReply { reply: self.send_to(ctx, send), replies: self.sends.replies.clone() }
    }
}

impl Handler<Enqueue> for LinerSystem {
    type Result = ();

    fn handle(&mut self, Enqueue { table, arrival }: Enqueue, ctx: &mut Self::Context) {
        if self.node.is_closing() {
            arrival.request.refuse(SendError::Closed);
        } else if let Err(error) = self.enqueue(ctx, &table, arrival) {
            tracing::error!(node = %self.node.id, %error, "a topic's queue has ended");
        }
    }
}

impl Handler<SendAll> for LinerSystem {
    type Result = Reply<Result<Vec<Receipt>, SendError>>;

    fn handle(&mut self, SendAll { topic, outgoing, options }: SendAll, ctx: &mut Self::Context) -> Self::Result {
        match self.check_topic(topic) {
            Ok(topic) => {
                let table = self.table(ctx, &topic);
                self.later(ctx, &table, options, |reply| SendRequest::All(outgoing, reply))
            }
            Err(error) => Reply::Now(Err(error)),
        }
    }
}

impl Handler<SendBatch> for LinerSystem {
    type Result = Reply<Result<Vec<Receipt>, SendBatchError>>;

    fn handle(&mut self, SendBatch { topic, messages, options }: SendBatch, ctx: &mut Self::Context) -> Self::Result {
        let refuse = |error| Reply::Now(Err(SendBatchError { accepted: Vec::new(), error }));
        let table = match self.check_topic(topic) {
            Ok(topic) => self.table(ctx, &topic),
            Err(error) => return refuse(error),
        };
        let (reply, result) = oneshot::channel();
        match self.queue(ctx, &table, SendRequest::Batch(messages, reply), options) {
            Ok(()) => Reply::Later(result),
            Err(error) => refuse(error),
        }
    }
}

impl Handler<GetPublisher> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<Publisher, SendError>>;

    fn handle(&mut self, GetPublisher { topic, options }: GetPublisher, ctx: &mut Self::Context) -> Self::Result {
        let topic = match self.check_topic(topic) {
            Ok(topic) => topic,
            Err(error) => return Box::pin(fut::ready(Err(error))),
        };
        let publisher = publisher(self, ctx, &topic, options);
        if self.topics.routing.entry(&topic).is_some() {
            return Box::pin(fut::ready(Ok(publisher)));
        }
        // The topic's nodes are looked up now, so that the first message finds them.
        Box::pin(self.look_up(ctx, &topic).map(|result, _, _| result.map(|()| publisher).map_err(SendError::Store)))
    }
}

fn publisher(system: &mut LinerSystem, ctx: &mut Context<LinerSystem>, topic: &Topic, options: Options) -> Publisher {
    let table = system.table(ctx, topic);
    Publisher::new(system.node.clone(), table, ctx.address().recipient(), options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot as replying;

    #[test]
    fn nobody_waits_for_a_system_that_ended() {
        let replies = Replies::default();
        let delayed = || {
            let ((sender, result), (reply, receiver)) = (oneshot::channel(), replying::channel());
            replies.delayed.borrow_mut().push(DelayedReply { result, reply: Some(reply) });
            (sender, receiver)
        };
        let ((sender, mut known), (_pending, mut pending)) = (delayed(), delayed());
        sender.send(Err(SendError::Deadline)).expect("is waited for");
        replies.close();
        assert!(matches!(known.try_recv(), Ok(Err(SendError::Deadline))));
        assert!(matches!(pending.try_recv(), Ok(Err(SendError::Indeterminate))));
    }
}
