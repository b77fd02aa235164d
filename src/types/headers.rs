//! Headers: small key/value pairs that travel with a message, kept in their encoded form.
//!
//! ```text
//! headers := { key_len: u8, key: UTF-8, value_len: u16 little-endian, value: bytes }*
//! ```
//!
//! An absent map is an empty buffer, so a message without headers costs nothing.

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// The maximum size of encoded headers in bytes. Headers are for small facts about a message and share its frame.
pub const MAX_HEADERS: usize = 64 * 1024;

/// Error of invalid headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadersError {
    /// A key does not have 1 to 255 bytes.
    #[error("header key of {0} bytes: expected 1 to 255 bytes")]
    Key(usize),
    /// A value is longer than 65,535 bytes.
    #[error("header value of {0} bytes exceeds the limit of 65535 bytes")]
    Value(usize),
    /// The encoded headers are longer than [`MAX_HEADERS`].
    #[error("headers of {0} bytes exceed the limit of {MAX_HEADERS} bytes")]
    TooLong(usize),
    /// The bytes from a peer or a store are no encoded headers.
    #[error("headers are malformed")]
    Malformed,
}

/// The headers of a message, in the order they were added. Keys may repeat.
///
/// ```
/// let headers = liner::Headers::builder().with("trace", "7f3a").with("kind", "order").build()?;
/// assert_eq!(headers.get("trace"), Some(&b"7f3a"[..]));
/// # Ok::<(), liner::HeadersError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Headers(Bytes);

impl Headers {
    /// No headers.
    pub const EMPTY: Headers = Headers(Bytes::new());

    /// Copies the headers into `buffer` and returns them as a share of that buffer.
    pub(crate) fn moved_into(&self, buffer: &mut BytesMut) -> Headers {
        if self.0.is_empty() {
            return Headers::EMPTY;
        }
        buffer.extend_from_slice(&self.0);
        Headers(buffer.split().freeze())
    }

    /// Returns a builder of headers.
    pub fn builder() -> HeadersBuilder {
        HeadersBuilder { buf: BytesMut::new(), error: None }
    }

    /// Decodes headers, validating every length and key. The bytes are shared, not copied.
    ///
    /// # Errors
    /// Returns [`HeadersError::Malformed`] or [`HeadersError::TooLong`].
    pub fn decode(encoded: Bytes) -> Result<Self, HeadersError> {
        if encoded.len() > MAX_HEADERS {
            return Err(HeadersError::TooLong(encoded.len()));
        }
        let mut rest = &encoded[..];
        while !rest.is_empty() {
            rest = split_pair(rest).ok_or(HeadersError::Malformed)?.2;
        }
        Ok(Headers(encoded))
    }

    /// Returns the encoded form, which is empty if there are no headers.
    pub fn encoded(&self) -> &Bytes {
        &self.0
    }

    /// Returns whether there are no headers.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the value of the first header with this key.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter().find(|(k, _)| *k == key).map(|(_, v)| v)
    }

    /// Returns an iterator over all pairs, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (key, value, after) = split_pair(rest)?;
            rest = after;
            Some((key, value))
        })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(k, v)| (k, v.len()))).finish()
    }
}

/// Splits off the first pair: key, value and the rest. Returns `None` if the bytes do not start with a pair.
fn split_pair(bytes: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&key_len, rest) = bytes.split_first()?;
    let (key, rest) = rest.split_at_checked(usize::from(key_len))?;
    let (value_len, rest) = rest.split_first_chunk::<2>()?;
    let (value, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*value_len)))?;
    let key = std::str::from_utf8(key).ok().filter(|k| !k.is_empty())?;
    Some((key, value, rest))
}

/// Builder of [`Headers`]. [`HeadersBuilder::build`] reports the first mistake.
#[derive(Debug)]
pub struct HeadersBuilder {
    buf: BytesMut,
    error: Option<HeadersError>,
}

impl HeadersBuilder {
    /// Adds a pair.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        if self.error.is_none() {
            self.error = self.push(key, value.as_ref()).err();
        }
        self
    }

    fn push(&mut self, key: &str, value: &[u8]) -> Result<(), HeadersError> {
        let key_len = u8::try_from(key.len()).ok().filter(|n| *n > 0).ok_or(HeadersError::Key(key.len()))?;
        let value_len = u16::try_from(value.len()).map_err(|_| HeadersError::Value(value.len()))?;
        self.buf.put_u8(key_len);
        self.buf.put_slice(key.as_bytes());
        self.buf.put_u16_le(value_len);
        self.buf.put_slice(value);
        Ok(())
    }

    /// Returns the headers.
    ///
    /// # Errors
    /// Returns [`HeadersError`] for the first invalid pair, or if all pairs together are too long.
    pub fn build(self) -> Result<Headers, HeadersError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.buf.len() > MAX_HEADERS {
            return Err(HeadersError::TooLong(self.buf.len()));
        }
        Ok(Headers(self.buf.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_back_in_order() {
        let headers = Headers::builder().with("a", "1").with("b", "").with("a", "2").build().expect("valid");
        let decoded = Headers::decode(headers.encoded().clone()).expect("decodes");
        let pairs: Vec<_> = decoded.iter().collect();
        assert_eq!(pairs, [("a", &b"1"[..]), ("b", b""), ("a", b"2")]);
        assert_eq!(decoded.get("a"), Some(&b"1"[..]));
        assert_eq!(decoded.get("c"), None);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(Headers::builder().with("", "x").build(), Err(HeadersError::Key(0)));
        assert_eq!(Headers::builder().with(&"k".repeat(256), "x").build(), Err(HeadersError::Key(256)));
        assert_eq!(Headers::builder().with("k", vec![0; 70_000]).build(), Err(HeadersError::Value(70_000)));
        let big = Headers::builder().with("k", vec![0; 40_000]).with("l", vec![0; 40_000]).build();
        assert_eq!(big, Err(HeadersError::TooLong(80_008)));
        assert_eq!(Headers::decode(Bytes::from_static(&[5, b'a'])), Err(HeadersError::Malformed));
        assert_eq!(Headers::decode(Bytes::from_static(&[1, 0xff, 0, 0])), Err(HeadersError::Malformed));
    }
}
