//! The body of an answer: each part with the time at which it is due.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::FaultScript;

/// The end of a stream in OpenAI's form.
const DONE: &str = "data: [DONE]\n\n";
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

/// What is thought, if anything is, and what is said.
fn thought_and_said(script: &FaultScript) -> (Option<String>, String) {
    let (thought, said) = script.pieces.split_at(script.thoughts);
    let thought = (!thought.is_empty()).then(|| thought.concat());
    (thought, said.concat())
}

fn told_finish(script: &FaultScript) -> Value {
    let (thought, said) = thought_and_said(script);
    let content = thought.as_ref().map(|_| said);
    json!({
        "reason": if script.finish == "tool_calls" { "stop" } else { script.finish.as_str() },
        "text": "",
        "content": content,
        "reasoning": thought,
        "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens(script)},
    })
}

fn streamed(script: &FaultScript, form: Form) -> Vec<Part> {
    let mut out = Out {
        form,
        model: &script.model,
        block: 0,
        events: Vec::new(),
    };
    out.head(script.ttft.min(due(script, 0)), script.thoughts > 0);
    if let Some(bytes) = script.faults.oversize {
        let filler = "x".repeat(bytes);
        out.raw(due(script, 0), format!("data: {filler}\n\n"));
    }
    let ids = ids(script);
    let merge = script.faults.merge.unwrap_or(1);
    let mut sent = 0;
    while sent < script.pieces.len() {
        let thought = sent < script.thoughts;
        let most = if thought {
            script.thoughts
        } else {
            script.pieces.len()
        };
        let end = (sent + merge).min(most);
        if let Some((after, line)) = &script.faults.line
            && (sent..end).contains(after)
        {
            out.raw(due(script, sent), format!("{line}\n\n"));
        }
        // Merged pieces come when the last of them is there.
        let at = due(script, end - 1);
        if sent == script.thoughts && script.thoughts > 0 {
            out.answer_begins(at);
        }
        out.pieces(at, &script.pieces[sent..end], &ids[sent..end], thought);
        sent = end;
    }
    if !script.faults.no_end {
        let end = due(script, script.pieces.len().saturating_sub(1));
        out.end(end, script);
    }
    let mut events = out.events;
    for irregular in &script.faults.irregular {
        if irregular.is_of(form.anthropic) {
            irregular.spoil(&mut events);
        }
    }
    events.into_iter().map(Sent::part).collect()
}

/// One event of a stream, or bytes that are none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent {
    at: Duration,
    /// The name of its type, in Anthropic's form.
    pub(super) name: String,
    /// What it says; null where it is no document.
    pub(super) data: Value,
    /// The bytes where there is no document.
    raw: String,
}

impl Sent {
    /// Whether it is OpenAI's `[DONE]`.
    pub(super) fn is_done(&self) -> bool {
        self.raw == DONE
    }

    fn part(self) -> Part {
        let name = match self.name.as_str() {
            "" => String::new(),
            name => format!("event: {name}\n"),
        };
        let bytes = match &self.data {
            Value::Null => self.raw.into_bytes(),
            data => format!("{name}data: {data}\n\n").into_bytes(),
        };
        Part { at: self.at, bytes }
    }
}

/// The events of a stream.
struct Out<'a> {
    form: Form,
    model: &'a str,
    /// Anthropic's number of the open block.
    block: usize,
    events: Vec<Sent>,
}

