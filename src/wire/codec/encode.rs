//! Encoding of frames. Frames written here come from this node, so one that cannot be written is a broken invariant and
//! panics.
//!
//! ```text
//! frame         len: u32 (bytes after this field), type: u8, body
//! name          len: u8, UTF-8                        text    len: u16, UTF-8 (at most MAX_TEXT)
//! auth          len: u16, bytes (at most MAX_AUTH)    x?      present: u8 (0 or 1), x if 1
//!
//! 0x01 Hello         magic: "LINR", min_version: u16, max_version: u16, features: u64, from: name, to: name,
//!                    topic: name, addr: text, store: u64, epoch: u64, nonce: [u8; 16], auth, … later fields
//! 0x02 Welcome       version: u16, features: u64, node: name, topic: name, addr: text, store: u64, epoch: u64,
//!                    max_frame: u32, max_message: u64, nonce: [u8; 16], auth, … later fields
//! 0x03 Close         code: u8, text
//! 0x10 Resume        lane: u32, source: name, topic: name, predecessor?: u64, acked: u64,
//!                    spans: u32, { incarnation: u64, first: u64 } × spans
//! 0x11 ResumeAt      lane: u32, received?: { incarnation: u64, seq: u64 }, messages: u64, bytes: u64
//! 0x20 Data          see encode_data
//! 0x21 Skip          lane: u32, from: u64, to: u64
//! 0x30 Ack           lane: u32, incarnation: u64, seq: u64
//! 0x31 Credit        lane: u32, messages: u64, bytes: u64
//! 0x32 Refuse        lane: u32, incarnation: u64, seq: u64, code: u8, text
//! 0x40 Ping          number: u64
//! 0x41 Pong          number: u64
//! 0x50 Subscribed    topic: name
//! 0x51 Unsubscribed  topic: name
//! 0x80…0xff          ignored when not known
//! ```

use super::checksum;
use super::layout::{self, IGNORABLE, LEN_BYTES, MAGIC, MAX_AUTH, MAX_TEXT};
use crate::types::Seq;
use crate::wire::frame::{Data, DataFlags, Frame, Hello, LaneIx, Resume, ResumeAt, Welcome};
use bytes::{BufMut, BytesMut};

/// A length always fits its field: the machines split messages into parts below the frame limit, which is a `u32`.
const FITS: &str = "a frame is shorter than the frame limit";

/// Length of the bytes before those that the checksum of a `Data` frame covers: length field, type and checksum.
const DATA_CHECKED_FROM: usize = LEN_BYTES + 1 + 4;

/// Length of a `Data` frame's bytes before the payload, with the number and no other optional field.
const PLAIN_HEAD: usize = DATA_CHECKED_FROM + 4 + 1 + 8;

/// Length of a `Data` frame's bytes before headers and payload, with every optional field.
const DATA_HEAD_MAX: usize = PLAIN_HEAD + 4 + 4;

/// Flags with which a `Data` frame has other fields before the payload than the plain one.
const NOT_PLAIN: u8 = DataFlags::HEADERS.with(DataFlags::COMPRESSED).with(DataFlags::DIRECT).bits();

/// Appends a frame to `out`.
pub fn encode(frame: &Frame<'_>, out: &mut BytesMut) {
    let start = out.len();
    out.put_u32_le(0);
    match frame {
        Frame::Hello(hello) => put_hello(hello, out),
        Frame::Welcome(welcome) => put_welcome(welcome, out),
        Frame::Close { code, text } => {
            out.put_u8(layout::CLOSE);
            out.put_u8(layout::close_to_byte(*code));
            put_text(text, out);
        }
        Frame::Resume(resume) => put_resume(resume, out),
        Frame::ResumeAt(at) => put_resume_at(at, out),
        Frame::Data(data) => {
            out.truncate(start);
            return encode_data(data, out);
        }
        Frame::Skip { lane, from, to } => put_numbers(layout::SKIP, *lane, from.get(), to.get(), out),
        Frame::Ack { lane, incarnation, seq } => put_numbers(layout::ACK, *lane, incarnation.get(), seq.get(), out),
        Frame::Credit { lane, messages, bytes } => put_numbers(layout::CREDIT, *lane, *messages, *bytes, out),
        Frame::Refuse { lane, incarnation, seq, code, text } => {
            put_numbers(layout::REFUSE, *lane, incarnation.get(), seq.get(), out);
            out.put_u8(layout::refuse_to_byte(*code));
            put_text(text, out);
        }
        Frame::Ping(number) => put_number(layout::PING, *number, out),
        Frame::Pong(number) => put_number(layout::PONG, *number, out),
        Frame::Subscribed(topic) => {
            out.put_u8(layout::SUBSCRIBED);
            put_name(topic.as_str(), out);
        }
        Frame::Unsubscribed(topic) => {
            out.put_u8(layout::UNSUBSCRIBED);
            put_name(topic.as_str(), out);
        }
        Frame::Unknown(kind) => {
            debug_assert!(kind & IGNORABLE != 0, "a peer closes on type {kind:#04x}");
            out.put_u8(*kind);
        }
    }
    let len = u32::try_from(out.len() - start - LEN_BYTES).expect(FITS);
    out[start..start + LEN_BYTES].copy_from_slice(&len.to_le_bytes());
}

