//! Functions for creating, stopping and deleting clients, for errors, and for a client's own addresses.

use super::*;
use crate::c_strings;
use crate::handles::{add, remove};
use crate::open::{Identity, StoreLocation, open};
use std::ptr;

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// Creates a client. `place` reads the location of the store from the remaining arguments.
///
/// # Safety
/// As for [`text`].
unsafe fn new_client<'a>(
    [name, topic, listen]: [*const c_char; 3],
    place: impl FnOnce() -> Result<StoreLocation<'a>, Failure>,
) -> Handle {
    let create = || {
        // SAFETY: as the caller vouches.
        let (name, topic, listen) = unsafe { (text(name)?, text(topic)?, text(listen)?) };
        Ok(add(open(Identity { name, topic, listen }, place()?)?) as Handle)
    };
    guarded(ptr::null_mut(), || {
        crate::log::capture();
        let created: Result<Handle, Failure> = create();
        c_strings::set_creation(created.as_ref().err().cloned());
        created.unwrap_or_else(|failure| {
            crate::log::line(&format!("cannot create a client: {}", failure.message));
            ptr::null_mut()
        })
    })
}

/// See `liner.h`.
///
/// # Safety
/// Strings are NULL or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_new_client_redis(
    unique_name: *const c_char,
    topic: *const c_char,
    localhost: *const c_char,
    redis_url: *const c_char,
) -> Handle {
    // SAFETY: as the caller vouches.
    unsafe { new_client([unique_name, topic, localhost], || Ok(StoreLocation::Redis(text(redis_url)?))) }
}

/// See `liner.h`.
///
/// # Safety
/// Strings are NULL or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_new_client(
    unique_name: *const c_char,
    topic: *const c_char,
    localhost: *const c_char,
    redis_path: *const c_char,
) -> Handle {
    // SAFETY: as the caller vouches.
    unsafe { lnr_new_client_redis(unique_name, topic, localhost, redis_path) }
}

/// See `liner.h`.
///
/// # Safety
/// Strings are NULL or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_new_client_postgres(
    unique_name: *const c_char,
    topic: *const c_char,
    localhost: *const c_char,
    postgres_url: *const c_char,
) -> Handle {
    // SAFETY: as the caller vouches.
    unsafe { new_client([unique_name, topic, localhost], || Ok(StoreLocation::Postgres(text(postgres_url)?))) }
}

/// See `liner.h`.
///
/// # Safety
/// Strings are NULL or end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_new_client_sqlite(
    unique_name: *const c_char,
    topic: *const c_char,
    localhost: *const c_char,
    sqlite_path: *const c_char,
    receivers_json: *const c_char,
) -> Handle {
    // SAFETY: as the caller vouches.
    let place =
        || unsafe { Ok(StoreLocation::Sqlite(text(sqlite_path)?, optional_text(receivers_json)?.unwrap_or_default())) };
    // SAFETY: as the caller vouches.
    unsafe { new_client([unique_name, topic, localhost], place) }
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_postgres_enabled() -> Bool {
    TRUE
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_stop(client: Handle) -> Bool {
    done(client, |entry| {
        entry.client.stop();
        Ok(())
    })
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_is_running(client: Handle) -> Bool {
    read(client, FALSE, |entry| entry.client.is_running().into())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_delete_client(client: Handle) -> Bool {
    guarded(FALSE, || {
        let Some(entry) = remove(client as usize) else { return FALSE };
        entry.client.delete();
        TRUE
    })
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_last_error_code(client: Handle) -> c_int {
    if client.is_null() {
        return guarded(0, || c_strings::creation().map_or(0, |failure| failure.code.as_i32()));
    }
    read(client, 0, |entry| entry.code())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_last_error_message(client: Handle) -> *const c_char {
    if client.is_null() {
        return guarded(ptr::null(), || {
            c_strings::creation().map_or(ptr::null(), |failure| c_strings::error(&failure.message))
        });
    }
    read(client, ptr::null(), |entry| c_strings::error(&entry.message()))
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_set_durability(client: Handle, level: c_int) -> Bool {
    done(client, |entry| entry.client.set_durability(level))
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_durability(client: Handle) -> c_int {
    read(client, 0, |entry| entry.client.durability())
}

/// See `liner.h`.
///
/// # Safety
/// `addr` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_set_advertise_addr(client: Handle, addr: *const c_char) -> Bool {
    done(client, |entry| {
        // SAFETY: as the caller vouches.
        let addr = unsafe { optional_text(addr)? };
        entry.client.set_advertise(addr.filter(|addr| !addr.is_empty()))
    })
}

/// Returns an address of the client as a C string that is valid until the client is deleted.
fn address(client: Handle, which: impl FnOnce(&HandleEntry) -> Option<String>) -> *const c_char {
    read(client, ptr::null(), |entry| which(entry).map_or(ptr::null(), |addr| entry.address(&addr)))
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_advertise_addr(client: Handle) -> *const c_char {
    address(client, |entry| entry.client.advertise())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_bound_listen_addr(client: Handle) -> *const c_char {
    address(client, |entry| entry.client.bound())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_published_addr(client: Handle) -> *const c_char {
    address(client, |entry| entry.client.published())
}

/// See `liner.h`.
#[unsafe(no_mangle)]
pub extern "C" fn lnr_stats_json(client: Handle) -> *const c_char {
    call(client, ptr::null(), |entry| Ok(c_strings::report(&entry.client.stats()?)))
}
