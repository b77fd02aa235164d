//! The state of a client: its identity, its store, and whether it runs. The C and the Rust interface share it.

use crate::callbacks::{Callbacks, ReceiveHandler, StatusHandler};
use crate::deadlock::permit_to_wait_for;
use crate::error::{ErrorCode, Failure};
use crate::running_client::{RelatedTopics, RunningClient, StartRequest};
use crate::wait::{STORE_PATIENCE, ask, wait_for};
use arc_swap::{ArcSwapOption, Guard};
use liner::stores::SharedStore;
use liner::{Durability, NodeId, Topic, WatchTopic};
use parking_lot::{Condvar, Mutex};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// The phase of a client.
enum Phase {
    Idle,
    /// A thread is starting it.
    Starting,
    Running(Arc<RunningClient>),
    /// A thread is stopping it.
    Stopping,
}

/// The state of a client. See the [module](self).
pub(crate) struct ClientState {
    /// Identifies the client within this process.
    pub(crate) id: u64,
    pub(crate) node: NodeId,
    pub(crate) topic: Topic,
    pub(crate) store: SharedStore,
    pub(crate) callbacks: Arc<Callbacks>,
    /// The subscriptions, which last over stops and starts. The lock is held while a subscription changes.
    pub(crate) subscriptions: Mutex<BTreeSet<Topic>>,
    pub(crate) related: RelatedTopics,
    listen: String,
    advertise: Mutex<Option<String>>,
    /// The address the client listens on, or listened on last.
    bound: Mutex<Option<String>>,
    phase: Mutex<Phase>,
    phase_changed: Condvar,
    /// The same as in `phase`, readable without the lock.
    running: ArcSwapOption<RunningClient>,
    durability: AtomicU8,
    /// Whether the client was deleted. Its store is closed once it has stopped.
    deleted: AtomicBool,
}

/// The next number. Numbers are as wide as a pointer, because they serve as handles, and start high, so that a small integer
/// or an offset from NULL is never a handle by mistake.
static NEXT_ID: AtomicUsize = AtomicUsize::new((usize::MAX / 3) & !0xffff);

/// The levels of durability and their numbers in the C interface.
const LEVELS: [(u8, Durability); 3] =
    [(1, Durability::WriteBehind), (2, Durability::Committed), (3, Durability::Synced)];

/// Returns the level with this number.
pub(crate) fn level(number: i32) -> Option<Durability> {
    LEVELS.iter().find(|(of, _)| i32::from(*of) == number).map(|(_, durability)| *durability)
}

