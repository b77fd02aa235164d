//! Which client a handle stands for. A handle is a number that looks like a pointer: it is looked up, never followed, and no
//! number is given out twice.

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

/// Makes the callback for the messages of one run.
pub(crate) type MakeReceive = dyn Fn() -> Box<ReceiveHandler> + Send + Sync;

/// What a handle stands for.
pub(crate) struct HandleEntry {
    pub(crate) client: Arc<ClientState>,
    /// Takes messages in place of what `lnr_run` is given.
    pub(crate) receive_ex: Mutex<Option<Arc<MakeReceive>>>,
    code: AtomicI32,
    /// Why the last call that failed did.
    message: Mutex<String>,
    /// Addresses that were given out.
    addresses: Mutex<BTreeSet<CString>>,
}

static HANDLES: LazyLock<ArcSwap<HashMap<usize, Arc<HandleEntry>>>> = LazyLock::new(ArcSwap::default);

/// A client's new handle.
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

/// What the handle stands for, if it does.
pub(crate) fn find(handle: usize) -> Option<Arc<HandleEntry>> {
    HANDLES.load().get(&handle).cloned()
}

/// The handle stands for nothing any more. Answers what it stood for, once.
pub(crate) fn remove(handle: usize) -> Option<Arc<HandleEntry>> {
    let before = HANDLES.rcu(|handles| {
        let mut handles = HashMap::clone(handles);
        handles.remove(&handle);
        handles
    });
    before.get(&handle).cloned()
}

impl HandleEntry {
    /// The last call succeeded.
    pub(crate) fn succeeded(&self) {
        if self.code.load(Ordering::Relaxed) != 0 {
            self.code.store(0, Ordering::Relaxed);
        }
    }

    /// The last call failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        self.message.lock().clone_from(&failure.message);
        self.code.store(failure.code.as_i32(), Ordering::Relaxed);
        crate::log::line(&format!("{}: {}", self.client.node, failure.message));
    }

    pub(crate) fn code(&self) -> i32 {
        self.code.load(Ordering::Relaxed)
    }

    /// Why the last call failed; nothing if it did not.
    pub(crate) fn message(&self) -> String {
        if self.code() == ErrorCode::Ok.as_i32() { String::new() } else { self.message.lock().clone() }
    }

    /// Keeps an address for as long as the client is there.
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
