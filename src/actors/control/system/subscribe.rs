//! How subscribers come and go.

use super::*;
use std::time::Duration;

/// The subscribers of this node, by topic. Each has a number that tells it from its predecessors.
#[derive(Default)]
pub(super) struct Subscriptions {
    by_topic: HashMap<Topic, (u64, Sink)>,
    last: u64,
}

impl Subscriptions {
    /// Adds the subscriber of a topic that has none, and returns its number.
    fn add(&mut self, topic: Topic, sink: Sink) -> u64 {
        self.last += 1;
        self.by_topic.insert(topic, (self.last, sink));
        self.last
    }

    fn is_current(&self, guard: &SubscriptionGuard) -> bool {
        self.by_topic.get(&guard.topic).is_some_and(|(number, _)| *number == guard.generation)
    }
}

impl LinerSystem {
    pub(super) fn add_handler(
        &mut self,
        ctx: &Context<Self>,
        topic: Topic,
        spec: SubscriberSpec,
        sink: Sink,
    ) -> Result<Subscription, SubscribeError> {
        if self.sink(&topic).is_some() {
            return Err(SubscribeError::AlreadySubscribed(topic));
        }
        let generation = self.subscriptions.add(topic.clone(), sink.clone());
        self.listener.do_send(SetHandler { topic: topic.clone(), handler: Some((spec, sink)) });
        let guard = SubscriptionGuard { topic, generation };
        Ok(Subscription { guard: Some(guard), system: ctx.address().recipient() })
    }

    pub(crate) fn remove_handler(&mut self, topic: &Topic) {
        if self.subscriptions.by_topic.remove(topic).is_some() {
            self.listener.do_send(SetHandler { topic: topic.clone(), handler: None });
        }
    }

    /// Returns the subscriber of a topic.
    pub(crate) fn sink(&self, topic: &Topic) -> Option<&Sink> {
        self.subscriptions.by_topic.get(topic).map(|(_, sink)| sink)
    }
}

fn spec(in_flight: u32, timeout: Option<Duration>, sink: &Sink) -> SubscriberSpec {
    SubscriberSpec { in_flight, timeout, borrows: matches!(sink, Sink::Callback(_)) }
}

impl Handler<Subscribe> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<Subscription, SubscribeError>>;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) -> Self::Result {
        let Subscribe { topic, sink, in_flight, timeout } = subscribe;
        let refuse = |error: SubscribeError| -> Self::Result { Box::pin(fut::ready(Err(error))) };
        let topic = match topic {
            Ok(topic) if topic == self.node.topic => return refuse(SubscribeError::SelfTopic(topic)),
            Ok(topic) if self.sink(&topic).is_some() => return refuse(SubscribeError::AlreadySubscribed(topic)),
            Ok(topic) if !self.node.is_closing() => topic,
            Ok(_) => return refuse(SubscribeError::Closed),
            Err(error) => return refuse(error.into()),
        };
        let node = self.node.clone();
        let publish = async move {
            let lease = node.config.timing.lease;
            let published = node.store.publish(&node.fence, &topic, &node.published, true, lease).await;
            (topic, published)
        };
        Box::pin(publish.into_actor(self).map(move |(topic, published), actor, ctx| {
            published.inspect_err(|error| actor.node.store_failed(error))?;
            let subscription = actor.add_handler(ctx, topic.clone(), spec(in_flight, timeout, &sink), sink)?;
            actor.announce(topic, true);
            Ok(subscription)
        }))
    }
}

impl Handler<Receive> for LinerSystem {
    type Result = Result<Subscription, SubscribeError>;

    fn handle(&mut self, Receive { sink, in_flight, timeout }: Receive, ctx: &mut Self::Context) -> Self::Result {
        if self.node.is_closing() {
            return Err(SubscribeError::Closed);
        }
        let topic = self.node.topic.clone();
        self.add_handler(ctx, topic, spec(in_flight, timeout, &sink), sink)
    }
}

impl Handler<Unsubscribe> for LinerSystem {
    type Result = ResponseActFuture<Self, Result<(), SubscribeError>>;

    fn handle(&mut self, Unsubscribe { topic }: Unsubscribe, _: &mut Self::Context) -> Self::Result {
        let topic = match topic {
            Ok(topic) if topic == self.node.topic => {
                return Box::pin(fut::ready(Err(SubscribeError::SelfTopic(topic))));
            }
            Ok(topic) => topic,
            Err(error) => return Box::pin(fut::ready(Err(error.into()))),
        };
        let node = self.node.clone();
        let unpublish = async move {
            let done = node.store.unpublish(&node.fence, &topic).await;
            (topic, done)
        };
        Box::pin(unpublish.into_actor(self).map(|(topic, done), actor, _| {
            done.inspect_err(|error| actor.node.store_failed(error))?;
            actor.remove_handler(&topic);
            actor.announce(topic, false);
            Ok(())
        }))
    }
}

impl Handler<SubscriptionGuard> for LinerSystem {
    type Result = ();

    fn handle(&mut self, guard: SubscriptionGuard, _: &mut Self::Context) {
        if self.subscriptions.is_current(&guard) {
            self.remove_handler(&guard.topic);
        }
    }
}
