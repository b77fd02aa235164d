//! Numbers of the wire format: type bytes, code bytes and limits. Once released, a number here never changes meaning.

use crate::wire::frame::{CloseCode, RefuseCode};

/// Bytes of the length field before every frame.
pub const LEN_BYTES: usize = 4;

/// Longest first frame of a connection, in bytes after its length field. An unknown peer can make a node hold no more than
/// this. The largest `Hello` has 3,893 bytes.
pub const FIRST_FRAME_MAX: u32 = 4 * 1024;

/// Default for the longest frame, in bytes after its length field. Larger messages travel in parts.
pub const DEFAULT_MAX_FRAME: u32 = 16 * 1024 * 1024;

/// Longest text (close reason, published address) in bytes. Texts are single lines in words.
pub const MAX_TEXT: usize = 1024;

/// Longest authentication field in bytes: enough for tokens and signatures within the limit of the first frame.
pub const MAX_AUTH: usize = 2 * 1024;

/// First bytes of a [`Hello`](crate::wire::frame::Hello), so that a client of another protocol is recognised.
pub const MAGIC: [u8; 4] = *b"LINR";

/// Types with this bit may be ignored by a version that does not know them.
pub const IGNORABLE: u8 = 0x80;

pub(super) const HELLO: u8 = 0x01;
pub(super) const WELCOME: u8 = 0x02;
pub(super) const CLOSE: u8 = 0x03;
pub(super) const RESUME: u8 = 0x10;
pub(super) const RESUME_AT: u8 = 0x11;
pub(super) const DATA: u8 = 0x20;
pub(super) const SKIP: u8 = 0x21;
pub(super) const ACK: u8 = 0x30;
pub(super) const CREDIT: u8 = 0x31;
pub(super) const REFUSE: u8 = 0x32;
pub(super) const PING: u8 = 0x40;
pub(super) const PONG: u8 = 0x41;
pub(super) const SUBSCRIBED: u8 = 0x50;
pub(super) const UNSUBSCRIBED: u8 = 0x51;

pub(super) const fn close_to_byte(code: CloseCode) -> u8 {
    match code {
        CloseCode::Goodbye => 0,
        CloseCode::Version => 1,
        CloseCode::WrongNode => 2,
        CloseCode::Fenced => 3,
        CloseCode::NameConflict => 4,
        CloseCode::Protocol => 5,
        CloseCode::Hole => 6,
        CloseCode::Replaced => 7,
        CloseCode::Limit => 8,
        CloseCode::Unauthorized => 9,
        CloseCode::Other(byte) => byte,
    }
}

pub(super) const fn close_from_byte(byte: u8) -> CloseCode {
    match byte {
        0 => CloseCode::Goodbye,
        1 => CloseCode::Version,
        2 => CloseCode::WrongNode,
        3 => CloseCode::Fenced,
        4 => CloseCode::NameConflict,
        5 => CloseCode::Protocol,
        6 => CloseCode::Hole,
        7 => CloseCode::Replaced,
        8 => CloseCode::Limit,
        9 => CloseCode::Unauthorized,
        other => CloseCode::Other(other),
    }
}

pub(super) const fn refuse_to_byte(code: RefuseCode) -> u8 {
    match code {
        RefuseCode::TooLarge => 0,
        RefuseCode::Undecodable => 1,
        RefuseCode::Other(byte) => byte,
    }
}

pub(super) const fn refuse_from_byte(byte: u8) -> RefuseCode {
    match byte {
        0 => RefuseCode::TooLarge,
        1 => RefuseCode::Undecodable,
        other => RefuseCode::Other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_byte_comes_back_the_same() {
        for byte in 0..=u8::MAX {
            assert_eq!(close_to_byte(close_from_byte(byte)), byte);
            assert_eq!(refuse_to_byte(refuse_from_byte(byte)), byte);
        }
    }
}
