//! The actors: the only place with sockets, clocks and threads.
//!
//! ```text
//!                       SendTo, Subscribe, ...
//!    application ────────────────────────────────▶ LinerSystem ──── routes, topics in use
//!        │  Publisher                                 │    │
//!        │                                     offer  │    │ handlers
//!        ▼                                            ▼    ▼
//!      Link ◀──────────────────────────────────────  Link  Listener ──accepted──▶ Session  (one per peer that dials)
//!  (one per peer: wire::Outbound under a short lock)   │                            │  drives wire::Inbound
//!        │ Drive                                       │                            │
//!        ▼                                             │                            ├──Delivery──▶ subscribers
//!      Sender  (one per dialled peer: connects, reads, writes)                      │
//!        │                                                                          │
//!        ├──Commit, Load──▶ StoreActor ◀──────Commit (cursors, dead letters)────────┘
//!        │                      ▲
//!        └──Acked──▶ AckTracker ┘ Commit (trims)
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | `messages` | every message of the public interface, with its reply |
//! | `control` | [`LinerSystem`]: starts, stops, routes, administers |
//! | `sending` | from a send to the connection: routes, the send queue, links, Sender |
//! | `receiving` | from a connection to the subscriber: Listener, Session, subscribers |
//! | `storing` | StoreActor and AckTracker: every change of queues and cursors |
//! | `connection` | sockets: dialling, the handshake, the read and write loops |
//! | `node` | what the actors of one system share |
//!
//! `sending` and `receiving` do not import each other.
//!
//! An actor is a shell: it owns one thing, feeds it inputs and carries out what it asks for. Decisions are made in
//! [`wire`](crate::wire). State of record is in the store or in a machine, never only in a mailbox.

mod connection;
mod control;
pub(crate) mod messages;
mod node;
mod receiving;
mod sending;
mod storing;

pub use control::LinerSystem;
pub use sending::{Publisher, SendFuture};
