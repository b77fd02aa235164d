//! What every contender is given: the messages, the receiver's check, and the life of the process it runs in.
//!
//! A contender is two roles, a sender and a receiver. It knows nothing of rounds, tables or targets; the parent process
//! knows nothing of any contender. Between them are the lines of [`role`].

mod clock;
mod contender;
mod inbox;
mod load;
mod memory;
pub mod role;

pub use clock::now;
pub use contender::{Contender, Failure, Place, Receiver, Sender, Window, free_port};
pub use inbox::{Inbox, Taken};
pub use load::Load;
pub use memory::{cpu_time, peak_rss, rss};
