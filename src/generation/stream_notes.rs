//! What a client noticed about the stream that brought an answer.
//!
//! Facts only: which rule of the API was not kept, where first, and how often. Who reads streams, and
//! whether an irregularity matters, is not known here.

use serde::{Deserialize, Serialize};

/// A stream that was read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamNotes {
    /// Events with data that it had.
    pub events: usize,
    /// What its API does not have and this client could bear, each rule once, in the order in which
    /// they were first broken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub irregularities: Vec<Irregularity>,
}

/// A rule of an API that a stream did not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Irregularity {
    /// The rule's name, such as `after-finish`.
    pub rule: String,
    /// What was found the first time, for a person; at most 160 characters.
    pub found: String,
    /// The number of the event where it was first found, from 1; one more than there were where
    /// something is missing at the end.
    pub event: usize,
    /// How often it was found.
    pub times: usize,
}
