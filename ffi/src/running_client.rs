//! A running client: its system, its callback queue and callback thread, and its publishers. Starting creates it, stopping
//! ends it.

use crate::callback_queue::CallbackQueue;
use crate::callbacks::{Callbacks, ReceiveHandler};
use crate::error::{ErrorCode, Failure};
use crate::publishers::Publishers;
use crate::settings;
use crate::status::Peers;
use crate::wait::{STORE_PATIENCE, ask, wait, wait_for};
use actix::Addr;
use liner::stores::SharedStore;
use liner::{
    Config, GetAddresses, Limits, LinerSystem, MeshEvent, NodeAddresses, NodeId, ObserveEvents, OnFull, Receive,
    Shutdown, Subscribe, SubscribeError, Topic,
};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long stopping waits for handlers and for the acks of connected peers.
const DRAIN: Duration = Duration::from_secs(5);

/// The topics a client has sent to, subscribed to or refreshed.
pub(crate) type RelatedTopics = Arc<Mutex<HashSet<Topic>>>;

/// What a client needs to run.
pub(crate) struct StartRequest {
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) topic: Topic,
    pub(crate) store: SharedStore,
    pub(crate) callbacks: Arc<Callbacks>,
    pub(crate) related: RelatedTopics,
    pub(crate) listen: String,
    pub(crate) advertise: Option<String>,
}

/// A running client. See the [module](self).
pub(crate) struct RunningClient {
    pub(crate) system: Addr<LinerSystem>,
    pub(crate) queue: Arc<CallbackQueue>,
    pub(crate) publishers: Publishers,
    pub(crate) addresses: NodeAddresses,
    /// The number of at-most-once messages that were dropped because the queue was full.
    pub(crate) dropped: AtomicU64,
    /// Whether a newer process has taken the name. The system then ends by itself.
    pub(crate) fenced: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Returns whether the operator allows only loopback addresses.
fn loopback_is_required() -> bool {
    std::env::var_os("LINER_REQUIRE_LOOPBACK").is_some_and(|value| value == "1")
}

fn config(request: &StartRequest) -> Config {
    let mut limits = Limits::default()
        .max_message(settings::max_message_size() as u64)
        .compress_threshold(settings::compress_threshold());
    let mut config = Config::custom(request.node.as_str(), request.topic.as_str(), request.store.clone())
        .listen(&request.listen)
        .allow_insecure_network(!loopback_is_required());
    if let Some(addr) = &request.advertise {
        config = config.advertise(addr);
    }
    if let Some(messages) = Some(settings::max_send_queue() as u64).filter(|n| *n > 0) {
        limits = limits.link_messages(messages).at_most_once_messages(messages);
        config = config.on_full(OnFull::Reject);
    }
    config.limits(limits)
}

/// Starts a system on a new thread, so that it uses no runtime of the caller and does not end with one.
fn spawn(config: Config) -> Result<Addr<LinerSystem>, Failure> {
    let failed = |why: String| Failure::new(ErrorCode::Startup, why);
    let start = move || wait_for(LinerSystem::spawn(config), None);
    let thread = std::thread::Builder::new().name("liner-start".to_owned()).spawn(start);
    let started = thread.map_err(|error| failed(error.to_string()))?.join();
    let started = started.map_err(|_| failed("the client panicked while it started".to_owned()))?;
    Ok(started.ok_or_else(|| failed("the client did not start".to_owned()))??)
}

impl RunningClient {
    /// Starts the client, which serves its own topic when this returns.
    pub(crate) fn start(request: &StartRequest) -> Result<Arc<RunningClient>, Failure> {
        let system = spawn(config(request))?;
        let queue = Arc::new(CallbackQueue::default());
        match Self::set_up(request, system.clone(), queue.clone()) {
            Ok(running) => Ok(Arc::new(running)),
            Err(failure) => {
                queue.close();
                let _ = wait_for(system.send(Shutdown::now()), Some(STORE_PATIENCE));
                Err(failure)
            }
        }
    }

