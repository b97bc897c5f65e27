//! Threads that wait for the next piece of work without going to sleep at once.
//!
//! A token of a small model takes two hundred microseconds and thirty hand-offs, so a hand-off has
//! to cost well under one. Workers spin for a short while after each piece of work and sleep after
//! that. The caller never waits for a worker that has not begun: on a machine with other things to
//! do, a worker that the system has put aside costs its help and nothing more. This file knows
//! indices of tasks; what a task computes is not its business.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle, Thread};

use super::BackendError;

/// How often a worker looks for new work before it sleeps: a few hundred microseconds, so that it
/// stays awake while a token is sampled.
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

/// A counter that shares its cache line, and the one fetched with it, with no other.
#[repr(align(128))]
struct OwnLine(AtomicUsize);

/// A piece of work: every thread that takes part calls it once.
type Work = &'static (dyn Fn() + Sync);

struct Shared {
    /// Which piece of work it is, whether it may still be joined, and how many workers have.
    state: AtomicU64,
    /// Written by the caller while nobody can join, read by workers that have joined.
    work: UnsafeCell<Option<Work>>,
    /// Workers that have finished the current piece.
    finished: AtomicUsize,
    panicked: AtomicBool,
    closing: AtomicBool,
}

#[expect(unsafe_code, reason = "the work is handed over through the state")]
// SAFETY: `work` is the only field that is not `Sync` by itself. The caller writes it while the
// state is closed and all who had joined have finished, and opens the state with a release store;
// a worker reads it only after joining with an acquire operation on the open state.
unsafe impl Sync for Shared {}

/// Fields of [`Shared::state`]: the number of the piece of work above, the flag, the count below.
const OPEN: u64 = 1 << 31;
const JOINED: u64 = OPEN - 1;
const NEXT: u64 = 1 << 32;

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
            state: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            finished: AtomicUsize::new(0),
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

    /// Calls `task` with every index below `tasks`, on all threads. Each thread has a range of its
    /// own, in order, so that what it fetches ahead is its own next task; whoever is done takes
    /// from the others.
    pub(super) fn for_each(&self, tasks: usize, task: impl Fn(usize) + Sync) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(task);
            return;
        }
        let Ok(turn) = self.turn.try_lock() else {
            // Somebody else uses the threads, or the caller is one of them and has its part of a
            // larger piece of work: it does all of this alone.
            (0..tasks).for_each(task);
            return;
        };
        let threads = self.threads();
        let start = |range: usize| range * tasks / threads;
        let next: Vec<_> = (0..threads)
            .map(|range| OwnLine(AtomicUsize::new(start(range))))
            .collect();
        let arrived = AtomicUsize::new(0);
        self.run(turn, &|| {
            let own = arrived.fetch_add(1, Ordering::Relaxed);
            for range in (own..own + threads).map(|range| range % threads) {
                loop {
                    let index = next[range].0.fetch_add(1, Ordering::Relaxed);
                    if index >= start(range + 1) {
                        break;
                    }
                    task(index);
                }
            }
        });
    }

    /// Cuts `data` into pieces of `size` elements and calls `task` with each and its index.
    pub(super) fn for_each_piece<T: Send>(
        &self,
        data: &mut [T],
        size: usize,
        task: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let length = data.len();
        let strips = Strips::new(data, length, size);
        self.for_each(strips.count(), |index| {
            #[expect(unsafe_code, reason = "each thread writes to strips of its own")]
            // SAFETY: `for_each` gives every index below the count to one call only.
            let mut strip = unsafe { strips.strip(index) };
            task(index, strip.row(0));
        });
    }

    fn run(&self, turn: MutexGuard<'_, ()>, work: &(dyn Fn() + Sync)) {
        self.shared.open(work);
        for worker in &self.workers {
            worker.thread.unpark();
        }
        let own = catch_unwind(AssertUnwindSafe(work));
        self.shared.close();
        // Before a panic goes on: it would poison the lock, and later work be done by one thread.
        drop(turn);
        if let Err(panic) = own {
            std::panic::resume_unwind(panic);
        }
        assert!(
            !self.shared.panicked.swap(false, Ordering::Relaxed),
            "a thread of the CPU backend panicked"
        );
    }
}

/// A matrix of `[rows, width]` elements, cut into strips of columns that several threads write to.
pub(super) struct Strips<'a, T> {
    start: *mut T,
    length: usize,
    width: usize,
    columns: usize,
    data: PhantomData<&'a mut [T]>,
}

