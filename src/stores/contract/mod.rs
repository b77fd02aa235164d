//! The contract of a store: the traits that every backend implements, and the values they exchange.

mod composite;
mod dead_letters;
mod directory;
mod error;
mod shorthands;

pub use composite::Composite;
pub use dead_letters::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLetterOrigin, DeadLetters};
pub(crate) use directory::MAX_LEASE;
pub use directory::{CatalogueChange, Directory, Registration, Route, StoreFacts, TopicEntry};
pub use error::{OpenError, StoreError};

pub use crate::types::Amount;

use crate::types::{Cursor, Epoch, Incarnation, LaneId, LaneName, Message, NodeId, Seq};
use futures::future::BoxFuture;
use std::sync::Arc;

/// The future that every store operation returns.
pub type StoreFuture<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// A backend: all traits together, shared by the actors of one node.
pub trait Store: Journal + Outbox + Inbox + DeadLetters + Directory {}

impl<T: Journal + Outbox + Inbox + DeadLetters + Directory> Store for T {}

/// A store handle as the actors hold it.
pub type SharedStore = Arc<dyn Store>;

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
    /// Makes a key, for a store to hand out.
    pub const fn new(key: i64) -> Self {
        LaneKey(key)
    }

    /// Returns the key as the store's tables show it.
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

/// What became of what liner_broker had left for a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Adopted {
    /// Messages that wait in a lane now.
    pub messages: u64,
    /// Messages that went: they had been handled, or were liner_broker's own.
    pub gone: u64,
    /// Messages that are dead letters now.
    pub dead_letters: u64,
}

impl std::ops::AddAssign for Adopted {
    fn add_assign(&mut self, more: Adopted) {
        self.messages += more.messages;
        self.gone += more.gone;
        self.dead_letters += more.dead_letters;
    }
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
    /// Whether the queue held nothing after the last message when the page was read.
    pub end: bool,
}

/// The limit of a page that [`Outbox::load`] returns. The first message comes whatever its size, so that every lane moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// The most messages.
    pub messages: usize,
    /// The most bytes of payloads and headers.
    pub bytes: usize,
}

/// What waits on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingLane {
    /// The lane.
    pub lane: LaneId,
    /// Messages and bytes that wait.
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
    /// Hand-overs recorded by [`Write::Attempt`] beyond the cursor: (incarnation, number, attempts).
    pub attempts: Vec<(Incarnation, Seq, u32)>,
}

/// One change of queues or cursors.
///
/// Later versions may have more kinds. A store that does not know one refuses the batch with [`StoreError::Unsupported`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Write {
    /// Queue messages at the end of a lane of this sender. A message whose number is already there is left as it is,
    /// and one whose number is acked is left out. A lane that its sender has not opened, or
    /// has forgotten, fails the batch with [`StoreError::NoLane`].
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
    /// Keep a message that could not be handled. A letter with the same [`MessageId`](crate::MessageId) and origin is left
    /// as it is.
    DeadLetter(Box<DeadLetter>),
    /// A replayed dead letter was handled: it goes.
    RemoveDeadLetter(DeadLetterId),
}

/// Changes that happen together: none of them after a crash before the commit, all of them after a later one.
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
    /// Batches of one node take effect in the order in which their futures were first polled, as if each were committed
    /// alone. A store may commit together what waits; when that is refused, it commits each alone. Who calls decides how
    /// many batches wait: a store queues a bounded number, and the other futures wait for room.
    ///
    /// After `Ok` the batch survives a crash of any process, and a power loss if `synced`. After an error for which
    /// [`StoreError::is_definite`] holds nothing changed; after [`StoreError::Indeterminate`] repeat the same batch.
    fn commit<'a>(&'a self, fence: &'a Fence, batch: Batch) -> StoreFuture<'a, Committed>;
}

/// The sending side of a node's lanes.
pub trait Outbox: Send + Sync {
    /// Takes over what liner_broker left for this sender: its waiting messages become messages of lanes,
    /// in their order, and its remembered routes become lanes. One transaction for each of its connection keys, so that
    /// after a crash the same call goes on. To be called before anything else is asked about the lanes; where
    /// liner_broker left nothing, nothing happens.
    fn adopt<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Adopted> {
        let _ = fence;
        Box::pin(std::future::ready(Ok(Adopted::default())))
    }

    /// Returns the lanes this node has opened as a sender, in name order, whether or not anything is queued. Reads only.
    fn lanes<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<LaneId>>;

    /// Finds or creates the lane and adds `incarnation` as its newest span, unless it is already. After `Ok` the lane
    /// is remembered for good; a crash before leaves it as it was.
    fn open_lane<'a>(
        &'a self,
        fence: &'a Fence,
        lane: &'a LaneName,
        incarnation: Incarnation,
    ) -> StoreFuture<'a, OutboxLane>;

    /// Returns the queued messages with numbers above `after`, in number order. Reads only.
    fn load(&self, lane: LaneKey, after: Seq, limit: PageLimit) -> StoreFuture<'_, Page>;

    /// Returns what waits on each lane of this sender, in lane order; empty lanes are left out. Reads only.
    fn pending<'a>(&'a self, sender: &'a NodeId) -> StoreFuture<'a, Vec<PendingLane>>;

    /// Drops the queues of all lanes of this sender, and keeps lanes and numbers. Returns what was dropped.
    fn clear<'a>(&'a self, fence: &'a Fence) -> StoreFuture<'a, Amount>;

    /// Drops a lane of this sender: queue, numbers, and the lane itself. Returns what was queued.
    fn forget_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, Amount>;
}

/// The receiving side of a node's lanes.
pub trait Inbox: Send + Sync {
    /// Finds or creates the lane for its receiver.
    fn receive_lane<'a>(&'a self, fence: &'a Fence, lane: &'a LaneName) -> StoreFuture<'a, InboxLane>;
}
