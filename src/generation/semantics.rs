//! Semantics profiles: the choices in which versions of mlx-lm differ, named and tabled.
//!
//! One version of mlx-lm penalises the prompt, another does not; one draws a token by Gumbel-max,
//! another by the inverse of the cumulative distribution. A [`Semantics`] names a version, its
//! [`Profile`] is the row of choices. What a choice does to logits is the business of
//! [`sampling`](crate::sampling).
//!
//! | | `loopwatch` | `mlx-lm-0.28.3` | `mlx-lm-0.31.3` | `mlx-lm-0.32.2` |
//! |---|---|---|---|---|
//! | window, no seed | answer | last prompt token + answer | prompt + answer | prompt + answer |
//! | window, with seed | answer | last prompt token + answer | last prompt token + answer | prompt without its cached part + answer |
//! | end of sequence | exempt | penalised | penalised | penalised |
//! | default repetition penalty | 1.05 | 1.0 | 0 (off) | 0 (off) |
//! | default XTC threshold | 0.1 | 0 | 0 | 0.1 |
//! | presence and frequency penalty | yes | not there | yes | yes |
//! | `top_p` | mass above | mass below | mass below | mass above |
//! | draw | inverse CDF | Gumbel-max | Gumbel-max | inverse CDF |
//! | constants of compiled functions | exact | 7 digits | 7 digits | exact |
//!
//! All four agree on the rest: the order of processors and filters, a default window of 20, and a
//! window of 0, which means everything (`tokens[-0:]` in Python is the whole list).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Whose sampling semantics a generation follows.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Semantics {
    /// Ours: only the answer is penalised, and never its end.
    #[default]
    #[serde(rename = "loopwatch")]
    Loopwatch,
    /// mlx-lm 0.28.3, with mlx 0.29.4.
    #[serde(rename = "mlx-lm-0.28.3")]
    MlxLm0_28_3,
    /// mlx-lm 0.31.3, with mlx 0.31.2.
    #[serde(rename = "mlx-lm-0.31.3")]
    MlxLm0_31_3,
    /// mlx-lm 0.32.2, with mlx 0.32.4.
    #[serde(rename = "mlx-lm-0.32.2")]
    MlxLm0_32_2,
}

/// A name that no profile has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there are no semantics '{0}'; known are {known}", known = Semantics::names().join(", "))]
pub struct UnknownSemantics(String);

/// Which tokens the window of a penalty is cut from, besides those of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// None: the answer only.
    Answer,
    /// The last token of the prompt. mlx-lm prefills all but that one, and up to 0.31.3 the
    /// sequential path did not show prefilled tokens to its processors (0.28.3 and 0.31.3,
    /// `generate.py`, `generate_step`).
    LastPromptToken,
    /// The whole prompt, whether its keys and values came from a cache or not (0.31.3 and
    /// 0.32.2, `generate.py`, the token context of `BatchGenerator`).
    Prompt,
    /// The part of the prompt that was computed for this request: the server hands its sequential
    /// path only what the prompt cache did not have, so the penalty depends on the state of the
    /// cache (0.32.2, `server.py`, `_serve_single`, and `generate.py`, `generate_step`).
    UncachedPrompt,
}

/// Whether tokens that end a sequence can be penalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfSequence {
    /// Never: a penalised end keeps a model from stopping.
    Exempt,
    /// Like every token. With the prompt in the window, the chat template's own end tokens are in
    /// it too (0.32.2, `sample_utils.py`, `make_repetition_penalty`, which knows no exemption).
    Penalised,
}

/// Which tokens `top_p` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopP {
    /// Those with less than `top_p` of the total mass above them; ties stay together (0.32.2,
    /// `sample_utils.py`, `apply_top_p`).
    MassAbove,
    /// Those whose mass, together with that of all less likely ones, is more than `1 - top_p`. Of
    /// tied tokens the lowest ids go first, and with a tiny `top_p` rounding can remove all
    /// (0.28.3 and 0.31.3, `sample_utils.py`, `apply_top_p`).
    MassBelow,
}

