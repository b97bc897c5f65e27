//! Which backends there are, and which of them this build has.

use super::BackendError;

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackendKind {
    /// [`cpu`](super::cpu): plain Rust, exact and in every build.
    Cpu,
    /// Apple's MLX, in builds with the feature `mlx`.
    Mlx,
}

impl BackendKind {
    /// All kinds, present or not.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Mlx];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Mlx => "mlx",
        }
    }

    /// Whether this build has it.
    ///
    /// # Errors
    /// Says why not, and how to get it.
    pub fn check(self) -> Result<(), BackendError> {
        if self == Self::Cpu || cfg!(feature = "mlx") {
            return Ok(());
        }
        let remedy = if cfg!(target_os = "macos") {
            "build it with `cargo build --features mlx`"
        } else {
            "run native/mlx-linux/setup and build as it says (Linux x86-64 only), or use the cpu backend"
        };
        Err(BackendError(format!(
            "this build has no mlx backend; {remedy}"
        )))
    }
}

impl Default for BackendKind {
    /// MLX where it has a GPU: on macOS, if it is built in.
    fn default() -> Self {
        match cfg!(all(feature = "mlx", target_os = "macos")) {
            true => Self::Mlx,
            false => Self::Cpu,
        }
    }
}