/// Appends a `Data` frame to `out`: one reservation, one checksum over contiguous bytes.
///
/// ```text
/// 0        4        5        9        13      14
/// ├────────┼────────┼────────┼────────┼───────┼───────────┬───────────────┬───────────────────┬─────────┬─────────┐
/// │ len    │ 0x20   │ crc32  │ lane   │ flags │ seq       │ raw_len       │ headers_len       │ headers │ payload │
/// │ u32    │ u8     │ u32    │ u32    │ u8    │ u64       │ u32           │ u32               │         │ to the  │
/// │        │        │        │        │       │ !DIRECT   │ if COMPRESSED │ if HEADERS        │         │ end     │
/// └────────┴────────┴────────┴────────┴───────┴───────────┴───────────────┴───────────────────┴─────────┴─────────┘
///                             └─────────────────────── crc32 covers all of this ──────────────────────────────────┘
/// ```
#[inline]
pub fn encode_data(data: &Data<'_>, out: &mut BytesMut) {
    debug_assert_eq!(data.flags.has(DataFlags::DIRECT), data.seq == Seq::ZERO, "only DIRECT has no number");
    debug_assert_eq!(data.flags.has(DataFlags::COMPRESSED), data.raw_len != 0, "only COMPRESSED has a raw length");
    debug_assert_eq!(data.flags.has(DataFlags::HEADERS), !data.headers.is_empty(), "only HEADERS has headers");
    let total = data_frame_len(data.flags, data.headers.len(), data.payload.len());
    let start = out.len();
    out.reserve(total);
    let mut head = [0; DATA_HEAD_MAX];
    let mut at = 0;
    put(&mut head, &mut at, u32::try_from(total - LEN_BYTES).expect(FITS).to_le_bytes());
    put(&mut head, &mut at, [layout::DATA, 0, 0, 0, 0]);
    put(&mut head, &mut at, data.lane.0.to_le_bytes());
    put(&mut head, &mut at, [data.flags.bits()]);
    if data.flags.bits() & NOT_PLAIN == 0 {
        put(&mut head, &mut at, data.seq.get().to_le_bytes());
        out.extend_from_slice(&head[..PLAIN_HEAD]);
    } else {
        put_optional(data, head, at, out);
    }
    out.extend_from_slice(data.payload);
    let (head, checked) = out[start..].split_at_mut(DATA_CHECKED_FROM);
    head[LEN_BYTES + 1..].copy_from_slice(&checksum(checked).to_le_bytes());
}

fn put_optional(data: &Data<'_>, mut head: [u8; DATA_HEAD_MAX], mut at: usize, out: &mut BytesMut) {
    if !data.flags.has(DataFlags::DIRECT) {
        put(&mut head, &mut at, data.seq.get().to_le_bytes());
    }
    if data.flags.has(DataFlags::COMPRESSED) {
        put(&mut head, &mut at, data.raw_len.to_le_bytes());
    }
    if data.flags.has(DataFlags::HEADERS) {
        put(&mut head, &mut at, u32::try_from(data.headers.len()).expect(FITS).to_le_bytes());
    }
    out.extend_from_slice(&head[..at]);
    out.extend_from_slice(data.headers);
}

#[inline]
fn put<const N: usize>(head: &mut [u8; DATA_HEAD_MAX], at: &mut usize, field: [u8; N]) {
    head[*at..*at + N].copy_from_slice(&field);
    *at += N;
}

/// Returns the length of a `Data` frame on the wire in bytes, including its length field.
#[inline]
pub const fn data_frame_len(flags: DataFlags, headers_len: usize, payload_len: usize) -> usize {
    data_overhead(flags, headers_len) + payload_len
}

/// Returns how many payload bytes fit into one `Data` frame of a peer with the frame limit `max_frame`, or 0 if the headers
/// alone do not fit.
pub const fn max_part(max_frame: u32, flags: DataFlags, headers_len: usize) -> usize {
    (max_frame as usize).saturating_sub(data_overhead(flags, headers_len) - LEN_BYTES)
}

#[inline]
const fn data_overhead(flags: DataFlags, headers_len: usize) -> usize {
    let mut len = DATA_CHECKED_FROM + 4 + 1;
    if !flags.has(DataFlags::DIRECT) {
        len += 8;
    }
    if flags.has(DataFlags::COMPRESSED) {
        len += 4;
    }
    if flags.has(DataFlags::HEADERS) {
        len += 4 + headers_len;
    }
    len
}

fn put_hello(hello: &Hello, out: &mut BytesMut) {
    out.put_u8(layout::HELLO);
    out.put_slice(&MAGIC);
    out.put_u16_le(hello.min_version);
    out.put_u16_le(hello.max_version);
    out.put_u64_le(hello.features);
    put_name(hello.from.as_str(), out);
    put_name(hello.to.as_str(), out);
    put_name(hello.topic.as_str(), out);
    put_text(&hello.addr, out);
    out.put_u64_le(hello.store.get());
    out.put_u64_le(hello.epoch.get());
    out.put_slice(&hello.nonce);
    put_auth(&hello.auth, out);
}

