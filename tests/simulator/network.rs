//! Connections: two byte streams each, delivered in slices of any size at any time, cut at any byte, or silently dead.

use crate::world::ProcessNo;
use liner::wire::codec::Decoder;
use std::collections::VecDeque;

/// Largest frame anybody sends here.
pub(crate) const MAX_FRAME: u32 = 64 * 1024;

/// A connection's number.
pub(crate) type ConnNo = usize;

/// One direction.
#[derive(Debug, Default)]
pub(crate) struct Pipe {
    pub(crate) bytes: VecDeque<u8>,
    /// A delivery is on its way.
    pub(crate) scheduled: bool,
    /// Everything written is lost, and nobody is notified.
    pub(crate) mute: bool,
    /// The stream ends after the bytes that are in it.
    pub(crate) ended: bool,
}

/// What a node holds of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) process: ProcessNo,
    pub(crate) open: bool,
    /// The peer's first frame was seen.
    pub(crate) greeted: bool,
    pub(crate) decoder: Decoder,
}

/// A connection: end 0 dialled, pipe 0 leads away from it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) ends: [End; 2],
    pub(crate) pipes: [Pipe; 2],
}

impl Conn {
    pub(crate) fn new(from: (usize, ProcessNo), to: (usize, ProcessNo)) -> Self {
        let end = |(node, process)| End { node, process, open: true, greeted: false, decoder: Decoder::new(MAX_FRAME) };
        Conn { ends: [end(from), end(to)], pipes: [Pipe::default(), Pipe::default()] }
    }

    /// Writes at an end.
    pub(crate) fn write(&mut self, end: usize, bytes: &[u8]) {
        let pipe = &mut self.pipes[end];
        if self.ends[end].open && !pipe.mute && !pipe.ended {
            pipe.bytes.extend(bytes);
        }
    }

    /// Takes up to `n` bytes that arrive at `end`.
    pub(crate) fn read(&mut self, end: usize, n: usize) -> Vec<u8> {
        let pipe = &mut self.pipes[1 - end];
        let n = n.min(pipe.bytes.len());
        pipe.bytes.drain(..n).collect()
    }

    /// Ends a direction after the first `keep` bytes that are in it.
    pub(crate) fn cut(&mut self, pipe: usize, keep: usize) {
        let pipe = &mut self.pipes[pipe];
        pipe.bytes.truncate(keep);
        pipe.ended = true;
    }
}

/// Puts bytes that arrived into a decoder, as a read from a socket would.
pub(crate) fn feed(decoder: &mut Decoder, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let buf = decoder.read_buf();
        let room = (buf.capacity() - buf.len()).min(rest.len());
        buf.extend_from_slice(&rest[..room]);
        rest = &rest[room..];
        if !rest.is_empty() && room == 0 {
            unreachable!("a decoder always has room for a read");
        }
    }
}
