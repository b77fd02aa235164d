//! Functions for sending, and headers as C structs.

use super::*;
use crate::client_state::level;
use crate::sending::SendOptions;
use liner::Headers;

/// `lnr_header`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CHeader {
    /// See `liner.h`.
    pub key: *const c_char,
    /// See `liner.h`.
    pub value: *const c_char,
    /// See `liner.h`.
    pub value_size: usize,
}

/// `lnr_send_options`.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct CSendOptions {
    /// See `liner.h`.
    pub struct_size: usize,
    /// See `liner.h`.
    pub headers: *const CHeader,
    /// See `liner.h`.
    pub header_count: usize,
    /// See `liner.h`.
    pub to_all: Bool,
    /// See `liner.h`.
    pub at_most_once: Bool,
    /// See `liner.h`.
    pub durability: c_int,
}

/// Sends `size` bytes.
///
/// # Safety
/// As for [`text`] and [`array`].
unsafe fn send(
    client: Handle,
    topic: *const c_char,
    data: *const c_char,
    size: usize,
    options: impl FnOnce() -> Result<(Headers, SendOptions), Failure>,
) -> Bool {
    done(client, |entry| {
        // SAFETY: as the caller vouches; a char is a byte.
        let (topic, data) = unsafe { (text(topic)?, array(data.cast::<u8>(), size)?) };
        let (headers, options) = options()?;
        entry.client.send(topic, &headers, data, options)
    })
}

fn plain(to_all: bool, at_least_once: Bool) -> Result<(Headers, SendOptions), Failure> {
    Ok((Headers::EMPTY, SendOptions { to_all, at_least_once: at_least_once != FALSE, durability: None }))
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL; there are `size` bytes of `data`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_send_to(
    client: Handle,
    topic: *const c_char,
    data: *const c_char,
    size: usize,
    at_least_once_delivery: Bool,
) -> Bool {
    // SAFETY: as the caller vouches.
    unsafe { send(client, topic, data, size, || plain(false, at_least_once_delivery)) }
}

/// See `liner.h`.
///
/// # Safety
/// As for [`lnr_send_to`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_send_all(
    client: Handle,
    topic: *const c_char,
    data: *const c_char,
    size: usize,
    at_least_once_delivery: Bool,
) -> Bool {
    // SAFETY: as the caller vouches.
    unsafe { send(client, topic, data, size, || plain(true, at_least_once_delivery)) }
}

/// See `liner.h`.
///
/// # Safety
/// As for [`lnr_send_to`]; `options` is NULL or as its `struct_size` says, with as many headers as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_send_ex(
    client: Handle,
    topic: *const c_char,
    data: *const c_char,
    size: usize,
    options: *const CSendOptions,
) -> Bool {
    // SAFETY: as the caller vouches.
    unsafe { send(client, topic, data, size, || read_options(options)) }
}

/// # Safety
/// As for `options` of [`lnr_send_ex`].
unsafe fn read_options(options: *const CSendOptions) -> Result<(Headers, SendOptions), Failure> {
    if options.is_null() {
        return plain(false, TRUE);
    }
    if !options.is_aligned() {
        return Err(Failure::argument("the options are not aligned"));
    }
    // SAFETY: the first field is there in every version of the struct.
    let size = unsafe { (*options).struct_size };
    if size < size_of::<CSendOptions>() {
        return Err(Failure::argument("struct_size of the options is not set, or too small"));
    }
    // SAFETY: it is as large as this version's.
    let options = unsafe { *options };
    // SAFETY: as the caller vouches.
    let headers = unsafe { read_headers(array(options.headers, options.header_count)?)? };
    let durability = match options.durability {
        0 => None,
        number => Some(level(number).ok_or_else(|| Failure::argument("not a level of durability"))?),
    };
    let at_least_once = options.at_most_once == FALSE;
    Ok((headers, SendOptions { to_all: options.to_all != FALSE, at_least_once, durability }))
}

/// # Safety
/// Keys end with NUL, and values have `value_size` bytes.
unsafe fn read_headers(headers: &[CHeader]) -> Result<Headers, Failure> {
    let mut builder = Headers::builder();
    for header in headers {
        // SAFETY: as the caller vouches; a char is a byte.
        let (key, value) = unsafe { (text(header.key)?, array(header.value.cast::<u8>(), header.value_size)?) };
        builder = builder.with(key, value);
    }
    builder.build().map_err(Failure::argument)
}

/// Headers for a callback to read. The pointers are valid until this is dropped or moved.
#[derive(Default)]
pub(super) struct WrittenHeaders {
    texts: Vec<Vec<u8>>,
    headers: Vec<CHeader>,
}

impl WrittenHeaders {
    pub(super) fn new(headers: &Headers) -> Self {
        let mut written = WrittenHeaders::default();
        for (key, value) in headers.iter() {
            let [key, value] = [key.as_bytes(), value].map(|bytes| [bytes, b"\0"].concat());
            let header =
                CHeader { key: key.as_ptr().cast(), value: value.as_ptr().cast(), value_size: value.len() - 1 };
            // The pointers stay valid: pushing moves the vectors, not their bytes.
            written.texts.extend([key, value]);
            written.headers.push(header);
        }
        written
    }

    pub(super) fn as_ptr(&self) -> *const CHeader {
        if self.headers.is_empty() { std::ptr::null() } else { self.headers.as_ptr() }
    }

    pub(super) fn len(&self) -> usize {
        self.headers.len()
    }
}
