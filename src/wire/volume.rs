//! [`Volume`]: how many messages, and how many bytes.

/// A number of messages together with their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Volume {
    /// Number of messages.
    pub messages: u64,
    /// Bytes of their payloads and headers.
    pub bytes: u64,
}

impl Volume {
    /// Adds one message of `size` bytes.
    #[inline]
    pub(crate) fn add(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
    }

    /// Adds everything in `other`.
    pub(in crate::wire) fn add_all(&mut self, other: Volume) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }

    /// Removes one message of `size` bytes.
    pub(in crate::wire) fn remove(&mut self, size: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(size as u64);
    }

    /// Removes everything in `other`.
    pub(in crate::wire) fn remove_all(&mut self, other: Volume) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    /// Returns whether one more message of `size` bytes stays within `self` as a limit, given what is `used`. One message
    /// always fits if nothing is used.
    pub(in crate::wire) fn has_room(self, used: Volume, size: usize) -> bool {
        (used.messages < self.messages && used.bytes + size as u64 <= self.bytes) || used.messages == 0
    }

    /// Returns whether `used` is at most half of `self` as a limit.
    pub(in crate::wire) fn is_half_free(self, used: Volume) -> bool {
        used.messages <= self.messages / 2 && used.bytes <= self.bytes / 2
    }
}
