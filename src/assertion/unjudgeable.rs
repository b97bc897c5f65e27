//! Assertions that a conversation holds no evidence for.
//!
//! A check without evidence may neither pass nor fail: a control that has to fail would be held
//! to have failed. So it is an error of the run.

use super::{Assertion, Rule, SnapshotMatch};
use crate::generation::Conversation;
use crate::metrics::Timings;

/// What is missing to judge an assertion, and the remedy; `None` if every one can be judged.
#[must_use]
pub fn unjudgeable(conversation: &Conversation, assertions: &[Assertion]) -> Option<String> {
    let transcripts = || conversation.exchanges.iter().map(|one| &one.transcript);
    let no_ids = transcripts().any(|transcript| !transcript.has_token_ids());
    let no_first = transcripts().any(|transcript| {
        transcript.output_tokens() > 1 && Timings::of(transcript).ttft_us.is_none()
    });
    assertions
        .iter()
        .find_map(|assertion| match assertion.rule {
            Rule::Snapshot(SnapshotMatch::Tokens) if no_ids => Some(format!(
                "'{}' (line {}) compares token ids, and this target gives none: write {{type: \
                 snapshot, match: text}}, or test in this process or through `loopwatch serve`",
                assertion.kind, assertion.line
            )),
            Rule::Ttft(_) if no_first => Some(format!(
                "'{}' (line {}) needs the time of the first token, and the answer came at once: \
                 let the target stream (stream: true), and no proxy buffer",
                assertion.kind, assertion.line
            )),
            _ => None,
        })
}