#[expect(unsafe_code, reason = "each thread writes to strips of its own")]
// SAFETY: the only use of a shared reference is `strip`, whose caller promises that no two threads
// hold the same one; and the elements may be sent to another thread.
unsafe impl<T: Send> Sync for Strips<'_, T> {}

impl<'a, T> Strips<'a, T> {
    /// Strips of `columns` columns of a matrix whose rows have `width` elements.
    pub(super) fn new(data: &'a mut [T], width: usize, columns: usize) -> Self {
        let width = width.max(1);
        Self {
            start: data.as_mut_ptr(),
            // A row that is not whole belongs to no strip.
            length: data.len() / width * width,
            width,
            columns: columns.max(1),
            data: PhantomData,
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        if self.length == 0 {
            return 0;
        }
        self.width.div_ceil(self.columns)
    }

    /// Strip `index`.
    ///
    /// # Safety
    /// No other strip of this index is alive.
    #[expect(unsafe_code, reason = "each thread writes to strips of its own")]
    pub(super) unsafe fn strip(&self, index: usize) -> Strip<'a, T> {
        assert!(index < self.count(), "strip {index} of {}", self.count());
        let first = index * self.columns;
        Strip {
            start: self.start,
            length: self.length,
            width: self.width,
            first,
            columns: self.columns.min(self.width - first),
            data: PhantomData,
        }
    }
}

/// Some columns of all rows of a matrix.
pub(super) struct Strip<'a, T> {
    start: *mut T,
    length: usize,
    width: usize,
    first: usize,
    columns: usize,
    data: PhantomData<&'a mut [T]>,
}

impl<T> Strip<'_, T> {
    /// Columns before the first one.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Columns.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// Its part of row `index`.
    pub(super) fn row(&mut self, index: usize) -> &mut [T] {
        let start = index * self.width + self.first;
        assert!(start < self.length, "row {index} is behind the last one");
        #[expect(unsafe_code, reason = "each thread writes to strips of its own")]
        // SAFETY: the part lies inside the data that `Strips::new` borrowed, since its row does;
        // no other strip has these columns, and this one is borrowed while the part is in use.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.add(start), self.columns)
        }
    }
}

impl Shared {
    /// Offers a piece of work. Whoever calls this has the turn, and calls `close` before the work
    /// goes away.
    fn open(&self, work: &(dyn Fn() + Sync)) {
        self.finished.store(0, Ordering::Relaxed);
        #[expect(
            unsafe_code,
            reason = "workers outlive the borrow in type, though not in fact"
        )]
        // SAFETY: only the lifetime changes; `close` does not return before every worker that has
        // joined is done with the reference, and nobody joins after it. The cell is not read
        // meanwhile, because the state is closed and those who had joined it have finished.
        unsafe {
            *self.work.get() = Some(std::mem::transmute::<&(dyn Fn() + Sync), Work>(work));
        }
        let number = self.state.load(Ordering::Relaxed) / NEXT;
        self.state.store(
            number.wrapping_add(1).wrapping_mul(NEXT) | OPEN,
            Ordering::Release,
        );
    }

    /// Lets nobody join any more, and waits for those who have.
    fn close(&self) {
        let state = self.state.fetch_and(!OPEN, Ordering::AcqRel);
        let joined = usize::try_from(state & JOINED).unwrap_or(usize::MAX);
        let mut looks = 0;
        while self.finished.load(Ordering::Acquire) < joined {
            looks += 1;
            if looks % LOOKS_BEFORE_YIELD == 0 {
                thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }

    /// The work, if it is still to be had. Whoever gets it counts as having joined.
    fn join(&self) -> Option<Work> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & OPEN == 0 {
                return None;
            }
            match self.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                #[expect(unsafe_code, reason = "the work is handed over through the state")]
                // SAFETY: the state was open, so `open` has written the cell before, and writes
                // it again only after this worker has finished.
                Ok(_) => return unsafe { *self.work.get() },
                Err(now) => state = now,
            }
        }
    }

    fn work_until_closed(&self) {
        let mut seen = 0;
        loop {
            seen = self.wait_for_new(seen);
            if self.closing.load(Ordering::Relaxed) {
                return;
            }
            if let Some(work) = self.join() {
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.finished.fetch_add(1, Ordering::Release);
            }
        }
    }

    /// The number of the first piece of work after `seen`.
    fn wait_for_new(&self, seen: u64) -> u64 {
        loop {
            for _ in 0..LOOKS_BEFORE_SLEEP {
                let number = self.state.load(Ordering::Acquire) / NEXT;
                if number != seen {
                    return number;
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
        self.shared.state.fetch_add(NEXT, Ordering::Release);
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
