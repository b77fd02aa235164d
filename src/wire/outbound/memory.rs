//! Memory that a link holds for messages, and the callers it turned away.

use super::OutboundConfig;
use crate::types::Amount;

/// Memory that a link holds for messages.
#[derive(Debug, Default)]
pub(super) struct MemoryUse {
    /// At-least-once messages that only memory holds.
    unstored: Amount,
    /// At-most-once messages that wait.
    direct: Amount,
    /// Whether a caller was turned away since room was last announced.
    starved: bool,
}

impl MemoryUse {
    pub(super) fn unstored(&self) -> Amount {
        self.unstored
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved
    }

    /// Reserves memory for an at-least-once message. Returns whether there is room.
    #[inline]
    pub(super) fn reserve(&mut self, config: &OutboundConfig, size: usize) -> bool {
        Self::reserve_in(&mut self.unstored, config.memory, &mut self.starved, size)
    }

    /// Reserves memory for an at-most-once message. Returns whether there is room.
    pub(super) fn reserve_direct(&mut self, config: &OutboundConfig, size: usize) -> bool {
        Self::reserve_in(&mut self.direct, config.direct, &mut self.starved, size)
    }

    #[inline]
    fn reserve_in(used: &mut Amount, limit: Amount, starved: &mut bool, size: usize) -> bool {
        let fits = limit.has_room(*used, size);
        if fits {
            used.add(size);
        } else {
            *starved = true;
        }
        fits
    }

    pub(super) fn free(&mut self, freed: Amount) {
        self.unstored.remove_all(freed);
    }

    pub(super) fn free_one(&mut self, size: usize) {
        self.unstored.remove(size);
    }

    pub(super) fn free_direct(&mut self, size: usize) {
        self.direct.remove(size);
    }

    pub(super) fn free_all_direct(&mut self) {
        self.direct = Amount::default();
    }

    /// Returns whether callers that were turned away should be notified of room: half of both limits is free.
    pub(super) fn take_room(&mut self, config: &OutboundConfig) -> bool {
        let free = config.memory.is_half_free(self.unstored) && config.direct.is_half_free(self.direct);
        free && std::mem::take(&mut self.starved)
    }
}
