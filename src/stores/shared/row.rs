//! How a queued message lies in a row of `conn_messages`, the same bytes in every backend.
//!
//! Knows bytes only: no database, no lane. Rows of liner_broker start with a byte below 0x80 (the high
//! byte of a message number) and are recognised, not read.

use crate::stores::Stored;
use crate::types::{Headers, HeadersError, Incarnation, Message, Payload, Seq};
use bytes::Bytes;

/// First byte of every row of ours; the low bits are the version of the layout.
const MARK: u8 = 0x80;

/// The layout drawn at [`encode_into`].
const VERSION: u8 = 1;

/// Bytes of a row that are neither headers nor payload. The same for all rows, so that a backend can count a queue's
/// bytes from the lengths of its rows alone.
pub(crate) const OVERHEAD: usize = 1 + 8 + 8 + 8 + 4;

/// Why a row could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RowError {
    /// The row is in liner_broker's encoding.
    #[error("row is in the encoding of liner_broker")]
    Legacy,
    /// The row is of a layout this version does not know.
    #[error("row has layout version {0}, known is {VERSION}")]
    Version(u8),
    /// The row ends before its fields do.
    #[error("row is truncated")]
    Truncated,
    /// The headers inside are not headers.
    #[error("row headers: {0}")]
    Headers(#[from] HeadersError),
    /// No message is without a payload.
    #[error("row has no payload")]
    NoPayload,
}

/// Appends the row of a message to `buf`.
///
/// ```text
/// 0     1             9         17             25              29
/// +-----+-------------+---------+--------------+---------------+-------------+------------------+
/// | 0x81| incarnation | number  | accepted_ms  | headers_len   | headers     | payload (the     |
/// | u8  | u64         | u64     | u64          | u32           |             | rest, 1 or more) |
/// +-----+-------------+---------+--------------+---------------+-------------+------------------+
/// ```
///
/// Integers are little-endian; `headers` is the wire form of [`Headers`].
pub(crate) fn encode_into(buf: &mut Vec<u8>, stored: &Stored) {
    let headers = stored.message.headers.encoded();
    // Headers are at most 64 KiB by construction, so the cast keeps the value.
    let headers_len = headers.len() as u32;
    buf.reserve(OVERHEAD + stored.message.size());
    buf.push(MARK | VERSION);
    buf.extend_from_slice(&stored.incarnation.get().to_le_bytes());
    buf.extend_from_slice(&stored.seq.get().to_le_bytes());
    buf.extend_from_slice(&stored.accepted_ms.to_le_bytes());
    buf.extend_from_slice(&headers_len.to_le_bytes());
    buf.extend_from_slice(headers);
    buf.extend_from_slice(&stored.message.payload);
}

/// Reads a row. Headers and payload share its buffer.
pub(crate) fn decode(row: Bytes) -> Result<Stored, RowError> {
    match row.first() {
        None => return Err(RowError::Truncated),
        Some(first) if first & MARK == 0 => return Err(RowError::Legacy),
        Some(first) if *first != MARK | VERSION => return Err(RowError::Version(first & !MARK)),
        Some(_) => {}
    }
    let incarnation = Incarnation::new(u64_at(&row, 1)?);
    let seq = Seq::new(u64_at(&row, 9)?);
    let accepted_ms = u64_at(&row, 17)?;
    let headers_len = row.get(25..OVERHEAD).and_then(|b| b.first_chunk::<4>()).ok_or(RowError::Truncated)?;
    let headers_len = u32::from_le_bytes(*headers_len) as usize;
    let body = row.slice(OVERHEAD..);
    if headers_len > body.len() {
        return Err(RowError::Truncated);
    }
    let headers = Headers::decode(body.slice(..headers_len))?;
    let payload = Payload::new(body.slice(headers_len..)).map_err(|_| RowError::NoPayload)?;
    Ok(Stored { seq, incarnation, accepted_ms, message: Message { headers, payload } })
}

fn u64_at(row: &[u8], at: usize) -> Result<u64, RowError> {
    let bytes = row.get(at..).and_then(|b| b.first_chunk::<8>()).ok_or(RowError::Truncated)?;
    Ok(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stored(headers: Headers, payload: &[u8]) -> Stored {
        let payload = Payload::new(payload.to_vec()).expect("not empty");
        let message = Message { headers, payload };
        Stored { seq: Seq::new(7), incarnation: Incarnation::new(0x1122_3344_5566_7788), accepted_ms: 1000, message }
    }

    fn encode(stored: &Stored) -> Vec<u8> {
        let mut buf = Vec::new();
        encode_into(&mut buf, stored);
        buf
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn the_layout_is_the_one_drawn() {
        let headers = Headers::builder().with("k", "v").build().expect("valid");
        let row = encode(&stored(headers, b"hi"));
        let fields =
            ["81", "8877665544332211", "0700000000000000", "e803000000000000", "05000000", "016b010076", "6869"];
        assert_eq!(hex(&row), fields.concat());
    }

    #[test]
    fn a_row_comes_back_and_its_overhead_is_constant() {
        let headers = Headers::builder().with("kind", "order").build().expect("valid");
        for message in [stored(Headers::EMPTY, b"x"), stored(headers, &[0xff; 300])] {
            let row = encode(&message);
            assert_eq!(row.len(), OVERHEAD + message.message.size());
            assert_eq!(decode(row.into()), Ok(message));
        }
    }

    #[test]
    fn what_is_not_a_row_is_named() {
        let legacy = [0u8; 40];
        assert_eq!(decode(Bytes::copy_from_slice(&legacy)), Err(RowError::Legacy));
        let row = encode(&stored(Headers::EMPTY, b"x"));
        for cut in 0..OVERHEAD {
            assert_eq!(decode(Bytes::copy_from_slice(&row[..cut])), Err(RowError::Truncated), "cut at {cut}");
        }
        assert_eq!(decode(Bytes::copy_from_slice(&row[..OVERHEAD])), Err(RowError::NoPayload));
        let mut newer = row.clone();
        newer[0] = 0x82;
        assert_eq!(decode(newer.into()), Err(RowError::Version(2)));
        let mut long_headers = row;
        long_headers[25] = 2;
        assert_eq!(decode(long_headers.into()), Err(RowError::Truncated));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(mut bytes: Vec<u8>, ours: bool) {
            if let (true, Some(first)) = (ours, bytes.first_mut()) {
                *first = MARK | VERSION;
            }
            if let Ok(stored) = decode(Bytes::from(bytes.clone())) {
                prop_assert_eq!(encode(&stored), bytes);
            }
        }
    }
}
