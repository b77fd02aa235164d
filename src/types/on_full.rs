//! [`OnFull`]: what a send does at a limit.

/// The reaction of a send to a limit that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OnFull {
    /// Waits for room, up to the deadline of the send. Only the limits of a link are waited for. Room in a lane
    /// ([`Limits::lane_messages`](crate::Limits::lane_messages), [`Limits::lane_bytes`](crate::Limits::lane_bytes)) may
    /// take days, so a full lane is [`SendError::QueueFull`](crate::SendError::QueueFull) at once.
    Wait,
    /// Fails with [`SendError::QueueFull`](crate::SendError::QueueFull) at once.
    Reject,
}
