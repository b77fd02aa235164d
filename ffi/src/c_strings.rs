//! Strings that C programs read after the call that returned them. Each is a copy for the calling thread, so no other thread
//! can invalidate it, not even by deleting the client.

use crate::error::Failure;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char};
use std::thread::LocalKey;

/// How many strings of one kind a thread keeps: a program may print those of several clients in one line.
const KEPT: usize = 16;

type Ring = RefCell<VecDeque<CString>>;

thread_local! {
    static ERRORS: Ring = RefCell::default();
    static REPORTS: Ring = RefCell::default();
    /// Why this thread's last attempt to create a client failed.
    static NO_CLIENT: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Converts to a C string. NULs inside the text are removed, since they would end the string.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', "")).unwrap_or_default())
}

fn keep(ring: &'static LocalKey<Ring>, text: &str) -> *const c_char {
    let nothing: &'static CStr = c"";
    if text.is_empty() {
        return nothing.as_ptr();
    }
    let kept = ring.try_with(|ring| {
        let mut ring = ring.borrow_mut();
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        let text = c_string(text);
        let pointer = text.as_ptr();
        ring.push_back(text);
        pointer
    });
    // A thread that is ending cannot keep a string.
    kept.unwrap_or(nothing.as_ptr())
}

/// Keeps an error message and returns it as a C string.
pub(crate) fn error(text: &str) -> *const c_char {
    keep(&ERRORS, text)
}

/// Keeps a report and returns it as a C string.
pub(crate) fn report(text: &str) -> *const c_char {
    keep(&REPORTS, text)
}

/// Records why this thread's last attempt to create a client failed, or that it succeeded.
pub(crate) fn set_creation(failure: Option<Failure>) {
    // A thread that is ending does not ask for it.
    let _ = NO_CLIENT.try_with(|last| *last.borrow_mut() = failure);
}

/// Returns why this thread's last attempt to create a client failed; `None` if it succeeded.
pub(crate) fn creation() -> Option<Failure> {
    NO_CLIENT.try_with(|last| last.borrow().clone()).unwrap_or_default()
}