impl Out<'_> {
    fn raw(&mut self, at: Duration, raw: String) {
        self.events.push(Sent {
            at,
            name: String::new(),
            data: Value::Null,
            raw,
        });
    }

    fn event(&mut self, at: Duration, name: &str, data: Value) {
        let name = if self.form.anthropic { name } else { "" };
        self.events.push(Sent {
            at,
            name: name.to_owned(),
            data,
            raw: String::new(),
        });
    }

    fn head(&mut self, at: Duration, thinks: bool) {
        let started = json!({"started": {"input_tokens": INPUT_TOKENS}});
        if self.form.anthropic {
            let message = json!({"id": "msg_0", "type": "message", "role": "assistant",
                "model": self.model, "content": [], "stop_reason": null, "stop_sequence": null,
                "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": 1}});
            let start = json!({"type": "message_start", "message": message});
            self.event(Duration::ZERO, "message_start", start);
            self.block_start(at, thinks);
            if self.form.tokens {
                self.event(at, "loopwatch", started);
            }
            return;
        }
        // As everyone does it: a first chunk that only names the role, before there is a token.
        let mut chunk = self.chunk(json!({"role": "assistant", "content": ""}), Value::Null);
        if self.form.tokens {
            chunk["loopwatch"] = started;
        }
        self.event(Duration::ZERO, "", chunk);
    }

    /// The thoughts are over.
    fn answer_begins(&mut self, at: Duration) {
        if self.form.anthropic {
            self.block_stop(at);
            self.block += 1;
            self.block_start(at, false);
        }
    }

    fn block_start(&mut self, at: Duration, thinks: bool) {
        let block = match thinks {
            true => json!({"type": "thinking", "thinking": "", "signature": ""}),
            false => json!({"type": "text", "text": ""}),
        };
        let start =
            json!({"type": "content_block_start", "index": self.block, "content_block": block});
        self.event(at, "content_block_start", start);
    }

    fn block_stop(&mut self, at: Duration) {
        let stop = json!({"type": "content_block_stop", "index": self.block});
        self.event(at, "content_block_stop", stop);
    }

    fn pieces(&mut self, at: Duration, pieces: &[String], ids: &[u32], thought: bool) {
        let text = pieces.concat();
        let tokens = pieces.iter().zip(ids);
        let tokens: Value = tokens.map(|(piece, id)| told_token(*id, piece)).collect();
        let told = json!({"tokens": tokens});
        if self.form.anthropic {
            if self.form.tokens {
                self.event(at, "loopwatch", told);
            }
            let delta = match thought {
                true => json!({"type": "thinking_delta", "thinking": text}),
                false => json!({"type": "text_delta", "text": text}),
            };
            let delta = json!({"type": "content_block_delta", "index": self.block, "delta": delta});
            self.event(at, "content_block_delta", delta);
            return;
        }
        let name = if thought {
            "reasoning_content"
        } else {
            "content"
        };
        let mut chunk = self.chunk(json!({name: text}), Value::Null);
        if self.form.tokens {
            chunk["loopwatch"] = told;
        }
        self.event(at, "", chunk);
    }

    fn end(&mut self, at: Duration, script: &FaultScript) {
        let finish = json!({"finish": told_finish(script)});
        if self.form.anthropic {
            self.block_stop(at);
            if self.form.tokens {
                self.event(at, "loopwatch", finish);
            }
            let delta = json!({"type": "message_delta",
                "delta": {"stop_reason": stop_reason(&script.finish), "stop_sequence": null},
                "usage": {"output_tokens": output_tokens(script)}});
            self.event(at, "message_delta", delta);
            self.event(at, "message_stop", json!({"type": "message_stop"}));
            return;
        }
        let mut last = self.chunk(json!({}), json!(script.finish));
        if self.form.tokens {
            last["loopwatch"] = finish;
        }
        self.event(at, "", last);
        let mut counts = self.chunk(Value::Null, Value::Null);
        counts["choices"] = json!([]);
        counts["usage"] = usage(script);
        self.event(at, "", counts);
        self.raw(at, DONE.to_owned());
    }

    fn chunk(&self, delta: Value, finish_reason: Value) -> Value {
        json!({"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})
    }
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
    let (thought, said) = thought_and_said(script);
    let mut answer = match form.anthropic {
        true => {
            let thought =
                thought.map(|text| json!({"type": "thinking", "thinking": text, "signature": ""}));
            let said = json!({"type": "text", "text": said});
            let content: Value = thought.into_iter().chain([said]).collect();
            json!({"id": "msg_0", "type": "message", "role": "assistant", "model": script.model,
                "content": content, "stop_reason": stop_reason(&script.finish),
                "usage": {"input_tokens": INPUT_TOKENS, "output_tokens": output_tokens(script)}})
        }
        false => {
            let mut message = json!({"role": "assistant", "content": said});
            if let Some(thought) = thought {
                message["reasoning_content"] = json!(thought);
            }
            json!({"id": "chatcmpl-0", "object": "chat.completion", "created": 0,
                "model": script.model,
                "choices": [{"index": 0, "message": message, "finish_reason": script.finish}],
                "usage": usage(script)})
        }
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
