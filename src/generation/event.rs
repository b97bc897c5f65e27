//! What a target reports while it generates, each fact stamped with its time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StreamNotes, ToolCall};

/// One generated token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Its id in the model's vocabulary.
    pub id: u32,
    /// Natural logarithm of its probability after penalties and bias, before temperature and
    /// filters (what mlx-lm reports).
    pub logprob: f32,
    /// Distance in logits between the best and the second-best token at this step, after
    /// penalties. A small margin means that rounding may decide.
    pub margin: f32,
    /// The likeliest tokens of the step with their log-probabilities, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(u32, f32)>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model wrote an end-of-sequence token.
    Stop,
    /// A stop string appeared.
    StopSequence,
    /// `max_tokens` were generated.
    Length,
    /// The answer is one or more tool calls.
    ToolCalls,
    /// The answer repeated itself, and was to end there: by its `repetition_detection`, or by
    /// whoever watched it for loops.
    Repetition,
    /// The reader left, or a limit of the harness ended the generation.
    Cancelled,
}

impl FinishReason {
    /// Every reason, in the order of their documentation.
    pub const ALL: [Self; 6] = [
        Self::Stop,
        Self::StopSequence,
        Self::Length,
        Self::ToolCalls,
        Self::Repetition,
        Self::Cancelled,
    ];

    /// The name used in scenarios and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::StopSequence => "stop_sequence",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::Repetition => "repetition",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Token counts of one generation, as the target reports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Tokens of the prompt after the chat template.
    pub input_tokens: usize,
    /// How many of them were not computed, because an earlier request had begun with them.
    #[serde(default)]
    pub cached_tokens: usize,
    /// Generated tokens, the end-of-sequence token included.
    pub output_tokens: usize,
}

impl Usage {
    /// Prompt tokens that had to be computed.
    #[must_use]
    pub fn computed_tokens(&self) -> usize {
        self.input_tokens.saturating_sub(self.cached_tokens)
    }
}

/// Where a piece of text belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The answer.
    Content,
    /// What was thought before it.
    Reasoning,
    /// The arguments of a tool call, as the model writes them.
    ToolCall,
}

/// Text whose tokens are not known. It may hold many tokens, or a part of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextPiece {
    /// Where it belongs.
    pub channel: Channel,
    /// The text, never empty.
    pub text: String,
    /// Log-probabilities of its tokens, where the target gives them; then it has as many tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<f32>,
}

/// A request that was sent again, because the first try met trouble on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// What went wrong, for a person.
    pub reason: String,
    /// Milliseconds that were waited before the next try.
    pub waited_ms: u64,
}

/// A fact about a running generation.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Time since the request was handed over.
    pub at: Duration,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of fact, in the order in which they occur.
#[derive(Debug, Clone, PartialEq)]
pub enum EventKind {
    /// The prompt is tokenized and prefill begins.
    Started {
        /// Tokens of the prompt.
        input_tokens: usize,
    },
    /// One more token. The text may be empty while a character is incomplete or a stop string
    /// may be forming, and may hold more than the token's own text afterwards.
    Delta {
        /// The token.
        token: Token,
        /// Text that became certain with this token.
        text: String,
    },
    /// What the text means, as far as it is certain: more of the answer, or of what was thought
    /// before it. Comes right before the `Delta` that made it certain, or before the end. Joined
    /// by channel, these are the `content` and the `reasoning` of the finish.
    Said {
        /// Where it belongs.
        channel: Channel,
        /// The text, without the marks of the model's format; never empty.
        text: String,
    },
    /// Text from a target that does not say which tokens it was made of. A generation has either
    /// these or `Delta`s.
    Text(TextPiece),
    /// A complete tool call was read from the output.
    ToolCall(ToolCall),
    /// The target was not ready, and the request was sent again. Comes before everything else;
    /// times count from the last sending.
    Retried(Retry),
    /// The stream of a server was read to its end, and this was noticed about it. Comes right before
    /// the end; not where the target is in this process, or its answer came in one piece.
    Streamed(StreamNotes),
    /// The generation is over; nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// Text that was held back until the end.
        text: String,
        /// What the assistant said apart from its thoughts and tool calls, where that differs
        /// from the text.
        content: Option<String>,
        /// What it thought before, if it did.
        reasoning: Option<String>,
        /// Final counts.
        usage: Usage,
    },
}
