//! Delivery modes.

/// The delivery mode of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The message is sent once if a peer can be reached. It is never stored and never sent twice.
    AtMostOnce,
    /// The message is sent until a subscriber has handled it. [`Durability`] says which failures that survives.
    AtLeastOnce(Durability),
}

impl Mode {
    /// Returns the durability of an at-least-once message.
    pub(crate) fn durability(self) -> Option<Durability> {
        match self {
            Mode::AtMostOnce => None,
            Mode::AtLeastOnce(durability) => Some(durability),
        }
    }

    /// Returns whether a message is accepted only when it is committed.
    pub(crate) fn commits(self) -> bool {
        matches!(self, Mode::AtLeastOnce(Durability::Committed | Durability::Synced))
    }
}

/// The point at which an at-least-once message counts as accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Accepted in memory, and stored when it is not acked within
    /// [`Timing::write_behind_delay`](crate::Timing::write_behind_delay). Survives network failures, the death of the
    /// receiver and an outage of the store. The death of this process loses at most the messages of the last
    /// `write_behind_delay`.
    WriteBehind,
    /// Accepted when it is committed to the store. Survives the death of any process.
    Committed,
    /// Accepted when it is committed and flushed to the medium. Survives a power loss.
    Synced,
}
