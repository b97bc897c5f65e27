//! The body of an answer: each part with the time at which it is due.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::FaultScript;

/// Tokens that the prompt is said to have.
const INPUT_TOKENS: usize = 7;

/// Bytes, and when they are sent, counted from the request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) at: Duration,
    pub(super) bytes: Vec<u8>,
}

/// What of a request decides the form of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Anthropic's form, or OpenAI's.
    pub(super) anthropic: bool,
    pub(super) stream: bool,
    /// Whether tokens are told.
    pub(super) tokens: bool,
}

/// The body.
pub(super) fn parts(script: &FaultScript, form: Form) -> Vec<Part> {
    match form.stream {
        true => streamed(script, form),
        false => vec![whole(script, form)],
    }
}

/// Equal pieces are equal tokens.
fn ids(script: &FaultScript) -> Vec<u32> {
    let mut known: HashMap<&str, u32> = HashMap::new();
    let ids = script.pieces.iter().map(|piece| {
        let next = known.len() as u32;
        *known.entry(piece).or_insert(next)
    });
    ids.collect()
}

/// When a piece is due.
fn due(script: &FaultScript, index: usize) -> Duration {
    let gaps = u32::try_from(index).unwrap_or(u32::MAX);
    let stalled = match script.faults.stall {
        Some((after, time)) if index >= after => time,
        _ => Duration::ZERO,
    };
    script.ttft + script.itl * gaps + stalled
}

fn output_tokens(script: &FaultScript) -> usize {
    script.faults.output_tokens.unwrap_or(script.pieces.len())
}

fn told_token(id: u32, text: &str) -> Value {
    json!({"id": id, "logprob": -0.5, "margin": 1.0, "top": [], "text": text})
}

fn told_finish(script: &FaultScript) -> Value {
    json!({
        "reason": if script.finish == "tool_calls" { "stop" } else { script.finish.as_str() },
        "text": "",
        "content": null,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens(script)},
    })
}

fn streamed(script: &FaultScript, form: Form) -> Vec<Part> {
    let mut out = Out {
        form,
        parts: Vec::new(),
    };
    out.head(script.ttft.min(due(script, 0)));
    if let Some(bytes) = script.faults.oversize {
        let filler = "x".repeat(bytes);
        out.raw(due(script, 0), format!("data: {filler}\n\n"));
    }
    let ids = ids(script);
    let merge = script.faults.merge.unwrap_or(1);
    let mut sent = 0;
    while sent < script.pieces.len() {
        let end = (sent + merge).min(script.pieces.len());
        if let Some((after, line)) = &script.faults.line
            && (sent..end).contains(after)
        {
            out.raw(due(script, sent), format!("{line}\n\n"));
        }
        // Merged pieces come when the last of them is there.
        let at = due(script, end - 1);
        out.pieces(at, &script.pieces[sent..end], &ids[sent..end]);
        sent = end;
    }
    if !script.faults.no_end {
        let end = due(script, script.pieces.len().saturating_sub(1));
        out.end(end, script);
    }
    out.parts
}

/// The events of a stream.
struct Out {
    form: Form,
    parts: Vec<Part>,
}

impl Out {
    fn raw(&mut self, at: Duration, text: String) {
        let bytes = text.into_bytes();
        self.parts.push(Part { at, bytes });
    }

    fn event(&mut self, at: Duration, name: &str, data: &Value) {
        let name = match self.form.anthropic {
            true => format!("event: {name}\n"),
            false => String::new(),
        };
        self.raw(at, format!("{name}data: {data}\n\n"));
    }

    fn head(&mut self, at: Duration) {
        let started = json!({"started": {"input_tokens": INPUT_TOKENS}});
        if self.form.anthropic {
            let message = json!({"id": "msg_0", "type": "message", "role": "assistant", "content": [],
                "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 0}});
            let start = json!({"type": "message_start", "message": message});
            self.event(Duration::ZERO, "message_start", &start);
            let block = json!({"type": "content_block_start", "index": 0,
                "content_block": {"type": "text", "text": ""}});
            self.event(at, "content_block_start", &block);
            if self.form.tokens {
                self.event(at, "loopwatch", &started);
            }
            return;
        }
        // As everyone does it: a first chunk that only names the role, before there is a token.
        let mut chunk = chunk(json!({"role": "assistant", "content": ""}), Value::Null);
        if self.form.tokens {
            chunk["loopwatch"] = started;
        }
        self.event(Duration::ZERO, "", &chunk);
    }

    fn pieces(&mut self, at: Duration, pieces: &[String], ids: &[u32]) {
        let text = pieces.concat();
        let tokens = pieces.iter().zip(ids);
        let tokens: Value = tokens.map(|(piece, id)| told_token(*id, piece)).collect();
        let told = json!({"tokens": tokens});
        if self.form.anthropic {
            if self.form.tokens {
                self.event(at, "loopwatch", &told);
            }
            let delta = json!({"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": text}});
            self.event(at, "content_block_delta", &delta);
            return;
        }
        let mut chunk = chunk(json!({"content": text}), Value::Null);
        if self.form.tokens {
            chunk["loopwatch"] = told;
        }
        self.event(at, "", &chunk);
    }

    fn end(&mut self, at: Duration, script: &FaultScript) {
        let finish = json!({"finish": told_finish(script)});
        if self.form.anthropic {
            let stop = json!({"type": "content_block_stop", "index": 0});
            self.event(at, "content_block_stop", &stop);
            if self.form.tokens {
                self.event(at, "loopwatch", &finish);
            }
            let delta = json!({"type": "message_delta",
                "delta": {"stop_reason": stop_reason(&script.finish)},
                "usage": {"output_tokens": output_tokens(script)}});
            self.event(at, "message_delta", &delta);
            self.event(at, "message_stop", &json!({"type": "message_stop"}));
            return;
        }
        let mut last = chunk(json!({}), json!(script.finish));
        last["usage"] = usage(script);
        if self.form.tokens {
            last["loopwatch"] = finish;
        }
        self.event(at, "", &last);
        self.raw(at, "data: [DONE]\n\n".to_owned());
    }
}

fn chunk(delta: Value, finish_reason: Value) -> Value {
    json!({"id": "chatcmpl-0", "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
}

fn usage(script: &FaultScript) -> Value {
    let output = output_tokens(script);
    json!({"prompt_tokens": INPUT_TOKENS, "completion_tokens": output,
        "total_tokens": INPUT_TOKENS + output})
}

fn stop_reason(finish: &str) -> &str {
    match finish {
        "stop" => "end_turn",
        "length" => "max_tokens",
        other => other,
    }
}

fn whole(script: &FaultScript, form: Form) -> Part {
    let text = script.pieces.concat();
    let mut answer = match form.anthropic {
        true => json!({"id": "msg_0", "type": "message", "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "stop_reason": stop_reason(&script.finish),
            "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens(script)}}),
        false => json!({"id": "chatcmpl-0", "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text},
                "finish_reason": script.finish}],
            "usage": usage(script)}),
    };
    if form.tokens {
        let tokens = script.pieces.iter().zip(ids(script));
        let tokens: Value = tokens.map(|(piece, id)| told_token(id, piece)).collect();
        answer["loopwatch"] = json!({"started": {"input_tokens": INPUT_TOKENS}, "tokens": tokens,
            "finish": told_finish(script)});
    }
    Part {
        at: due(script, script.pieces.len().saturating_sub(1)),
        bytes: answer.to_string().into_bytes(),
    }
}