fn put_welcome(welcome: &Welcome, out: &mut BytesMut) {
    out.put_u8(layout::WELCOME);
    out.put_u16_le(welcome.version);
    out.put_u64_le(welcome.features);
    put_name(welcome.node.as_str(), out);
    put_name(welcome.topic.as_str(), out);
    put_text(&welcome.addr, out);
    out.put_u64_le(welcome.store.get());
    out.put_u64_le(welcome.epoch.get());
    out.put_u32_le(welcome.max_frame);
    out.put_u64_le(welcome.max_message);
    out.put_slice(&welcome.nonce);
    put_auth(&welcome.auth, out);
}

fn put_resume(resume: &Resume, out: &mut BytesMut) {
    out.put_u8(layout::RESUME);
    out.put_u32_le(resume.lane.0);
    put_name(resume.source.as_str(), out);
    put_name(resume.topic.as_str(), out);
    match resume.predecessor {
        Some(incarnation) => {
            out.put_u8(1);
            out.put_u64_le(incarnation.get());
        }
        None => out.put_u8(0),
    }
    out.put_u64_le(resume.acked.get());
    out.put_u32_le(u32::try_from(resume.spans.len()).expect(FITS));
    for (incarnation, first) in &resume.spans {
        out.put_u64_le(incarnation.get());
        out.put_u64_le(first.get());
    }
}

fn put_resume_at(at: &ResumeAt, out: &mut BytesMut) {
    out.put_u8(layout::RESUME_AT);
    out.put_u32_le(at.lane.0);
    match at.received {
        Some((incarnation, seq)) => {
            out.put_u8(1);
            out.put_u64_le(incarnation.get());
            out.put_u64_le(seq.get());
        }
        None => out.put_u8(0),
    }
    out.put_u64_le(at.messages);
    out.put_u64_le(at.bytes);
}

/// Writes the body that most small frames share: a lane and two numbers.
fn put_numbers(kind: u8, lane: LaneIx, first: u64, second: u64, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_u32_le(lane.0);
    out.put_u64_le(first);
    out.put_u64_le(second);
}

fn put_number(kind: u8, number: u64, out: &mut BytesMut) {
    out.put_u8(kind);
    out.put_u64_le(number);
}

fn put_name(name: &str, out: &mut BytesMut) {
    out.put_u8(u8::try_from(name.len()).expect("a name has at most MAX_NAME = 255 bytes"));
    out.put_slice(name.as_bytes());
}

/// Writes a text, cut at a character boundary if it is too long.
fn put_text(text: &str, out: &mut BytesMut) {
    let cut = (0..=text.len().min(MAX_TEXT)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    put_counted(&text.as_bytes()[..cut], out);
}

/// Writes an authentication field. One that is too long is cut, and fails at the peer.
fn put_auth(auth: &[u8], out: &mut BytesMut) {
    debug_assert!(auth.len() <= MAX_AUTH, "authentication field of {} bytes", auth.len());
    put_counted(&auth[..auth.len().min(MAX_AUTH)], out);
}

fn put_counted(bytes: &[u8], out: &mut BytesMut) {
    out.put_u16_le(u16::try_from(bytes.len()).expect("the callers cut to MAX_TEXT and MAX_AUTH"));
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::decode;
    use crate::wire::frame::CloseCode;

    fn close_text(text: String) -> String {
        let mut out = BytesMut::new();
        encode(&Frame::Close { code: CloseCode::Limit, text }, &mut out);
        match decode(&out, u32::MAX) {
            Ok(Some((Frame::Close { text, .. }, _))) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(close_text("x".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(close_text("x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
        assert_eq!(close_text(format!("x{}", "ж".repeat(MAX_TEXT))).len(), MAX_TEXT - 1);
    }

    #[test]
    fn lengths_foretold_are_lengths_written() {
        for bits in 0..=DataFlags::ALL.bits() {
            let flags = DataFlags::from_bits(bits).expect("known");
            let headers: &[u8] = if flags.has(DataFlags::HEADERS) { b"\x01k\x01\x00v" } else { b"" };
            let seq = if flags.has(DataFlags::DIRECT) { Seq::ZERO } else { Seq::new(7) };
            let raw_len = if flags.has(DataFlags::COMPRESSED) { 99 } else { 0 };
            let data = Data { lane: LaneIx(3), flags, seq, raw_len, headers, payload: b"payload" };
            let mut out = BytesMut::from("before");
            encode_data(&data, &mut out);
            let len = data_frame_len(flags, headers.len(), 7);
            assert_eq!(out.len(), 6 + len);
            let limit = u32::try_from(len - LEN_BYTES).expect("small");
            assert_eq!(max_part(limit, flags, headers.len()), 7);
            assert_eq!(decode(&out[6..], limit), Ok(Some((Frame::Data(data), len))));
        }
    }
}
