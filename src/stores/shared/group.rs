//! Group commit: what was queued while the last transaction ran shares the next one.
//!
//! ```text
//! queue ──▶ gather: all that waits, up to a limit ──▶ one transaction ──▶ every operation is done
//!                                                          │ refused
//!                                                          └──▶ a transaction for each ──▶ the others are done
//! ```
//!
//! One sync of the medium, and one exchange with a server, pays for the whole group. No timer waits for a group to fill. The
//! policy is here and nowhere else; a backend brings a queue and a way to run a transaction.

use super::failure::Failure;
use super::row;
use crate::stores::{Batch, StoreError, Write};
use std::future::Future;
use std::ops::AddAssign;

/// The size of an operation, of a group, or the limit of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Weight {
    /// Rows that are written or deleted one by one.
    pub(crate) rows: usize,
    /// Bytes of these rows.
    pub(crate) bytes: usize,
}

impl Weight {
    /// Returns the size of a batch. Each write counts as a row at least, so that a group has an end.
    pub(crate) fn of(batch: &Batch) -> Weight {
        let mut total = Weight::default();
        for write in &batch.writes {
            let (rows, bytes) = match write {
                Write::Append { messages, .. } => {
                    (messages.len().max(1), messages.iter().map(|m| m.message.size() + row::OVERHEAD).sum())
                }
                Write::DeadLetter(letter) => (1, letter.message.size() + letter.reason.len()),
                _ => (1, 0),
            };
            total += Weight { rows, bytes };
        }
        total
    }

    fn exceeds(self, limit: Weight) -> bool {
        self.rows > limit.rows || self.bytes > limit.bytes
    }
}

impl AddAssign for Weight {
    fn add_assign(&mut self, more: Weight) {
        self.rows += more.rows;
        self.bytes += more.bytes;
    }
}

/// An operation on its way to a transaction and back.
pub(crate) trait Operation: Send {
    fn weight(&self) -> Weight;

    /// Returns whether both may be in one transaction.
    fn may_join(&self, _first: &Self) -> bool {
        true
    }

    /// Reports to the caller how the transaction ended.
    fn finish(self, result: Result<(), StoreError>);
}

/// Runs transactions on a connection of its own.
pub(crate) trait GroupWriter: Send {
    type Operation: Operation;

    /// The limit of a transaction. An operation that is larger is alone in its transaction.
    const LIMIT: Weight;

