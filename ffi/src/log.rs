//! The log: lines go to the program's callback, or to stderr.
//!
//! A call that fails writes its line on the thread of the caller. Lines of the library's own threads, which must not wait
//! for a callback, go through a queue to a thread that runs while a callback is set.

use parking_lot::{Condvar, Mutex};
use std::cell::Cell;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

/// A callback for log lines.
pub(crate) type LogCallback = dyn Fn(&str) + Send + Sync;

/// Lines that wait for the callback. Further lines are discarded.
const QUEUED: usize = 1024;

struct Sink {
    callback: Option<Arc<LogCallback>>,
    /// The number of calls in progress.
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
    /// The number of calls in progress on this thread.
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Counts a call of the callback while it exists.
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
                // If stderr cannot be written to, the line is lost.
                let _ = writeln!(io::stderr(), "{text}");
                return;
            }
        }
    };
    callback(text);
    drop(running);
}

/// Writes a line of one of the library's own threads, without waiting for the callback.
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

/// Sets the callback, or restores stderr. The previous callback does not run after this returns, unless this is called inside
/// a callback.
pub(crate) fn set(callback: Option<Arc<LogCallback>>) -> bool {
    // A callback thread does not wait either: a log callback may be waiting for it.
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
            line("the log thread panicked");
        }
    }
    true
}

/// Installs a `tracing` subscriber that writes warnings and errors to this log. Only for the C interface: a Rust program
/// installs its own.
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
        // A Rust program that has installed a subscriber keeps it.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
}

/// The writer of the subscriber, which writes one line at a time.
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
