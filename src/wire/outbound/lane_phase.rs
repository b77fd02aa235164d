//! A lane on the present connection: whether it is open, its credit, and a message that was sent in part.

use crate::types::{Message, Seq};
use crate::wire::frame::{DataFlags, ResumeAt};

/// State of a lane on the present connection.
#[derive(Debug)]
pub(super) enum LanePhase {
    /// The lane was not opened on this connection.
    Closed,
    /// This many `Resume` frames were sent without a reply so far. Only the last reply counts.
    Resuming(u32),
    /// Messages may be sent, within the credit.
    Open(OpenLane),
}

/// A lane that is open on the present connection.
#[derive(Debug)]
pub(super) struct OpenLane {
    pub(super) credit: Credit,
    /// A large message that was sent in part.
    pub(super) partial: Option<PartialSend>,
}

impl LanePhase {
    pub(super) fn is_closed(&self) -> bool {
        matches!(self, LanePhase::Closed)
    }

    #[inline]
    pub(super) fn is_open(&self) -> bool {
        matches!(self, LanePhase::Open(_))
    }

    #[inline]
    pub(super) fn open(&self) -> Option<&OpenLane> {
        match self {
            LanePhase::Open(open) => Some(open),
            LanePhase::Closed | LanePhase::Resuming(_) => None,
        }
    }

    #[inline]
    pub(super) fn open_mut(&mut self) -> Option<&mut OpenLane> {
        match self {
            LanePhase::Open(open) => Some(open),
            LanePhase::Closed | LanePhase::Resuming(_) => None,
        }
    }

    /// A `Resume` is sent.
    pub(super) fn resume(&mut self) {
        let outstanding = match self {
            LanePhase::Resuming(n) => *n,
            LanePhase::Closed | LanePhase::Open(_) => 0,
        };
        *self = LanePhase::Resuming(outstanding + 1);
    }

    /// A `ResumeAt` arrived. Returns whether it replies to the last `Resume`, or `None` if no reply was due.
    pub(super) fn handle_resume_at(&mut self, at: &ResumeAt) -> Option<bool> {
        match self {
            LanePhase::Resuming(1) => {
                *self = LanePhase::Open(OpenLane { credit: Credit::new(at.messages, at.bytes), partial: None });
                Some(true)
            }
            LanePhase::Resuming(n) => {
                *n -= 1;
                Some(false)
            }
            LanePhase::Closed | LanePhase::Open(_) => None,
        }
    }
}

/// The rest of a large message that is sent in parts.
#[derive(Debug)]
pub(super) struct PartialSend {
    /// The message's number, or `Seq::ZERO` if it is at most once.
    pub(super) seq: Seq,
    pub(super) message: Message,
    /// Bytes of the payload that were sent.
    pub(super) offset: usize,
    pub(super) flags: DataFlags,
}

/// What the receiver still takes on this connection.
#[derive(Debug)]
pub(super) struct Credit {
    messages: u64,
    bytes: u64,
    used_messages: u64,
    used_bytes: u64,
}

impl Credit {
    fn new(messages: u64, bytes: u64) -> Self {
        Credit { messages, bytes, used_messages: 0, used_bytes: 0 }
    }

    /// Raises the totals. They never shrink.
    pub(super) fn grant(&mut self, messages: u64, bytes: u64) {
        self.messages = self.messages.max(messages);
        self.bytes = self.bytes.max(bytes);
    }

    /// Whether one more message may be sent. The last one may exceed the bytes, so that a message larger than the whole
    /// window passes alone.
    #[inline]
    pub(super) fn allows(&self) -> bool {
        self.used_messages < self.messages && self.used_bytes < self.bytes
    }

    /// A message of `size` bytes is sent.
    #[inline]
    pub(super) fn spend(&mut self, size: usize) {
        self.used_messages += 1;
        self.used_bytes = self.used_bytes.saturating_add(size as u64);
    }

    /// A message was not sent to its end, so the receiver does not count it either.
    pub(super) fn refund(&mut self, size: usize) {
        self.used_messages = self.used_messages.saturating_sub(1);
        self.used_bytes = self.used_bytes.saturating_sub(size as u64);
    }
}
