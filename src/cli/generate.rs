//! `loopwatch generate`: one answer, streamed to the terminal or as one JSON object.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstream::eprintln as note;
use clap::{ArgGroup, Args};
use serde::Serialize;

use super::backend::BackendFlags;
use super::chat;
use super::exit::{Exit, Explained};
use super::sampling::{self, SamplingFlags};
use super::{models, style};
use crate::assertion::Watched;
use crate::engine::Engine;
use crate::generation::{Event, EventKind, GenerateRequest, Message, Prompt, Role, Transcript};
use crate::loops::{FRAGMENT_CHARS, LoopVerdict, escape_fragment};
use crate::metrics::Timings;
use crate::protocol::Chat;

/// Generate one answer.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("input").required(true)), after_help = EXAMPLES)]
pub(super) struct Generate {
    /// A folder with a checkpoint, hf:org/name[@revision], script:FILE (a checkpoint script), or
    /// builtin:readme
    #[arg(long, value_name = "MODEL", default_value = "builtin:readme")]
    model: String,
    /// What the user says; rendered with the model's chat template
    #[arg(long, value_name = "TEXT", group = "input")]
    prompt: Option<String>,
    /// Text to continue as it stands, without the chat template
    #[arg(long, value_name = "TEXT", group = "input")]
    raw_prompt: Option<String>,
    /// Token ids to continue; no tokenizer is needed
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',', group = "input")]
    prompt_ids: Option<Vec<u32>>,
    /// A JSON file with messages in OpenAI's form: [{"role": "user", "content": "…"}, …], or an
    /// object with messages, tools and chat_template_kwargs
    #[arg(long, value_name = "FILE", group = "input")]
    messages: Option<PathBuf>,
    /// Set a variable of the chat template, such as enable_thinking=false; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = chat::variable,
          conflicts_with_all = ["raw_prompt", "prompt_ids"])]
    template_var: Vec<(String, serde_json::Value)>,
    /// Report the log-probabilities of this many likeliest tokens (with --json)
    #[arg(long, value_name = "N", default_value_t = 0)]
    top_logprobs: usize,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    backend: BackendFlags,
    #[command(flatten)]
    sampling: SamplingFlags,
}

const EXAMPLES: &str = "\
Examples:
  loopwatch generate --prompt 'Explain Building Rust programs'
  loopwatch generate --prompt 'Explain Building Rust programs' --repetition-penalty 1.0
  loopwatch generate --model ./my-checkpoint --prompt-ids 1,2,3 --max-tokens 64 --json";

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Answer {
    model: String,
    prompt_tokens: usize,
    tokens: Vec<u32>,
    text: String,
    finish_reason: &'static str,
    logprobs: Logprobs,
    #[serde(rename = "loop")]
    found: Option<LoopVerdict>,
    timings: AnswerTimings,
}

#[derive(Debug, Serialize)]
struct Logprobs {
    chosen: Vec<f32>,
    margin: Vec<f32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<Vec<(u32, f32)>>,
}

#[derive(Debug, Serialize)]
struct AnswerTimings {
    load_ms: f64,
    ttft_ms: Option<f64>,
    prefill_tps: Option<f64>,
    decode_tps: Option<f64>,
    e2e_ms: f64,
}

impl Generate {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let request = self.request()?;
        let before = Instant::now();
        let name = models::find(&self.model)?;
        let options = self.backend.options()?;
        let engine = Engine::load(&name, &options).map_err(Explained::target)?;
        let loading = before.elapsed();

        let mut receiver = engine.submit(request);
        let mut events = Vec::new();
        while let Some(event) = receiver.blocking_recv() {
            let event = event.map_err(Explained::target)?;
            if !self.json {
                write_text(&event)?;
            }
            events.push(event);
        }
        let transcript = Transcript::from_events(events)?;
        let found = Watched::of(&transcript).verdict();
        if self.json {
            let answer = self.answer(transcript, found, loading);
            writeln!(stdout(), "{}", serde_json::to_string(&answer)?)?;
        } else {
            writeln!(stdout())?;
            summarise(&transcript, found.as_ref());
        }
        Ok(Exit::Passed)
    }

    fn request(&self) -> anyhow::Result<GenerateRequest> {
        let sampling = sampling::environment()?
            .overlaid(&self.sampling.settings())
            .resolve()
            .map_err(Explained::usage)?;
        Ok(GenerateRequest {
            prompt: self.prompt()?,
            sampling,
            top_logprobs: self.top_logprobs,
            constraint: None,
        })
    }

    fn prompt(&self) -> anyhow::Result<Prompt> {
        if let Some(tokens) = &self.prompt_ids {
            return Ok(Prompt::Tokens {
                tokens: tokens.clone(),
            });
        }
        if let Some(text) = &self.raw_prompt {
            return Ok(Prompt::Text { text: text.clone() });
        }
        let chat = match &self.messages {
            Some(path) => chat::read_file(path)?,
            None => Chat {
                messages: vec![Message::text(
                    Role::User,
                    self.prompt.as_deref().unwrap_or_default(),
                )],
                ..Chat::default()
            },
        };
        Ok(Prompt::Chat {
            messages: chat.messages,
            tools: chat.tools,
            variables: chat
                .variables
                .overlaid(&chat::variables(&self.template_var)?),
        })
    }

    fn answer(
        &self,
        transcript: Transcript,
        found: Option<LoopVerdict>,
        loading: Duration,
    ) -> Answer {
        let timings = Timings::of(&transcript);
        let ms = |us: u64| us as f64 / 1e3;
        Answer {
            model: self.model.clone(),
            prompt_tokens: transcript.usage.input_tokens,
            tokens: transcript.token_ids(),
            finish_reason: transcript.finish_reason.as_str(),
            logprobs: Logprobs {
                chosen: transcript.tokens.iter().map(|t| t.logprob).collect(),
                margin: transcript.tokens.iter().map(|t| t.margin).collect(),
                top: match self.top_logprobs {
                    0 => Vec::new(),
                    _ => transcript.tokens.iter().map(|t| t.top.clone()).collect(),
                },
            },
            found,
            timings: AnswerTimings {
                load_ms: loading.as_secs_f64() * 1e3,
                ttft_ms: timings.ttft_us.map(ms),
                prefill_tps: timings.prefill_tps,
                decode_tps: timings.decode_tps,
                e2e_ms: ms(timings.e2e_us),
            },
            text: transcript.text,
        }
    }
}

fn write_text(event: &Event) -> std::io::Result<()> {
    let (EventKind::Delta { text, .. } | EventKind::Finished { text, .. }) = &event.kind else {
        return Ok(());
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// One line about the answer, and one about its loop, on stderr: stdout is the answer.
fn summarise(transcript: &Transcript, found: Option<&LoopVerdict>) {
    let timings = Timings::of(transcript);
    note!(
        "{}{} tokens, ended by {}, TTFT {}, {}{}",
        style::DIM,
        transcript.tokens.len(),
        transcript.finish_reason.as_str(),
        style::milliseconds(timings.ttft_us),
        style::rate(timings.decode_tps),
        style::RESET,
    );
    if let Some(found) = found {
        let range = transcript.text_range(found.onset..found.onset + found.period);
        let fragment = transcript.text.get(range).unwrap_or_default();
        note!(
            "{}loop {}: period {}, {:.1} copies from token {}: \"{}\"{}",
            style::LOOP,
            found.state.name(),
            found.period,
            found.copies(),
            found.onset,
            escape_fragment(fragment, FRAGMENT_CHARS),
            style::RESET,
        );
    }
}