    /// Runs the operations in one transaction, in their order, and leaves in each what it returns. May be called again with
    /// operations that were refused together. [`Failure::again`] says that the store failed and not an operation: then
    /// nothing is gained by trying each alone.
    fn transact(&mut self, group: &mut [Self::Operation]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A writer, and the operation that did not fit into the last group.
pub(crate) struct GroupCommit<W: GroupWriter> {
    pub(crate) writer: W,
    held: Option<W::Operation>,
}

impl<W: GroupWriter> GroupCommit<W> {
    pub(crate) fn new(writer: W) -> Self {
        GroupCommit { writer, held: None }
    }

    /// Takes the operation with which the next group starts, if it has left the queue already.
    pub(crate) fn next(&mut self) -> Option<W::Operation> {
        self.held.take()
    }

    /// Commits a group: `first`, and what `queued` returns until it returns nothing or the group is full.
    pub(crate) async fn commit(&mut self, first: W::Operation, queued: impl FnMut() -> Option<W::Operation>) {
        let mut group = self.gather(first, queued);
        let result = match self.writer.transact(&mut group).await {
            Err(failure) if group.len() > 1 && !failure.again && failure.error.is_definite() => {
                return self.commit_each(group).await;
            }
            result => result.map_err(|failure| failure.error),
        };
        for operation in group {
            operation.finish(result.clone());
        }
    }

    fn gather(&mut self, first: W::Operation, mut queued: impl FnMut() -> Option<W::Operation>) -> Vec<W::Operation> {
        let mut weight = first.weight();
        let mut group = vec![first];
        while let Some(operation) = queued() {
            weight += operation.weight();
            if weight.exceeds(W::LIMIT) || !operation.may_join(&group[0]) {
                self.held = Some(operation);
                break;
            }
            group.push(operation);
        }
        group
    }

    /// Runs each in a transaction of its own, so that one that is refused fails no other: what makes room in a full store
    /// goes through.
    async fn commit_each(&mut self, group: Vec<W::Operation>) {
        for mut operation in group {
            let result = self.writer.transact(std::slice::from_mut(&mut operation)).await;
            operation.finish(result.map_err(|failure| failure.error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;
    use std::collections::VecDeque;
    use std::sync::mpsc;

    /// An operation whose name is its weight in rows; it may be made to fail.
    struct Probe {
        rows: usize,
        kind: u8,
        refused: bool,
        report: mpsc::Sender<(usize, bool)>,
    }

    impl Operation for Probe {
        fn weight(&self) -> Weight {
            Weight { rows: self.rows, bytes: 0 }
        }

        fn may_join(&self, first: &Self) -> bool {
            self.kind == first.kind
        }

        fn finish(self, result: Result<(), StoreError>) {
            self.report.send((self.rows, result.is_ok())).expect("the test waits");
        }
    }

    /// Notes the transactions.
    #[derive(Default)]
    struct Writer {
        transactions: Vec<Vec<usize>>,
        away: bool,
    }

    impl GroupWriter for Writer {
        type Operation = Probe;

        const LIMIT: Weight = Weight { rows: 100, bytes: 0 };

        async fn transact(&mut self, group: &mut [Probe]) -> Result<(), Failure> {
            self.transactions.push(group.iter().map(|probe| probe.rows).collect());
            if self.away {
                return Err(Failure { error: StoreError::Unavailable("away".into()), again: true });
            }
            if group.iter().any(|probe| probe.refused) { Err(StoreError::Full("full".into()).into()) } else { Ok(()) }
        }
    }

    /// Commits probes (rows, kind, refused) that are queued at once. Returns the transactions, and which probes succeeded.
    fn commit(probes: &[(usize, u8, bool)], away: bool) -> (Vec<Vec<usize>>, Vec<(usize, bool)>) {
        let (report, reports) = mpsc::channel();
        let probe = |&(rows, kind, refused)| Probe { rows, kind, refused, report: report.clone() };
        let mut queue: VecDeque<_> = probes.iter().map(probe).collect();
        let mut commit = GroupCommit::new(Writer { transactions: Vec::new(), away });
        while let Some(first) = commit.next().or_else(|| queue.pop_front()) {
            block_on(commit.commit(first, || queue.pop_front()));
        }
        (commit.writer.transactions, reports.try_iter().collect())
    }

    #[test]
    fn what_is_queued_shares_a_transaction_up_to_the_limit() {
        let (transactions, done) = commit(&[(60, 0, false), (40, 0, false), (1, 0, false), (99, 0, false)], false);
        assert_eq!(transactions, [[60, 40], [1, 99]]);
        assert_eq!(done, [(60, true), (40, true), (1, true), (99, true)]);
    }

    #[test]
    fn an_operation_above_the_limit_is_alone() {
        let (transactions, _) = commit(&[(1, 0, false), (500, 0, false), (2, 0, false), (3, 0, false)], false);
        assert_eq!(transactions, [vec![1], vec![500], vec![2, 3]]);
    }

    #[test]
    fn operations_that_may_not_join_are_in_groups_of_their_own() {
        let (transactions, _) = commit(&[(1, 0, false), (2, 1, false), (3, 1, false), (4, 0, false)], false);
        assert_eq!(transactions, [vec![1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn an_operation_that_is_refused_fails_no_other() {
        let (transactions, done) = commit(&[(1, 0, false), (2, 0, true), (3, 0, false)], false);
        assert_eq!(transactions, [vec![1, 2, 3], vec![1], vec![2], vec![3]]);
        assert_eq!(done, [(1, true), (2, false), (3, true)]);
    }

    #[test]
    fn a_store_that_is_away_is_asked_once_for_a_group() {
        let (transactions, done) = commit(&[(1, 0, false), (2, 0, false)], true);
        assert_eq!(transactions, [[1, 2]]);
        assert_eq!(done, [(1, false), (2, false)]);
    }
}