/// How one row of log-weights becomes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Categorical {
    /// The greatest of `logit + Gumbel noise`, one uniform number for each token (mlx up to
    /// 0.32.0, `random.cpp`, `categorical_impl`).
    GumbelMax,
    /// The place of one uniform number in the cumulative distribution (mlx from 0.32.1, and there
    /// for a single row, `random.cpp`, `categorical_inverse_cdf`; read and run at 0.32.4).
    InverseCdf,
}

/// How exactly a constant reaches the compiled functions of a sampler. mlx-lm compiles its filters
/// and the draw, and MLX writes the source of compiled kernels with constants in decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompiledConstants {
    /// With seven digits, which are not enough for an f32: 1/0.7 becomes 1.428571, and the divisor
    /// of random words becomes 4294967000 (mlx up to 0.32.0, `backend/common/compiled.h`,
    /// `print_float_constant`).
    SevenDigits,
    /// With the nine digits that an f32 needs (mlx 0.32.4, the same function).
    Exact,
}

/// One row of choices.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// The window of a request without a seed: from mlx-lm 0.31.2 on its server's batched path.
    pub window: Window,
    /// The window of a request with a seed, which the server takes out of its batches and answers
    /// on the sequential path (0.31.3 and 0.32.2, `server.py`, `_is_batchable`).
    pub seeded_window: Window,
    /// Whether the end of a sequence can be penalised.
    pub end_of_sequence: EndOfSequence,
    /// The repetition penalty when nobody sets one: `server.py`, `repetition_penalty` of the
    /// request body, is 1.0 in 0.28.3 and 0.0 in 0.31.3 and 0.32.2.
    pub default_repetition_penalty: f64,
    /// The XTC threshold when nobody sets one: `server.py`, `xtc_threshold` of the request body,
    /// is 0.0 in 0.28.3 and 0.31.3 and 0.1 in 0.32.2.
    pub default_xtc_threshold: f64,
    /// Whether a `repetition_penalty` or a `top_p` of 0 is a way to write "off" (`sample_utils.py`,
    /// `make_logits_processors` and `make_sampler`) or a mistake.
    pub zero_is_off: bool,
    /// Whether there are a presence and a frequency penalty (not in 0.28.3, whose
    /// `make_logits_processors` knows only the repetition penalty).
    pub additive_penalties: bool,
    /// Which tokens `top_p` keeps.
    pub top_p: TopP,
    /// How a token is drawn.
    pub categorical: Categorical,
    /// How exact the constants of filters and draws are.
    pub constants: CompiledConstants,
}

const LOOPWATCH: Profile = Profile {
    window: Window::Answer,
    seeded_window: Window::Answer,
    end_of_sequence: EndOfSequence::Exempt,
    default_repetition_penalty: 1.05,
    default_xtc_threshold: 0.1,
    zero_is_off: false,
    additive_penalties: true,
    top_p: TopP::MassAbove,
    categorical: Categorical::InverseCdf,
    constants: CompiledConstants::Exact,
};

const MLX_LM_0_28_3: Profile = Profile {
    window: Window::LastPromptToken,
    seeded_window: Window::LastPromptToken,
    end_of_sequence: EndOfSequence::Penalised,
    default_repetition_penalty: 1.0,
    default_xtc_threshold: 0.0,
    zero_is_off: true,
    additive_penalties: false,
    top_p: TopP::MassBelow,
    categorical: Categorical::GumbelMax,
    constants: CompiledConstants::SevenDigits,
};

const MLX_LM_0_31_3: Profile = Profile {
    window: Window::Prompt,
    seeded_window: Window::LastPromptToken,
    end_of_sequence: EndOfSequence::Penalised,
    default_repetition_penalty: 0.0,
    default_xtc_threshold: 0.0,
    zero_is_off: true,
    additive_penalties: true,
    top_p: TopP::MassBelow,
    categorical: Categorical::GumbelMax,
    constants: CompiledConstants::SevenDigits,
};

