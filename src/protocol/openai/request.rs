//! Requests of OpenAI's API, read once.
//!
//! Fields that ask for something that is not done here are refused by name; those that change
//! nothing in an answer are taken silently; unknown ones are noted for a warning.

use serde_json::Value;

use super::chat::{Chat, chat_of};
use super::constraint::{response_format, tool_choice};
use crate::generation::{Constraint, Prompt, SamplingSettings};
use crate::protocol::fields::{Fields, Unknown, UnknownField, WireError, items, kind};
use crate::protocol::sampling;
use crate::protocol::tool_choice::ToolChoice;

/// Most alternatives reported beside a token: OpenAI's limit.
const MOST_TOP_LOGPROBS: usize = 20;
/// Most answers to one request, over all its prompts.
const MOST_CHOICES: usize = 16;

/// What both kinds of request have in common.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Common {
    /// The model's name as the client gave it.
    pub model: Option<String>,
    /// Sampling wishes.
    pub sampling: SamplingSettings,
    /// Alternatives beside each token; `None` without log-probabilities.
    pub top_logprobs: Option<usize>,
    /// Answers to each prompt, at least 1.
    pub n: usize,
    /// `None` for one complete answer.
    pub stream: Option<Streaming>,
    /// Whether the token ids are told, in the object `loopwatch`.
    pub return_tokens: bool,
    /// Fields that nobody asked for.
    pub unknown: Vec<UnknownField>,
}

/// How to stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streaming {
    /// A last chunk tells the token counts.
    pub include_usage: bool,
}

/// A request for the next message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation and its tools.
    pub chat: Chat,
    /// The form of the answer, if it is not free.
    pub constraint: Option<Constraint>,
    /// Everything else.
    pub common: Common,
}

/// A request to continue text.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    /// At least one.
    pub prompts: Vec<Prompt>,
    /// Everything else.
    pub common: Common,
}

impl ChatRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// If anything is missing, wrong, or not done here; the error names the field.
    pub fn read(body: &Value) -> Result<Self, WireError> {
        let mut unknown = Unknown::Noted(Vec::new());
        let mut fields = Fields::of(body, String::new())?;
        let mut chat = chat_of(&mut fields, &mut unknown)?;
        let format = response_format(&mut fields, &mut unknown)?;
        let constraint = match tool_choice(&mut fields, &chat.tools, &mut unknown)? {
            ToolChoice::Auto => format,
            ToolChoice::None => {
                chat.tools.clear();
                format
            }
            ToolChoice::Forced(_) if format.is_some() => {
                let problem = "forces a call, so the answer cannot have a response_format";
                return Err(fields.error("tool_choice", problem));
            }
            ToolChoice::Forced(tools) => Some(Constraint::Call { tools }),
        };
        let mut common = common(&mut fields, &mut unknown)?;
        common.top_logprobs = chat_logprobs(&mut fields)?;
        if let Some(most) = fields.size("max_completion_tokens")? {
            common.sampling.max_tokens = Some(most);
        }
        check_choices(&fields, common.n, 1)?;
        fields.finish(&mut unknown)?;
        common.unknown = unknown.noted();
        Ok(Self {
            chat,
            constraint,
            common,
        })
    }
}

impl CompletionRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// If anything is missing, wrong, or not done here; the error names the field.
    pub fn read(body: &Value) -> Result<Self, WireError> {
        let mut unknown = Unknown::Noted(Vec::new());
        let mut fields = Fields::of(body, String::new())?;
        let prompts = prompts(&mut fields)?;
        let mut common = common(&mut fields, &mut unknown)?;
        common.top_logprobs = fields.size("logprobs")?;
        check_top(&fields, "logprobs", common.top_logprobs)?;
        check_choices(&fields, common.n, prompts.len())?;
        if common.return_tokens && prompts.len() > 1 {
            return Err(fields.error("return_tokens", "needs one prompt"));
        }
        if fields.flag("echo")? == Some(true) {
            return Err(fields.error("echo", "is not done here"));
        }
        if fields
            .optional_text("suffix")?
            .is_some_and(|suffix| !suffix.is_empty())
        {
            return Err(fields.error("suffix", "is not done here"));
        }
        if fields.size("best_of")?.is_some_and(|best| best != common.n) {
            return Err(fields.error("best_of", "must be n: all answers are returned"));
        }
        fields.finish(&mut unknown)?;
        common.unknown = unknown.noted();
        Ok(Self { prompts, common })
    }
}

