//! The encoding in which liner_broker stores a queued message. It is the same in every backend.

use bytes::Bytes;
use std::io::Read as _;
use zstd::stream::read::Decoder;

/// The payload is compressed with zstd.
const COMPRESSED: u8 = 0x01;

/// The message was sent at least once. liner_broker stores only such messages.
const AT_LEAST_ONCE: u8 = 0x02;

/// Bytes before the payload.
const HEAD: usize = 4 + 8 + 4 + 4 + 1 + 4;

/// A decoded row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LegacyRow {
    /// The number within the connection key, from 1. Each address of a receiver has a counter of its own, so the numbers of a
    /// key may repeat or fall.
    pub(crate) number: u64,
    pub(crate) connection_key: i32,
    /// The number of the topic addressed.
    pub(crate) topic_key: i32,
    pub(crate) at_least_once: bool,
    /// The payload as it was sent. Never empty.
    pub(crate) payload: Bytes,
}

/// The reason why a row could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LegacyRowError {
    /// The row ends within a field.
    #[error("it is truncated")]
    Truncated,
    /// The payload is empty.
    #[error("it has no payload")]
    NoPayload,
    /// The payload is not valid zstd data.
    #[error("its payload cannot be decompressed")]
    Compression,
    /// The payload is larger than the store takes.
    #[error("its payload has over {0} bytes")]
    TooLarge(usize),
}

/// Decodes a row. The payload may have at most `max` bytes, after decompression.
///
/// ```text
/// 0        4         12               16          20      21       25
/// +--------+---------+----------------+-----------+-------+--------+---------+
/// | length | number  | connection key | topic key | flags | size   | payload |
/// | u32    | u64     | i32            | i32       | u8    | u32    |         |
/// +--------+---------+----------------+-----------+-------+--------+---------+
///          '------------------------- length bytes --------------------------'
/// ```
///
/// Integers are big-endian. No length reaches 2 GiB, so the first byte is below 0x80.
pub(crate) fn decode(row: &[u8], max: usize) -> Result<LegacyRow, LegacyRowError> {
    let length = u32_at(row, 0)? as usize;
    let body = row.get(4..).and_then(|rest| rest.get(..length)).ok_or(LegacyRowError::Truncated)?;
    let number = body.first_chunk().map(|b| u64::from_be_bytes(*b)).ok_or(LegacyRowError::Truncated)?;
    let connection_key = u32_at(row, 12)?.cast_signed();
    let topic_key = u32_at(row, 16)?.cast_signed();
    let flags = *row.get(20).ok_or(LegacyRowError::Truncated)?;
    let size = u32_at(row, 21)? as usize;
    let payload = body.get(HEAD - 4..).and_then(|rest| rest.get(..size)).ok_or(LegacyRowError::Truncated)?;
    let payload = if flags & COMPRESSED == 0 { raw(payload, max)? } else { decompressed(payload, max)? };
    if payload.is_empty() {
        return Err(LegacyRowError::NoPayload);
    }
    Ok(LegacyRow { number, connection_key, topic_key, at_least_once: flags & AT_LEAST_ONCE != 0, payload })
}

fn u32_at(row: &[u8], at: usize) -> Result<u32, LegacyRowError> {
    let bytes = row.get(at..).and_then(|b| b.first_chunk::<4>()).ok_or(LegacyRowError::Truncated)?;
    Ok(u32::from_be_bytes(*bytes))
}

fn raw(payload: &[u8], max: usize) -> Result<Bytes, LegacyRowError> {
    if payload.len() > max { Err(LegacyRowError::TooLarge(max)) } else { Ok(Bytes::copy_from_slice(payload)) }
}

/// Decompresses a payload. The buffer grows with the output, so a forged size in the payload cannot make it large.
fn decompressed(payload: &[u8], max: usize) -> Result<Bytes, LegacyRowError> {
    let mut out = Vec::new();
    let decoder = Decoder::with_buffer(payload).map_err(|_| LegacyRowError::Compression)?;
    decoder.take(max as u64 + 1).read_to_end(&mut out).map_err(|_| LegacyRowError::Compression)?;
    if out.len() > max { Err(LegacyRowError::TooLarge(max)) } else { Ok(out.into()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    /// A row as liner_broker writes it.
    pub(in crate::stores) fn row(number: u64, topic_key: i32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEAD - 4 + payload.len()).expect("small");
        let size = u32::try_from(payload.len()).expect("small");
        let mut row = length.to_be_bytes().to_vec();
        row.extend(number.to_be_bytes());
        row.extend(7i32.to_be_bytes());
        row.extend(topic_key.to_be_bytes());
        row.push(flags);
        row.extend(size.to_be_bytes());
        row.extend(payload);
        row
    }

    /// Written by liner_broker 1.4.1.
    #[test]
    fn a_row_of_liner_broker_is_decoded() {
        let hex = "0000001d000000000000000a00000009000000050200000008726566756e642d30";
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let row = decode(&bytes.collect::<Result<Vec<_>, _>>().expect("hex"), MAX).expect("is one");
        assert_eq!((row.number, row.connection_key, row.topic_key, row.at_least_once), (10, 9, 5, true));
        assert_eq!(&row.payload[..], b"refund-0");
    }

    #[test]
    fn compressed_payloads_are_decompressed_up_to_the_limit() {
        let payload = b"again ".repeat(10_000);
        let compressed = zstd::stream::encode_all(&payload[..], 0).expect("compresses");
        let row = row(1, 1, COMPRESSED | AT_LEAST_ONCE, &compressed);
        assert_eq!(decode(&row, payload.len()).expect("fits").payload, payload);
        assert_eq!(decode(&row, payload.len() - 1), Err(LegacyRowError::TooLarge(payload.len() - 1)));
        let no_zstd = super::tests::row(1, 1, COMPRESSED, b"not zstd at all");
        assert_eq!(decode(&no_zstd, MAX), Err(LegacyRowError::Compression));
    }

    #[test]
    fn anything_but_a_row_is_an_error() {
        let whole = row(1, 2, AT_LEAST_ONCE, b"payload");
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], MAX), Err(LegacyRowError::Truncated), "{end} bytes");
        }
        assert_eq!(decode(&row(1, 2, AT_LEAST_ONCE, b""), MAX), Err(LegacyRowError::NoPayload));
        assert_eq!(decode(&row(1, 2, 0, b"12345"), 4), Err(LegacyRowError::TooLarge(4)));
        let mut long_payload = whole;
        long_payload[24] += 1;
        assert_eq!(decode(&long_payload, MAX), Err(LegacyRowError::Truncated));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic_or_exceed_its_limit(bytes: Vec<u8>, framed: bool, flags: u8) {
            let bytes = if framed { row(1, 1, flags, &bytes) } else { bytes };
            if let Ok(row) = decode(&bytes, 64) {
                prop_assert!(row.payload.len() <= 64);
            }
        }
    }
}
