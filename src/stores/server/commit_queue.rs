//! The way of a batch to the task that commits it, and of the result back.

use crate::stores::shared::admission::Admission;
use crate::stores::shared::group::{GroupCommit, GroupWriter, Operation, Weight};
use crate::stores::{Batch, Committed, Fence, StoreError};
use futures::channel::oneshot;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Batches that may be queued: bounds memory, and leaves every group enough to choose from.
const QUEUE: usize = 256;

/// A batch on its way to the server and back.
pub(crate) struct CommitRequest {
    pub(crate) fence: Fence,
    pub(crate) batch: Batch,
    /// What the transaction returned for this batch.
    pub(crate) committed: Committed,
    reply: oneshot::Sender<Result<Committed, StoreError>>,
    _room: OwnedSemaphorePermit,
}

impl Operation for CommitRequest {
    fn weight(&self) -> Weight {
        Weight::of(&self.batch)
    }

    /// A transaction checks one fence.
    fn may_join(&self, first: &Self) -> bool {
        self.fence == first.fence
    }

    fn finish(self, result: Result<(), StoreError>) {
        // The caller may have dropped its future. The commit stands, which the caller has to expect.
        let _ = self.reply.send(result.map(|()| self.committed));
    }
}

/// The sending end of the queue.
pub(crate) struct CommitQueue {
    admission: Admission,
    queue: UnboundedSender<CommitRequest>,
}

impl CommitQueue {
    /// Makes a queue, and the end that [`serve`] takes.
    pub(crate) fn new() -> (CommitQueue, UnboundedReceiver<CommitRequest>) {
        let (queue, requests) = unbounded_channel();
        (CommitQueue { admission: Admission::new(QUEUE), queue }, requests)
    }

    /// Has a batch committed, and waits until it is. Batches are committed in the order in which these futures were first
    /// polled.
    pub(crate) async fn commit(&self, fence: Fence, batch: Batch) -> Result<Committed, StoreError> {
        let (reply, result) = oneshot::channel();
        let put = |room| {
            let committed = Committed::default();
            self.queue.send(CommitRequest { fence, batch, committed, reply, _room: room })
        };
        let gone = |_| StoreError::Unavailable("the store's thread has ended".into());
        self.admission.enter(put).await.map_err(gone)?;
        result.await.unwrap_or_else(|_| Err(StoreError::Indeterminate("the store's thread ended".into())))
    }
}

/// Commits until the queue's other end is dropped and everything queued is done.
pub(crate) async fn serve<W>(writer: W, mut requests: UnboundedReceiver<CommitRequest>)
where
    W: GroupWriter<Operation = CommitRequest>,
{
    let mut groups = GroupCommit::new(writer);
    loop {
        let first = match groups.next() {
            Some(first) => first,
            None => match requests.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        groups.commit(first, || requests.try_recv().ok()).await;
    }
}
