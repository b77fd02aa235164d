//! The publishers of a running client, one per topic and mode. With a publisher, a send uses no actor, no store and no
//! contended lock.

use crate::error::Failure;
use crate::wait::{STORE_PATIENCE, ask, wait_for};
use actix::Addr;
use arc_swap::ArcSwap;
use liner::{Durability, GetPublisher, Headers, LinerSystem, Mode, OnFull, Publisher, SendError, Topic};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How long a send waits for a connection that is behind. A sender that is faster than its connection is slowed down a
/// little, so that not every message has to go through the store.
const PACE: Duration = Duration::from_millis(20);
/// How long sends do not wait after one waited in vain, so that a peer that has stopped does not slow its senders down.
const UNPACED: Duration = Duration::from_secs(1);

/// The publishers of one topic, by mode.
#[derive(Default)]
struct TopicPublishers {
    modes: [OnceLock<Publisher>; 4],
    /// Sends do not wait for the connection before this time.
    unpaced_until: Mutex<Option<Instant>>,
}

/// The publishers of a running client, by topic.
#[derive(Default)]
pub(crate) struct Publishers {
    topics: ArcSwap<HashMap<Box<str>, Arc<TopicPublishers>>>,
}

fn index(mode: Mode) -> usize {
    match mode {
        Mode::AtMostOnce => 0,
        Mode::AtLeastOnce(Durability::WriteBehind) => 1,
        Mode::AtLeastOnce(Durability::Committed) => 2,
        Mode::AtLeastOnce(Durability::Synced) => 3,
    }
}

impl Publishers {
    /// Sends a message to one node of a topic. Calls `first` with a topic that is used for the first time.
    pub(crate) fn send(
        &self,
        system: &Addr<LinerSystem>,
        topic: &str,
        mode: Mode,
        (headers, payload): (&Headers, &[u8]),
        first: impl FnOnce(&Topic),
    ) -> Result<(), Failure> {
        let topics = self.topics.load();
        let known = topics.get(topic).and_then(|publishers| Some((publishers, publishers.modes[index(mode)].get()?)));
        if let Some((publishers, publisher)) = known {
            return send(publishers, publisher, headers, payload);
        }
        drop(topics);
        let topic = Topic::new(topic)?;
        first(&topic);
        let (publishers, publisher) = self.open(system, &topic, mode)?;
        send(&publishers, &publisher, headers, payload)
    }

    fn open(
        &self,
        system: &Addr<LinerSystem>,
        topic: &Topic,
        mode: Mode,
    ) -> Result<(Arc<TopicPublishers>, Publisher), Failure> {
        let publisher = ask(system, request(topic, mode))?;
        self.topics.rcu(|topics| {
            let mut topics = HashMap::clone(topics);
            topics.entry(topic.as_str().into()).or_default();
            topics
        });
        let publishers = self.topics.load().get(topic.as_str()).cloned().unwrap_or_default();
        Ok((publishers.clone(), publishers.modes[index(mode)].get_or_init(|| publisher).clone()))
    }
}

fn request(topic: &Topic, mode: Mode) -> GetPublisher {
    match mode {
        // It never waits.
        Mode::AtMostOnce => GetPublisher::new(topic).at_most_once().on_full(OnFull::Reject),
        Mode::AtLeastOnce(durability) => GetPublisher::new(topic).durability(durability),
    }
}

fn send(publishers: &TopicPublishers, publisher: &Publisher, headers: &Headers, payload: &[u8]) -> Result<(), Failure> {
    let mut sending = publisher.send_with(headers, payload);
    if let Poll::Ready(result) = Pin::new(&mut sending).poll(&mut Context::from_waker(Waker::noop())) {
        return Ok(result.map(drop)?);
    }
    if !sending.is_accepted() {
        // The send has a deadline of its own; this one is for a system that ends without a reply.
        let result = wait_for(sending, Some(2 * STORE_PATIENCE)).unwrap_or(Err(SendError::Indeterminate));
        return Ok(result.map(drop)?);
    }
    if publishers.unpaced_until.lock().is_none_or(|until| until <= Instant::now()) {
        let caught_up = wait_for(sending, Some(PACE)).is_some();
        *publishers.unpaced_until.lock() = (!caught_up).then(|| Instant::now() + UNPACED);
    }
    Ok(())
}
