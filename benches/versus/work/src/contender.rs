//! What a contender implements.

use crate::{Inbox, Load};
use std::collections::VecDeque;
use std::error::Error;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// Why something cannot go on.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Where a contender runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// A directory that sender and receiver share, empty at the start.
    pub dir: PathBuf,
    /// The address of the server it asked for.
    pub server: Option<String>,
}

/// A way to move messages from one process to another.
pub trait Contender {
    /// Returns how many receivers each message goes to. All are in one process and share the inbox.
    fn receivers(&self) -> usize {
        1
    }

    /// Starts to receive, in the background.
    ///
    /// # Errors
    /// When it cannot.
    fn receive(&self, place: &Place, inbox: Arc<Inbox>) -> Result<Box<dyn Receiver>, Failure>;

    /// Connects to the receiver, whose [`Receiver::address`] is `peer`.
    ///
    /// # Errors
    /// When it cannot.
    fn send(&self, place: &Place, peer: &str) -> Result<Box<dyn Sender>, Failure>;
}

/// A running receiver. Receives until it is dropped, or its process ends.
pub trait Receiver {
    /// What the sender needs to know; one word.
    fn address(&self) -> String;
}

/// A connected sender.
pub trait Sender {
    /// Sends a burst. Returns when every message is accepted at the level this contender promises.
    ///
    /// # Errors
    /// When a message is refused.
    fn send(&mut self, load: &Load) -> Result<(), Failure>;

    /// Waits until nothing of the burst is kept for repetition any more. The burst ends not before this.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// What was sent and is not accepted yet, oldest first: the same number of messages for every contender that waits for
/// an acceptance.
pub struct Window<T>(VecDeque<T>);

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window(VecDeque::with_capacity(Self::SIZE))
    }
}

impl<T> Window<T> {
    /// Messages that may wait for their acceptance.
    pub const SIZE: usize = 1024;

    /// Puts `item` in; the oldest comes out when there is no room for it otherwise.
    pub fn push(&mut self, item: T) -> Option<T> {
        let oldest = if self.0.len() == Self::SIZE { self.0.pop_front() } else { None };
        self.0.push_back(item);
        oldest
    }

    /// All that is left.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.0.drain(..)
    }
}

/// A port of the loopback interface that nobody uses now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