fn common(fields: &mut Fields<'_>, unknown: &mut Unknown) -> Result<Common, WireError> {
    let mut sampling = sampling::settings(fields, unknown)?;
    sampling.stop = sampling::stop(fields, "stop")?;
    // They name the caller, or a service class, and change no token.
    fields.without_effect(&[
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "parallel_tool_calls",
    ]);
    let n = fields.size("n")?.unwrap_or(1);
    let return_tokens = fields.flag("return_tokens")?.unwrap_or(false);
    if return_tokens && n > 1 {
        return Err(fields.error("return_tokens", "needs n = 1"));
    }
    Ok(Common {
        model: fields.optional_text("model")?,
        sampling,
        top_logprobs: None,
        n,
        stream: streaming(fields, unknown)?,
        return_tokens,
        unknown: Vec::new(),
    })
}

fn streaming(
    fields: &mut Fields<'_>,
    unknown: &mut Unknown,
) -> Result<Option<Streaming>, WireError> {
    let stream = fields.flag("stream")?.unwrap_or(false);
    let Some(options) = fields.optional("stream_options") else {
        return Ok(stream.then(Streaming::default));
    };
    if !stream {
        return Err(fields.error("stream_options", "is only for stream: true"));
    }
    let mut options = Fields::of(options, fields.place("stream_options"))?;
    let include_usage = options.flag("include_usage")?.unwrap_or(false);
    options.without_effect(&["include_obfuscation"]);
    options.finish(unknown)?;
    Ok(Some(Streaming { include_usage }))
}

/// `logprobs` says whether, `top_logprobs` how many besides.
fn chat_logprobs(fields: &mut Fields<'_>) -> Result<Option<usize>, WireError> {
    let wanted = fields.flag("logprobs")?.unwrap_or(false);
    let top = fields.size("top_logprobs")?;
    check_top(fields, "top_logprobs", top)?;
    match (wanted, top) {
        (true, top) => Ok(Some(top.unwrap_or(0))),
        (false, None | Some(0)) => Ok(None),
        (false, Some(_)) => Err(fields.error("top_logprobs", "needs logprobs: true")),
    }
}

fn check_top(
    fields: &Fields<'_>,
    field: &'static str,
    top: Option<usize>,
) -> Result<(), WireError> {
    match top {
        Some(top) if top > MOST_TOP_LOGPROBS => {
            let problem = format!("is {top}, but must be between 0 and {MOST_TOP_LOGPROBS}");
            Err(fields.error(field, problem))
        }
        _ => Ok(()),
    }
}

fn check_choices(fields: &Fields<'_>, n: usize, prompts: usize) -> Result<(), WireError> {
    match n.saturating_mul(prompts) {
        1..=MOST_CHOICES => Ok(()),
        0 => Err(fields.error("n", "is 0, but must be at least 1")),
        choices => {
            let problem = format!("asks for {choices} answers; at most {MOST_CHOICES}");
            Err(fields.error("n", problem))
        }
    }
}

/// One text, a list of texts, a list of token ids, or a list of such lists.
fn prompts(fields: &mut Fields<'_>) -> Result<Vec<Prompt>, WireError> {
    const FIELD: &str = "prompt";
    let text = |text: &str| Prompt::Text {
        text: text.to_owned(),
    };
    let place = fields.place(FIELD);
    let list = match fields.required(FIELD)? {
        Value::String(one) => return Ok(vec![text(one)]),
        Value::Array(list) if list.is_empty() => {
            return Err(fields.error(FIELD, "is an empty list"));
        }
        value @ Value::Array(list) => match list.first() {
            Some(Value::Number(_)) => return Ok(vec![ids(value, &place)?]),
            _ => items(value, &place)?,
        },
        other => {
            let problem = format!("expected text, texts or token ids, found {}", kind(other));
            return Err(fields.error(FIELD, problem));
        }
    };
    let prompt = |(item, place): (&Value, String)| match item {
        Value::String(one) => Ok(text(one)),
        Value::Array(_) => ids(item, &place),
        other => Err(WireError::new(
            place,
            format!("expected text or token ids, found {}", kind(other)),
        )),
    };
    list.into_iter().map(prompt).collect()
}

