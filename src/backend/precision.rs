//! How closely the cpu backend computes.

use std::fmt;

/// What products of weights and activations are made of. Both are deterministic: the same bits on
/// every processor, with any number of threads and any company in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// Activations in f32: the reference, for judging.
    #[default]
    Exact,
    /// Activations in eight bits, with a step for each group of elements that share a scale, for
    /// weights of four and eight bits; everything else as in `exact`. Faster, and its tokens may
    /// differ where two are nearly as likely.
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
