//! Where lines for people go: to the program's callback, or to stderr.
//!
//! A call that fails writes its line on the thread of the caller. Lines of the library's own threads, which must not wait
//! for a callback, go through a queue to a thread that is there while there is a callback.

use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

/// Takes a line.
pub(crate) type LogCallback = dyn Fn(&str) + Send + Sync;

/// Lines that wait for the callback. More are left out: nobody reads a flood.
const QUEUED: usize = 1024;

struct Sink {
    callback: Option<Arc<LogCallback>>,
    /// Calls of a callback under way.
    running: usize,
    background: Option<Background>,
}

struct Background {
    lines: SyncSender<String>,
    thread: JoinHandle<()>,
}

static SINK: Mutex<Sink> = Mutex::new(Sink { callback: None, running: 0, background: None });
static IDLE: Condvar = Condvar::new();

thread_local! {
    /// Calls of a callback that this thread is in.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// A call of a callback, counted while it lasts.
struct CallGuard;

impl CallGuard {
    fn start(sink: &mut Sink) -> CallGuard {
        sink.running += 1;
        INSIDE.set(INSIDE.get() + 1);
        CallGuard
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        INSIDE.set(INSIDE.get() - 1);
        SINK.lock().running -= 1;
        IDLE.notify_all();
    }
}

/// Writes a line on this thread.
pub(crate) fn line(text: &str) {
    let (callback, running) = {
        let mut sink = SINK.lock();
        match sink.callback.clone() {
            Some(callback) => (callback, CallGuard::start(&mut sink)),
            None => {
                drop(sink);
                // Without stderr there is nobody to tell.
                let _ = writeln!(io::stderr(), "{text}");
                return;
            }
        }
    };
    callback(text);
    drop(running);
}

/// Writes a line of one of the library's threads.
fn background(text: String) {
    let sink = SINK.lock();
    match &sink.background {
        Some(background) => drop(background.lines.try_send(text)),
        None => {
            drop(sink);
            line(&text);
        }
    }
}

fn serve(lines: &Receiver<String>) {
    for text in lines {
        line(&text);
    }
}

/// Sets who takes the lines, or has them written to stderr again. Then the callback before does not run any more, unless this
/// is called inside one.
pub(crate) fn set(callback: Option<Arc<LogCallback>>) -> bool {
    // A thread that calls callbacks does not wait either: a log callback may be waiting for it.
    let inside = INSIDE.get() > 0 || crate::callback_thread::current_client().is_some();
    let mut sink = SINK.lock();
    sink.callback = callback;
    let mut ended = None;
    if sink.callback.is_none() {
        ended = sink.background.take();
    } else if sink.background.is_none() {
        let (lines, queue) = sync_channel(QUEUED);
        let started = std::thread::Builder::new().name("liner-log".to_owned()).spawn(move || serve(&queue));
        sink.background = started.ok().map(|thread| Background { lines, thread });
    }
    while !inside && sink.running > 0 {
        IDLE.wait(&mut sink);
    }
    drop(sink);
    if let Some(Background { lines, thread }) = ended {
        drop(lines);
        if !inside && thread.join().is_err() {
            line("the log's thread panicked");
        }
    }
    true
}

/// Has warnings and errors of the library's own threads written here. Not for Rust programs, which have a subscriber of their
/// own or want none.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(|| Lines)
            .finish();
        // The program is one of Rust and has a subscriber: that one gets them.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}

/// Takes what the subscriber writes: a line at a time.
struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        background(String::from_utf8_lossy(bytes).trim_end().to_owned());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
