//! [`ReceiveWindow`]: the credit of a lane's sender.

use crate::types::Amount;

/// Bytes that are acked at once. One write of the sender mostly has as much, so its memory is free again.
const ACK_BYTES: u64 = 64 * 1024;
/// Messages that are acked at once, if they are small.
const ACK_MESSAGES: u64 = 1024;

/// Accounts for the credit that a lane's sender has on the present connection.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// What left the queue since the lane was resumed.
    consumed: Amount,
    /// The same when an ack was last considered.
    reported: Amount,
    /// What waited already when the lane was resumed. It takes its part of the window.
    waited: Amount,
    /// The credit as last announced.
    granted: Amount,
}

impl ReceiveWindow {
    /// A lane is resumed. Its queue holds `waited`, and its window is `window`.
    pub(super) fn new(window: Amount, waited: Amount) -> Self {
        let none = Amount::default();
        let mut granted = window;
        granted.remove_all(waited);
        ReceiveWindow { consumed: none, reported: none, waited, granted }
    }

    pub(super) fn granted(&self) -> Amount {
        self.granted
    }

    #[cfg(test)]
    pub(super) fn consumed(&self) -> Amount {
        self.consumed
    }

    /// A message left the queue, or never entered it.
    #[inline]
    pub(super) fn consume(&mut self, size: usize) {
        self.consumed.add(size);
    }

    /// Whether enough has left the queue for the sender to be notified at once.
    pub(super) fn has_news(&self, window: Amount) -> bool {
        let messages = self.consumed.messages - self.reported.messages;
        let bytes = self.consumed.bytes - self.reported.bytes;
        messages >= (window.messages / 8).min(ACK_MESSAGES) || bytes >= (window.bytes / 8).min(ACK_BYTES)
    }

    pub(super) fn set_reported(&mut self) {
        self.reported = self.consumed;
    }

    /// Grants more credit if a quarter of the window has become free. Returns the new totals then.
    pub(super) fn grant(&mut self, window: Amount) -> Option<Amount> {
        let mut credit = window;
        credit += self.consumed;
        credit.remove_all(self.waited);
        let more_messages = credit.messages - self.granted.messages;
        let more_bytes = credit.bytes - self.granted.bytes;
        let grants = more_messages >= window.messages.div_ceil(4) || more_bytes >= window.bytes.div_ceil(4);
        grants.then(|| {
            self.granted = credit;
            credit
        })
    }
}
