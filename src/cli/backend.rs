//! `--backend`: who computes.

use clap::{Args, ValueEnum};

use super::exit::Explained;
use crate::backend::BackendKind;

/// The flag, and its default.
#[derive(Debug, Clone, Args)]
pub(super) struct BackendFlag {
    /// Who computes; mlx needs a build with that feature, where it is the default on macOS
    /// [default: cpu]
    #[arg(long, value_name = "NAME")]
    backend: Option<Name>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Cpu,
    Mlx,
}

impl BackendFlag {
    /// The backend, if this build has it.
    pub(super) fn kind(&self) -> anyhow::Result<BackendKind> {
        let kind = match self.backend {
            None => BackendKind::default(),
            Some(Name::Cpu) => BackendKind::Cpu,
            Some(Name::Mlx) => BackendKind::Mlx,
        };
        kind.check().map_err(Explained::usage)?;
        Ok(kind)
    }
}
