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
    let no_likelihood = conversation
        .exchanges
        .last()
        .is_some_and(|one| one.transcript.logprobs().is_empty());
    let rules = assertions.iter().flat_map(|assertion| {
        let rules = assertion.rules();
        rules.map(move |rule| (assertion, rule))
    });
    rules.into_iter().find_map(|(assertion, rule)| match rule {
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
        Rule::Likelihood(_) if no_likelihood => Some(format!(
            "'{}' (line {}) needs the log-probability of every token, and this target gives \
                 none: test in this process or through `loopwatch serve`",
            assertion.kind, assertion.line
        )),
        _ => None,
    })
}
