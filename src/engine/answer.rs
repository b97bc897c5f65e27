//! The text of an answer as it grows: detokenised, cut at stop strings, and taken apart into
//! content and tool calls at its end.
//!
//! Knows text only; who sampled the tokens, and when, is not its business.

use super::{EngineError, LoadedModel};
use crate::generation::{EventKind, FinishReason, SamplingParams, Usage};
use crate::text::{Detokenizer, StopStrings, Tokenizer, tool_calls};

/// The answer to one request.
pub(super) struct Answer<'a> {
    model: &'a LoadedModel,
    /// `None` without a tokenizer: then there is no text.
    detokenizer: Option<Detokenizer<'a>>,
    stops: StopStrings,
    stopped: bool,
    /// Everything given out so far.
    text: String,
}

impl<'a> Answer<'a> {
    pub(super) fn new(model: &'a LoadedModel, sampling: &SamplingParams) -> Self {
        Self {
            model,
            detokenizer: model.tokenizer.as_ref().map(Tokenizer::detokenizer),
            stops: StopStrings::new(&sampling.stop),
            stopped: false,
            text: String::new(),
        }
    }

    /// Whether a stop string is complete.
    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token and returns the text that became certain with it.
    pub(super) fn push(&mut self, id: u32) -> Result<String, EngineError> {
        let Some(detokenizer) = &mut self.detokenizer else {
            return Ok(String::new());
        };
        let piece = detokenizer
            .push(id)
            .map_err(|problem| self.model.text_error(problem))?;
        Ok(self.pass(&piece))
    }

    fn pass(&mut self, piece: &str) -> String {
        let passed = self.stops.push(piece);
        self.stopped = passed.stopped;
        self.text.push_str(&passed.text);
        passed.text
    }

    /// The last events: tool calls, then the finish with the text that was held back.
    pub(super) fn finish(
        mut self,
        reason: FinishReason,
        usage: Usage,
    ) -> Result<Vec<EventKind>, EngineError> {
        let rest = self.rest()?;
        let taken = tool_calls(&self.text);
        let reason = match reason {
            FinishReason::Stop if !taken.calls.is_empty() => FinishReason::ToolCalls,
            other => other,
        };
        let content = (!taken.calls.is_empty()).then_some(taken.content);
        let mut events: Vec<EventKind> = taken.calls.into_iter().map(EventKind::ToolCall).collect();
        events.push(EventKind::Finished {
            reason,
            text: rest,
            content,
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
