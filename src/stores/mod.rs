//! Persistence: what a node must not forget, behind narrow traits that every backend implements alike.
//!
//! | trait | owns |
//! |---|---|
//! | [`Journal`] | the one way to change queues and cursors: a batch, all or nothing |
//! | [`Outbox`] | reading and administering the lanes this node sends on |
//! | [`Inbox`] | reading the lanes this node receives on |
//! | [`DeadLetters`] | reading and purging what could not be handled |
//! | [`Directory`] | who serves which topic where, leases, epochs |
//!
//! A store knows names, numbers and bytes. It knows nothing of frames, sockets or actors, and keeps no protocol state:
//! every fact it answers is on the medium. Every write carries a [`Fence`] and changes nothing when a newer process of
//! the same name has registered. All operations are idempotent, so that one whose outcome is unknown is simply repeated.
//!
//! Futures returned here may be dropped at any time; the operation then happens entirely or not at all.

mod chain;
pub mod memory;
mod naming;
mod row;
pub mod sqlite;

use crate::types::{Cursor, Epoch, Incarnation, LaneId, LaneName, Message, MessageId, NodeId, Seq, StoreId, Topic};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// What every store operation returns.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A backend: all traits together, shared by the actors of one node.
pub trait Store: Journal + Outbox + Inbox + DeadLetters + Directory {}

impl<T: Journal + Outbox + Inbox + DeadLetters + Directory> Store for T {}

/// A store handle as the actors hold it.
pub type SharedStore = Arc<dyn Store>;

/// Why a store operation failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer held the store for longer than the busy timeout. Nothing was changed.
    #[error("store is busy")]
    Busy,
    /// The medium is full or a quota is reached. Nothing was changed.
    #[error("store is full: {0}")]
    Full(Arc<str>),
    /// A newer process of this node's name has registered. Nothing was changed, and nothing ever will be.
    #[error("fenced: a newer process runs under this node's name")]
    Fenced,
    /// The store cannot be reached or read just now. Nothing was changed.
    #[error("store is unavailable: {0}")]
    Unavailable(Arc<str>),
    /// The reply was lost: the operation happened entirely or not at all. Repeat it.
    #[error("outcome unknown: {0}")]
    Unknown(Arc<str>),
    /// What is stored is not what this library writes, or is damaged.
    #[error("store is damaged: {0}")]
    Damaged(Arc<str>),
    /// The lane was forgotten, or belongs to another sender. Nothing was changed; open it again.
    #[error("no lane {0} of this sender")]
    NoLane(i64),
}

impl StoreError {
    /// Whether repeating the operation later can succeed.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, StoreError::Fenced | StoreError::Damaged(_) | StoreError::NoLane(_))
    }

    /// Whether it is certain that nothing was changed.
    pub fn is_definite(&self) -> bool {
        !matches!(self, StoreError::Unknown(_))
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The path is a directory, or cannot be created or read.
    #[error("cannot open {path}: {reason}")]
    Path {
        /// The path as configured.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not a database, or a damaged one.
    #[error("{path} is corrupt or not a database: {reason}")]
    Corrupt {
        /// The path as configured.
        path: String,
        /// What was found.
        reason: String,
    },
    /// The file is a database of something else.
    #[error("{path} belongs to another application")]
    Foreign {
        /// The path as configured.
        path: String,
    },
    /// The store was written by a newer version that says this one must not read it.
    #[error("store needs a reader of schema version {min_reader} or later, this is {ours}")]
    Newer {
        /// The oldest schema version that may read the store.
        min_reader: u32,
        /// The schema version of this library.
        ours: u32,
    },
    /// The store failed while it was opened or migrated.
    #[error("opening the store failed")]
    Store(#[from] StoreError),
}

/// Proof of who writes: every write is refused once `node` has registered with a higher epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The node that writes.
    pub node: NodeId,
    /// The epoch its registration gave.
    pub epoch: Epoch,
}

/// A lane's connection key in this store. 64 bits, as wide as the counter it is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey(pub(crate) i64);

impl LaneKey {
    /// The key as the store's tables show it.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// The part of a lane's numbers that one incarnation gave out: from `first` up to the next span's `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Whose numbers.
    pub incarnation: Incarnation,
    /// The first of them.
    pub first: Seq,
}

/// Messages and bytes that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// How many messages.
    pub messages: u64,
    /// Their payloads and headers in bytes.
    pub bytes: u64,
}

