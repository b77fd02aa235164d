//! The interface for Rust programs without actors: methods that block and return `bool`, like the C interface.

use crate::callbacks::StatusHandler;
use crate::client_state::ClientState;
use crate::error::{ErrorCode, Failure};
use crate::open::{Identity, StoreLocation, open};
use crate::sending::SendOptions;
use liner::Headers;
use parking_lot::Mutex;
use std::sync::Arc;

/// A callback for events: kind, topic, peer and message.
pub type StatusCallback = dyn FnMut(i32, &str, &str, &str) + Send;

/// A callback for messages: the topic addressed, the sender's own topic, and the data.
pub type ReceiveCallback = dyn FnMut(&str, &str, &[u8]) + Send;

/// A node of the mesh, for programs without actors.
///
/// Methods may be called on any thread. A method that fails returns `false` or `None`; [`Client::last_error`] then says why.
/// Dropping a client stops it and closes its store.
///
/// ```
/// use liner_broker::Client;
/// use std::sync::mpsc::channel;
///
/// let dir = tempfile::tempdir()?;
/// let file = dir.path().join("mesh.sqlite");
/// let file = file.to_str().ok_or("the path is not UTF-8")?;
/// let mut clock = Client::new_sqlite("clock-1", "clocks", "localhost:0", file, "").ok_or("no client")?;
/// let mut wall = Client::new_sqlite("wall-1", "walls", "localhost:0", file, "").ok_or("no client")?;
///
/// let (seen, times) = channel();
/// assert!(wall.run(move |to, from, data| seen.send(format!("{from} to {to}: {data:?}")).unwrap_or_default()));
/// assert!(clock.run(|_, _, _| {}));
/// assert!(clock.send_to("walls", b"12", true));
/// assert_eq!(times.recv()?, "clocks to walls: [49, 50]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Client {
    client: Arc<ClientState>,
    error: Mutex<(ErrorCode, String)>,
}

impl Client {
    fn create(identity: Identity<'_>, place: StoreLocation<'_>) -> Option<Client> {
        match open(identity, place) {
            Ok(client) => Some(Client { client, error: Mutex::default() }),
            Err(failure) => {
                crate::log::line(&format!("{}: {}", identity.name, failure.message));
                None
            }
        }
    }

    /// Creates a client on a Redis server. The same as [`Client::new_redis`].
    pub fn new(unique_name: &str, topic: &str, localhost: &str, redis_path: &str) -> Option<Client> {
        Self::new_redis(unique_name, topic, localhost, redis_path)
    }

    /// Creates a client on a Redis server: `redis://user:password@host:6379/0`.
    ///
    /// Returns `None` if a name is not valid or the store cannot be opened; the reason is logged. The same holds for the
    /// other constructors.
    pub fn new_redis(unique_name: &str, topic: &str, localhost: &str, redis_url: &str) -> Option<Client> {
        Self::create(Identity { name: unique_name, topic, listen: localhost }, StoreLocation::Redis(redis_url))
    }

    /// Creates a client on a SQLite file.
    ///
    /// `receivers_json` names peers that do not share the file: `[{"topic": …, "addr": …, "client_name": …}]`. It may be
    /// empty.
    pub fn new_sqlite(
        unique_name: &str,
        topic: &str,
        localhost: &str,
        sqlite_path: &str,
        receivers_json: &str,
    ) -> Option<Client> {
        let place = StoreLocation::Sqlite(sqlite_path, receivers_json);
        Self::create(Identity { name: unique_name, topic, listen: localhost }, place)
    }

    /// Creates a client on a PostgreSQL database: `postgresql://user:password@host:5432/database`.
    pub fn new_postgres(unique_name: &str, topic: &str, localhost: &str, postgres_url: &str) -> Option<Client> {
        Self::create(Identity { name: unique_name, topic, listen: localhost }, StoreLocation::Postgres(postgres_url))
    }

    fn done<T>(&self, result: Result<T, Failure>) -> Option<T> {
        let (error, value) = match result {
            Ok(value) => ((ErrorCode::Ok, String::new()), Some(value)),
            Err(failure) => {
                crate::log::line(&format!("{}: {}", self.client.node, failure.message));
                ((failure.code, failure.message), None)
            }
        };
        *self.error.lock() = error;
        value
    }

    /// Returns why the last call failed, or [`ErrorCode::Ok`].
    pub fn last_error(&self) -> ErrorCode {
        self.error.lock().0
    }

    /// Returns the message of the last error; empty if the last call succeeded.
    pub fn last_error_message(&self) -> String {
        self.error.lock().1.clone()
    }

