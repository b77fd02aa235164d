//! The actors: the only place with sockets, clocks and threads.
//!
//! ```text
//!                       SendTo, Subscribe, ...
//!    application ────────────────────────────────▶ LinerSystem ──── routes, topics in use
//!        │  Publisher                                 │    │
//!        │                                     offer  │    │ handlers
//!        ▼                                            ▼    ▼
//!      Link ◀──────────────────────────────────────  Link  Listener ──accepted──▶ Session  (one a peer that dials us)
//!  (one a peer: wire::Outbound behind one short lock)  │                            │  drives wire::Inbound
//!        │ Drive                                       │                            │
//!        ▼                                             │                            ├──Delivery──▶ subscribers
//!      Sender  (one a peer we dial: connects, reads, writes, timers)                │
//!        │                                                                          │
//!        ├──Commit, Load──▶ StoreActor ◀──────Commit (cursors, dead letters)────────┘
//!        │                      ▲
//!        └──Acked──▶ AckTracker ┘ Commit (trims)
//! ```
//!
//! An actor is a shell: it owns one thing, feeds it inputs and carries out what it asks for. Decisions are made in
//! [`wire`](crate::wire). State of record is in the store or in a machine, never only in a mailbox.

mod ack_tracker;
mod admin;
mod answers;
mod catalogue;
mod connection;
mod feed;
mod feeder;
mod lifecycle;
mod link;
mod listener;
mod mailbox;
pub(crate) mod messages;
mod node;
mod publisher;
mod replay;
mod routes;
mod sender;
mod sending;
mod session;
mod store;
mod system;
mod threads;
mod timer;

pub use publisher::{Publisher, Sending};
pub use system::LinerSystem;