/// A lane as its sender finds it when it opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxLane {
    /// Its key in this store.
    pub key: LaneKey,
    /// Its names.
    pub id: LaneId,
    /// The incarnations that may still have messages queued, oldest first; the one just minted is last. A few that
    /// gave no number the store knows of are listed too: a process that was killed may have sent without storing.
    pub spans: Vec<Span>,
    /// The incarnation before the first span that gave numbers, if the lane had one.
    pub predecessor: Option<Incarnation>,
    /// The number the next message gets, above every number the store has seen: where the last span starts, unless
    /// this incarnation had been opened before and has given numbers since.
    pub next: Seq,
    /// Everything up to here was acked and trimmed.
    pub acked: Seq,
    /// What is queued.
    pub pending: Amount,
}

/// A message as the outbox holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number; numbers rise through all incarnations of the lane.
    pub seq: Seq,
    /// The incarnation that gave the number.
    pub incarnation: Incarnation,
    /// When it was accepted, in milliseconds since 1970. For people to read, nothing is decided by it.
    pub accepted_ms: u64,
    /// The message.
    pub message: Message,
}

/// One page of a lane's queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// In number order.
    pub messages: Vec<Stored>,
    /// Whether the queue held nothing behind the last message when the page was read.
    pub end: bool,
}

/// How much [`Outbox::load`] may return; the first message comes whatever its size, so that every lane moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// At most so many messages.
    pub messages: usize,
    /// Of payloads and headers, at most so many bytes.
    pub bytes: usize,
}

/// What waits on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLane {
    /// The lane.
    pub lane: LaneId,
    /// How much.
    pub amount: Amount,
    /// When the oldest was accepted, in milliseconds since 1970.
    pub oldest_ms: Option<u64>,
}

/// A lane as its receiver finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxLane {
    /// Its key in this store.
    pub key: LaneKey,
    /// How far this node has come; `None` before the first message was handled.
    pub cursor: Option<Cursor>,
    /// Hand-overs recorded by [`Write::Attempt`] behind the cursor: (incarnation, number, attempts).
    pub attempts: Vec<(Incarnation, Seq, u32)>,
}

/// One change of queues or cursors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Queue messages at the end of a lane of this sender. A message whose number is already there is left as it is,
    /// and one whose number is acked is left out. A lane that is not there fails the batch with [`StoreError::NoLane`].
    Append {
        /// The lane.
        lane: LaneKey,
        /// In number order.
        messages: Vec<Stored>,
    },
    /// The receiver acked everything up to `through`: the rows go. Moves only forward. Either side of the lane may write
    /// it (a receiver that shares the store trims what it has handled). A lane that is not there has nothing to trim.
    Trim {
        /// The lane.
        lane: LaneKey,
        /// The last acked number.
        through: Seq,
    },
    /// Everything up to `cursor` is handled. Moves only forward within an incarnation, and only when the stored
    /// incarnation is `expected`, or the cursor's own (so that a repeat is not stale); otherwise, and when the lane is
    /// not there, this one write is left out and reported in [`Committed::stale`]. Recorded attempts up to the cursor
    /// go, and those of the incarnation it leaves.
    Advance {
        /// The lane.
        lane: LaneKey,
        /// The incarnation the writer believes is stored.
        expected: Option<Incarnation>,
        /// The new cursor.
        cursor: Cursor,
    },
    /// A redelivered message is about to be handed over for the `attempts`-th time.
    Attempt {
        /// The lane.
        lane: LaneKey,
        /// The message's incarnation.
        incarnation: Incarnation,
        /// The message's number.
        seq: Seq,
        /// Hand-overs including this one.
        attempts: u32,
    },
    /// Remove one queued message (it is dead-lettered in the same batch).
    Remove {
        /// The lane.
        lane: LaneKey,
        /// The message.
        seq: Seq,
    },
    /// Keep a message that could not be handled. A letter with the same [`MessageId`] and origin is left as it is.
    DeadLetter(Box<DeadLetter>),
    /// A replayed dead letter was handled: it goes.
    RemoveDeadLetter(DeadLetterId),
}

