//! Sampling flags and the environment, as layers of sampling settings.

use clap::Args;

use super::exit::Explained;
use crate::generation::{SamplingSettings, Semantics};

/// Environment variable for the repetition penalty.
const PENALTY_VARIABLE: &str = "MLX_REPETITION_PENALTY";
/// Environment variable for the penalty's window.
const WINDOW_VARIABLE: &str = "MLX_REPETITION_CONTEXT_SIZE";

/// Flags that set sampling parameters.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub(super) struct SamplingFlags {
    /// Whose sampling to follow: loopwatch, mlx-lm-0.28.3, mlx-lm-0.31.3 or mlx-lm-0.32.2
    /// [default: loopwatch]
    #[arg(long, value_name = "PROFILE")]
    semantics: Option<Semantics>,
    /// 0 is greedy [default: 0]
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Keep the likeliest tokens with this much mass [default: 1, off]
    #[arg(long, value_name = "P")]
    top_p: Option<f64>,
    /// Keep this many likeliest tokens [default: 0, off]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// Drop tokens less likely than this share of the likeliest [default: 0, off]
    #[arg(long, value_name = "P")]
    min_p: Option<f64>,
    /// Drop the top choices of a step with this probability [default: 0, off]
    #[arg(long, value_name = "P")]
    xtc_probability: Option<f64>,
    /// Probability above which a token is a top choice [default: 0.1]
    #[arg(long, value_name = "P")]
    xtc_threshold: Option<f64>,
    /// Seed of the random numbers [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Most tokens to generate [default: 512]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,
    /// Penalty on recent tokens; 1 is off [default: MLX_REPETITION_PENALTY, or that of the
    /// semantics, 1.05]
    #[arg(long, value_name = "P")]
    repetition_penalty: Option<f64>,
    /// Window of that penalty in tokens of the answer; 0 is all of it [default: 20, or
    /// MLX_REPETITION_CONTEXT_SIZE]
    #[arg(long, value_name = "N")]
    repetition_context_size: Option<usize>,
    /// Subtracted once from each recent token's logit [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,
    /// Window of the presence penalty; 0 is the whole answer [default: 20]
    #[arg(long, value_name = "N")]
    presence_context_size: Option<usize>,
    /// Subtracted for each occurrence of a recent token [default: 0]
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,
    /// Window of the frequency penalty; 0 is the whole answer [default: 20]
    #[arg(long, value_name = "N")]
    frequency_context_size: Option<usize>,
    /// Add to a token's logit; repeatable
    #[arg(long, value_name = "ID=BIAS", value_parser = logit_bias)]
    logit_bias: Vec<(u32, f32)>,
    /// End the answer at this text; repeatable
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Go on after an end-of-sequence token
    #[arg(long)]
    ignore_eos: bool,
}

impl SamplingFlags {
    /// What was given on the command line.
    pub(super) fn settings(&self) -> SamplingSettings {
        SamplingSettings {
            semantics: self.semantics,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            seed: self.seed,
            max_tokens: self.max_tokens,
            repetition_penalty: self.repetition_penalty,
            repetition_context_size: self.repetition_context_size,
            presence_penalty: self.presence_penalty,
            presence_context_size: self.presence_context_size,
            frequency_penalty: self.frequency_penalty,
            frequency_context_size: self.frequency_context_size,
            logit_bias: (!self.logit_bias.is_empty())
                .then(|| self.logit_bias.iter().copied().collect()),
            stop: (!self.stop.is_empty()).then(|| self.stop.clone()),
            ignore_eos: self.ignore_eos.then_some(true),
            repetition_detection: None,
        }
    }
}

fn logit_bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(id, bias)| Some((id.trim().parse().ok()?, bias.trim().parse().ok()?)));
    parsed.ok_or_else(|| "write a token id and its bias, such as 42=-5".to_owned())
}

/// What the environment asks for.
pub(super) fn environment() -> anyhow::Result<SamplingSettings> {
    let settings = SamplingSettings {
        repetition_penalty: variable(PENALTY_VARIABLE, "a number, such as 1.05")?,
        repetition_context_size: variable(WINDOW_VARIABLE, "a whole number, such as 20")?,
        ..Default::default()
    };
    // A range error has to name the variable, not a field nobody wrote.
    if let Err(error) = settings.resolve() {
        let name = match error.field {
            "repetition_penalty" => PENALTY_VARIABLE,
            _ => WINDOW_VARIABLE,
        };
        return Err(Explained::usage(format!(
            "environment variable {name} is {}, but must be {}",
            error.value, error.expected
        )));
    }
    Ok(settings)
}

pub(super) fn variable<T: std::str::FromStr>(
    name: &str,
    expected: &str,
) -> anyhow::Result<Option<T>> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    match value.trim().parse() {
        Ok(parsed) => Ok(Some(parsed)),
        Err(_) => Err(Explained::usage(format!(
            "environment variable {name} is '{value}', but must be {expected}"
        ))),
    }
}

/// The environment's wishes as `NAME=value`, for the record.
pub(super) fn environment_as_text() -> Vec<String> {
    [PENALTY_VARIABLE, WINDOW_VARIABLE]
        .into_iter()
        .filter_map(|name| {
            let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
            Some(format!("{name}={value}"))
        })
        .collect()
}
