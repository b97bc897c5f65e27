//! The thread on which servers are talked to.
//!
//! It is its own, so that what is done with an answer, such as judging it, never delays the clock
//! reading of the next event.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A cheap handle on the thread, which ends with the last handle.
#[derive(Debug, Clone)]
pub struct Network(Arc<Thread>);

#[derive(Debug)]
struct Thread(Option<Runtime>);

impl Network {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system refuses one.
    pub fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("network")
            .enable_all()
            .build()?;
        Ok(Self(Arc::new(Thread(Some(runtime)))))
    }

    /// Runs a task there; `None` only while the thread ends.
    pub fn spawn<F>(&self, task: F) -> Option<JoinHandle<F::Output>>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.0.0.as_ref().map(|runtime| runtime.spawn(task))
    }

    /// Runs a task there and waits for it, from a thread that may wait.
    pub fn wait_for<F: Future>(&self, task: F) -> Option<F::Output> {
        self.0.0.as_ref().map(|runtime| runtime.block_on(task))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Unlike its own drop, this may be done on a thread of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