/// Changes that happen together: all or none, none after a crash before the commit, all after a crash behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// In the order they take effect.
    pub writes: Vec<Write>,
    /// Whether the commit must be on the medium (fsync) before it is reported.
    pub synced: bool,
}

/// A committed batch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Committed {
    /// Lanes whose [`Write::Advance`] found another incarnation stored than expected.
    pub stale: Vec<LaneKey>,
}

/// The one way to change queues and cursors.
pub trait Journal: Send + Sync {
    /// Applies the batch in one transaction.
    ///
    /// After `Ok` the batch survives a crash of any process, and a power loss if `synced`. After an error for which
    /// [`StoreError::is_definite`] holds nothing changed; after [`StoreError::Unknown`] repeat the same batch.
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed>;
}

/// The sending side of a node's lanes.
pub trait Outbox: Send + Sync {
    /// The lanes this node has opened as a sender, in name order, whether or not anything is queued. Reads only.
    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>>;

    /// Finds or creates the lane and adds `incarnation` as its newest span, unless it is already. After `Ok` the lane
    /// is remembered for good; a crash before leaves it as it was.
    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane>;

    /// The queued messages with numbers above `after`, in number order. Reads only.
    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page>;

    /// What waits, per lane of this sender, in lane order; lanes without anything are left out. Reads only.
    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>>;

    /// Drops the queues of all lanes of this sender, and keeps lanes and numbers. Answers what was dropped.
    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount>;

    /// Drops a lane of this sender: queue, numbers, and the lane itself. Answers what was queued.
    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount>;
}

/// The receiving side of a node's lanes.
pub trait Inbox: Send + Sync {
    /// Finds or creates the lane for its receiver.
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane>;
}

/// A dead letter's number in its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeadLetterId(pub(crate) i64);

impl DeadLetterId {
    /// The number as the store's table shows it.
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// Where a message died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadLetterOrigin {
    /// This node's subscriber failed it too often. Replay hands it to the subscriber again.
    Handler,
    /// The receiver refused it for good. Replay appends it to its lane again.
    Refused,
}

/// A message that could not be handled, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which message.
    pub id: MessageId,
    /// Where it died.
    pub origin: DeadLetterOrigin,
    /// The message.
    pub message: Message,
    /// The last reason given.
    pub reason: String,
    /// How often it was handed over.
    pub attempts: u32,
    /// When it died, in milliseconds since 1970.
    pub died_ms: u64,
}

impl DeadLetter {
    /// Whose letter it is: the receiver's when its handler failed, the sender's when the receiver refused.
    pub fn owner(&self) -> &NodeId {
        match self.origin {
            DeadLetterOrigin::Handler => self.id.lane.receiver(),
            DeadLetterOrigin::Refused => self.id.lane.sender(),
        }
    }
}

/// Which dead letters an operation is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Only these, if any are named.
    pub ids: Vec<DeadLetterId>,
    /// Only letters addressed to this topic.
    pub topic: Option<Topic>,
}

impl DeadLetterFilter {
    fn matches(&self, id: DeadLetterId, letter: &DeadLetter) -> bool {
        let named = self.ids.is_empty() || self.ids.contains(&id);
        named && self.topic.as_ref().is_none_or(|topic| letter.id.lane.topic() == topic)
    }
}

/// What could not be handled.
pub trait DeadLetters: Send + Sync {
    /// This node's dead letters (as receiver for `Handler`, as sender for `Refused`) above `after`, in id order, at most
    /// `limit`. Reads only.
    fn dead_letters<'a>(
        &'a self,
        node: &'a NodeId,
        filter: &'a DeadLetterFilter,
        after: Option<DeadLetterId>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<(DeadLetterId, DeadLetter)>>;

    /// Deletes this node's dead letters that match. Answers how many.
    fn purge_dead_letters<'a>(&'a self, fence: &'a Fence, filter: &'a DeadLetterFilter) -> StoreFuture<'a, u64>;
}

/// A node's start, as the directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The epoch of this start: one more than the last.
    pub epoch: Epoch,
    /// Whether the process before this one released its registration (or there was none). After an unclean end,
    /// attempts are recorded before redelivered messages are handed over.
    pub clean: bool,
}