fn ids(value: &Value, place: &str) -> Result<Prompt, WireError> {
    let id = |(item, place): (&Value, String)| {
        let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| WireError::new(place, format!("expected a token id, found {item}")))
    };
    let tokens: Vec<u32> = items(value, place)?
        .into_iter()
        .map(id)
        .collect::<Result<_, _>>()?;
    match tokens.is_empty() {
        true => Err(WireError::new(place, "has no tokens")),
        false => Ok(Prompt::Tokens { tokens }),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::generation::RepetitionDetection;

    fn chat(mut body: Value) -> Result<ChatRequest, WireError> {
        body["messages"] = json!([{"role": "user", "content": "a"}]);
        ChatRequest::read(&body)
    }

    #[test]
    fn every_sampling_field_arrives() {
        let request = chat(json!({
            "temperature": 1, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "seed": 7,
            "max_completion_tokens": 9, "repetition_penalty": 1.2, "repetition_context_size": 64,
            "presence_penalty": -1, "frequency_penalty": 0.5, "logit_bias": {"5": -100},
            "stop": "x", "xtc_probability": 0.5, "xtc_threshold": 0.2, "presence_context_size": 1,
            "frequency_context_size": 2, "ignore_eos": true, "semantics": "mlx-lm-0.32.2",
            "repetition_detection": {"max_pattern_size": 8, "min_count": 3},
        }))
        .expect("valid");
        let expected = SamplingSettings {
            semantics: Some(crate::generation::Semantics::MlxLm0_32_2),
            temperature: Some(1.0),
            top_p: Some(0.5),
            top_k: Some(3),
            min_p: Some(0.1),
            xtc_probability: Some(0.5),
            xtc_threshold: Some(0.2),
            seed: Some(7),
            max_tokens: Some(9),
            repetition_penalty: Some(1.2),
            repetition_context_size: Some(64),
            presence_penalty: Some(-1.0),
            presence_context_size: Some(1),
            frequency_penalty: Some(0.5),
            frequency_context_size: Some(2),
            logit_bias: Some([(5, -100.0)].into()),
            stop: Some(vec!["x".to_owned()]),
            ignore_eos: Some(true),
            repetition_detection: Some(RepetitionDetection {
                max_pattern_size: 8,
                min_pattern_size: 0,
                min_count: 3,
            }),
        };
        assert_eq!(request.common.sampling, expected);
        assert_eq!(request.common.unknown, []);
    }

    #[test]
    fn unknown_fields_are_noted_with_the_likely_one() {
        let request = chat(json!({"temprature": 1, "zzzzzzzz": 2})).expect("valid");
        let notes: Vec<String> = request
            .common
            .unknown
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            notes,
            [
                "'temprature' is not known here and was ignored; did you mean 'temperature'?",
                "'zzzzzzzz' is not known here and was ignored",
            ]
        );
    }

    #[rstest]
    #[case(json!({"temperature": "hot"}), "temperature: expected a number, found text")]
    #[case(json!({"max_tokens": -1}), "max_tokens: expected a whole number, 0 or more, found -1")]
    #[case(json!({"max_tokens": true}), "max_tokens: expected a whole number, 0 or more, found true or false")]
    #[case(json!({"top_k": 1.5}), "top_k: expected a whole number, 0 or more, found 1.5")]
    #[case(json!({"seed": -3}), "seed: expected a whole number")]
    #[case(json!({"logit_bias": [1]}), "logit_bias: expected an object of token ids, found a list")]
    #[case(json!({"logit_bias": {"a": 1}}), "logit_bias: expected a token id and a number, found 'a': 1")]
    #[case(json!({"logit_bias": {"5": null}}), "logit_bias: expected a token id and a number, found '5': null")]
    #[case(json!({"stop": [1]}), "stop: expected texts, found a number")]
    #[case(json!({"stop": ""}), "stop: has an empty text")]
    #[case(json!({"n": 0}), "n: is 0")]
    #[case(json!({"n": 1_000_000}), "n: asks for 1000000 answers; at most 16")]
    #[case(json!({"top_logprobs": 3}), "top_logprobs: needs logprobs: true")]
    #[case(json!({"logprobs": true, "top_logprobs": 21}), "top_logprobs: is 21")]
    #[case(json!({"stream_options": {}}), "stream_options: is only for stream: true")]
    #[case(json!({"stream": true, "stream_options": []}), "stream_options: expected an object")]
    #[case(json!({"tool_choice": "required"}), "tool_choice: is 'required', but no tools are offered")]
    #[case(json!({"tool_choice": "any"}), "tool_choice: 'any' is not known")]
    #[case(json!({"tool_choice": {"type": "function"}}), "tool_choice.function: is missing")]
    #[case(
        json!({"tool_choice": {"type": "function", "function": {"name": "f"}}}),
        "tool_choice.function.name: 'f' is not among the tools"
    )]
    #[case(
        json!({"tools": [{"type": "function", "function": {"name": "f"}}],
            "tool_choice": "required", "response_format": {"type": "json_object"}}),
        "tool_choice: forces a call"
    )]
    #[case(json!({"response_format": {"type": "xml"}}), "response_format.type: 'xml' is not known")]
    #[case(
        json!({"response_format": {"type": "json_schema", "json_schema": {"schema": 1}}}),
        "response_format.json_schema.schema: expected a JSON Schema, found a number"
    )]
    #[case(json!({"semantics": "mlx-lm-9"}), "semantics: there are no semantics 'mlx-lm-9'")]
    #[case(json!({"n": 2, "return_tokens": true}), "return_tokens: needs n = 1")]
    #[case(json!({"repetition_detection": 3}), "repetition_detection: expected an object, found a number")]
    #[case(
        json!({"repetition_detection": {"min_count": -2}}),
        "repetition_detection.min_count: expected a whole number, 0 or more, found -2"
    )]
    fn wrong_values_name_their_field(#[case] body: Value, #[case] message: &str) {
        let error = chat(body).expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn a_forced_call_and_a_format_become_constraints() {
        let tools = json!([{"type": "function", "function": {"name": "f"}},
            {"type": "function", "function": {"name": "g"}}]);
        let call = |choice: Value| {
            let body = json!({"tools": tools, "tool_choice": choice});
            chat(body).expect("valid").constraint
        };
        let names = |names: &[&str]| {
            let tools = names.iter().map(|name| (*name).to_owned()).collect();
            Some(Constraint::Call { tools })
        };
        assert_eq!(call(json!("required")), names(&["f", "g"]));
        let named = json!({"type": "function", "function": {"name": "g"}});
        assert_eq!(call(named), names(&["g"]));
        assert_eq!(call(json!("auto")), None);

        let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
        let format = json!({"type": "json_schema",
            "json_schema": {"name": "x", "strict": true, "schema": schema}});
        let request = chat(json!({"response_format": format})).expect("valid");
        assert_eq!(request.constraint, Some(Constraint::Json { schema }));
        assert_eq!(request.common.unknown, []);
    }

    #[rstest]
    #[case(json!({"prompt": "a"}), 1)]
    #[case(json!({"prompt": ["a", "b"]}), 2)]
    #[case(json!({"prompt": [1, 2]}), 1)]
    #[case(json!({"prompt": [[1], [2, 3], "c"]}), 3)]
    fn prompts_come_in_four_forms(#[case] body: Value, #[case] count: usize) {
        let request = CompletionRequest::read(&body).expect("valid");
        assert_eq!(request.prompts.len(), count);
    }

    #[rstest]
    #[case(json!({}), "prompt: is missing")]
    #[case(json!({"prompt": []}), "prompt: is an empty list")]
    #[case(json!({"prompt": [[]]}), "prompt[0]: has no tokens")]
    #[case(json!({"prompt": [1, "a"]}), "prompt[1]: expected a token id, found \"a\"")]
    #[case(json!({"prompt": [-1]}), "prompt[0]: expected a token id, found -1")]
    #[case(json!({"prompt": {"a": 1}}), "prompt: expected text, texts or token ids")]
    #[case(json!({"prompt": "a", "echo": true}), "echo: is not done here")]
    #[case(json!({"prompt": ["a", "b"], "return_tokens": true}), "return_tokens: needs one prompt")]
    #[case(json!({"prompt": "a", "best_of": 3}), "best_of: must be n")]
    #[case(json!({"prompt": "a", "logprobs": 100}), "logprobs: is 100")]
    fn wrong_prompts_are_refused(#[case] body: Value, #[case] message: &str) {
        let error = CompletionRequest::read(&body)
            .expect_err("refused")
            .to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
