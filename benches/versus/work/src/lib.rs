//! Shared by all contenders: the messages, the check of what arrives, and the main loop of their processes.
//!
//! A contender has two roles, sender and receiver. It does not know rounds, tables or targets, and the parent process does
//! not know contenders. They exchange the lines that [`role`] describes.

mod clock;
mod contender;
mod inbox;
mod load;
pub mod role;
mod usage;

pub use clock::now;
pub use contender::{Contender, Environment, Failure, Receiver, Sender, Window, free_port};
pub use inbox::{Inbox, Received};
pub use load::Load;
pub use usage::{cpu_time, peak_rss, rss};