/// A node that serves a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The node.
    pub node: NodeId,
    /// Where it listens, published addresses before those of operators; several addresses are one node.
    pub addrs: Vec<String>,
    /// `false` once its lease has expired or a newer process of its name has registered. A node with a route without a
    /// lease never expires.
    pub live: bool,
}

/// Everything the catalogue says about one topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicEntry {
    /// Who serves it, ordered by node name.
    pub routes: Vec<Route>,
    /// Nodes that unsubscribed from it, in name order: a lane to them is no route.
    pub tombstones: Vec<NodeId>,
}

/// How safe a commit is on this store, as read back from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFacts {
    /// The random number made with the store.
    pub id: StoreId,
    /// Backend and location, for people to read; never contains a secret.
    pub description: String,
    /// The settings that decide what survives, as the store reports them.
    pub durability: String,
    /// The largest message the store can hold, in bytes of payload and headers.
    pub max_message: usize,
}

/// The longest lease a store gives; longer ones are cut to it. A year is for ever, and fits every clock.
const MAX_LEASE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Who serves which topic where.
pub trait Directory: Send + Sync {
    /// What the store says of itself.
    fn facts(&self) -> StoreFuture<'_, StoreFacts>;

    /// A process starts under this name: takes the next epoch in one transaction and wins at once. From `Ok` on, every
    /// write of an earlier process of this name is fenced. Takes no lease and publishes nothing yet.
    fn register<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Registration>;

    /// Publishes `addr` for `topic` under this node's name, removes the other addresses it published for the topic and
    /// a tombstone, and takes or renews the node's lease. Rows without a lease (operators, seeds) stay as they are.
    /// `subscription` marks topics other than the node's own.
    fn publish<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        addr: &'a str,
        subscription: bool,
        lease: Duration,
    ) -> StoreFuture<'a, ()>;

    /// Deletes every row of this node for `topic`, whatever the address and whoever wrote it, and leaves a tombstone. A
    /// row that an operator or a seed adds later counts more than the tombstone.
    fn unpublish<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, ()>;

    /// Adds a route without a lease, as an operator would: seeds. Does nothing when the row is there.
    fn seed<'a>(&'a self, topic: &'a Topic, node: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()>;

    /// Notes that another node unsubscribed from `topic`, or (`false`) serves it again. For stores that are not shared,
    /// where tombstones travel on links. Such a tombstone counts although rows (seeds) name the node.
    fn set_tombstone<'a>(
        &'a self,
        fence: &'a Fence,
        topic: &'a Topic,
        node: &'a NodeId,
        unsubscribed: bool,
    ) -> StoreFuture<'a, ()>;

    /// Extends this node's lease, by the store's clock.
    fn renew<'a>(&'a self, fence: &'a Fence, lease: Duration) -> StoreFuture<'a, ()>;

    /// A clean end: deletes the leased rows of this node and its lease, and marks the registration as released. The epoch
    /// stays.
    fn release<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, ()>;

    /// What the catalogue says about a topic now. Reads only.
    fn topic<'a>(&'a self, topic: &'a Topic) -> StoreFuture<'a, TopicEntry>;

    /// Deletes all rows of a topic, whoever wrote them. Answers how many.
    fn clear_addresses<'a>(&'a self, fence: &'a Fence, topic: &'a Topic) -> StoreFuture<'a, u64>;

    /// Deletes all routes and tombstones that name `node`, and its remembered addresses. Answers how many in all.
    fn forget_node<'a>(&'a self, fence: &'a Fence, node: &'a NodeId) -> StoreFuture<'a, u64>;

    /// Resolves when the catalogue may have changed since the last call of `changed` on this handle resolved (the first
    /// call: since the store was opened). Seen within 100 ms of the commit, by whatever process.
    fn changed(&self) -> StoreFuture<'_, ()>;

    /// Remembers where a peer that shook hands can be dialled, for [`Directory::peers`] after a restart.
    fn remember_peer<'a>(&'a self, fence: &'a Fence, peer: &'a NodeId, addr: &'a str) -> StoreFuture<'a, ()>;

    /// The peers remembered by this node, with their last address. Reads only.
    fn peers<'a>(&'a self, node: &'a NodeId) -> StoreFuture<'a, Vec<(NodeId, String)>>;
}