impl ClientState {
    pub(crate) fn new(node: NodeId, topic: Topic, listen: &str, store: SharedStore) -> Self {
        ClientState {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed) as u64,
            node,
            topic,
            store,
            callbacks: Arc::default(),
            subscriptions: Mutex::default(),
            related: RelatedTopics::default(),
            listen: listen.to_owned(),
            advertise: Mutex::default(),
            bound: Mutex::default(),
            phase: Mutex::new(Phase::Idle),
            phase_changed: Condvar::new(),
            running: ArcSwapOption::empty(),
            durability: AtomicU8::new(LEVELS[0].0),
            deleted: AtomicBool::new(false),
        }
    }

    // ---- running ----

    /// Returns the running client, or an error if the client does not run.
    pub(crate) fn running(&self) -> Result<Arc<RunningClient>, Failure> {
        Guard::into_inner(self.look()).filter(|running| !running.is_fenced()).ok_or_else(Failure::not_running)
    }

    /// Returns the running client without counting a reference, for sends.
    pub(crate) fn look(&self) -> Guard<Option<Arc<RunningClient>>> {
        self.running.load()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.look().as_ref().is_some_and(|running| !running.is_fenced())
    }

    fn set_phase(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.phase_changed.notify_all();
    }

    /// Starts the client, unless it runs already. `receive` creates the receive callback.
    pub(crate) fn run(
        self: &Arc<Self>,
        receive: impl FnOnce() -> Result<Box<ReceiveHandler>, Failure>,
    ) -> Result<(), Failure> {
        let mut phase = self.phase.lock();
        loop {
            match &*phase {
                Phase::Idle => break,
                Phase::Running(running) if !running.is_fenced() => return Ok(()),
                Phase::Running(_) => {
                    drop(phase);
                    self.stop();
                    phase = self.phase.lock();
                }
                Phase::Starting => self.phase_changed.wait(&mut phase),
                Phase::Stopping => {
                    let busy = || Failure::new(ErrorCode::Busy, "the client is stopping and waits for this callback");
                    let _permit = permit_to_wait_for(self.id).ok_or_else(busy)?;
                    self.phase_changed.wait(&mut phase);
                }
            }
        }
        let receive = receive()?;
        *phase = Phase::Starting;
        drop(phase);
        let request = self.start_request();
        let running = RunningClient::start(&request).inspect_err(|_| self.set_phase(Phase::Idle))?;
        *self.bound.lock() = Some(running.addresses.bound.to_string());
        self.running.store(Some(running.clone()));
        self.set_phase(Phase::Running(running.clone()));
        // Callbacks start last, so that the first one finds the client running.
        let begun =
            self.serve(&running).and_then(|()| self.watch_related()).and_then(|()| running.begin(&request, receive));
        begun.inspect_err(|_| self.stop())
    }

    fn start_request(&self) -> StartRequest {
        StartRequest {
            id: self.id,
            node: self.node.clone(),
            topic: self.topic.clone(),
            store: self.store.clone(),
            callbacks: self.callbacks.clone(),
            related: self.related.clone(),
            listen: self.listen(),
            advertise: self.advertise(),
        }
    }

    /// Sets the status callback, or removes it.
    pub(crate) fn set_status(&self, callback: Option<Box<StatusHandler>>) -> Result<(), Failure> {
        self.callbacks.set_status(callback);
        self.watch_related()
    }

    /// Watches the related topics, if there is a status callback. Topics that the client sends to are watched anyway; a client
    /// that only receives would otherwise not read the catalogue.
    fn watch_related(&self) -> Result<(), Failure> {
        let related = self.related.lock().clone();
        related.iter().try_for_each(|topic| self.watch(topic))
    }

    /// Watches a topic, if there is a status callback.
    pub(crate) fn watch(&self, topic: &Topic) -> Result<(), Failure> {
        match self.running() {
            Ok(running) if self.callbacks.has_status() => ask(&running.system, WatchTopic::new(topic)),
            _ => Ok(()),
        }
    }

    /// Subscribes the running client to the topics of the client.
    fn serve(&self, running: &RunningClient) -> Result<(), Failure> {
        // The lock is held, so that no subscription changes meanwhile.
        let subscriptions = self.subscriptions.lock();
        subscriptions.iter().try_for_each(|topic| running.subscribe(topic))
    }

    /// Stops the client, if it runs. Waits for its callback, unless that callback waits for the current thread.
    pub(crate) fn stop(self: &Arc<Self>) {
        let mut phase = self.phase.lock();
        let running = loop {
            match &*phase {
                Phase::Idle => return,
                Phase::Starting => self.phase_changed.wait(&mut phase),
                Phase::Running(running) => break running.clone(),
                Phase::Stopping => {
                    let Some(_permit) = permit_to_wait_for(self.id) else { return };
                    self.phase_changed.wait(&mut phase);
                }
            }
        };
        *phase = Phase::Stopping;
        drop(phase);
        self.running.store(None);
        match permit_to_wait_for(self.id) {
            Some(_permit) => self.end(&running),
            None => {
                running.queue.close();
                let core = self.clone();
                let end = std::thread::Builder::new().name("liner-stop".to_owned()).spawn(move || core.end(&running));
                if let Err(error) = end {
                    crate::log::line(&format!("{}: cannot stop without a thread: {error}", self.node));
                }
            }
        }
    }

    fn end(&self, running: &RunningClient) {
        running.end();
        self.set_phase(Phase::Idle);
        if self.deleted.load(Ordering::SeqCst) {
            self.close();
        }
    }

    /// Stops the client for good and closes its store. Waits as [`ClientState::stop`] does.
    pub(crate) fn delete(self: &Arc<Self>) {
        self.deleted.store(true, Ordering::SeqCst);
        self.stop();
        // Inside a callback the client is not idle yet: the thread that stops it then closes the store.
        let idle = matches!(*self.phase.lock(), Phase::Idle);
        if idle {
            self.close();
        }
    }

    fn close(&self) {
        if wait_for(self.store.end(), Some(STORE_PATIENCE)).is_none() {
            crate::log::line(&format!("{}: the store could not be closed in time", self.node));
        }
    }

    /// Runs `what` while the client cannot start. Fails with `code` if the client runs.
    pub(crate) fn while_idle<T>(
        &self,
        code: ErrorCode,
        what: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut phase = self.phase.lock();
        loop {
            match &*phase {
                Phase::Idle => break,
                Phase::Running(_) => return Err(Failure::new(code, "the client is running")),
                Phase::Starting => self.phase_changed.wait(&mut phase),
                Phase::Stopping => {
                    let running = || Failure::new(code, "the client is stopping and waits for this callback");
                    let _permit = permit_to_wait_for(self.id).ok_or_else(running)?;
                    self.phase_changed.wait(&mut phase);
                }
            }
        }
        what()
    }

    // ---- settings and addresses ----

    /// Returns the address to listen on. `localhost` is the IPv4 address, as peers and operators expect.
    pub(crate) fn listen(&self) -> String {
        match self.listen.rsplit_once(':') {
            Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
            _ => self.listen.clone(),
        }
    }

    /// Sets the address to publish; `None` removes it.
    pub(crate) fn set_advertise(&self, addr: Option<&str>) -> Result<(), Failure> {
        self.while_idle(ErrorCode::AlreadyRunning, || {
            let invalid = || Failure::argument("the address is not host:port");
            if let Some(addr) = addr {
                let (host, port) = addr.rsplit_once(':').ok_or_else(invalid)?;
                if host.is_empty() || port.parse::<u16>().is_err() {
                    return Err(invalid());
                }
            }
            *self.advertise.lock() = addr.map(str::to_owned);
            Ok(())
        })
    }

    pub(crate) fn advertise(&self) -> Option<String> {
        self.advertise.lock().clone()
    }

    pub(crate) fn bound(&self) -> Option<String> {
        self.bound.lock().clone()
    }

    pub(crate) fn published(&self) -> Option<String> {
        self.running().ok().map(|running| running.addresses.published.clone())
    }

    pub(crate) fn set_durability(&self, number: i32) -> Result<(), Failure> {
        let (number, _) = LEVELS
            .iter()
            .find(|(of, _)| i32::from(*of) == number)
            .ok_or_else(|| Failure::argument("not a level of durability"))?;
        self.durability.store(*number, Ordering::Relaxed);
        Ok(())
    }

    /// Returns the number of the current level of durability.
    pub(crate) fn durability(&self) -> i32 {
        self.durability.load(Ordering::Relaxed).into()
    }
}
