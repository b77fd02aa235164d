//! The subscribers of a session, by topic, and the feeders of former ones.

use crate::actors::messages::{Callback, Sink};
use crate::actors::receiving::subscriber::exchange::{FeederId, FeederReport, FeederStage, is_failure};
use crate::actors::receiving::subscriber::handle::SubscriberHandle;
use crate::actors::receiving::subscriber::replies::ReplyRun;
use crate::types::Topic;
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

    /// Returns the subscribers that are fed.
    pub(super) fn fed(&self) -> impl Iterator<Item = &SubscriberHandle> {
        self.by_topic.values().filter_map(|subscriber| match subscriber {
            Subscriber::Fed(handle) => Some(handle),
            Subscriber::Callback(_) => None,
        })
    }

    /// Returns whether no former subscriber of the topic has replies pending.
    pub(super) fn is_alone(&self, topic: &Topic) -> bool {
        self.retired.values().all(|retired| retired.topic != *topic)
    }

    /// Sets the subscriber of a topic. Messages that the feeder of the one before holds ready are handed over before any
    /// others.
    pub(super) fn set(&mut self, topic: &Topic, in_flight: u32, sink: Sink) -> Option<Pause> {
        let subscriber = match sink {
            Sink::Callback(callback) => Subscriber::Callback(callback),
            Sink::Fed(sink) => {
                Subscriber::Fed(SubscriberHandle::new(self.next_id(), in_flight, sink, self.session.clone()))
            }
        };
        let before = self.by_topic.insert(topic.clone(), subscriber);
        self.retire(topic, before)
    }

    /// Removes the subscriber of a topic.
    pub(super) fn remove(&mut self, topic: &Topic) -> Option<Pause> {
        let before = self.by_topic.remove(topic);
        self.retire(topic, before)
    }

    /// Handles that the feeder of a topic has ended, before its report of that.
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
        let RetiredFeeder { topic, .. } = self.retired.remove(&feeder)?;
        let is_paused = self.retired.values().any(|retired| retired.topic == topic && !retired.gave_back);
        if stage == FeederStage::GivenBack {
            self.retired.insert(feeder, RetiredFeeder { topic: topic.clone(), gave_back: true });
        }
        Some(Pause { topic, is_paused })
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
        handle.is_fed().then(|| {
            self.retired.insert(handle.feeder, RetiredFeeder { topic: topic.clone(), gave_back: false });
            Pause { topic: topic.clone(), is_paused: true }
        })
    }

    fn next_id(&mut self) -> FeederId {
        self.last.0 += 1;
        self.last
    }
}
