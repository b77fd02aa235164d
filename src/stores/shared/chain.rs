//! The chain of incarnations of one lane: which of them may still have messages queued, and which came before.
//!
//! Pure: every backend loads a chain, lets it open an incarnation and stores it again.

use crate::stores::Span;
use crate::types::{Incarnation, Seq};

/// Incarnations kept that have given no number the store knows of. A process that sent only write-behind messages and
/// was killed leaves one, and its receiver may have a cursor in it; more than a few in a row mean restarts without any
/// traffic, which no cursor refers to.
const MAX_EMPTY: usize = 8;

/// The spans of a lane, oldest first, and the incarnation before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    pub(crate) spans: Vec<Span>,
    pub(crate) predecessor: Option<Incarnation>,
}

impl Chain {
    /// Adds `incarnation` as the newest span, starting at `next`, unless it is there; spans that cannot have anything
    /// queued go. Nothing is queued up to `floor`, nothing at or above `next`.
    pub(crate) fn open(&mut self, incarnation: Incarnation, floor: Seq, next: Seq) {
        if self.spans.iter().any(|span| span.incarnation == incarnation) {
            return;
        }
        self.spans.push(Span { incarnation, first: next });
        self.drop_finished(floor);
        self.drop_oldest_empty(next);
    }

    fn drop_finished(&mut self, floor: Seq) {
        while let [oldest, second, ..] = self.spans[..] {
            let empty = oldest.first == second.first;
            let finished = second.first <= floor || (second.first == floor.next() && !empty);
            if !finished {
                return;
            }
            self.spans.remove(0);
            if !empty {
                self.predecessor = Some(oldest.incarnation);
            }
        }
    }

    /// Empty spans before the newest are those that start where it does.
    fn drop_oldest_empty(&mut self, next: Seq) {
        let empty = self.spans.iter().filter(|span| span.first == next).count() - 1;
        let oldest = self.spans.partition_point(|span| span.first < next);
        self.spans.drain(oldest..oldest + empty.saturating_sub(MAX_EMPTY));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(chain: &mut Chain, incarnation: u64, floor: u64, next: u64) -> (Vec<(u64, u64)>, Option<u64>) {
        chain.open(Incarnation::new(incarnation), Seq::new(floor), Seq::new(next));
        let spans = chain.spans.iter().map(|s| (s.incarnation.get(), s.first.get())).collect();
        (spans, chain.predecessor.map(Incarnation::get))
    }

    #[test]
    fn spans_with_queued_messages_stay_and_finished_ones_become_the_predecessor() {
        let mut chain = Chain::default();
        assert_eq!(opened(&mut chain, 1, 0, 1), (vec![(1, 1)], None));
        // 1..=4 given, 1..=2 acked.
        assert_eq!(opened(&mut chain, 2, 2, 5), (vec![(1, 1), (2, 5)], None));
        // 5..=6 given, 1..=4 acked.
        assert_eq!(opened(&mut chain, 3, 4, 7), (vec![(2, 5), (3, 7)], Some(1)));
        assert_eq!(opened(&mut chain, 4, 9, 10), (vec![(4, 10)], Some(3)));
    }

    #[test]
    fn an_incarnation_that_is_there_changes_nothing() {
        let mut chain = Chain::default();
        opened(&mut chain, 1, 0, 1);
        assert_eq!(opened(&mut chain, 1, 0, 9), (vec![(1, 1)], None));
    }

    #[test]
    fn restarts_without_traffic_do_not_break_the_chain_nor_grow_it() {
        let mut chain = Chain::default();
        opened(&mut chain, 1, 0, 1);
        assert_eq!(opened(&mut chain, 2, 4, 5), (vec![(2, 5)], Some(1)));
        assert_eq!(opened(&mut chain, 3, 4, 5), (vec![(2, 5), (3, 5)], Some(1)));
        for incarnation in 4..40 {
            opened(&mut chain, incarnation, 4, 5);
        }
        assert_eq!(chain.spans.len(), MAX_EMPTY + 1);
        assert_eq!(chain.predecessor, Some(Incarnation::new(1)));
        assert_eq!(opened(&mut chain, 40, 6, 7), (vec![(40, 7)], Some(39)));
    }
}
