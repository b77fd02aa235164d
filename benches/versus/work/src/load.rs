//! The messages of a burst.
//!
//! ```text
//! | number u64 | stamp u64 | the fill, the same in every message … |
//! ```
//!
//! Numbers go on over the bursts of a process. The stamp is 0 in a burst, and the time of the send in a lone message.

use crate::clock::now;
use std::ops::Range;

/// Bytes before the fill.
pub(crate) const HEAD: usize = 16;

/// Messages to be sent one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Their numbers.
    pub numbers: Range<u64>,
    /// Bytes of each.
    pub size: usize,
    /// Whether they carry the time of their send.
    pub stamped: bool,
}

impl Load {
    /// A message to be completed with [`Load::write`].
    pub fn blank(&self) -> Vec<u8> {
        let mut message = vec![0; HEAD];
        message.extend(fill(self.size));
        message
    }

    /// Makes `message` the one with this number.
    pub fn write(&self, number: u64, message: &mut [u8]) {
        let stamp = if self.stamped { now() } else { 0 };
        message[..8].copy_from_slice(&number.to_le_bytes());
        message[8..HEAD].copy_from_slice(&stamp.to_le_bytes());
    }

    /// The messages one after the other, each in a buffer of its own.
    pub fn messages(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let blank = self.blank();
        self.numbers.clone().map(move |number| {
            let mut message = blank.clone();
            self.write(number, &mut message);
            message
        })
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.numbers.end - self.numbers.start
    }
}

/// What stands behind the head of a message of this size.
pub(crate) fn fill(size: usize) -> Vec<u8> {
    (HEAD..size).map(|at| (at as u8).wrapping_mul(131).wrapping_add(17)).collect()
}

/// Number and stamp of a message, and its fill.
pub(crate) fn parse(message: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (number, rest) = message.split_first_chunk()?;
    let (stamp, fill) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), u64::from_le_bytes(*stamp), fill))
}
