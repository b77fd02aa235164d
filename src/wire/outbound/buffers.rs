//! The transmit buffer of a link, and the segments it turns into.

use super::inflight::{Inflight, Retained, SentMessage};
use super::segments::{FrameRef, Segments};
use super::transmit::Transmit;
use crate::types::{Amount, Message, Seq};
use crate::wire::codec;
use crate::wire::frame::{Data, Frame, LaneIx};
use bytes::Bytes;
use std::time::Instant;

/// Encodes frames for the connection and keeps those that may be needed again.
#[derive(Debug, Default)]
pub(super) struct SendBuffers {
    transmit: Transmit,
    segments: Segments,
}

impl SendBuffers {
    /// Bytes that wait for the connection.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.transmit.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.transmit.is_empty()
    }

    /// Encodes a frame without a message.
    pub(super) fn encode(&mut self, frame: &Frame<'_>) {
        codec::encode(frame, self.transmit.buffer());
    }

    /// Encodes a message that is not retained here.
    #[inline]
    pub(super) fn encode_data(&mut self, data: &Data<'_>) {
        codec::encode_data(data, self.transmit.buffer());
    }

    /// Encodes a message and keeps its frame. Reads the clock once per segment.
    #[inline]
    pub(super) fn encode_retained(&mut self, data: &Data<'_>, since: impl FnOnce() -> Instant) -> FrameRef {
        let buffer = self.transmit.buffer();
        let frame = self.segments.keep(buffer.len(), since);
        codec::encode_data(data, buffer);
        frame
    }

    /// Announces the numbers between `sent` and `seq` as missing, if there are any.
    #[inline]
    pub(super) fn skip_to(&mut self, lane: LaneIx, sent: Seq, seq: Seq) {
        if sent.next() < seq {
            self.encode(&Frame::Skip { lane, from: sent.next(), to: seq.prev() });
        }
    }

    /// Swaps the transmit buffer out if a message of `size` bytes would make it much too large.
    #[inline]
    pub(super) fn make_room(&mut self, size: usize) {
        if self.transmit.is_full_for(size) {
            self.seal();
        }
    }

    /// Swaps the transmit buffer out.
    pub(super) fn seal(&mut self) {
        if let Some(bytes) = self.transmit.seal() {
            self.segments.seal(&bytes);
        }
    }

    /// Takes the oldest full buffer, for the connection.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.transmit.pop()
    }

    /// Takes a buffer back that was transmitted.
    pub(super) fn recycle(&mut self, bytes: Bytes) {
        self.transmit.recycle(bytes);
    }

    /// The connection is lost with everything that waited for it. What is retained stays.
    pub(super) fn disconnect(&mut self) {
        self.seal();
        self.transmit.clear();
    }

    /// Frees the memory of the last burst.
    pub(super) fn shrink(&mut self) {
        self.transmit.shrink();
    }

    /// Returns when the first retained message in the frame's segment was accepted.
    pub(super) fn since(&self, frame: FrameRef) -> Instant {
        self.segments.since(frame)
    }

    /// Decodes the message in a frame. Its buffer must be sealed.
    pub(super) fn message(&self, frame: FrameRef) -> Message {
        self.segments.message(frame)
    }

    /// Releases this many frames of one segment.
    pub(super) fn release(&mut self, frame: FrameRef, entries: u32) {
        if let Some(buffer) = self.segments.release(frame, entries) {
            self.transmit.recycle(buffer);
        }
    }

    /// Removes the messages up to `through` from the flight and releases their frames. Returns all of them, and those that
    /// only memory held. A run of frames mostly lies in one segment, and is released at once.
    pub(super) fn release_through(&mut self, inflight: &mut Inflight, through: Seq) -> (Amount, Amount) {
        let (mut all, mut held) = (Amount::default(), Amount::default());
        let mut run: Option<(FrameRef, u32)> = None;
        inflight.remove_acked(through, |SentMessage { size, retained, .. }| {
            all.add(*size);
            match (retained, &mut run) {
                (Retained::Stored, _) => return,
                (Retained::Message(..), _) => {}
                (Retained::Frame(frame), Some((first, entries))) if first.shares_segment(*frame) => *entries += 1,
                (Retained::Frame(frame), run) => {
                    if let Some((first, entries)) = run.replace((*frame, 1)) {
                        self.release(first, entries);
                    }
                }
            }
            held.add(*size);
        });
        if let Some((first, entries)) = run {
            self.release(first, entries);
        }
        (all, held)
    }
}
