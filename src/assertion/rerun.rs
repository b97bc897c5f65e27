//! Assertions that hold an answer beside the same conversation, held once more in another way.
//!
//! Knows the ways, and what follows from a comparison. Who holds the conversation again, and how a
//! server is asked in another form, is not known here.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::finding::{Finding, found};
use super::message::{count, difference_fact};
use super::spec::{AssertionSpec, SpecError};
use super::{Assertion, TextDifference};
use crate::generation::{Conversation, SamplingParams};
use crate::snapshot::{Comparison, Snapshot, SnapshotInfo, compare};

/// How many others are answered beside a conversation if nobody says.
const USUAL_COMPANY: usize = 4;
/// Most of them.
const MOST_COMPANY: usize = 64;

/// How a conversation is held once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// With nothing changed.
    Unchanged,
    /// While so many other requests are answered.
    Beside(usize),
    /// In this form of the server's APIs.
    Form(ApiForm),
    /// Without any penalty.
    WithoutPenalties,
}

/// A form in which a server can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiForm {
    /// OpenAI's API, streamed.
    Openai,
    /// OpenAI's API, in one piece.
    OpenaiWhole,
    /// Anthropic's API, streamed.
    Anthropic,
    /// Anthropic's API, in one piece.
    AnthropicWhole,
}

impl ApiForm {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 4] = [
        Self::Openai,
        Self::OpenaiWhole,
        Self::Anthropic,
        Self::AnthropicWhole,
    ];

    /// Its name in a scenario.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::OpenaiWhole => "openai-whole",
            Self::Anthropic => "anthropic",
            Self::AnthropicWhole => "anthropic-whole",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("asked again"),
            Self::Beside(others) => write!(f, "asked beside {}", count(*others, "other")),
            Self::Form(form) => write!(f, "asked as {}", form.as_str()),
            Self::WithoutPenalties => f.write_str("asked without penalties"),
        }
    }
}

/// A conversation that was held once more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rerun {
    /// In which way.
    pub way: Way,
    /// What was said.
    pub conversation: Conversation,
    /// What came of the others' answers meanwhile, in tokens, or in pieces of text from a server
    /// that does not tell tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub company_tokens: Option<usize>,
}

/// What an assertion says of a conversation and its reruns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RerunRule {
    /// Asked again, the answer is the same.
    Deterministic,
    /// It is the same beside so many others.
    BatchInvariant(usize),
    /// It is the same in each of these forms.
    ApiParity(Vec<ApiForm>),
    /// Without penalties it is another one.
    PenaltyEffect,
}

impl RerunRule {
    /// The types of this file, in the order of the documentation.
    pub(super) const KINDS: [&'static str; 4] = [
        "deterministic",
        "batch-invariant",
        "api-parity",
        "penalty-effect",
    ];

    /// Reads the assertion if it is one of these types.
    pub(super) fn lower(spec: &AssertionSpec, base: &str) -> Result<Option<Self>, SpecError> {
        Ok(Some(match base {
            "deterministic" => Self::Deterministic,
            "batch-invariant" => Self::BatchInvariant(company(spec)?),
            "api-parity" => Self::ApiParity(forms(spec)?),
            "penalty-effect" => Self::PenaltyEffect,
            _ => return Ok(None),
        }))
    }

    /// How the conversation has to be held once more, for one that was held in the form `asked`;
    /// `None` in a process.
    #[must_use]
    pub fn ways(&self, asked: Option<ApiForm>) -> Vec<Way> {
        match self {
            Self::Deterministic => vec![Way::Unchanged],
            Self::BatchInvariant(others) => vec![Way::Beside(*others)],
            Self::ApiParity(forms) => {
                let others = forms.iter().filter(|form| Some(**form) != asked);
                others.map(|form| Way::Form(*form)).collect()
            }
            Self::PenaltyEffect => vec![Way::WithoutPenalties],
        }
    }

    /// Why it could not fail, or not pass, with these parameters, in this form; and the remedy.
    #[must_use]
    pub fn pointless(&self, sampling: &SamplingParams, asked: Option<ApiForm>) -> Option<String> {
        if sampling.temperature > 0.0 && sampling.seed.is_none() {
            return Some(format!(
                "two answers at temperature {} differ by chance; set sampling.seed, or temperature 0",
                sampling.temperature
            ));
        }
        match self {
            Self::PenaltyEffect if !sampling.penalises() => Some(
                "no penalty is set that could have an effect; set sampling.repetition_penalty"
                    .to_owned(),
            ),
            Self::ApiParity(_) if asked.is_none() => Some(
                "it asks a server in several forms, and this target is none; name one with \
                 --target, such as 'spawn:loopwatch serve --port {port}'"
                    .to_owned(),
            ),
            Self::ApiParity(_) if self.ways(asked).is_empty() => Some(
                "the target is asked in this form already; name another one, or none for all"
                    .to_owned(),
            ),
            _ => None,
        }
    }

