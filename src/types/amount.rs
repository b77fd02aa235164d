//! [`Amount`]: a number of messages and their bytes.

/// A number of messages together with their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Number of messages.
    pub messages: u64,
    /// Bytes of their payloads and headers.
    pub bytes: u64,
}

impl std::ops::AddAssign for Amount {
    fn add_assign(&mut self, more: Amount) {
        self.messages += more.messages;
        self.bytes += more.bytes;
    }
}

impl Amount {
    /// Adds one message of `size` bytes.
    #[inline]
    pub(crate) fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
    }

    /// Removes one message of `size` bytes.
    pub(crate) fn remove(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size as u64);
    }

    /// Removes everything in `other`.
    pub(crate) fn remove_all(&mut self, other: Amount) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Returns whether one more message of `size` bytes stays within `self` as a limit, given what is `used`. One message
    /// always fits if nothing is used.
    pub(crate) fn has_room(self, used: Amount, size: usize) -> bool {
        (used.messages < self.messages && used.bytes + size as u64 <= self.bytes) || used.messages == 0
    }

    /// Returns whether `used` is at most half of `self` as a limit.
    pub(crate) fn is_half_free(self, used: Amount) -> bool {
        used.messages <= self.messages / 2 && used.bytes <= self.bytes / 2
    }
}
