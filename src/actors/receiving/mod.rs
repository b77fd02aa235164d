//! Receiving: from a connection to the subscriber. The Listener accepts connections, a Session per peer feeds what
//! arrives to the receiving machine, and subscribers get their messages and return their acks.
//!
//! ```text
//!  read loop ──Arrived──▶ Session::handle_frame ─┬─ callback: called at once, its result goes back to the machine
//!                                                └─ others: SubscriberHandle ──▶ Feeder ──▶ Outlet ──▶ subscriber
//!  write loop ◀── acks ── Inbound ◀── take_reply ◀── FeederReport ◀── PendingReplies ◀───────────────────┘
//! ```

pub(crate) mod listener;
pub(crate) mod session;
pub(crate) mod subscriber;