    /// The form behind the type in a label.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Deterministic | Self::PenaltyEffect => String::new(),
            Self::BatchInvariant(others) => format!("beside {}", count(*others, "other")),
            Self::ApiParity(forms) => {
                let names: Vec<&str> = forms.iter().map(|form| form.as_str()).collect();
                names.join(", ")
            }
        }
    }

    /// Compares `told` with each of the reruns that the rule is about.
    pub(super) fn judge(&self, told: &Conversation, reruns: &[Rerun]) -> Finding {
        let mine: Vec<&Rerun> = reruns.iter().filter(|one| self.is_about(one.way)).collect();
        if mine.is_empty() {
            return found(false, "the conversation was not held again");
        }
        let info = SnapshotInfo::default();
        let reference = Snapshot::of(told, info.clone());
        let compared = mine.iter().map(|one| {
            let comparison = compare(&reference, &info, &one.conversation);
            (*one, comparison)
        });
        let compared: Vec<(&Rerun, Comparison)> = compared.collect();
        let differs = |comparison: &Comparison| *comparison != Comparison::Match;
        let same = compared.iter().all(|(_, comparison)| !differs(comparison));
        let ids = all_ids(told);
        let facts = compared
            .iter()
            .map(|(one, comparison)| fact(one, comparison, ids));
        let facts: Vec<String> = facts.collect();
        let holds = same != matches!(self, Self::PenaltyEffect);
        let first = compared
            .iter()
            .find_map(|(_, comparison)| match comparison {
                Comparison::Differs(divergence) if !holds => divergence.text.as_ref(),
                _ => None,
            });
        Finding {
            diff: first.map(|text| TextDifference {
                expected: text.expected_text.clone(),
                actual: text.actual_text.clone(),
            }),
            ..found(holds, facts.join("\n"))
        }
    }

    fn is_about(&self, way: Way) -> bool {
        match (self, way) {
            (Self::Deterministic, Way::Unchanged)
            | (Self::PenaltyEffect, Way::WithoutPenalties) => true,
            (Self::BatchInvariant(wanted), Way::Beside(others)) => *wanted == others,
            (Self::ApiParity(forms), Way::Form(form)) => forms.contains(&form),
            _ => false,
        }
    }
}

fn all_ids(conversation: &Conversation) -> bool {
    let mut exchanges = conversation.exchanges.iter();
    exchanges.all(|one| one.transcript.has_token_ids())
}

/// `ids`: whether the token ids of the first conversation are known.
fn fact(rerun: &Rerun, comparison: &Comparison, ids: bool) -> String {
    let company = rerun
        .company_tokens
        .map(|tokens| format!(", which got {} meanwhile", count(tokens, "token")));
    let how = format!("{}{}", rerun.way, company.unwrap_or_default());
    match comparison {
        Comparison::Differs(divergence) => {
            let ids = ids && all_ids(&rerun.conversation);
            format!("{how}: {}", difference_fact(divergence, ids))
        }
        Comparison::Match | Comparison::Missing => {
            let tokens = count(rerun.conversation.output_tokens(), "token");
            format!("{how}: the same {tokens}")
        }
    }
}

/// Every way in which the assertions want a conversation to be held once more, each once.
#[must_use]
pub fn ways(assertions: &[Assertion], asked: Option<ApiForm>) -> Vec<Way> {
    let mut all: Vec<Way> = Vec::new();
    for rule in assertions.iter().flat_map(Assertion::reruns) {
        let more = rule.ways(asked);
        all.extend(
            more.into_iter()
                .filter(|way| !all.contains(way))
                .collect::<Vec<_>>(),
        );
    }
    all
}

fn company(spec: &AssertionSpec) -> Result<usize, SpecError> {
    if spec.value.is_none() {
        return Ok(USUAL_COMPANY);
    }
    let others = spec.count()?;
    match (1..=MOST_COMPANY).contains(&others) {
        true => Ok(others),
        false => Err(spec.problem(format!(
            "value is {others}, but must be 1 to {MOST_COMPANY}, how many others are answered beside it"
        ))),
    }
}

fn forms(spec: &AssertionSpec) -> Result<Vec<ApiForm>, SpecError> {
    let Some(value) = &spec.value else {
        return Ok(ApiForm::ALL.to_vec());
    };
    let written = match value {
        Value::Array(_) | Value::String(_) => spec.texts()?,
        _ => Vec::new(),
    };
    let form = |name: &String| ApiForm::ALL.into_iter().find(|form| form.as_str() == name);
    let forms: Option<Vec<ApiForm>> = written.iter().map(form).collect();
    forms.filter(|forms| !forms.is_empty()).ok_or_else(|| {
        let known = ApiForm::ALL.map(ApiForm::as_str).join(", ");
        spec.problem(format!(
            "value is {value}, but must be one or several of {known}"
        ))
    })
}
