//! Requests of OpenAI's API, read once.
//!
//! Fields that ask for something that is not done here are refused by name; those that change
//! nothing in an answer are taken silently; unknown ones are noted for a warning.

use serde_json::Value;

use super::chat::{Chat, chat_of};
use crate::generation::{Prompt, SamplingSettings};
use crate::protocol::fields::{Fields, Unknown, UnknownField, WireError, items, kind};
use crate::protocol::sampling;

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
        if tool_choice(&mut fields)? == ToolChoice::None {
            chat.tools.clear();
        }
        response_format(&mut fields)?;
        let mut common = common(&mut fields, &mut unknown)?;
        common.top_logprobs = chat_logprobs(&mut fields)?;
        if let Some(most) = fields.size("max_completion_tokens")? {
            common.sampling.max_tokens = Some(most);
        }
        check_choices(&fields, common.n, 1)?;
        fields.finish(&mut unknown)?;
        common.unknown = unknown.noted();
        Ok(Self { chat, common })
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
    let mut sampling = sampling::settings(fields)?;
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

#[derive(Debug, PartialEq, Eq)]
enum ToolChoice {
    Auto,
    None,
}

/// A promise that cannot be kept is refused: a forced call needs constrained decoding.
fn tool_choice(fields: &mut Fields<'_>) -> Result<ToolChoice, WireError> {
    const FIELD: &str = "tool_choice";
    let problem = match fields.optional(FIELD) {
        None => return Ok(ToolChoice::Auto),
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => return Ok(ToolChoice::Auto),
            "none" => return Ok(ToolChoice::None),
            "required" => "'required' is not done here: no model can be held to it without \
                           constrained decoding; use 'auto'"
                .to_owned(),
            other => format!("'{other}' is not known; known are auto and none"),
        },
        Some(Value::Object(_)) => "a named tool is not done here: no model can be held to it \
                                   without constrained decoding; use 'auto'"
            .to_owned(),
        Some(other) => format!("expected text or an object, found {}", kind(other)),
    };
    Err(fields.error(FIELD, problem))
}

fn response_format(fields: &mut Fields<'_>) -> Result<(), WireError> {
    const FIELD: &str = "response_format";
    let Some(format) = fields.optional(FIELD) else {
        return Ok(());
    };
    let mut format = Fields::of(format, fields.place(FIELD))?;
    match format.text("type")?.as_str() {
        "text" => Ok(()),
        other @ ("json_object" | "json_schema") => Err(format.error(
            "type",
            format!("'{other}' is not done here yet: it needs constrained decoding; use 'text'"),
        )),
        other => Err(format.error("type", format!("'{other}' is not known; known is text"))),
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
    #[case(json!({"tool_choice": "required"}), "tool_choice: 'required' is not done here")]
    #[case(json!({"tool_choice": {"type": "function"}}), "tool_choice: a named tool is not done here")]
    #[case(json!({"response_format": {"type": "json_object"}}), "response_format.type: 'json_object' is not done here")]
    #[case(json!({"semantics": "mlx-lm-9"}), "semantics: there are no semantics 'mlx-lm-9'")]
    #[case(json!({"n": 2, "return_tokens": true}), "return_tokens: needs n = 1")]
    fn wrong_values_name_their_field(#[case] body: Value, #[case] message: &str) {
        let error = chat(body).expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
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
