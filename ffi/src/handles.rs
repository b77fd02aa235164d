//! Which client a handle stands for. A handle is a number that looks like a pointer: it is looked up, never followed, and no
//! number is given out twice.

use crate::callbacks::Receive;
use crate::core::Core;
use crate::error::{ErrorCode, Failure};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{CStr, CString, c_char};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, LazyLock};

/// Texts of failures, and reports, that stay valid after they were replaced: a program of many threads may still be reading
/// one when the next is made.
const KEPT: usize = 16;

/// Makes the callback for the messages of one run.
pub(crate) type MakeReceive = dyn Fn() -> Box<Receive> + Send + Sync;

/// What a handle stands for.
pub(crate) struct Entry {
    pub(crate) core: Arc<Core>,
    /// Takes messages in place of what `lnr_run` is given.
    pub(crate) receive_ex: Mutex<Option<Arc<MakeReceive>>>,
    code: AtomicI32,
    texts: Mutex<VecDeque<CString>>,
    reports: Mutex<VecDeque<CString>>,
    /// Addresses that were given out.
    addresses: Mutex<BTreeSet<CString>>,
}

static HANDLES: LazyLock<ArcSwap<HashMap<usize, Arc<Entry>>>> = LazyLock::new(ArcSwap::default);

/// A client's new handle.
pub(crate) fn add(core: Arc<Core>) -> usize {
    let handle = usize::try_from(core.id).expect("a client's number is as wide as a pointer");
    let entry = Arc::new(Entry {
        core,
        receive_ex: Mutex::default(),
        code: AtomicI32::new(0),
        texts: Mutex::default(),
        reports: Mutex::default(),
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
pub(crate) fn find(handle: usize) -> Option<Arc<Entry>> {
    HANDLES.load().get(&handle).cloned()
}

/// The handle stands for nothing any more. Answers what it stood for, once.
pub(crate) fn remove(handle: usize) -> Option<Arc<Entry>> {
    let before = HANDLES.rcu(|handles| {
        let mut handles = HashMap::clone(handles);
        handles.remove(&handle);
        handles
    });
    before.get(&handle).cloned()
}

/// As C reads it. A NUL within ends a text there, so it is left out.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|_| CString::new(text.replace('\0', "")).unwrap_or_default())
}

fn keep(kept: &Mutex<VecDeque<CString>>, text: CString) -> *const c_char {
    let mut kept = kept.lock();
    if kept.len() >= KEPT {
        kept.pop_front();
    }
    let pointer = text.as_ptr();
    kept.push_back(text);
    pointer
}

impl Entry {
    /// The last call succeeded.
    pub(crate) fn succeeded(&self) {
        if self.code.load(Ordering::Relaxed) != 0 {
            self.code.store(0, Ordering::Relaxed);
        }
    }

    /// The last call failed.
    pub(crate) fn failed(&self, failure: &Failure) {
        keep(&self.texts, c_string(&failure.message));
        self.code.store(failure.code.as_i32(), Ordering::Relaxed);
        crate::log::line(&format!("{}: {}", self.core.node, failure.message));
    }

    pub(crate) fn code(&self) -> i32 {
        self.code.load(Ordering::Relaxed)
    }

    /// Why the last call failed.
    pub(crate) fn text(&self) -> *const c_char {
        let empty: &'static CStr = c"";
        match self.texts.lock().back() {
            Some(text) if self.code() != ErrorCode::Ok.as_i32() => text.as_ptr(),
            _ => empty.as_ptr(),
        }
    }

    /// Keeps a report for its reader.
    pub(crate) fn report(&self, text: &str) -> *const c_char {
        keep(&self.reports, c_string(text))
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