    /// Starts the client.
    ///
    /// `receive` is called with the topic addressed, the sender's own topic and the data, on the client's callback thread,
    /// where it may block. If it panics, the message is not handled and is delivered again. Returns `true` at once if the
    /// client runs already.
    pub fn run(&mut self, mut receive: impl FnMut(&str, &str, &[u8]) + Send + 'static) -> bool {
        let callback = || -> Result<Box<crate::callbacks::ReceiveHandler>, Failure> {
            Ok(Box::new(move |delivery| {
                receive(delivery.topic().as_str(), delivery.reply_to().as_str(), &delivery.payload);
                Ok(())
            }))
        };
        self.done(self.client.run(callback)).is_some()
    }

    /// Stops the client. No callback runs after this returns.
    pub fn stop(&mut self) -> bool {
        self.client.stop();
        self.done(Ok(())).is_some()
    }

    /// Returns whether the client runs.
    pub fn is_running(&self) -> bool {
        self.client.is_running()
    }

    fn send(&self, topic: &str, data: &[u8], to_all: bool, at_least_once: bool) -> bool {
        let options = SendOptions { to_all, at_least_once, durability: None };
        self.done(self.client.send(topic, &Headers::EMPTY, data, options)).is_some()
    }

    /// Sends a message to one of the nodes that serve a topic, in turn.
    pub fn send_to(&self, topic: &str, data: &[u8], at_least_once_delivery: bool) -> bool {
        self.send(topic, data, false, at_least_once_delivery)
    }

    /// Sends a message to every node that serves a topic.
    pub fn send_all(&self, topic: &str, data: &[u8], at_least_once_delivery: bool) -> bool {
        self.send(topic, data, true, at_least_once_delivery)
    }

    /// Subscribes to a topic, until [`Client::unsubscribe`].
    pub fn subscribe(&self, topic: &str) -> bool {
        self.done(self.client.subscribe(topic)).is_some()
    }

    /// Unsubscribes from a topic. Messages that wait for this client stay with their senders.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        self.done(self.client.unsubscribe(topic)).is_some()
    }

    /// Reads the addresses of a topic from the store now. Returns `false` if it has none.
    pub fn refresh_address_topic(&self, topic: &str) -> bool {
        self.done(self.client.refresh(topic)).is_some()
    }

    /// Deletes the messages of this client that are not handled yet. Fails while the client runs.
    pub fn clear_stored_messages(&self) -> bool {
        self.done(self.client.clear_stored_messages()).is_some()
    }

    /// Deletes all addresses of the client's own topic, including those of other clients. Fails while the client runs.
    pub fn clear_addresses_of_topic(&self) -> bool {
        self.done(self.client.clear_addresses()).is_some()
    }

    /// Returns the addresses of a topic in the store: address and unique name.
    pub fn list_addresses(&self, topic: &str) -> Option<Vec<(String, String)>> {
        self.done(self.client.addresses(topic))
    }

    /// Returns the number of at-least-once messages that are not acked yet.
    pub fn pending_count(&self) -> Option<u64> {
        self.done(self.client.pending().map(|rows| rows.iter().map(|row| row.messages).sum()))
    }

    /// Returns the same by receiver and topic: address, topic, unique name and number.
    pub fn pending_by_peer(&self) -> Option<Vec<(String, String, String, u64)>> {
        let rows = self.done(self.client.pending())?;
        let row = |p: crate::admin::PendingRow| {
            (p.addr, p.lane.topic().to_string(), p.lane.receiver().to_string(), p.messages)
        };
        Some(rows.into_iter().map(row).collect())
    }

    /// Sets the address that is published instead of the one the client listens on; `None` or an empty string removes it.
    /// Fails while the client runs.
    pub fn set_advertise_addr(&mut self, addr: Option<&str>) -> bool {
        self.done(self.client.set_advertise(addr.filter(|addr| !addr.is_empty()))).is_some()
    }

    /// Returns the address set by [`Client::set_advertise_addr`].
    pub fn advertise_addr(&self) -> Option<String> {
        self.client.advertise()
    }

    /// Returns the address the client listens on, or listened on last.
    pub fn bound_listen_addr(&self) -> Option<String> {
        self.client.bound()
    }

    /// Returns the published address, or `None` while the client does not run.
    pub fn published_addr(&self) -> Option<String> {
        self.client.published()
    }

    /// Returns the unique name.
    pub fn unique_name(&self) -> &str {
        self.client.node.as_str()
    }

    /// Returns the client's own topic.
    pub fn topic(&self) -> &str {
        self.client.topic.as_str()
    }

    /// Sets the callback for events, or removes it. It is called with the kind (`LNR_…`), topic, peer and message.
    pub fn set_status_callback(&mut self, callback: Option<Box<StatusCallback>>) {
        let handler = |mut callback: Box<StatusCallback>| -> Box<StatusHandler> {
            Box::new(move |event| callback(event.kind, &event.topic, &event.peer, &event.message))
        };
        self.done(self.client.set_status(callback.map(handler)));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.client.delete();
    }
}
