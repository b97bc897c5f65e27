//! Sampling parameters under the names that servers know.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::Form;
use crate::generation::{SamplingParams, Semantics, ToolSpec};
use crate::protocol::client::Api;

/// Which sampling fields a server takes, and by which names.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
pub enum FieldNames {
    /// Those of loopwatch, mlx-lm and vLLM: `repetition_penalty`, `top_k`, …
    #[default]
    #[serde(rename = "extended")]
    Extended,
    /// Only those that OpenAI, or Anthropic, documents. Anything else that a scenario switches on
    /// is refused, never dropped.
    #[serde(rename = "standard")]
    Standard,
    /// As llama.cpp's server has them: `repeat_penalty` and `repeat_last_n`.
    #[serde(rename = "llama.cpp")]
    LlamaCpp,
}

/// A request that an API or a server cannot be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} cannot be asked for here: {remedy}")]
pub struct Unsupported {
    /// What was wanted.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Unsupported {
    pub(super) fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            what: what.into(),
            remedy,
        }
    }
}

/// Both APIs know a call of one tool, and of any.
pub(super) fn all_tools(names: &[String], tools: &[ToolSpec]) -> Result<(), Unsupported> {
    match tools.iter().all(|tool| names.contains(&tool.name)) {
        true => Ok(()),
        false => Err(Unsupported::new(
            "a call of one of some tools",
            "name one tool, or offer only those",
        )),
    }
}

/// Adds the sampling fields to a body.
pub(super) fn sampling(
    form: &Form,
    sampling: &SamplingParams,
    body: &mut Map<String, Value>,
) -> Result<(), Unsupported> {
    let fields = match form.names {
        FieldNames::Extended => extended(form, sampling),
        FieldNames::LlamaCpp => llama_cpp(form, sampling)?,
        FieldNames::Standard => standard(form.api, sampling)?,
    };
    body.extend(fields);
    Ok(())
}

/// By their own names. What is off is left out, unless the server's defaults must have no say.
fn extended(form: &Form, sampling: &SamplingParams) -> Map<String, Value> {
    let value = match form.tokens {
        true => serde_json::to_value(sampling),
        false => serde_json::to_value(sampling.as_settings()),
    };
    // Numbers, texts and lists under fixed names always have a JSON form.
    let mut fields = match value {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    fields.retain(|_, value| {
        let empty = value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(Map::is_empty);
        !value.is_null() && !empty
    });
    if form.api == Api::Anthropic
        && let Some(stop) = fields.remove("stop")
    {
        fields.insert("stop_sequences".to_owned(), stop);
    }
    fields
}

fn llama_cpp(form: &Form, sampling: &SamplingParams) -> Result<Map<String, Value>, Unsupported> {
    own_semantics(sampling)?;
    if sampling.repetition_detection.is_some() {
        let remedy = "llama.cpp's server does not have it; switch it off in the scenario";
        return Err(Unsupported::new("repetition_detection", remedy));
    }
    let mut fields = extended(form, sampling);
    for (ours, theirs) in [
        ("repetition_penalty", "repeat_penalty"),
        ("repetition_context_size", "repeat_last_n"),
    ] {
        if let Some(value) = fields.remove(ours) {
            // Ours looks at everything with 0, theirs with -1.
            let all = theirs == "repeat_last_n" && value == 0;
            fields.insert(theirs.to_owned(), if all { json!(-1) } else { value });
        }
    }
    Ok(fields)
}

fn standard(api: Api, sampling: &SamplingParams) -> Result<Map<String, Value>, Unsupported> {
    own_semantics(sampling)?;
    let refuse = |what: String| {
        Unsupported::new(
            what,
            "the target takes the API's standard fields only; switch it off in the scenario, or \
             let the target have `fields: extended`",
        )
    };
    let on = [
        ("repetition_penalty", sampling.repetition_penalty, 1.0),
        ("min_p", sampling.min_p, 0.0),
        ("xtc_probability", sampling.xtc_probability, 0.0),
    ];
    for (name, value, off) in on {
        if value != off {
            return Err(refuse(format!("{name} {value}")));
        }
    }
    if sampling.ignore_eos {
        return Err(refuse("ignore_eos".to_owned()));
    }
    if sampling.repetition_detection.is_some() {
        return Err(refuse("repetition_detection".to_owned()));
    }
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("temperature", json!(sampling.temperature));
    if sampling.top_p != 1.0 {
        put("top_p", json!(sampling.top_p));
    }
    match api {
        Api::Anthropic => {
            let biased = !sampling.logit_bias.is_empty();
            let penalised = sampling.presence_penalty != 0.0 || sampling.frequency_penalty != 0.0;
            if biased || penalised || sampling.seed.is_some() {
                let what = "a seed, logit_bias, presence or frequency penalty";
                return Err(refuse(what.to_owned()));
            }
            put("max_tokens", json!(sampling.max_tokens));
            if sampling.top_k != 0 {
                put("top_k", json!(sampling.top_k));
            }
            if !sampling.stop.is_empty() {
                put("stop_sequences", json!(sampling.stop));
            }
        }
        Api::OpenAi => {
            if sampling.top_k != 0 {
                return Err(refuse(format!("top_k {}", sampling.top_k)));
            }
            for (name, penalty, window) in [
                (
                    "presence",
                    sampling.presence_penalty,
                    sampling.presence_context_size,
                ),
                (
                    "frequency",
                    sampling.frequency_penalty,
                    sampling.frequency_context_size,
                ),
            ] {
                if penalty == 0.0 {
                    continue;
                }
                if window != 0 {
                    let what = format!("{name}_penalty over {window} tokens");
                    return Err(Unsupported::new(
                        what,
                        "the API's penalty looks at the whole answer: set its context size to 0",
                    ));
                }
                put(&format!("{name}_penalty"), json!(penalty));
            }
            put("max_completion_tokens", json!(sampling.max_tokens));
            if let Some(seed) = sampling.seed {
                put("seed", json!(seed));
            }
            if !sampling.logit_bias.is_empty() {
                put("logit_bias", json!(sampling.logit_bias));
            }
            if !sampling.stop.is_empty() {
                put("stop", json!(sampling.stop));
            }
        }
    }
    Ok(fields)
}

fn own_semantics(sampling: &SamplingParams) -> Result<(), Unsupported> {
    match sampling.semantics == Semantics::default() {
        true => Ok(()),
        false => Err(Unsupported::new(
            format!("the semantics '{}'", sampling.semantics),
            "the server samples by its own; take `semantics` out of the scenario",
        )),
    }
}
