//! The table of handles. A handle is a number in the form of a pointer: it is looked up and never dereferenced, and no number
//! is used twice.

use crate::c_strings::c_string;
use crate::callbacks::ReceiveHandler;
use crate::client_state::ClientState;
use crate::error::{ErrorCode, Failure};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, c_char};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock};

/// Creates the receive callback of one run.
pub(crate) type MakeReceive = dyn Fn() -> Box<ReceiveHandler> + Send + Sync;

/// The client of a handle, with what only the C interface needs.
pub(crate) struct HandleEntry {
    pub(crate) client: Arc<ClientState>,
    /// Replaces the callback of `lnr_run`.
    pub(crate) receive_ex: Mutex<Option<Arc<MakeReceive>>>,
    code: AtomicI32,
    /// The reason of the last failure.
    message: Mutex<String>,
    /// Addresses that were returned, valid until the client is deleted.
    addresses: Mutex<BTreeSet<CString>>,
}

static HANDLES: LazyLock<ArcSwap<HashMap<usize, Arc<HandleEntry>>>> = LazyLock::new(ArcSwap::default);

/// Adds a client and returns its handle.
pub(crate) fn add(client: Arc<ClientState>) -> usize {
    let handle = usize::try_from(client.id).expect("a client's number is as wide as a pointer");
    let entry = Arc::new(HandleEntry {
        client,
        receive_ex: Mutex::default(),
        code: AtomicI32::new(0),
        message: Mutex::default(),
        addresses: Mutex::default(),
    });
    HANDLES.rcu(|handles| {
        let mut handles = HashMap::clone(handles);
        handles.insert(handle, entry.clone());
        handles
    });
    handle
}

/// Returns the entry of a handle, or `None` if the handle is not valid.
pub(crate) fn find(handle: usize) -> Option<Arc<HandleEntry>> {
    HANDLES.load().get(&handle).cloned()
}

/// Removes a handle. Returns its entry to one caller, and `None` to every other.
pub(crate) fn remove(handle: usize) -> Option<Arc<HandleEntry>> {
    let before = HANDLES.rcu(|handles| {
        let mut handles = HashMap::clone(handles);
        handles.remove(&handle);
        handles
    });
    before.get(&handle).cloned()
}

impl HandleEntry {
    /// Records that the last call succeeded.
    pub(crate) fn succeeded(&self) {
        if self.code.load(Ordering::Relaxed) != 0 {
            self.code.store(0, Ordering::Relaxed);
        }
    }

    /// Records and logs that the last call failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.message.lock().clone_from(&failure.message);
        self.code.store(failure.code.as_i32(), Ordering::Relaxed);
        crate::log::line(&format!("{}: {}", self.client.node, failure.message));
    }

    pub(crate) fn code(&self) -> i32 {
        self.code.load(Ordering::Relaxed)
    }

    /// Returns why the last call failed; empty if it succeeded.
    pub(crate) fn message(&self) -> String {
        if self.code() == ErrorCode::Ok.as_i32() { String::new() } else { self.message.lock().clone() }
    }

    /// Returns a C string that is valid until the client is deleted.
    pub(crate) fn address(&self, addr: &str) -> *const c_char {
        let addr = c_string(addr);
        let mut addresses = self.addresses.lock();
        if let Some(known) = addresses.get(&addr) {
            return known.as_ptr();
        }
        let pointer = addr.as_ptr();
        addresses.insert(addr);
        pointer
    }
}
