//! [`ResumePlan`]: where a lane continues on a new connection.

use crate::types::{Cursor, Incarnation, Seq};
use crate::wire::frame::Resume;

/// Where a lane continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ResumePlan {
    /// The number before the next one that arrives.
    pub(super) position: Seq,
    /// The last message the receiver has, for the sender.
    pub(super) received: Option<(Incarnation, Seq)>,
    /// The cursor to lift to: the sender has acks beyond what this node remembers.
    pub(super) lift: Option<Cursor>,
    /// Whether the incarnation is neither the one this node knew nor one that follows it.
    pub(super) restarted: bool,
}

/// Decides where a lane continues, given what this node has `received`.
pub(super) fn plan_resume(resume: &Resume, received: Option<Cursor>) -> ResumePlan {
    let Some((_, first)) = resume.spans.first().copied() else {
        return ResumePlan { position: Seq::ZERO, received: None, lift: None, restarted: false };
    };
    let start = first.prev();
    let known = received.and_then(|c| resume.spans.iter().position(|(i, _)| *i == c.incarnation).map(|at| (c, at)));
    let (position, told, restarted) = match (received, known) {
        (_, Some((cursor, at))) => {
            let end = resume.spans.get(at + 1).map(|(_, next)| next.prev());
            let position = end.map_or(cursor.seq, |end| cursor.seq.min(end));
            (position, Some((cursor.incarnation, cursor.seq)), false)
        }
        (None, None) => (start, None, false),
        (Some(cursor), None) => (start, None, resume.predecessor != Some(cursor.incarnation)),
    };
    if resume.acked <= position || resume.acked < first || restarted {
        return ResumePlan { position, received: told, lift: None, restarted };
    }
    let owner = resume.spans.iter().rev().find(|(_, first)| *first <= resume.acked);
    let lift = owner.map(|(incarnation, _)| Cursor { incarnation: *incarnation, seq: resume.acked });
    let received = lift.map(|c| (c.incarnation, c.seq));
    ResumePlan { position: resume.acked, received, lift, restarted }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Topic;
    use crate::wire::frame::LaneIx;

    const A: Incarnation = Incarnation::new(0xa);
    const B: Incarnation = Incarnation::new(0xb);
    const C: Incarnation = Incarnation::new(0xc);

    fn resume(predecessor: Option<Incarnation>, acked: u64, spans: &[(Incarnation, u64)]) -> Resume {
        Resume {
            lane: LaneIx(0),
            source: Topic::new("s").expect("valid"),
            topic: Topic::new("t").expect("valid"),
            predecessor,
            acked: Seq::new(acked),
            spans: spans.iter().map(|(i, n)| (*i, Seq::new(*n))).collect(),
        }
    }

    fn at(incarnation: Incarnation, seq: u64) -> Option<Cursor> {
        Some(Cursor { incarnation, seq: Seq::new(seq) })
    }

    fn position(resume: &Resume, received: Option<Cursor>) -> (u64, bool) {
        let plan = plan_resume(resume, received);
        (plan.position.get(), plan.restarted)
    }

    #[test]
    fn a_lane_continues_where_the_cursor_is() {
        let chain = resume(None, 50, &[(A, 1), (B, 101)]);
        assert_eq!(position(&chain, at(A, 70)), (70, false));
        assert_eq!(position(&chain, at(B, 130)), (130, false));
    }

    #[test]
    fn numbers_an_incarnation_gave_out_and_lost_do_not_hide_those_of_the_next() {
        let chain = resume(None, 50, &[(A, 51), (B, 101)]);
        assert_eq!(position(&chain, at(A, 120)), (100, false));
    }

    #[test]
    fn the_predecessor_is_an_unbroken_chain_and_anything_else_a_restart() {
        let chain = resume(Some(A), 100, &[(B, 101)]);
        assert_eq!(position(&chain, at(A, 120)), (100, false));
        assert_eq!(position(&chain, at(C, 500)), (100, true));
        assert_eq!(position(&chain, None), (100, false));
    }

    #[test]
    fn the_cursor_is_lifted_to_what_the_sender_knows_is_acked() {
        let plan = plan_resume(&resume(None, 80, &[(A, 1)]), at(A, 60));
        assert_eq!(plan.position, Seq::new(80));
        assert_eq!(plan.lift, at(A, 80));
        assert_eq!(plan_resume(&resume(None, 80, &[(A, 1)]), None).lift, at(A, 80));
    }
}
