//! Texts that a program in C reads after the call that gave them: copies for the thread that called, which nothing that
//! another thread does, not even deleting the client, takes away.

use crate::error::Failure;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char};
use std::thread::LocalKey;

/// Texts of one kind that a thread may be reading at the same time: those of several clients in one line, say.
const KEPT: usize = 16;

type Ring = RefCell<VecDeque<CString>>;

thread_local! {
    static ERRORS: Ring = RefCell::default();
    static REPORTS: Ring = RefCell::default();
    /// Why the last client could not be created here.
    static NO_CLIENT: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// As C reads it. A NUL within ends a text there, so it is left out.
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
    // A thread that is ending keeps nothing any more.
    kept.unwrap_or(nothing.as_ptr())
}

/// The text of a failure.
pub(crate) fn error(text: &str) -> *const c_char {
    keep(&ERRORS, text)
}

/// A report.
pub(crate) fn report(text: &str) -> *const c_char {
    keep(&REPORTS, text)
}

/// Notes how the creation of a client ended on this thread.
pub(crate) fn set_creation(failure: Option<Failure>) {
    // A thread that is ending asks for it no more.
    let _ = NO_CLIENT.try_with(|last| *last.borrow_mut() = failure);
}

/// Why the last client could not be created on this thread, if it could not.
pub(crate) fn creation() -> Option<Failure> {
    NO_CLIENT.try_with(|last| last.borrow().clone()).unwrap_or_default()
}
