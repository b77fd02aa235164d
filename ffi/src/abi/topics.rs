//! Functions for topics, addresses and pending messages.

use super::*;
use crate::c_strings::c_string;
use std::ffi::c_longlong;

/// `lnr_addr_cb`.
pub type CAddrCallback = unsafe extern "C" fn(*const c_char, *const c_char, *mut c_void);

/// `lnr_pending_cb`.
pub type CPendingCallback = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, c_longlong, *mut c_void);

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_subscribe(client: Handle, topic: *const c_char) -> Bool {
    // SAFETY: as the caller vouches.
    done(client, |entry| entry.client.subscribe(unsafe { text(topic)? }))
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_unsubscribe(client: Handle, topic: *const c_char) -> Bool {
    // SAFETY: as the caller vouches.
    done(client, |entry| entry.client.unsubscribe(unsafe { text(topic)? }))
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_refresh_address_topic(client: Handle, topic: *const c_char) -> Bool {
    // SAFETY: as the caller vouches.
    done(client, |entry| entry.client.refresh(unsafe { text(topic)? }))
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_clear_stored_messages(client: Handle) -> Bool {
    done(client, |entry| entry.client.clear_stored_messages())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_clear_addresses_of_topic(client: Handle) -> Bool {
    done(client, |entry| entry.client.clear_addresses())
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL; the callback may be called until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_list_addresses(
    client: Handle,
    topic: *const c_char,
    cb: Option<CAddrCallback>,
    udata: *mut c_void,
) -> Bool {
    done(client, |entry| {
        // SAFETY: as the caller vouches.
        let rows = entry.client.addresses(unsafe { text(topic)? })?;
        let cb = cb.ok_or_else(|| Failure::argument("the callback is NULL"))?;
        for (addr, name) in rows {
            let (addr, name) = (c_string(&addr), c_string(&name));
            // SAFETY: the program gave the callback for this; the pointers are good until it returns.
            unsafe { cb(addr.as_ptr(), name.as_ptr(), udata) };
        }
        Ok(())
    })
}

/// Converts a count to a C integer.
pub(super) fn number(count: u64) -> c_longlong {
    c_longlong::try_from(count).unwrap_or(c_longlong::MAX)
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_pending_count(client: Handle) -> c_longlong {
    call(client, -1, |entry| Ok(number(entry.client.pending()?.iter().map(|row| row.messages).sum())))
}

/// See `liner.h`.
///
/// # Safety
/// The callback may be called until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_pending_by_peer(client: Handle, cb: Option<CPendingCallback>, udata: *mut c_void) -> Bool {
    done(client, |entry| {
        let rows = entry.client.pending()?;
        let cb = cb.ok_or_else(|| Failure::argument("the callback is NULL"))?;
        for row in rows {
            let names = [row.addr.as_str(), row.lane.topic().as_str(), row.lane.receiver().as_str()];
            let [addr, topic, name] = names.map(c_string);
            // SAFETY: the program gave the callback for this; the pointers are good until it returns.
            unsafe { cb(addr.as_ptr(), topic.as_ptr(), name.as_ptr(), number(row.messages), udata) };
        }
        Ok(())
    })
}
