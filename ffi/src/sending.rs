//! Sending and subscribing.

use crate::client_state::{ClientState, level};
use crate::error::{ErrorCode, Failure};
use crate::settings;
use crate::status::{LNR_SENDER_BUSY, event};
use crate::wait::{ask, wait};
use bytes::Bytes;
use liner::{Durability, Headers, Mode, RefreshAddresses, SendAll, Topic, Unsubscribe};
use std::sync::atomic::Ordering;

/// Options of a send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SendOptions {
    pub(crate) to_all: bool,
    pub(crate) at_least_once: bool,
    /// `None` for the client's level.
    pub(crate) durability: Option<Durability>,
}

impl ClientState {
    fn mode(&self, options: SendOptions) -> Mode {
        let durability = || options.durability.or_else(|| level(self.durability())).unwrap_or(Durability::WriteBehind);
        if options.at_least_once { Mode::AtLeastOnce(durability()) } else { Mode::AtMostOnce }
    }

    /// Sends a message.
    pub(crate) fn send(
        &self,
        topic: &str,
        headers: &Headers,
        payload: &[u8],
        options: SendOptions,
    ) -> Result<(), Failure> {
        let look = self.look();
        let running = look.as_ref().filter(|running| !running.is_fenced()).ok_or_else(Failure::not_running)?;
        if topic == self.topic.as_str() {
            return Err(Failure::new(ErrorCode::SelfTopic, "the topic is the client's own"));
        }
        if payload.is_empty() {
            return Err(Failure::argument("the message is empty"));
        }
        let (size, max) = (payload.len() + headers.encoded().len(), settings::max_message_size());
        if size > max {
            return Err(Failure::argument(format_args!("message of {size} bytes, at most {max} are allowed")));
        }
        let mode = self.mode(options);
        let sent = if options.to_all {
            let topic = Topic::new(topic)?;
            self.relate(&topic);
            let all = SendAll::new(&topic, Bytes::copy_from_slice(payload)).headers(headers.clone());
            let all = match mode {
                // An at-most-once send never waits.
                Mode::AtMostOnce => all.at_most_once().on_full(liner::OnFull::Reject),
                Mode::AtLeastOnce(durability) => all.durability(durability),
            };
            ask(&running.system, all).map(drop)
        } else {
            running.publishers.send(&running.system, topic, mode, (headers, payload), |topic| self.relate(topic))
        };
        match sent {
            Err(failure) if failure.code == ErrorCode::Busy => {
                if mode == Mode::AtMostOnce && settings::max_send_queue() == 0 {
                    running.dropped.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                if self.callbacks.has_status() {
                    running.queue.tell(event(LNR_SENDER_BUSY, topic, "", &failure.message));
                }
                Err(failure)
            }
            sent => sent,
        }
    }

    // ---- topics ----

    /// Reports events about the peers of this topic from now on.
    fn relate(&self, topic: &Topic) {
        self.related.lock().insert(topic.clone());
    }

    fn other_topic(&self, topic: &str) -> Result<Topic, Failure> {
        if topic == self.topic.as_str() {
            return Err(Failure::new(ErrorCode::SelfTopic, "the topic is the client's own"));
        }
        Ok(Topic::new(topic)?)
    }

    /// Subscribes to a topic. If the client does not run, the subscription takes effect when it starts.
    pub(crate) fn subscribe(&self, topic: &str) -> Result<(), Failure> {
        let topic = self.other_topic(topic)?;
        self.relate(&topic);
        let mut subscriptions = self.subscriptions.lock();
        if self.look().is_some() {
            let running = self.running()?;
            running.subscribe(&topic)?;
            self.watch(&topic)?;
        }
        subscriptions.insert(topic);
        Ok(())
    }

    /// Unsubscribes from a topic.
    pub(crate) fn unsubscribe(&self, topic: &str) -> Result<(), Failure> {
        let topic = self.other_topic(topic)?;
        let mut subscriptions = self.subscriptions.lock();
        match self.running() {
            Ok(running) => ask(&running.system, Unsubscribe::new(&topic))?,
            Err(_) => wait(self.store.unpublish(&self.fence()?, &topic))?,
        }
        subscriptions.remove(&topic);
        Ok(())
    }

    /// Reads the addresses of a topic from the store.
    pub(crate) fn refresh(&self, topic: &str) -> Result<(), Failure> {
        let topic = Topic::new(topic)?;
        self.relate(&topic);
        match self.running() {
            Ok(running) => drop(ask(&running.system, RefreshAddresses::new(&topic))?),
            Err(_) if wait(self.store.topic(&topic))?.routes.is_empty() => {
                return Err(Failure::new(ErrorCode::NoAddr, format_args!("no node serves {topic}")));
            }
            Err(_) => {}
        }
        Ok(())
    }
}
