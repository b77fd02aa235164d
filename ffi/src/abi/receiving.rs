//! Functions for receiving: `lnr_run`, deliveries as C structs, and nacks.

use super::*;
use crate::c_strings::c_string;
use crate::callbacks::ReceiveHandler;
use crate::handles::MakeReceive;
use liner::{Delivery, LaneId, Nack};
use std::ffi::{CString, c_longlong};
use std::time::Duration;

/// `lnr_receive_cb`.
pub type CReceiveCallback = unsafe extern "C" fn(*const c_char, *const c_char, *const c_char, usize, *mut c_void);

/// `lnr_receive_ex_cb`.
pub type CReceiveExCallback = unsafe extern "C" fn(*const CDelivery, *mut c_void) -> c_int;

/// `LNR_ACK`.
const ACK: c_int = 0;

/// `lnr_delivery`.
#[derive(Debug)]
#[repr(C)]
pub struct CDelivery {
    /// See `liner.h`.
    pub struct_size: usize,
    /// See `liner.h`.
    pub to: *const c_char,
    /// See `liner.h`.
    pub from: *const c_char,
    /// See `liner.h`.
    pub sender: *const c_char,
    /// See `liner.h`.
    pub data: *const c_char,
    /// See `liner.h`.
    pub size: usize,
    /// See `liner.h`.
    pub headers: *const CHeader,
    /// See `liner.h`.
    pub header_count: usize,
    /// See `liner.h`.
    pub incarnation: u64,
    /// See `liner.h`.
    pub seq: u64,
    /// See `liner.h`.
    pub attempt: u32,
    /// See `liner.h`.
    pub redelivered: Bool,
}

/// The names of a lane as C strings.
pub(super) struct Names {
    pub(super) to: CString,
    pub(super) from: CString,
    pub(super) sender: CString,
}

impl Names {
    pub(super) fn new(lane: &LaneId) -> Self {
        let [to, from, sender] = [lane.topic().as_str(), lane.source().as_str(), lane.sender().as_str()].map(c_string);
        Names { to, from, sender }
    }
}

/// The names of the last lane. The next message is usually on the same lane.
#[derive(Default)]
struct LastLane(Option<(LaneId, Names)>);

impl LastLane {
    fn names(&mut self, lane: &LaneId) -> &Names {
        let known = self.0.take().filter(|(last, _)| last == lane);
        &self.0.insert(known.unwrap_or_else(|| (lane.clone(), Names::new(lane)))).1
    }
}

fn plain(callback: CReceiveCallback, udata: UserData) -> Box<ReceiveHandler> {
    let mut last = LastLane::default();
    Box::new(move |delivery| {
        let names = last.names(&delivery.id.lane);
        let data = &delivery.payload;
        // SAFETY: the program gave the callback for this; the pointers are good until it returns.
        unsafe { callback(names.to.as_ptr(), names.from.as_ptr(), data.as_ptr().cast(), data.len(), udata.get()) };
        Ok(())
    })
}

fn extended(callback: CReceiveExCallback, udata: UserData) -> Box<ReceiveHandler> {
    let mut last = LastLane::default();
    Box::new(move |delivery: &Delivery| {
        let names = last.names(&delivery.id.lane);
        let headers = WrittenHeaders::new(&delivery.headers);
        let delivery = CDelivery {
            struct_size: size_of::<CDelivery>(),
            to: names.to.as_ptr(),
            from: names.from.as_ptr(),
            sender: names.sender.as_ptr(),
            data: delivery.payload.as_ptr().cast(),
            size: delivery.payload.len(),
            headers: headers.as_ptr(),
            header_count: headers.len(),
            incarnation: delivery.id.incarnation.get(),
            seq: delivery.id.seq.get(),
            attempt: delivery.attempt,
            redelivered: delivery.redelivered.into(),
        };
        // SAFETY: the program gave the callback for this; the pointers are good until it returns.
        match unsafe { callback(&raw const delivery, udata.get()) } {
            ACK => Ok(()),
            _ => Err(Nack::new("the callback did not handle it")),
        }
    })
}

/// See `liner.h`.
///
/// # Safety
/// The callback may be called from another thread for as long as the client runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_run(client: Handle, receive_cb: Option<CReceiveCallback>, udata: *mut c_void) -> Bool {
    let udata = UserData(udata);
    done(client, |entry| {
        entry.client.run(|| match (entry.receive_ex.lock().clone(), receive_cb) {
            (Some(make), _) => Ok(make()),
            (None, Some(callback)) => Ok(plain(callback, udata)),
            (None, None) => Err(Failure::argument("there is no receive callback")),
        })
    })
}

/// See `liner.h`.
///
/// # Safety
/// As for [`lnr_run`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_set_receive_ex(
    client: Handle,
    cb: Option<CReceiveExCallback>,
    udata: *mut c_void,
) -> Bool {
    let udata = UserData(udata);
    done(client, |entry| {
        entry.client.while_idle(ErrorCode::AlreadyRunning, || {
            let make = |callback| -> Arc<MakeReceive> { Arc::new(move || extended(callback, udata)) };
            *entry.receive_ex.lock() = cb.map(make);
            Ok(())
        })
    })
}

/// See `liner.h`.
///
/// # Safety
/// `reason` is NULL or ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lnr_nack(client: Handle, delay_ms: c_longlong, reason: *const c_char) -> Bool {
    done(client, |entry| {
        // SAFETY: as the caller vouches.
        let reason = unsafe { optional_text(reason)? }.unwrap_or("the callback did not handle it").to_owned();
        let nack = match u64::try_from(delay_ms) {
            Ok(delay_ms) => Nack::after(Duration::from_millis(delay_ms), reason),
            Err(_) => Nack::new(reason),
        };
        let inside = entry.client.callbacks.nack(entry.client.id, nack);
        if inside {
            Ok(())
        } else {
            Err(Failure::argument("lnr_nack was called outside a receive callback of this client"))
        }
    })
}
