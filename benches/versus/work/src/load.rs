//! The messages of a burst.
//!
//! ```text
//! | number u64 | stamp u64 | the fill, the same in every message … |
//! ```
//!
//! Numbers continue from burst to burst. The stamp is 0 in a burst, and the time of the send in a lone message.

use crate::clock::now;
use std::ops::Range;

/// Number of bytes before the fill.
pub(crate) const HEAD: usize = 16;

/// Messages to be sent in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Load {
    /// Their numbers.
    pub numbers: Range<u64>,
    /// Size of each, in bytes.
    pub size: usize,
    /// Whether they carry the time of their send.
    pub stamped: bool,
}

impl Load {
    /// Returns a message without number and stamp, for [`Load::write`].
    pub fn blank(&self) -> Vec<u8> {
        let mut message = vec![0; HEAD];
        message.extend(fill(self.size));
        message
    }

    /// Writes number and stamp into `message`.
    pub fn write(&self, number: u64, message: &mut [u8]) {
        let stamp = if self.stamped { now() } else { 0 };
        message[..8].copy_from_slice(&number.to_le_bytes());
        message[8..HEAD].copy_from_slice(&stamp.to_le_bytes());
    }

    /// Returns the messages in order, each in a buffer of its own.
    pub fn messages(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let blank = self.blank();
        self.numbers.clone().map(move |number| {
            let mut message = blank.clone();
            self.write(number, &mut message);
            message
        })
    }

    /// Returns how many messages there are.
    pub fn count(&self) -> u64 {
        self.numbers.end - self.numbers.start
    }
}

/// Returns the fill of a message of this size.
pub(crate) fn fill(size: usize) -> Vec<u8> {
    (HEAD..size).map(|at| (at as u8).wrapping_mul(131).wrapping_add(17)).collect()
}

/// Splits a message into number, stamp and fill.
pub(crate) fn parse(message: &[u8]) -> Option<(u64, u64, &[u8])> {
    let (number, rest) = message.split_first_chunk()?;
    let (stamp, fill) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), u64::from_le_bytes(*stamp), fill))
}
