//! Names and dates for answers: ids that do not repeat, seeds, seconds since 1970.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A number that nobody can foresee: the standard library keys its hash tables with such.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// An id such as `chatcmpl-0123…`.
pub(super) fn id(prefix: &str) -> String {
    format!("{prefix}{:016x}{:016x}", random(), random())
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
