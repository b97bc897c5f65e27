//! `--backend`, `--threads`, `--isa` and `--precision`: who computes, with what, and how closely.

use clap::{Args, ValueEnum};

use super::exit::Explained;
use crate::backend::{BackendKind, Precision};
use crate::engine::EngineOptions;
use crate::simd::Isa;

/// The flags, and their defaults.
#[derive(Debug, Clone, Args)]
pub(super) struct BackendFlags {
    /// Who computes; mlx needs a build with that feature, where it is the default on macOS
    /// [default: cpu]
    #[arg(long, value_name = "NAME")]
    backend: Option<Name>,
    /// Threads of the cpu backend [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Vector instructions of the cpu backend: portable, avx2 or avx512; changes the speed and no
    /// bit of an answer [default: the best there is]
    #[arg(long, value_name = "NAME", value_parser = isa)]
    isa: Option<Isa>,
    /// How closely the cpu backend computes: exact, or fast with activations in eight bits for
    /// weights of four and eight [default: exact]
    #[arg(long, value_name = "NAME", value_parser = precision)]
    precision: Option<Precision>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Cpu,
    Mlx,
}

impl BackendFlags {
    /// The engine's options, if this build has the backend.
    pub(super) fn options(&self) -> anyhow::Result<EngineOptions> {
        let backend = match self.backend {
            None => BackendKind::default(),
            Some(Name::Cpu) => BackendKind::Cpu,
            Some(Name::Mlx) => BackendKind::Mlx,
        };
        backend.check().map_err(Explained::usage)?;
        if backend != BackendKind::Cpu && self.precision == Some(Precision::Fast) {
            return Err(Explained::usage("--precision fast is for the cpu backend"));
        }
        let threads = self.threads.unwrap_or_else(super::available_threads);
        Ok(EngineOptions {
            backend,
            isa: self.isa.unwrap_or_else(Isa::best),
            precision: self.precision.unwrap_or_default(),
            ..EngineOptions::with_threads(threads)
        })
    }
}

fn isa(name: &str) -> Result<Isa, String> {
    Isa::parse(name).ok_or_else(|| {
        let here: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
        format!("this machine has {}", here.join(", "))
    })
}

fn precision(name: &str) -> Result<Precision, String> {
    Precision::parse(name).ok_or_else(|| "there are exact and fast".to_owned())
}
