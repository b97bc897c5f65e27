//! How an answer ends that is cut off because it loops: the finish that its generation can no
//! longer tell, made of the events so far. It does not know who decides.

use super::{Channel, Event, EventKind, FinishReason, Usage};

/// What an answer has said so far.
#[derive(Debug, Default)]
pub struct SoFar {
    usage: Usage,
    text: String,
    content: String,
    reasoning: String,
}

impl SoFar {
    /// Takes the next event.
    pub fn see(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started { input_tokens } => self.usage.input_tokens = *input_tokens,
            EventKind::Delta { text, .. } => {
                self.usage.output_tokens += 1;
                self.text.push_str(text);
            }
            EventKind::Said { channel, text } => match channel {
                Channel::Content => self.content.push_str(text),
                Channel::Reasoning => self.reasoning.push_str(text),
                Channel::ToolCall => {}
            },
            // It may hold more tokens than one; nobody tells how many.
            EventKind::Text(piece) => self.usage.output_tokens += piece.logprobs.len().max(1),
            EventKind::ToolCall(_)
            | EventKind::Retried(_)
            | EventKind::Streamed(_)
            | EventKind::Finished { .. } => {}
        }
    }

    /// The finish of an answer that ends here. What the generation still held back, such as an
    /// incomplete character, the beginning of a stop string or of a tool call, is lost with it. How
    /// many tokens of the prompt were cached only a whole generation tells: none are counted.
    #[must_use]
    pub fn cut(self) -> EventKind {
        EventKind::Finished {
            reason: FinishReason::Repetition,
            text: String::new(),
            content: (self.content != self.text).then_some(self.content),
            reasoning: (!self.reasoning.is_empty()).then_some(self.reasoning),
            usage: self.usage,
        }
    }
}
