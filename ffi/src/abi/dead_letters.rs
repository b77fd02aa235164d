//! Functions for dead letters: list, replay, purge.

use super::topics::number;
use super::*;
use crate::c_strings::c_string;
use liner::{DeadLetter, DeadLetterId, DeadLetterOrigin};
use std::ffi::c_longlong;

/// `lnr_dead_letter`.
#[derive(Debug)]
#[repr(C)]
pub struct CDeadLetter {
    /// See `liner.h`.
    pub struct_size: usize,
    /// See `liner.h`.
    pub id: c_longlong,
    /// See `liner.h`.
    pub origin: c_int,
    /// See `liner.h`.
    pub attempts: u32,
    /// See `liner.h`.
    pub to: *const c_char,
    /// See `liner.h`.
    pub from: *const c_char,
    /// See `liner.h`.
    pub sender: *const c_char,
    /// See `liner.h`.
    pub receiver: *const c_char,
    /// See `liner.h`.
    pub incarnation: u64,
    /// See `liner.h`.
    pub seq: u64,
    /// See `liner.h`.
    pub data: *const c_char,
    /// See `liner.h`.
    pub size: usize,
    /// See `liner.h`.
    pub headers: *const CHeader,
    /// See `liner.h`.
    pub header_count: usize,
    /// See `liner.h`.
    pub reason: *const c_char,
    /// See `liner.h`.
    pub died_ms: c_longlong,
}

/// `lnr_dead_letter_cb`.
pub type CDeadLetterCallback = unsafe extern "C" fn(*const CDeadLetter, *mut c_void);

fn origin(letter: &DeadLetter) -> c_int {
    match letter.origin {
        DeadLetterOrigin::Handler => 1,
        _ => 2,
    }
}

/// # Safety
/// The callback may be called with the letter.
unsafe fn show(id: DeadLetterId, letter: &DeadLetter, cb: CDeadLetterCallback, udata: *mut c_void) {
    let names = super::receiving::Names::new(&letter.id.lane);
    let (receiver, reason) = (c_string(letter.id.lane.receiver().as_str()), c_string(&letter.reason));
    let headers = WrittenHeaders::new(&letter.message.headers);
    let shown = CDeadLetter {
        struct_size: size_of::<CDeadLetter>(),
        id: id.get(),
        origin: origin(letter),
        attempts: letter.attempts,
        to: names.to.as_ptr(),
        from: names.from.as_ptr(),
        sender: names.sender.as_ptr(),
        receiver: receiver.as_ptr(),
        incarnation: letter.id.incarnation.get(),
        seq: letter.id.seq.get(),
        data: letter.message.payload.as_ptr().cast(),
        size: letter.message.payload.len(),
        headers: headers.as_ptr(),
        header_count: headers.len(),
        reason: reason.as_ptr(),
        died_ms: number(letter.died_ms),
    };
    // SAFETY: as the caller vouches; the pointers are good until it returns.
    unsafe { cb(&raw const shown, udata) };
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL; the callback may be called until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_list_dead_letters(
    client: Handle,
    topic: *const c_char,
    cb: Option<CDeadLetterCallback>,
    udata: *mut c_void,
) -> Bool {
    done(client, |entry| {
        // SAFETY: as the caller vouches.
        let letters = entry.client.dead_letters(unsafe { optional_text(topic)? })?;
        let cb = cb.ok_or_else(|| Failure::argument("the callback is NULL"))?;
        for (id, letter) in &letters {
            // SAFETY: the program gave the callback for this.
            unsafe { show(*id, letter, cb, udata) };
        }
        Ok(())
    })
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL; `failed` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_replay_dead_letters(
    client: Handle,
    topic: *const c_char,
    id: c_longlong,
    failed: *mut c_longlong,
) -> c_longlong {
    call(client, -1, |entry| {
        // SAFETY: as the caller vouches.
        let replayed = entry.client.replay(unsafe { optional_text(topic)? }, id)?;
        if !failed.is_null() {
            // SAFETY: it is not NULL; the caller vouches for the rest.
            unsafe { failed.write_unaligned(number(replayed.failed)) };
        }
        Ok(number(replayed.done))
    })
}

/// See `liner.h`.
///
/// # Safety
/// `topic` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_purge_dead_letters(client: Handle, topic: *const c_char, id: c_longlong) -> c_longlong {
    // SAFETY: as the caller vouches.
    call(client, -1, |entry| Ok(number(entry.client.purge(unsafe { optional_text(topic)? }, id)?)))
}
