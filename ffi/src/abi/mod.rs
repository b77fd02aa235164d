//! The functions of `liner.h`, one file per section. The header documents them.
//!
//! Each function checks its arguments and calls the client of the handle. No panic leaves a function. What cannot be checked
//! is the caller's responsibility: strings end with NUL, data and headers have the length that is passed, and callbacks may be
//! called on other threads for as long as they are set.

mod dead_letters;
mod events;
mod lifecycle;
mod limits;
mod receiving;
mod sending;
mod topics;

pub use dead_letters::*;
pub use events::*;
pub use lifecycle::*;
pub use limits::*;
pub use receiving::*;
pub use sending::*;
pub use topics::*;

use crate::error::{ErrorCode, Failure};
use crate::handles::{HandleEntry, find};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::Arc;

/// `lnr_hClient`.
pub type Handle = *mut c_void;

/// `BOOL`.
pub type Bool = c_int;

const TRUE: Bool = 1;
const FALSE: Bool = 0;

/// Runs the body of a function. Returns `bad` if it panics.
fn guarded<T: Copy>(bad: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| {
        crate::log::line("liner: internal error");
        bad
    })
}

/// Runs a call for the client of a handle and records its outcome. Returns `bad` if the handle is not valid or the call fails.
fn call<T: Copy>(handle: Handle, bad: T, body: impl FnOnce(&Arc<HandleEntry>) -> Result<T, Failure>) -> T {
    guarded(bad, || {
        let Some(entry) = find(handle as usize) else { return bad };
        match body(&entry) {
            Ok(value) => {
                entry.succeeded();
                value
            }
            Err(failure) => {
                entry.failed(&failure);
                bad
            }
        }
    })
}

/// Runs a call that returns whether it succeeded.
fn done(handle: Handle, body: impl FnOnce(&Arc<HandleEntry>) -> Result<(), Failure>) -> Bool {
    call(handle, FALSE, |entry| body(entry).map(|()| TRUE))
}

/// Reads a property of a client. Does not change the last error.
fn read<T: Copy>(handle: Handle, bad: T, body: impl FnOnce(&Arc<HandleEntry>) -> T) -> T {
    guarded(bad, || find(handle as usize).map_or(bad, |entry| body(&entry)))
}

/// Reads a string argument.
///
/// # Safety
/// The pointer is NULL, or the string ends with NUL and does not change during the call.
unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(Failure::argument("an argument is NULL"));
    }
    // SAFETY: it is not NULL; the caller vouches for the rest.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|_| Failure::argument("an argument is not UTF-8"))
}

/// Reads a string argument that may be NULL.
///
/// # Safety
/// As for [`text`].
unsafe fn optional_text<'a>(pointer: *const c_char) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller vouches.
    unsafe { text(pointer) }.map(Some)
}

/// Reads an array argument.
///
/// # Safety
/// `pointer` is NULL, or there are `count` elements that do not change during the call.
unsafe fn array<'a, T>(pointer: *const T, count: usize) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    let fits = count.checked_mul(size_of::<T>()).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    if pointer.is_null() || !pointer.is_aligned() || !fits {
        return Err(Failure::new(ErrorCode::InvalidArg, "an argument is NULL, not aligned, or too large"));
    }
    // SAFETY: it is not NULL, aligned, and no larger than memory can be; the caller vouches for the rest.
    Ok(unsafe { slice::from_raw_parts(pointer, count) })
}

/// The user data of a callback.
#[derive(Debug, Clone, Copy)]
struct UserData(*mut c_void);

// SAFETY: it is only handed back to the program, whose header says on which threads that happens.
unsafe impl Send for UserData {}
// SAFETY: as above; nothing is done with it here.
unsafe impl Sync for UserData {}

impl UserData {
    fn get(self) -> *mut c_void {
        self.0
    }
}