    fn set_up(
        request: &StartRequest,
        system: Addr<LinerSystem>,
        queue: Arc<CallbackQueue>,
    ) -> Result<RunningClient, Failure> {
        let gone = || Failure::new(ErrorCode::Startup, "the client ended while it started");
        let fenced = Arc::new(AtomicBool::new(false));
        let observed = system.send(observer(request, queue.clone(), fenced.clone()));
        wait_for(observed, None).and_then(Result::ok).ok_or_else(gone)?;
        let addresses = wait_for(system.send(GetAddresses), None).and_then(Result::ok).ok_or_else(gone)?;
        warn_of_open_network(request, &addresses);
        let (publishers, dropped, thread) = (Publishers::default(), AtomicU64::new(0), Mutex::new(None));
        let running = RunningClient { system, queue, publishers, addresses, dropped, fenced, thread };
        let queue = running.queue.clone();
        let own = Receive::handoff(move |deliveries, reply| queue.put(deliveries, reply));
        ask(&running.system, own)?.detach();
        Ok(running)
    }

    /// Starts the callback thread.
    pub(crate) fn begin(&self, request: &StartRequest, receive: Box<ReceiveHandler>) -> Result<(), Failure> {
        let thread = self.queue.start(request.id, request.callbacks.clone(), receive);
        *self.thread.lock() = Some(thread.map_err(|error| Failure::new(ErrorCode::Startup, error))?);
        Ok(())
    }

    /// Subscribes to a topic, unless the client is subscribed already.
    pub(crate) fn subscribe(&self, topic: &Topic) -> Result<(), Failure> {
        let queue = self.queue.clone();
        let subscribe = Subscribe::handoff(topic, move |deliveries, reply| queue.put(deliveries, reply));
        let request = self.system.send(subscribe);
        wait(async move {
            match request.await {
                Ok(Ok(subscription)) => {
                    subscription.detach();
                    Ok(())
                }
                Ok(Err(SubscribeError::AlreadySubscribed(_))) => Ok(()),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(Failure::not_running()),
            }
        })
    }

    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::Acquire)
    }

    /// Ends the client. No callback runs after this returns. Must not be called inside a callback of the client.
    pub(crate) fn end(&self) {
        // The system begins to drain before the queue gives its batches back, so that it does not deliver them again.
        let shutdown = self.system.send(Shutdown::drain(DRAIN));
        self.queue.close();
        self.queue.wait_until_idle();
        match wait_for(shutdown, Some(DRAIN + 2 * STORE_PATIENCE)) {
            Some(Ok(Err(error))) if !self.is_fenced() => {
                crate::log::line(&format!("while the client stopped: {error}"))
            }
            None => crate::log::line("the client did not stop in time"),
            _ => {}
        }
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            crate::log::line("a callback thread panicked");
        }
    }
}

/// Returns an observer that queues events for the status callback.
fn observer(request: &StartRequest, queue: Arc<CallbackQueue>, fenced: Arc<AtomicBool>) -> ObserveEvents {
    let mut peers = Peers::new(request.node.clone());
    let (related, callbacks): (_, Arc<Callbacks>) = (request.related.clone(), request.callbacks.clone());
    ObserveEvents::new(move |event| {
        if matches!(event, MeshEvent::Fenced) {
            fenced.store(true, Ordering::Release);
        }
        let events = peers.take(event, |topic| related.lock().contains(topic));
        if callbacks.has_status() {
            events.into_iter().for_each(|event| queue.tell(event));
        }
    })
}

fn warn_of_open_network(request: &StartRequest, addresses: &NodeAddresses) {
    if !addresses.bound.ip().is_loopback() {
        let (name, bound) = (&request.node, addresses.bound);
        crate::log::line(&format!(
            "{name} listens on {bound}, which other machines can reach; connections are neither encrypted nor authenticated"
        ));
    }
}
