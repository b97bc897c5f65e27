//! The threads of all engines, so that a program can wait for them before it ends.
//!
//! An engine's thread outlives the last handle by the time it takes to free its model. A program
//! that ends in that moment tears down the C++ side of MLX under it, and crashes after its work
//! is done.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

static THREADS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// Keeps the handle of a thread until it is waited for.
pub(super) fn remember(thread: JoinHandle<()>) {
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    threads.retain(|thread| !thread.is_finished());
    threads.push(thread);
}

/// Waits until the threads of all engines have ended. They end when the handles on their engines
/// and the streams of their answers are gone, so drop those first.
pub fn wait_for_threads() {
    let threads = std::mem::take(&mut *THREADS.lock().unwrap_or_else(PoisonError::into_inner));
    for thread in threads {
        // A thread that panicked has said so already.
        let _ = thread.join();
    }
}
