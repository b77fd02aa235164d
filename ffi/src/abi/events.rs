//! The callbacks for events and for log lines.

use super::*;
use crate::c_strings::c_string;
use crate::callbacks::StatusHandler;
use crate::log::{self, LogCallback};

/// `lnr_status_cb`.
pub type CStatusCallback = unsafe extern "C" fn(c_int, *const c_char, *const c_char, *const c_char, *mut c_void);

/// `lnr_log_cb`.
pub type CLogLineCallback = unsafe extern "C" fn(*const c_char, *mut c_void);

/// See `liner.h`.
///
/// # Safety
/// The callback may be called from another thread for as long as it is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_set_status_cb(client: Handle, cb: Option<CStatusCallback>, udata: *mut c_void) -> Bool {
    let udata = UserData(udata);
    done(client, |entry| {
        let handler = |cb: CStatusCallback| -> Box<StatusHandler> {
            Box::new(move |event| {
                let [topic, peer, message] = [&event.topic, &event.peer, &event.message].map(|text| c_string(text));
                // SAFETY: the program gave the callback for this; the pointers are good until it returns.
                unsafe { cb(event.kind, topic.as_ptr(), peer.as_ptr(), message.as_ptr(), udata.get()) };
            })
        };
        entry.client.set_status(cb.map(handler))
    })
}

/// See `liner.h`.
///
/// # Safety
/// The callback may be called from other threads for as long as it is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_set_log_cb(cb: Option<CLogLineCallback>, udata: *mut c_void) -> Bool {
    let udata = UserData(udata);
    let taken = |cb: CLogLineCallback| -> Arc<LogCallback> {
        Arc::new(move |line: &str| {
            let line = c_string(line);
            // SAFETY: the program gave the callback for this; the pointer is good until it returns.
            unsafe { cb(line.as_ptr(), udata.get()) };
        })
    };
    guarded(FALSE, || log::set(cb.map(taken)).into())
}
