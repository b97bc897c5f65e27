//! How closely the cpu backend computes.

use std::fmt;

/// What products of weights and activations are made of. Both are deterministic: the same bits on
/// every processor, with any number of threads and any company in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// As exact as f32: the reference, for judging. Weights of four and eight bits are multiplied
    /// with activations that are whole numbers of 24 bits, with a step for each group of elements
    /// that share a scale. The step is about what f32 rounds the group's greatest element to, and
    /// sums within a group have no rounding at all, so products err by no more than those that are
    /// summed in f32. Everything else is f32.
    #[default]
    Exact,
    /// The same with whole numbers of eight bits, which queries, keys and values become too, with a
    /// step for each head of a position: the KV cache takes a quarter of the memory. Faster, and its
    /// tokens may differ where two are nearly as likely.
    Fast,
}

impl Precision {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Fast];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }

    /// Reads a name as users write it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
