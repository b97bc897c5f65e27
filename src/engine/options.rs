//! How an engine uses its machine. On the cpu backend nothing but the precision changes an
//! answer.

use std::time::Duration;

use crate::backend::{BackendKind, Precision};
use crate::simd::Isa;

/// Resources of one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineOptions {
    /// Who computes.
    pub backend: BackendKind,
    /// Threads for matrix products, at least 1. The mlx backend has its own.
    pub threads: usize,
    /// Vector instructions of the cpu backend.
    pub isa: Isa,
    /// How closely the cpu backend computes: the one option that changes answers.
    pub precision: Precision,
    /// Most prompt tokens computed in one step, at least 1; between steps other requests decode,
    /// and the engine sees that a reader has gone.
    pub prefill_chunk: usize,
    /// Most requests decoded together, at least 1; further ones wait in the queue.
    pub max_batch: usize,
    /// Most bytes of keys and values kept for prompts to come; 0 keeps none.
    pub prefix_cache_bytes: usize,
    /// How long a token may wait for the ones behind it, before a reader is woken; the times of
    /// events are those of the tokens all the same. A wake-up takes about six microseconds from
    /// the cores (an `eventfd` on Linux, measured).
    pub most_wait: Duration,
}

impl EngineOptions {
    /// For who reads an answer as it is written, and cannot tell a millisecond.
    pub const STREAMED: Duration = Duration::from_millis(1);
    /// For who wants whole answers, and to see now and then how far they are.
    pub const WHOLE: Duration = Duration::from_millis(50);

    /// The defaults, on `threads` threads.
    #[must_use]
    pub fn with_threads(threads: usize) -> Self {
        Self {
            threads,
            ..Self::default()
        }
    }
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            backend: BackendKind::default(),
            threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            isa: Isa::best(),
            precision: Precision::default(),
            prefill_chunk: 512,
            max_batch: 64,
            prefix_cache_bytes: 256 << 20,
            most_wait: Self::STREAMED,
        }
    }
}
