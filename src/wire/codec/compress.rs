//! Compression of one part of a message with zstd. A compressed part from a peer is not trusted. The caller decides whether
//! to compress.

use crate::wire::error::WireError;
use bytes::Bytes;
use std::io::Read;
use zstd::stream::read::Decoder;

/// Bytes of the `raw_len` field that a compressed part needs in addition.
const RAW_LEN_BYTES: usize = 4;

/// First estimate of the size of a decompressed part. Beyond it, the buffer doubles with the actual output.
const EXPECTED_RATIO: usize = 8;

/// Smallest window zstd knows, as a power of two.
const MIN_WINDOW_LOG: u32 = 10;

/// Compresses one part. Returns `None` if that saves nothing on the wire. Never allocates more than the length of `part`.
pub fn compress(part: &[u8], level: i32) -> Option<Vec<u8>> {
    let room = part.len().checked_sub(RAW_LEN_BYTES + 1)?;
    let mut out = Vec::with_capacity(room);
    // The capacity is the limit: zstd stops with an error as soon as the result would be longer.
    zstd::bulk::Compressor::new(level).and_then(|mut zstd| zstd.compress_to_buffer(part, &mut out)).ok()?;
    Some(out)
}

/// Decompresses one part that declares `raw_len` bytes. At most `cap` are accepted.
///
/// The part is decompressed as a stream. A window larger than `raw_len` (rounded up to a power of two, at least 1 KiB) is
/// refused, and the output buffer grows only with the output.
///
/// # Errors
/// Returns [`WireError::RawLength`] if `raw_len` is 0 or above `cap`, [`WireError::Compression`] if the part is not one
/// complete zstd frame, and [`WireError::RawMismatch`] if the output is not exactly `raw_len` bytes long.
pub fn decompress(part: &[u8], raw_len: u32, cap: usize) -> Result<Bytes, WireError> {
    let too_long = WireError::RawLength { declared: raw_len, cap };
    let raw = usize::try_from(raw_len).map_err(|_| too_long)?;
    if raw > cap {
        return Err(too_long);
    }
    let mut stream = Decoder::with_buffer(part).map_err(|_| WireError::Compression)?.single_frame();
    let window_log = usize::BITS - raw.saturating_sub(1).leading_zeros();
    stream.window_log_max(window_log.max(MIN_WINDOW_LOG)).map_err(|_| WireError::Compression)?;
    let mut out = Vec::new();
    let mut room = part.len().saturating_mul(EXPECTED_RATIO).max(1);
    while out.len() < raw {
        let start = out.len();
        out.resize(raw.min(start.saturating_add(room)), 0);
        let filled = fill(&mut stream, &mut out[start..])?;
        if start + filled < out.len() {
            return Err(WireError::RawMismatch(raw_len));
        }
        room = out.len();
    }
    if fill(&mut stream, &mut [0])? > 0 {
        return Err(WireError::RawMismatch(raw_len));
    }
    if stream.finish().is_empty() { Ok(Bytes::from(out)) } else { Err(WireError::Compression) }
}

/// Reads until `out` is full or the stream ends. Returns the number of bytes read.
fn fill(stream: &mut impl Read, out: &mut [u8]) -> Result<usize, WireError> {
    let mut filled = 0;
    while filled < out.len() {
        match stream.read(&mut out[filled..]).map_err(|_| WireError::Compression)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: usize = 1 << 20;

    fn text(len: usize) -> Vec<u8> {
        b"the quick brown fox jumps over the lazy dog; ".iter().copied().cycle().take(len).collect()
    }

    fn len32(bytes: &[u8]) -> u32 {
        u32::try_from(bytes.len()).expect("small")
    }

    #[test]
    fn a_part_comes_back_whatever_its_size_and_level() {
        for len in [200, 1000, 1024, 1025, 70_000, CAP] {
            for level in [-5, 1, 3, 19] {
                let raw = text(len);
                let packed = compress(&raw, level).expect("repetitive text shrinks");
                assert!(packed.len() + RAW_LEN_BYTES < len);
                assert_eq!(
                    decompress(&packed, len32(&raw), CAP).as_deref(),
                    Ok(&raw[..]),
                    "{len} bytes, level {level}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        assert_eq!(compress(b"", 1), None);
        assert_eq!(compress(b"short", 1), None);
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(4096)
        .collect();
        assert_eq!(compress(&noise, 3), None);
    }

    #[test]
    fn the_declared_length_is_exact_and_capped() {
        let raw = text(5000);
        let packed = compress(&raw, 1).expect("shrinks");
        assert_eq!(decompress(&packed, 5001, CAP), Err(WireError::RawMismatch(5001)));
        assert!(decompress(&packed, 4999, CAP).is_err());
        assert!(decompress(&packed, 0, CAP).is_err());
        assert_eq!(decompress(&packed, 5000, 4999), Err(WireError::RawLength { declared: 5000, cap: 4999 }));
    }

    #[test]
    fn a_bomb_stops_at_what_it_declared() {
        let bomb = compress(&vec![0; 64 << 20], 3).expect("shrinks");
        assert!(bomb.len() < 8 << 10);
        assert!(decompress(&bomb, 100, CAP).is_err());
        // Without a content size in its header, only the output can tell.
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("level 3 exists");
        encoder.window_log(MIN_WINDOW_LOG).expect("zstd knows it");
        std::io::Write::write_all(&mut encoder, &vec![0; CAP]).expect("writes to memory");
        let streamed = encoder.finish().expect("ends");
        assert_eq!(decompress(&streamed, 1_048_575, CAP), Err(WireError::RawMismatch(1_048_575)));
        assert_eq!(decompress(&streamed, 1_048_576, CAP).map(|raw| raw.len()), Ok(CAP));
    }

    #[test]
    fn damage_is_an_error() {
        let raw = text(5000);
        let packed = compress(&raw, 1).expect("shrinks");
        assert_eq!(decompress(b"not zstd at all", 5000, CAP), Err(WireError::Compression));
        assert!(decompress(&packed[..packed.len() - 1], 5000, CAP).is_err());
        let followed = [&packed[..], b"x"].concat();
        assert_eq!(decompress(&followed, 5000, CAP), Err(WireError::Compression));
        assert!(decompress(b"", 5000, CAP).is_err());
    }
}
