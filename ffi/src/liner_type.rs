//! [`Liner`]: a [`Client`] whose constructors panic.

use crate::client::{Client, ReceiveCallback};
use crate::error::ErrorCode;
use std::ops::{Deref, DerefMut};

/// A [`Client`] whose constructors panic instead of returning `None`. Everything else is as in [`Client`].
///
/// ```no_run
/// use liner_broker::Liner;
///
/// let mut client1 = Liner::new("client1", "topic_client1", "localhost:2255", "redis://localhost/");
/// let mut client2 = Liner::new("client2", "topic_client2", "localhost:2256", "redis://localhost/");
/// client1.run(Box::new(|_to, from, _data| println!("from {from}")));
/// client2.run(Box::new(|_to, from, _data| println!("from {from}")));
/// client1.send_to("topic_client2", &[0; 100], true);
/// ```
pub struct Liner(Client);

fn created(client: Option<Client>) -> Liner {
    Liner(client.expect("a client can be created; the log says why not"))
}

impl Liner {
    /// Creates a client on a Redis server.
    ///
    /// # Panics
    /// Panics if the client cannot be created.
    pub fn new(unique_name: &str, topic: &str, localhost: &str, redis_path: &str) -> Liner {
        created(Client::new_redis(unique_name, topic, localhost, redis_path))
    }

    /// Creates a client on a SQLite file.
    ///
    /// # Panics
    /// Panics if the client cannot be created.
    pub fn new_sqlite(
        unique_name: &str,
        topic: &str,
        localhost: &str,
        sqlite_path: &str,
        receivers_json: &str,
    ) -> Liner {
        created(Client::new_sqlite(unique_name, topic, localhost, sqlite_path, receivers_json))
    }

    /// Creates a client on a PostgreSQL database.
    ///
    /// # Panics
    /// Panics if the client cannot be created.
    pub fn new_postgres(unique_name: &str, topic: &str, localhost: &str, postgres_url: &str) -> Liner {
        created(Client::new_postgres(unique_name, topic, localhost, postgres_url))
    }

    /// See [`Client::run`].
    pub fn run(&mut self, receive: Box<ReceiveCallback>) -> bool {
        self.0.run(receive)
    }

    /// Returns [`Client::last_error`] as a number.
    pub fn last_error_code(&self) -> i32 {
        ErrorCode::as_i32(self.last_error())
    }

    /// Returns the version of the library.
    pub fn version() -> &'static str {
        crate::version()
    }

    /// Sets the maximum message size of the process, in bytes. Returns `false` for 0.
    pub fn set_max_message_size(bytes: usize) -> bool {
        crate::set_max_message_size(bytes)
    }

    /// Returns the maximum message size of the process, in bytes.
    pub fn max_message_size() -> usize {
        crate::max_message_size()
    }

    /// Sets the size above which messages are compressed, in bytes. Returns `false` for 0.
    pub fn set_compress_threshold(bytes: usize) -> bool {
        crate::set_compress_threshold(bytes)
    }

    /// Returns the size above which messages are compressed, in bytes.
    pub fn compress_threshold() -> usize {
        crate::compress_threshold()
    }

    /// Sets how many messages per receiver are held in memory; 0 for no limit.
    pub fn set_max_send_queue(messages: usize) -> bool {
        crate::set_max_send_queue(messages)
    }

    /// Returns how many messages per receiver are held in memory; 0 for no limit.
    pub fn max_send_queue() -> usize {
        crate::max_send_queue()
    }
}

impl Deref for Liner {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Liner {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}
