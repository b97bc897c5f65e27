//! Writes requests down, one JSON object a line. Texts are left out unless asked for.
//!
//! A line never holds a key or a header. Without [`TraceText::Kept`] it holds no text either, only
//! lengths and token counts, so that traces can be shared.

use std::io::Write;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread;

use serde_json::{Value, json};

use super::names;
use super::refusal::Api;
use crate::generation::{Event, EventKind, GenerateRequest, Prompt};
use crate::loops::LoopVerdict;

/// Lines that may wait for the disk; more are lost, and the loss is logged.
const WAITING_LINES: usize = 1024;

/// Whether traces hold texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TraceText {
    /// Lengths only.
    #[default]
    Redacted,
    /// Prompts and answers as they are.
    Kept,
}

/// Where requests are written down.
#[derive(Debug, Clone)]
pub struct TraceSink {
    lines: SyncSender<String>,
    text: TraceText,
}

impl TraceSink {
    /// Writes lines on a thread of its own, so that a slow disk stops no answer. The thread ends
    /// with the last sink.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(mut out: impl Write + Send + 'static, text: TraceText) -> std::io::Result<Self> {
        let (lines, waiting) = sync_channel::<String>(WAITING_LINES);
        thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || {
                for line in waiting {
                    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
                        tracing::error!(%error, "the trace cannot be written");
                        return;
                    }
                }
            })?;
        Ok(Self { lines, text })
    }

    pub(super) fn write(&self, line: &TraceLine, found: Option<LoopVerdict>) {
        let text = line.json(self.text, found).to_string();
        if let Err(TrySendError::Full(_)) = self.lines.try_send(text) {
            tracing::warn!("the disk is slower than the requests; a line of the trace is lost");
        }
    }
}

/// One answer, as it is written down.
pub(super) struct TraceLine {
    id: String,
    api: Api,
    at: u64,
    /// `None` if nothing is written down.
    request: Option<GenerateRequest>,
    output: String,
    tokens: usize,
    ttft_ms: Option<f64>,
    last_ms: f64,
    finish: Value,
    error: Option<String>,
}

impl TraceLine {
    pub(super) fn new(api: Api, request: Option<GenerateRequest>) -> Self {
        Self {
            id: names::id("answer-"),
            api,
            at: names::now(),
            request,
            output: String::new(),
            tokens: 0,
            ttft_ms: None,
            last_ms: 0.0,
            finish: Value::Null,
            error: None,
        }
    }

    pub(super) fn see(&mut self, event: &Event) {
        self.last_ms = event.at.as_secs_f64() * 1e3;
        match &event.kind {
            EventKind::Started { .. }
            | EventKind::Said { .. }
            | EventKind::ToolCall(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_) => {}
            EventKind::Text(piece) => {
                self.ttft_ms.get_or_insert(self.last_ms);
                self.keep(&piece.text);
            }
            EventKind::Delta { text, .. } => {
                self.ttft_ms.get_or_insert(self.last_ms);
                self.tokens += 1;
                self.keep(text);
            }
            EventKind::Finished {
                reason,
                text,
                usage,
                ..
            } => {
                self.keep(text);
                self.finish = json!({"reason": reason, "usage": usage});
            }
        }
    }

    fn keep(&mut self, text: &str) {
        if self.request.is_some() {
            self.output.push_str(text);
        }
    }

    pub(super) fn fail(&mut self, problem: &str) {
        self.error = Some(problem.to_owned());
    }

    /// Whether the answer has said why it ended.
    pub(super) fn is_finished(&self) -> bool {
        !self.finish.is_null()
    }

    fn json(&self, text: TraceText, found: Option<LoopVerdict>) -> Value {
        let output = match text {
            TraceText::Kept => json!(self.output),
            TraceText::Redacted => json!({"bytes": self.output.len()}),
        };
        json!({
            "id": self.id,
            "time": self.at,
            "api": self.api.as_str(),
            "prompt": self.request.as_ref().map(|request| match text {
                TraceText::Kept => json!(request.prompt),
                TraceText::Redacted => shape(&request.prompt),
            }),
            "sampling": self.request.as_ref().map(|request| sampling(request, text)),
            "output": output,
            "output_tokens": self.tokens,
            "finish": self.finish,
            "error": self.error,
            "ttft_ms": self.ttft_ms,
            "e2e_ms": self.last_ms,
            "loop": found.map(|found| json!({
                "state": found.state, "period": found.period, "onset": found.onset,
            })),
        })
    }
}

/// How it was sampled. Stop strings are the user's words too.
fn sampling(request: &GenerateRequest, text: TraceText) -> Value {
    let mut settings = request.sampling.as_settings();
    if text == TraceText::Redacted {
        settings.stop = settings.stop.map(|stops| vec!["…".to_owned(); stops.len()]);
    }
    json!(settings)
}

/// A prompt without its words.
fn shape(prompt: &Prompt) -> Value {
    match prompt {
        Prompt::Text { text } => json!({"bytes": text.len()}),
        Prompt::Tokens { tokens } => json!({"tokens": tokens.len()}),
        Prompt::Chat {
            messages, tools, ..
        } => {
            let messages: Vec<Value> = messages
                .iter()
                .map(|message| {
                    json!({
                        "role": message.role,
                        "bytes": message.content.len(),
                        "tool_calls": message.tool_calls.len(),
                    })
                })
                .collect();
            json!({"messages": messages, "tools": tools.len()})
        }
    }
}
