//! The text of an answer as it grows: detokenised, cut at stop strings, and taken apart into
//! thoughts, content and tool calls.
//!
//! Knows text only; who sampled the tokens, and when, is not its business.

use super::{EngineError, LoadedModel};
use crate::generation::{
    Channel, Constraint, EventKind, FinishReason, Prompt, SamplingParams, ToolSpec, Usage,
};
use crate::text::{Detokenizer, OutputParser, Piece, StopStrings, Tokenizer};

/// Tokens at the end of a prompt that tell whether it opens a thought. A mark may be made of
/// several.
const LAST_TOKENS: usize = 16;

/// The answer to one request.
pub(super) struct Answer<'a> {
    model: &'a LoadedModel,
    /// `None` without a tokenizer: then there is no text.
    detokenizer: Option<Detokenizer<'a>>,
    stops: StopStrings,
    stopped: bool,
    parser: OutputParser,
    /// Everything given out so far.
    text: String,
    /// What of it is content.
    content: String,
    /// What of it is thought.
    reasoning: String,
    /// Whether there was a call.
    called: bool,
}

impl<'a> Answer<'a> {
    /// The answer to `prompt`, whose tokens are `ids`. Of a call that a constraint forces, the grammar
    /// has made the arguments.
    pub(super) fn new(
        model: &'a LoadedModel,
        prompt: &Prompt,
        ids: &[u32],
        sampling: &SamplingParams,
        constraint: Option<&Constraint>,
    ) -> Self {
        let tools: &[ToolSpec] = match prompt {
            Prompt::Chat { tools, .. } => tools,
            Prompt::Text { .. } | Prompt::Tokens { .. } => &[],
        };
        let format = &model.output;
        let end = model.text(&ids[ids.len().saturating_sub(LAST_TOKENS)..]);
        let parser = OutputParser::new(format, tools, format.is_thinking(&end));
        let parser = match constraint {
            Some(Constraint::Call { .. }) => parser.trusting(),
            Some(Constraint::Json { .. }) | None => parser,
        };
        Self {
            model,
            detokenizer: model.tokenizer.as_ref().map(Tokenizer::detokenizer),
            stops: StopStrings::new(&sampling.stop),
            stopped: false,
            parser,
            text: String::new(),
            content: String::new(),
            reasoning: String::new(),
            called: false,
        }
    }

    /// Whether a stop string is complete.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token and returns the text that became certain with it, and what it means as far as
    /// that is certain.
    pub(super) fn push(&mut self, id: u32) -> Result<(String, Vec<EventKind>), EngineError> {
        let Some(detokenizer) = &mut self.detokenizer else {
            return Ok((String::new(), Vec::new()));
        };
        let piece = detokenizer
            .push(id)
            .map_err(|problem| self.model.text_error(problem))?;
        let text = self.pass(&piece);
        let pieces = self.parser.push(&text);
        Ok((text, self.tell(pieces)))
    }

    fn pass(&mut self, piece: &str) -> String {
        let passed = self.stops.push(piece);
        self.stopped = passed.stopped;
        self.text.push_str(&passed.text);
        passed.text
    }

    fn tell(&mut self, pieces: Vec<Piece>) -> Vec<EventKind> {
        let tell = |piece| match piece {
            Piece::Reasoning(text) => {
                self.reasoning.push_str(&text);
                said(Channel::Reasoning, text)
            }
            Piece::Content(text) => {
                self.content.push_str(&text);
                said(Channel::Content, text)
            }
            Piece::Call(call) => {
                self.called = true;
                EventKind::ToolCall(call)
            }
        };
        pieces.into_iter().map(tell).collect()
    }

    /// The last events: what was held back, then the finish.
    pub(super) fn finish(
        mut self,
        reason: FinishReason,
        usage: Usage,
    ) -> Result<Vec<EventKind>, EngineError> {
        let rest = self.rest()?;
        let mut pieces = self.parser.push(&rest);
        pieces.extend(self.parser.finish());
        let mut events = self.tell(pieces);
        let reason = match reason {
            FinishReason::Stop if self.called => FinishReason::ToolCalls,
            other => other,
        };
        events.push(EventKind::Finished {
            reason,
            content: (self.content != self.text).then_some(self.content),
            reasoning: (!self.reasoning.is_empty()).then_some(self.reasoning),
            text: rest,
            usage,
        });
        Ok(events)
    }

    fn rest(&mut self) -> Result<String, EngineError> {
        if self.stopped {
            return Ok(String::new());
        }
        let mut rest = match self.detokenizer.take() {
            Some(detokenizer) => {
                let piece = detokenizer
                    .finish()
                    .map_err(|problem| self.model.text_error(problem))?;
                self.pass(&piece)
            }
            None => String::new(),
        };
        if !self.stopped {
            let held = std::mem::replace(&mut self.stops, StopStrings::new(&[])).finish();
            self.text.push_str(&held);
            rest.push_str(&held);
        }
        Ok(rest)
    }
}

fn said(channel: Channel, text: String) -> EventKind {
    EventKind::Said { channel, text }
}
