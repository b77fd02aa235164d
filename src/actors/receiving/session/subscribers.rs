//! The subscribers of a session, by topic, and the feeders of former ones.

use crate::actors::messages::{Callback, Sink};
use crate::actors::receiving::subscriber::exchange::{FeederId, FeederReport, FeederStage, is_failure};
use crate::actors::receiving::subscriber::handle::SubscriberHandle;
use crate::actors::receiving::subscriber::replies::{DeliveryTag, ReplyRun};
use crate::types::Topic;
use crate::wire::inbound::{LaneSlot, SubscriberSpec};
use actix::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// The subscriber of a topic, as the session reaches it.
pub(super) enum Subscriber {
    Callback(Arc<Callback>),
    Fed(SubscriberHandle),
}

/// A feeder that is given no more messages, with replies pending.
struct RetiredFeeder {
    topic: Topic,
    handle: SubscriberHandle,
    /// Whether the messages held ready have been returned.
    gave_back: bool,
}

/// See the [module](self).
pub(super) struct Subscribers {
    by_topic: HashMap<Topic, Subscriber>,
    retired: HashMap<FeederId, RetiredFeeder>,
    last: FeederId,
    /// The session, as the recipient of reports.
    session: Recipient<FeederReport>,
}

/// The consequence of a change: hand-over of a topic is paused, or resumed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) topic: Topic,
    pub(super) is_paused: bool,
}

impl Subscribers {
    pub(super) fn new(session: Recipient<FeederReport>) -> Self {
        Subscribers { by_topic: HashMap::new(), retired: HashMap::new(), last: FeederId(0), session }
    }

    pub(super) fn get(&self, topic: &Topic) -> Option<&Subscriber> {
        self.by_topic.get(topic)
    }

    pub(super) fn get_mut(&mut self, topic: &Topic) -> Option<&mut Subscriber> {
        self.by_topic.get_mut(topic)
    }

    /// Returns the subscribers that are fed now.
    pub(super) fn fed(&self) -> impl Iterator<Item = &SubscriberHandle> {
        self.by_topic.values().filter_map(|subscriber| match subscriber {
            Subscriber::Fed(handle) => Some(handle),
            Subscriber::Callback(_) => None,
        })
    }

    /// Stops waiting for the reply to a hand-over of a topic.
    pub(super) fn forget(&self, topic: &Topic, slot: LaneSlot, tag: DeliveryTag) {
        if let Some(Subscriber::Fed(handle)) = self.by_topic.get(topic) {
            handle.forget(slot, tag);
        }
        let retired = self.retired.values().filter(|retired| retired.topic == *topic);
        retired.for_each(|retired| retired.handle.forget(slot, tag));
    }

    /// Drops everything that is not handled: the session has ended.
    pub(super) fn abandon(&self) {
        let retired = self.retired.values().map(|retired| &retired.handle);
        self.fed().chain(retired).for_each(SubscriberHandle::abandon);
    }

    /// Returns whether no retired feeder of the topic has replies pending.
    pub(super) fn has_no_retired(&self, topic: &Topic) -> bool {
        self.retired.values().all(|retired| retired.topic != *topic)
    }

    /// Returns whether hand-over of the topic is paused, until a former feeder has returned what it holds ready.
    pub(super) fn is_paused(&self, topic: &Topic) -> bool {
        self.retired.values().any(|retired| retired.topic == *topic && !retired.gave_back)
    }

    /// Sets the subscriber of a topic. Messages that the feeder of the one before holds ready are handed over before any
    /// others.
    pub(super) fn set(&mut self, topic: &Topic, spec: SubscriberSpec, sink: Sink) -> Option<Pause> {
        let subscriber = match sink {
            Sink::Callback(callback) => Subscriber::Callback(callback),
            Sink::Fed(sink) => Subscriber::Fed(SubscriberHandle::new(self.next_id(), spec, sink, self.session.clone())),
        };
        let before = self.by_topic.insert(topic.clone(), subscriber);
        self.retire(topic, before)
    }

    /// Removes the subscriber of a topic.
    pub(super) fn remove(&mut self, topic: &Topic) -> Option<Pause> {
        let before = self.by_topic.remove(topic);
        self.retire(topic, before)
    }

    /// Handles that the feeder of a topic has ended and has not reported it yet.
    pub(super) fn feeder_lost(&mut self, topic: &Topic) -> Option<Pause> {
        let before = self.replace_feeder(topic);
        self.retire(topic, before)
    }

    /// Handles the report of a feeder.
    pub(super) fn report(&mut self, feeder: FeederId, replies: &[ReplyRun], stage: FeederStage) -> Option<Pause> {
        let current = self.by_topic.iter_mut().find_map(|(topic, subscriber)| match subscriber {
            Subscriber::Fed(handle) if handle.feeder == feeder => Some((topic, handle)),
            _ => None,
        });
        if let Some((topic, handle)) = current {
            replies.iter().filter(|reply| is_failure(&reply.disposition)).for_each(|reply| handle.failed(reply.slot));
            if stage == FeederStage::Ended {
                let topic = topic.clone();
                self.replace_feeder(&topic);
            }
            return None;
        }
        if stage == FeederStage::Feeding {
            return None;
        }
        let retired = self.retired.get_mut(&feeder)?;
        retired.gave_back = true;
        let topic = retired.topic.clone();
        if stage == FeederStage::Ended {
            self.retired.remove(&feeder);
        }
        Some(Pause { is_paused: self.is_paused(&topic), topic })
    }

    /// Has the next messages of a topic handed over by a new feeder, on the arbiter of the session.
    fn replace_feeder(&mut self, topic: &Topic) -> Option<Subscriber> {
        let id = self.next_id();
        let subscriber = self.by_topic.get_mut(topic)?;
        let Subscriber::Fed(handle) = subscriber else { return None };
        let moved = Subscriber::Fed(handle.moved(id));
        Some(std::mem::replace(subscriber, moved))
    }

    fn retire(&mut self, topic: &Topic, subscriber: Option<Subscriber>) -> Option<Pause> {
        let Some(Subscriber::Fed(handle)) = subscriber else { return None };
        if !handle.has_feeder() {
            return None;
        }
        handle.retire();
        let topic = topic.clone();
        self.retired.insert(handle.feeder, RetiredFeeder { topic: topic.clone(), handle, gave_back: false });
        Some(Pause { topic, is_paused: true })
    }

    fn next_id(&mut self) -> FeederId {
        self.last.0 += 1;
        self.last
    }
}
