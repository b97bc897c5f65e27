//! `loopwatch doctor`: what this build can do on this machine, each part tried and not assumed.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use clap::Args;

use super::exit::Exit;
use super::{available_threads, provenance, sampling, style};
use crate::backend::BackendKind;
use crate::engine::{Engine, EngineError, EngineOptions};
use crate::generation::{Event, EventKind, GenerateRequest, Prompt, SamplingSettings};
use crate::model::{ModelRef, builtin_names};

/// Say what this build can do here, and try it.
#[derive(Debug, Args)]
#[command(after_help = "Ends with 0 if everything that is present works, and with 101 if not.")]
pub(super) struct Doctor {}

/// Tokens that each backend has to generate.
const TOKENS: usize = 8;

/// The model that is in every build.
const MODEL: &str = "builtin:readme";

/// What a backend did.
struct Trial {
    tokens: Vec<u32>,
    loading: Duration,
    generating: Duration,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        say("loopwatch", env!("CARGO_PKG_VERSION"))?;
        say("platform", &provenance::platform())?;
        let processor = provenance::processor();
        say("processor", processor.as_deref().unwrap_or("unknown"))?;
        say("features", &or_none(&cpu_features()))?;
        say("threads", &available_threads().to_string())?;
        say("models", &builtin_names().join(", "))?;
        say("environment", &or_none(&sampling::environment_as_text()))?;
        let mut sound = true;
        if let Err(error) = sampling::environment() {
            say("", &failure(&error))?;
            sound = false;
        }
        // The first backend is the exact one, and in every build: the others have to agree.
        let mut reference = None;
        for kind in BackendKind::ALL {
            let name = format!("backend {}", kind.name());
            if let Err(why) = kind.check() {
                say(&name, &format!("missing: {why}"))?;
                continue;
            }
            match try_backend(kind, reference.as_deref()) {
                Ok(trial) => {
                    say(&name, &success(kind, &trial))?;
                    reference.get_or_insert(trial.tokens);
                }
                Err(error) => {
                    say(&name, &failure(&error))?;
                    sound = false;
                }
            }
        }
        Ok(if sound { Exit::Passed } else { Exit::Target })
    }
}

fn say(name: &str, text: &str) -> std::io::Result<()> {
    let mut out = anstream::AutoStream::auto(stdout().lock());
    writeln!(out, "{name:<12} {text}")
}

fn or_none(words: &[impl AsRef<str>]) -> String {
    match words {
        [] => "none".to_owned(),
        _ => words
            .iter()
            .map(AsRef::as_ref)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

fn failure(error: &anyhow::Error) -> String {
    format!("{}fails: {error:#}{}", style::BAD, style::RESET)
}

fn success(kind: BackendKind, trial: &Trial) -> String {
    let default = match kind == BackendKind::default() {
        true => " (default)",
        false => "",
    };
    format!(
        "{}works{}{default}: {MODEL} on {}, loaded in {:.0} ms, {} tokens in {:.0} ms",
        style::GOOD,
        style::RESET,
        device(kind),
        trial.loading.as_secs_f64() * 1e3,
        trial.tokens.len(),
        trial.generating.as_secs_f64() * 1e3,
    )
}

fn device(kind: BackendKind) -> &'static str {
    match kind {
        #[cfg(feature = "mlx")]
        BackendKind::Mlx => crate::backend::mlx::Mlx::device().unwrap_or("no device"),
        _ => "CPU",
    }
}

/// Loads the built-in model and generates, and compares with what another backend generated.
fn try_backend(kind: BackendKind, reference: Option<&[u32]>) -> anyhow::Result<Trial> {
    let before = Instant::now();
    let options = EngineOptions {
        backend: kind,
        ..EngineOptions::default()
    };
    let engine = Engine::load(&ModelRef::parse(MODEL), &options)?;
    let loading = before.elapsed();
    let settings = SamplingSettings {
        max_tokens: Some(TOKENS),
        ignore_eos: Some(true),
        ..SamplingSettings::default()
    };
    let mut receiver = engine.submit(GenerateRequest {
        prompt: Prompt::Text {
            text: "Rust is".to_owned(),
        },
        sampling: settings.resolve()?,
        top_logprobs: 0,
        constraint: None,
    });
    let events = std::iter::from_fn(|| receiver.blocking_recv());
    let events = events.collect::<Result<Vec<Event>, EngineError>>()?;
    let tokens = events.iter().filter_map(|event| match &event.kind {
        EventKind::Delta { token, .. } => Some(token.id),
        _ => None,
    });
    let tokens: Vec<u32> = tokens.collect();
    anyhow::ensure!(
        tokens.len() == TOKENS,
        "it generated {} of {TOKENS} tokens",
        tokens.len()
    );
    if let Some(reference) = reference {
        anyhow::ensure!(
            tokens == reference,
            "it generated the tokens {tokens:?} where the cpu backend has {reference:?}"
        );
    }
    Ok(Trial {
        tokens,
        loading,
        generating: before.elapsed() - loading,
    })
}

/// The vector instructions that matter here and that this processor has.
fn cpu_features() -> Vec<&'static str> {
    let mut found = Vec::new();
    macro_rules! look_for {
        ($detect:ident: $($feature:tt)*) => {
            $(if std::arch::$detect!($feature) {
                found.push($feature);
            })*
        };
    }
    #[cfg(target_arch = "x86_64")]
    look_for!(is_x86_feature_detected: "avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vnni");
    #[cfg(target_arch = "aarch64")]
    look_for!(is_aarch64_feature_detected: "neon" "dotprod" "fp16" "i8mm");
    found
}
