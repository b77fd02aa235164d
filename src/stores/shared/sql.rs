//! Numbers as SQL tables hold them, in 64 signed bits.

use crate::types::{Incarnation, Seq};

/// Returns a number as the tables hold it. No lane lives long enough to leave 63 bits, but "everything" may be asked for
/// with the largest number there is.
pub(crate) fn sql_seq(seq: Seq) -> i64 {
    i64::try_from(seq.get()).unwrap_or(i64::MAX)
}

/// Returns a stored number; negative ones do not occur.
pub(crate) fn seq(stored: i64) -> Seq {
    Seq::new(u64::try_from(stored).unwrap_or(0))
}

/// Returns an incarnation as the tables hold it.
pub(crate) fn sql_incarnation(incarnation: Incarnation) -> i64 {
    incarnation.get().cast_signed()
}

/// Returns a stored incarnation.
pub(crate) fn incarnation(stored: i64) -> Incarnation {
    Incarnation::new(stored.cast_unsigned())
}
