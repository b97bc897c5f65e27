//! What a snapshot holds. Not how it is written: that is the neighbour `format`.

use super::Redaction;
use crate::generation::{Conversation, SamplingSettings};

/// What identifies the run that a snapshot was taken from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SnapshotInfo {
    /// The scenario file, relative to the project.
    pub source: String,
    /// Why the scenario exists, for whoever reviews the snapshot.
    pub description: Option<String>,
    /// The name of the test.
    pub expression: String,
    /// The model as the user named it.
    pub model: String,
    /// The sampling parameters as given; what was left out is left out here too.
    pub sampling: SamplingSettings,
    /// What its texts do not hold; then there are no token ids either.
    pub redact: Vec<Redaction>,
}

/// One generation of the reference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotGeneration {
    /// The visible text, tool calls included as the model wrote them.
    pub text: String,
    /// The generated token ids, the end-of-sequence token included.
    pub tokens: Vec<u32>,
}

/// The reviewed reference output of one test on one model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// What it was taken from.
    pub info: SnapshotInfo,
    /// Length of the first prompt in tokens, if the target reported it. It tells a changed prompt
    /// or chat template from a changed model; later prompts depend on what was generated.
    pub prompt_tokens: Option<usize>,
    /// The generations, in the order of the conversation.
    pub generations: Vec<SnapshotGeneration>,
}

impl Snapshot {
    /// The snapshot of a conversation.
    #[must_use]
    pub fn of(conversation: &Conversation, info: SnapshotInfo) -> Self {
        let generations = conversation
            .exchanges
            .iter()
            .map(|exchange| SnapshotGeneration {
                text: exchange.transcript.text.clone(),
                tokens: exchange.transcript.token_ids(),
            })
            .collect();
        Self {
            info,
            prompt_tokens: prompt_tokens(conversation),
            generations,
        }
    }
}

/// Length of the first prompt. A target that reports nothing reports zero, and no prompt is empty.
pub(super) fn prompt_tokens(conversation: &Conversation) -> Option<usize> {
    let first = conversation.exchanges.first()?;
    Some(first.transcript.usage.input_tokens).filter(|count| *count > 0)
}
