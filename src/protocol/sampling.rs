//! Sampling fields of a request, by the names that mlx-lm, vLLM and both APIs share.
//!
//! Lowered into one layer of settings; what is absent is the server's to decide. Ranges are
//! checked where the layers are resolved.

use std::collections::BTreeMap;

use super::fields::{Fields, Unknown, WireError, kind};
use crate::generation::{RepetitionDetection, SamplingSettings, Semantics};

/// Most stop strings of one request; each is compared at every character of the answer.
const MOST_STOPS: usize = 32;
/// Most bytes of a stop string.
const MOST_STOP_BYTES: usize = 1024;
/// Most entries of `logit_bias`; each is added at every step.
const MOST_BIASES: usize = 4096;

/// Takes the fields that mean the same in every API.
pub(super) fn settings(
    fields: &mut Fields<'_>,
    unknown: &mut Unknown,
) -> Result<SamplingSettings, WireError> {
    Ok(SamplingSettings {
        semantics: semantics(fields)?,
        temperature: fields.number("temperature")?,
        top_p: fields.number("top_p")?,
        top_k: fields.size("top_k")?,
        min_p: fields.number("min_p")?,
        xtc_probability: fields.number("xtc_probability")?,
        xtc_threshold: fields.number("xtc_threshold")?,
        seed: fields.whole("seed")?,
        max_tokens: fields.size("max_tokens")?,
        repetition_penalty: fields.number("repetition_penalty")?,
        repetition_context_size: fields.size("repetition_context_size")?,
        presence_penalty: fields.number("presence_penalty")?,
        presence_context_size: fields.size("presence_context_size")?,
        frequency_penalty: fields.number("frequency_penalty")?,
        frequency_context_size: fields.size("frequency_context_size")?,
        logit_bias: logit_bias(fields)?,
        stop: None,
        ignore_eos: fields.flag("ignore_eos")?,
        repetition_detection: repetition_detection(fields, unknown)?,
    })
}

/// vLLM's object. What is absent in it is 0, as there.
fn repetition_detection(
    fields: &mut Fields<'_>,
    unknown: &mut Unknown,
) -> Result<Option<RepetitionDetection>, WireError> {
    const FIELD: &str = "repetition_detection";
    let Some(value) = fields.optional(FIELD) else {
        return Ok(None);
    };
    let mut rule = Fields::of(value, fields.place(FIELD))?;
    let read = RepetitionDetection {
        max_pattern_size: rule.size("max_pattern_size")?.unwrap_or(0),
        min_pattern_size: rule.size("min_pattern_size")?.unwrap_or(0),
        min_count: rule.size("min_count")?.unwrap_or(0),
    };
    rule.finish(unknown)?;
    Ok(Some(read))
}

fn semantics(fields: &mut Fields<'_>) -> Result<Option<Semantics>, WireError> {
    const FIELD: &str = "semantics";
    fields
        .optional_text(FIELD)?
        .map(|name| name.parse())
        .transpose()
        .map_err(|error: crate::generation::UnknownSemantics| {
            fields.error(FIELD, error.to_string())
        })
}

/// An object of token ids, written as text, and what is added to their logits.
fn logit_bias(fields: &mut Fields<'_>) -> Result<Option<BTreeMap<u32, f32>>, WireError> {
    const FIELD: &str = "logit_bias";
    let Some(value) = fields.optional(FIELD) else {
        return Ok(None);
    };
    let Some(object) = value.as_object() else {
        let problem = format!("expected an object of token ids, found {}", kind(value));
        return Err(fields.error(FIELD, problem));
    };
    if object.len() > MOST_BIASES {
        let problem = format!("has {} entries; at most {MOST_BIASES}", object.len());
        return Err(fields.error(FIELD, problem));
    }
    let mut biases = BTreeMap::new();
    for (id, bias) in object {
        let parsed = id.parse().ok().zip(bias.as_f64());
        let Some((id, bias)) = parsed else {
            let problem = format!("expected a token id and a number, found '{id}': {bias}");
            return Err(fields.error(FIELD, problem));
        };
        biases.insert(id, bias as f32);
    }
    Ok(Some(biases))
}

/// A stop string, or a list of them.
pub(super) fn stop(
    fields: &mut Fields<'_>,
    field: &'static str,
) -> Result<Option<Vec<String>>, WireError> {
    let stops = match fields.optional(field) {
        None => return Ok(None),
        Some(serde_json::Value::String(stop)) => vec![stop.clone()],
        Some(serde_json::Value::Array(list)) => {
            let texts = list.iter().map(|item| match item.as_str() {
                Some(stop) => Ok(stop.to_owned()),
                None => {
                    let problem = format!("expected texts, found {}", kind(item));
                    Err(fields.error(field, problem))
                }
            });
            texts.collect::<Result<Vec<_>, _>>()?
        }
        Some(other) => {
            let problem = format!("expected text or a list of texts, found {}", kind(other));
            return Err(fields.error(field, problem));
        }
    };
    if stops.len() > MOST_STOPS {
        let problem = format!("has {} texts; at most {MOST_STOPS}", stops.len());
        return Err(fields.error(field, problem));
    }
    if let Some(stop) = stops.iter().find(|stop| stop.len() > MOST_STOP_BYTES) {
        let problem = format!("has {} bytes; at most {MOST_STOP_BYTES}", stop.len());
        return Err(fields.error(field, problem));
    }
    if stops.iter().any(String::is_empty) {
        return Err(fields.error(field, "has an empty text, which would end every answer"));
    }
    Ok(Some(stops))
}
