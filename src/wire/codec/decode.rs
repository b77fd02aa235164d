//! Decoding of frames. The byte layout is documented in `encode.rs`. Every field is checked here unless it is opaque.

use super::layout::{self, IGNORABLE, LEN_BYTES, MAGIC, MAX_AUTH, MAX_TEXT};
use crate::types::{Epoch, Incarnation, MAX_HEADERS, NodeId, Seq, StoreId, Topic};
use crate::wire::error::WireError;
use crate::wire::frame::{Data, DataFlags, Frame, Hello, LaneIx, Resume, ResumeAt, Welcome};
use bytes::Bytes;

/// Length of one span in a `Resume`, in bytes.
const SPAN_BYTES: usize = 16;

/// Decodes the frame at the front of `buf`. Returns it with its length in bytes, or `None` if it is not complete.
/// `max_frame` limits the bytes after the length field.
///
/// # Errors
/// Returns a [`WireError`] if the bytes are not a frame. Nothing after them can be trusted then.
#[inline]
pub fn decode(buf: &[u8], max_frame: u32) -> Result<Option<(Frame<'_>, usize)>, WireError> {
    let Some((field, rest)) = buf.split_first_chunk::<LEN_BYTES>() else {
        return Ok(None);
    };
    let len = super::check_len(*field, max_frame)?;
    let Some((kind, body)) = rest.get(..len).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    let frame = if *kind == layout::DATA { Frame::Data(decode_data(body)?) } else { decode_other(*kind, body)? };
    Ok(Some((frame, LEN_BYTES + len)))
}

/// Decodes the body of a `Data` frame: the bytes after its type.
///
/// # Errors
/// Returns [`WireError::Checksum`] before any field is read, then the error of the first invalid field.
#[inline]
pub fn decode_data(body: &[u8]) -> Result<Data<'_>, WireError> {
    let mut fields = FieldReader(body);
    let crc = fields.u32()?;
    if super::checksum(fields.0) != crc {
        return Err(WireError::Checksum);
    }
    let lane = fields.lane()?;
    let bits = fields.u8()?;
    let flags = DataFlags::from_bits(bits).ok_or(WireError::Flags(bits))?;
    let mut seq = Seq::ZERO;
    if !flags.has(DataFlags::DIRECT) {
        seq = fields.seq()?;
        if seq == Seq::ZERO {
            return Err(WireError::SeqZero);
        }
    }
    let mut raw_len = 0;
    if flags.has(DataFlags::COMPRESSED) {
        raw_len = fields.u32()?;
        if raw_len == 0 {
            return Err(WireError::RawMismatch(0));
        }
    }
    let headers = if flags.has(DataFlags::HEADERS) { fields.headers()? } else { &[] };
    Ok(Data { lane, flags, seq, raw_len, headers, payload: fields.0 })
}

/// Returns the frames of a chunk that a [`Decoder`](super::Decoder) returned. To keep a part of a frame without copying it,
/// use `chunk.slice_ref(data.payload)`.
pub const fn frames(chunk: &[u8]) -> Frames<'_> {
    Frames { rest: chunk }
}

/// Iterator over the frames of a chunk, returned by [`frames`]. It ends after the first error.
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Lengths were checked against the connection's limit when the chunk was cut.
        let item = match decode(self.rest, u32::MAX) {
            Ok(Some((frame, len))) => {
                self.rest = &self.rest[len..];
                return Some(Ok(frame));
            }
            Ok(None) => Err(WireError::Truncated),
            Err(error) => Err(error),
        };
        self.rest = &[];
        Some(item)
    }
}

impl std::iter::FusedIterator for Frames<'_> {}

#[inline(never)]
fn decode_other(kind: u8, body: &[u8]) -> Result<Frame<'static>, WireError> {
    let mut fields = FieldReader(body);
    let frame = match kind {
        // These two may grow at their end: a newer version appends fields, and an older one ignores them.
        layout::HELLO => return fields.hello().map(Frame::Hello),
        layout::WELCOME => return fields.welcome().map(Frame::Welcome),
        layout::CLOSE => Frame::Close { code: layout::close_from_byte(fields.u8()?), text: fields.text()? },
        layout::RESUME => Frame::Resume(fields.resume()?),
        layout::RESUME_AT => Frame::ResumeAt(fields.resume_at()?),
        layout::SKIP => fields.skip()?,
        layout::ACK => Frame::Ack { lane: fields.lane()?, incarnation: fields.incarnation()?, seq: fields.seq()? },
        layout::CREDIT => Frame::Credit { lane: fields.lane()?, messages: fields.u64()?, bytes: fields.u64()? },
        layout::REFUSE => Frame::Refuse {
            lane: fields.lane()?,
            incarnation: fields.incarnation()?,
            seq: fields.seq()?,
            code: layout::refuse_from_byte(fields.u8()?),
            text: fields.text()?,
        },
        layout::PING => Frame::Ping(fields.u64()?),
        layout::PONG => Frame::Pong(fields.u64()?),
        layout::SUBSCRIBED => Frame::Subscribed(fields.topic()?),
        layout::UNSUBSCRIBED => Frame::Unsubscribed(fields.topic()?),
        kind if kind & IGNORABLE != 0 => return Ok(Frame::Unknown(kind)),
        kind => return Err(WireError::UnknownType(kind)),
    };
    if fields.0.is_empty() { Ok(frame) } else { Err(WireError::Trailing(fields.0.len())) }
}

