//! The traits that a contender implements.

use crate::{Inbox, Load};
use std::collections::VecDeque;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// An error of a contender or of the comparison.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The directory and server of a measurement.
#[derive(Debug, Clone)]
pub struct Environment {
    /// A directory that sender and receiver share, empty at the start.
    pub dir: PathBuf,
    /// The address of the server that the row needs.
    pub server: Option<String>,
}

/// A messaging system, as a sender and a receiver.
pub trait Contender {
    /// Returns how many receivers each message goes to. All are in one process and share the inbox.
    fn receivers(&self) -> usize {
        1
    }

    /// Starts to receive, in the background.
    ///
    /// # Errors
    /// Fails if the receiver cannot start.
    fn receive(&self, environment: &Environment, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure>;

    /// Connects to the receiver, whose [`Receiver::address`] is `peer`.
    ///
    /// # Errors
    /// Fails if there is no connection.
    fn send(&self, environment: &Environment, peer: &str) -> Result<Box<dyn Sender>, Failure>;
}

/// A running receiver. Receives until it is dropped, or its process ends.
pub trait Receiver {
    /// Returns what the sender needs to connect, as one word.
    fn address(&self) -> String;
}

/// A connected sender.
pub trait Sender {
    /// Sends a burst. Returns when every message is accepted.
    ///
    /// # Errors
    /// Fails if a message is refused.
    fn send(&mut self, load: &Load) -> Result<(), Failure>;

    /// Waits until the sender keeps no message of the burst for repetition. The burst does not end before.
    ///
    /// # Errors
    /// Fails if that cannot be determined.
    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// Messages that were sent and are not accepted yet, oldest first. Its size is the same for all contenders.
pub struct Window<T>(VecDeque<T>);

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window(VecDeque::with_capacity(Self::SIZE))
    }
}

impl<T> Window<T> {
    /// Limit of the messages that wait to be accepted.
    pub const SIZE: usize = 1024;

    /// Adds `item`. Returns the oldest item if the window was full.
    pub fn push(&mut self, item: T) -> Option<T> {
        let oldest = if self.0.len() == Self::SIZE { self.0.pop_front() } else { None };
        self.0.push_back(item);
        oldest
    }

    /// Removes and returns all items.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..)
    }
}

/// Returns a free port of the loopback interface.
///
/// # Errors
/// Fails if there is none.
pub fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
