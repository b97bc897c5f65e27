//! Threads that wait for the next piece of work without going to sleep at once.
//!
//! A token of a small model takes a hundred microseconds and thirty hand-offs, so a hand-off has
//! to cost about one. Workers spin for a short while after each piece of work and sleep after
//! that. This file knows indices of tasks; what a task computes is not its business.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, Thread};

use super::BackendError;

/// How often a worker looks for new work before it sleeps: a few hundred microseconds, so that it
/// stays awake while a token is sampled. The caller has to wait for a sleeping one to wake up.
const LOOKS_BEFORE_SLEEP: usize = 20_000;
/// How often the caller looks whether all are done before it lets others run.
const LOOKS_BEFORE_YIELD: usize = 4_000;

/// A fixed number of threads, of which the calling thread is one.
pub(super) struct Pool {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    /// One piece of work at a time.
    turn: Mutex<()>,
}

struct Worker {
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

/// A piece of work: every thread calls it once.
type Work = &'static (dyn Fn() + Sync);

struct Shared {
    /// Counts pieces of work; a worker that sees a new number takes part.
    epoch: AtomicUsize,
    work: Mutex<Option<Work>>,
    /// Workers that have not finished the current piece.
    active: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

impl Pool {
    /// Starts `threads - 1` workers.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub(super) fn new(threads: usize) -> Result<Self, BackendError> {
        let shared = Arc::new(Shared {
            epoch: AtomicUsize::new(0),
            work: Mutex::new(None),
            active: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
        });
        let mut pool = Self {
            shared: Arc::clone(&shared),
            workers: Vec::new(),
            turn: Mutex::new(()),
        };
        for index in 1..threads.max(1) {
            let shared = Arc::clone(&shared);
            let handle = thread::Builder::new()
                .name(format!("cpu-{index}"))
                .spawn(move || shared.work_until_closed())
                .map_err(|error| {
                    BackendError(format!("cannot start {threads} threads: {error}"))
                })?;
            pool.workers.push(Worker {
                thread: handle.thread().clone(),
                handle: Some(handle),
            });
        }
        Ok(pool)
    }

    /// Threads, the calling one included.
    pub(super) fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` with every index below `tasks`, on all threads, in no particular order.
    pub(super) fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        let next = AtomicUsize::new(0);
        self.run(&|| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= tasks {
                    break;
                }
                task(index);
            }
        });
    }

    /// Cuts `data` into pieces of `size` elements and calls `task` with each and its index.
    pub(super) fn for_each_piece(
        &self,
        data: &mut [f32],
        size: usize,
        task: impl Fn(usize, &mut [f32]) + Sync,
    ) {
        let pieces: Vec<Mutex<&mut [f32]>> = data.chunks_mut(size).map(Mutex::new).collect();
        self.for_each(pieces.len(), |index| {
            // Each index comes once, so a piece is never locked twice.
            if let Ok(mut piece) = pieces[index].try_lock() {
                task(index, &mut piece);
            }
        });
    }

    fn run(&self, work: &(dyn Fn() + Sync)) {
        let Ok(turn) = self.turn.try_lock() else {
            // Somebody else uses the threads: the caller does all of it alone.
            work();
            return;
        };
        let shared = &self.shared;
        #[expect(
            unsafe_code,
            reason = "workers outlive the borrow in type, though not in fact"
        )]
        // SAFETY: only the lifetime changes. Workers call the reference between the new epoch and
        // their decrement of `active`, and this function does not return or unwind before
        // `active` is zero and the reference is taken out again.
        let work: Work = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Work>(work) };
        shared.set_work(Some(work));
        shared.active.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::Release);
        for worker in &self.workers {
            worker.thread.unpark();
        }
        let own = catch_unwind(AssertUnwindSafe(work));
        let mut spins = 0;
        while shared.active.load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins % LOOKS_BEFORE_YIELD == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
        shared.set_work(None);
        // Before a panic goes on: it would poison the lock, and later work be done by one thread.
        drop(turn);
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a thread of the CPU backend panicked"
        );
    }
}

impl Shared {
    fn set_work(&self, work: Option<Work>) {
        // Nothing panics while it holds this lock.
        *self.work.lock().unwrap_or_else(|error| error.into_inner()) = work;
    }

    fn work(&self) -> Option<Work> {
        *self.work.lock().unwrap_or_else(|error| error.into_inner())
    }

    fn work_until_closed(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_new(seen);
            if self.closing.load(Ordering::Relaxed) {
                return;
            }
            if let Some(work) = self.work()
                && catch_unwind(AssertUnwindSafe(work)).is_err()
            {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.active.fetch_sub(1, Ordering::Release);
        }
    }

    fn wait_for_new(&self, seen: usize) -> usize {
        loop {
            for _ in 0..LOOKS_BEFORE_SLEEP {
                let epoch = self.epoch.load(Ordering::Acquire);
                if epoch != seen {
                    return epoch;
                }
                std::hint::spin_loop();
            }
            // A wake-up between the last look and here is kept: the park returns at once.
            thread::park();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        self.shared.epoch.fetch_add(1, Ordering::Release);
        for worker in &mut self.workers {
            worker.thread.unpark();
            if let Some(handle) = worker.handle.take() {
                // A worker catches the panics of its work, so it ends in order.
                let _ = handle.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_comes_once() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads).expect("threads");
            for tasks in [0, 1, 2, 7, 100] {
                let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                pool.for_each(tasks, |index| {
                    counts[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(
                    counts
                        .iter()
                        .all(|count| count.load(Ordering::Relaxed) == 1)
                );
            }
        }
    }

    #[test]
    fn pieces_are_written_where_they_lie() {
        let pool = Pool::new(3).expect("threads");
        let mut data = vec![0.0; 10];
        pool.for_each_piece(&mut data, 4, |index, piece| piece.fill(index as f32));
        assert_eq!(data, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
    }

    #[test]
    fn work_inside_work_is_done_by_its_caller() {
        let pool = Pool::new(2).expect("threads");
        let count = AtomicUsize::new(0);
        pool.for_each(4, |_| {
            pool.for_each(4, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(count.into_inner(), 16);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let pool = Pool::new(2).expect("threads");
        for _ in 0..20 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.for_each(8, |index| assert!(index != 5));
            }));
            assert!(outcome.is_err());
            assert!(!pool.turn.is_poisoned(), "the threads are lost");
            let count = AtomicUsize::new(0);
            pool.for_each(8, |_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.into_inner(), 8);
        }
    }
}