/// The rest of a frame's body. Each method takes one field off the front.
struct FieldReader<'a>(&'a [u8]);

impl<'a> FieldReader<'a> {
    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(field)
    }

    #[inline]
    fn u8(&mut self) -> Result<u8, WireError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        self.array().map(u16::from_le_bytes)
    }

    #[inline]
    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    #[inline]
    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    #[inline]
    fn lane(&mut self) -> Result<LaneIx, WireError> {
        self.u32().map(LaneIx)
    }

    #[inline]
    fn seq(&mut self) -> Result<Seq, WireError> {
        self.u64().map(Seq::new)
    }

    fn incarnation(&mut self) -> Result<Incarnation, WireError> {
        self.u64().map(Incarnation::new)
    }

    #[inline]
    fn headers(&mut self) -> Result<&'a [u8], WireError> {
        let declared = self.u32()?;
        match usize::try_from(declared) {
            Ok(len @ 1..=MAX_HEADERS) => self.bytes(len),
            _ => Err(WireError::HeadersLength(declared)),
        }
    }

    fn present(&mut self) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(WireError::Presence(other)),
        }
    }

    fn name(&mut self) -> Result<&'a str, WireError> {
        let len = self.u8()?;
        std::str::from_utf8(self.bytes(usize::from(len))?).map_err(|_| WireError::Utf8)
    }

    fn node(&mut self) -> Result<NodeId, WireError> {
        Ok(NodeId::new(self.name()?)?)
    }

    fn topic(&mut self) -> Result<Topic, WireError> {
        Ok(Topic::new(self.name()?)?)
    }

    fn counted(&mut self, max: usize) -> Result<&'a [u8], WireError> {
        let len = usize::from(self.u16()?);
        if len > max { Err(WireError::FieldLength(len)) } else { self.bytes(len) }
    }

    fn text(&mut self) -> Result<String, WireError> {
        let bytes = self.counted(MAX_TEXT)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Utf8)
    }

    fn auth(&mut self) -> Result<Bytes, WireError> {
        self.counted(MAX_AUTH).map(Bytes::copy_from_slice)
    }

    fn hello(&mut self) -> Result<Hello, WireError> {
        if self.array()? != MAGIC {
            return Err(WireError::Magic);
        }
        Ok(Hello {
            min_version: self.u16()?,
            max_version: self.u16()?,
            features: self.u64()?,
            from: self.node()?,
            to: self.node()?,
            topic: self.topic()?,
            addr: self.text()?,
            store: self.u64().map(StoreId::new)?,
            epoch: self.u64().map(Epoch::new)?,
            nonce: self.array()?,
            auth: self.auth()?,
        })
    }

    fn welcome(&mut self) -> Result<Welcome, WireError> {
        Ok(Welcome {
            version: self.u16()?,
            features: self.u64()?,
            node: self.node()?,
            topic: self.topic()?,
            addr: self.text()?,
            store: self.u64().map(StoreId::new)?,
            epoch: self.u64().map(Epoch::new)?,
            max_frame: self.u32()?,
            max_message: self.u64()?,
            nonce: self.array()?,
            auth: self.auth()?,
        })
    }

    fn resume(&mut self) -> Result<Resume, WireError> {
        Ok(Resume {
            lane: self.lane()?,
            source: self.topic()?,
            topic: self.topic()?,
            predecessor: if self.present()? { Some(self.incarnation()?) } else { None },
            acked: self.seq()?,
            spans: self.spans()?,
        })
    }

    /// The count is checked against the remaining bytes before anything is allocated.
    fn spans(&mut self) -> Result<Vec<(Incarnation, Seq)>, WireError> {
        let count = usize::try_from(self.u32()?).map_err(|_| WireError::Truncated)?;
        let bytes = self.bytes(count.checked_mul(SPAN_BYTES).ok_or(WireError::Truncated)?)?;
        let mut rows = FieldReader(bytes);
        let mut spans = Vec::with_capacity(count);
        while !rows.0.is_empty() {
            spans.push((rows.incarnation()?, rows.seq()?));
        }
        Ok(spans)
    }

    fn resume_at(&mut self) -> Result<ResumeAt, WireError> {
        Ok(ResumeAt {
            lane: self.lane()?,
            received: if self.present()? { Some((self.incarnation()?, self.seq()?)) } else { None },
            messages: self.u64()?,
            bytes: self.u64()?,
        })
    }

    fn skip(&mut self) -> Result<Frame<'static>, WireError> {
        let (lane, from, to) = (self.lane()?, self.seq()?, self.seq()?);
        if to < from { Err(WireError::Range) } else { Ok(Frame::Skip { lane, from, to }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A whole frame of this type and body.
    fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 1).expect("small");
        [&len.to_le_bytes()[..], &[kind], body].concat()
    }

    /// A `Data` frame whose checksum is right and whose checked bytes are these.
    fn data(checked: &[u8]) -> Vec<u8> {
        frame(layout::DATA, &[&crc32fast::hash(checked).to_le_bytes()[..], checked].concat())
    }

    fn error(buf: &[u8]) -> Option<WireError> {
        decode(buf, 1 << 20).err()
    }

    #[test]
    fn what_a_message_declares_is_checked() {
        assert_eq!(error(&data(&[1, 0, 0, 0, 0x40])), Some(WireError::Flags(0x40)));
        assert_eq!(error(&data(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9])), Some(WireError::SeqZero));
        assert_eq!(error(&data(&[1, 0, 0, 0, 0x22, 0, 0, 0, 0, 9])), Some(WireError::RawMismatch(0)));
        assert_eq!(error(&data(&[1, 0, 0, 0, 0x21, 0, 0, 0, 0, 9])), Some(WireError::HeadersLength(0)));
        assert_eq!(error(&data(&[1, 0, 0, 0, 0x21, 1, 0, 1, 0, 9])), Some(WireError::HeadersLength(65_537)));
        assert_eq!(error(&data(&[1, 0, 0, 0, 0x21, 2, 0, 0, 0, 9])), Some(WireError::Truncated));
        assert_eq!(error(&data(&[1, 0, 0, 0])), Some(WireError::Truncated));
        assert_eq!(error(&frame(layout::DATA, &[1, 2, 3])), Some(WireError::Truncated));
        assert_eq!(error(&frame(layout::DATA, &[0, 0, 0, 0, 1])), Some(WireError::Checksum));
    }

    #[test]
    fn the_longest_headers_fit() {
        let mut checked = vec![1, 0, 0, 0, 0x21, 0, 0, 1, 0];
        checked.resize(checked.len() + MAX_HEADERS, 7);
        match decode(&data(&checked), 1 << 20) {
            Ok(Some((Frame::Data(data), _))) => assert_eq!((data.headers.len(), data.payload.len()), (MAX_HEADERS, 0)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_count_is_not_believed() {
        let mut body = vec![0, 0, 0, 0, 1, b's', 1, b't', 0];
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(error(&frame(layout::RESUME, &body)), Some(WireError::Truncated));
    }

    #[test]
    fn small_fields_are_checked() {
        assert_eq!(
            error(&frame(layout::SUBSCRIBED, &[1, b'\n'])),
            Some(crate::types::NameError::ControlCharacter.into())
        );
        assert_eq!(error(&frame(layout::SUBSCRIBED, &[0])), Some(crate::types::NameError::Empty.into()));
        assert_eq!(error(&frame(layout::SUBSCRIBED, &[1, 0xff])), Some(WireError::Utf8));
        assert_eq!(error(&frame(layout::CLOSE, &[0, 1, 4])), Some(WireError::FieldLength(1025)));
        assert_eq!(error(&frame(layout::RESUME_AT, &[0, 0, 0, 0, 2])), Some(WireError::Presence(2)));
        assert_eq!(error(&frame(layout::HELLO, b"HTTP")), Some(WireError::Magic));
        let mut skip = vec![0; 20];
        skip[4] = 1;
        assert_eq!(error(&frame(layout::SKIP, &skip)), Some(WireError::Range));
    }

    #[test]
    fn unknown_types_close_unless_flagged_ignorable() {
        assert_eq!(error(&frame(0x7f, b"?")), Some(WireError::UnknownType(0x7f)));
        assert_eq!(error(&frame(0x00, b"")), Some(WireError::UnknownType(0)));
        assert_eq!(decode(&frame(0xff, b"?"), 16), Ok(Some((Frame::Unknown(0xff), 6))));
    }

    #[test]
    fn frames_of_a_chunk_end_after_the_first_error() {
        let chunk = [frame(0xff, b""), frame(0x7f, b""), frame(0xff, b"")].concat();
        let items: Vec<_> = frames(&chunk).collect();
        assert_eq!(items, [Ok(Frame::Unknown(0xff)), Err(WireError::UnknownType(0x7f))]);
        assert_eq!(frames(&chunk[..3]).collect::<Vec<_>>(), [Err(WireError::Truncated)]);
    }
}