const MLX_LM_0_32_2: Profile = Profile {
    window: Window::Prompt,
    seeded_window: Window::UncachedPrompt,
    end_of_sequence: EndOfSequence::Penalised,
    default_repetition_penalty: 0.0,
    default_xtc_threshold: 0.1,
    zero_is_off: true,
    additive_penalties: true,
    top_p: TopP::MassAbove,
    categorical: Categorical::InverseCdf,
    constants: CompiledConstants::Exact,
};

impl Semantics {
    /// Every profile, ours first.
    pub const ALL: [Self; 4] = [
        Self::Loopwatch,
        Self::MlxLm0_28_3,
        Self::MlxLm0_31_3,
        Self::MlxLm0_32_2,
    ];

    /// The name used in scenarios, records and flags.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopwatch => "loopwatch",
            Self::MlxLm0_28_3 => "mlx-lm-0.28.3",
            Self::MlxLm0_31_3 => "mlx-lm-0.31.3",
            Self::MlxLm0_32_2 => "mlx-lm-0.32.2",
        }
    }

    /// The choices behind the name.
    #[must_use]
    pub fn profile(self) -> &'static Profile {
        match self {
            Self::Loopwatch => &LOOPWATCH,
            Self::MlxLm0_28_3 => &MLX_LM_0_28_3,
            Self::MlxLm0_31_3 => &MLX_LM_0_31_3,
            Self::MlxLm0_32_2 => &MLX_LM_0_32_2,
        }
    }

    fn names() -> [&'static str; 4] {
        Self::ALL.map(Self::as_str)
    }
}

impl Window {
    /// The tokens of a prompt that belong to the window; `cached` of them, from the front, came
    /// from a prompt cache.
    #[must_use]
    pub fn of_prompt(self, prompt: &[u32], cached: usize) -> &[u32] {
        let from = match self {
            Self::Answer => prompt.len(),
            Self::LastPromptToken => prompt.len().saturating_sub(1),
            Self::Prompt => 0,
            Self::UncachedPrompt => cached.min(prompt.len()),
        };
        &prompt[from..]
    }
}

impl fmt::Display for Semantics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Semantics {
    type Err = UnknownSemantics;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|semantics| semantics.as_str() == name)
            .ok_or_else(|| UnknownSemantics(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_are_refused_with_the_list() {
        for semantics in Semantics::ALL {
            assert_eq!(semantics.to_string().parse(), Ok(semantics));
            let quoted = format!("\"{semantics}\"");
            assert_eq!(serde_json::to_string(&semantics).ok(), Some(quoted.clone()));
            assert_eq!(serde_json::from_str(&quoted).ok(), Some(semantics));
        }
        let error = "mlx-lm-0.32".parse::<Semantics>().expect_err("refused");
        insta::assert_snapshot!(error, @"there are no semantics 'mlx-lm-0.32'; known are loopwatch, mlx-lm-0.28.3, mlx-lm-0.31.3, mlx-lm-0.32.2");
    }

    #[test]
    fn a_window_takes_its_part_of_the_prompt() {
        let prompt = [1, 2, 3, 4];
        let empty: [u32; 0] = [];
        assert_eq!(Window::Answer.of_prompt(&prompt, 2), empty);
        assert_eq!(Window::LastPromptToken.of_prompt(&prompt, 2), [4]);
        assert_eq!(Window::Prompt.of_prompt(&prompt, 2), prompt);
        assert_eq!(Window::UncachedPrompt.of_prompt(&prompt, 3), [4]);
        assert_eq!(Window::UncachedPrompt.of_prompt(&prompt, 9), empty);
        assert_eq!(Window::LastPromptToken.of_prompt(&[], 0), empty);
    }
}
