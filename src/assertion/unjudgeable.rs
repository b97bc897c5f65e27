//! Assertions that a conversation holds no evidence for.
//!
//! A check without evidence may neither pass nor fail: a control that has to fail would be held
//! to have failed. So it is an error of the run.

use super::scope::unknown;
use super::{Assertion, Rule};
use crate::generation::{Conversation, Exchange};
use crate::metrics::Timings;

/// What is missing to judge an assertion, and the remedy; `None` if every one can be judged.
#[must_use]
pub fn unjudgeable(conversation: &Conversation, assertions: &[Assertion]) -> Option<String> {
    // Of a turn that was not reached there is nothing to miss.
    let exchanges = |assertion: &Assertion| {
        let range = match assertion.turn {
            None => Some(0..conversation.exchanges.len()),
            Some(turn) => conversation.turn(turn),
        };
        range
            .and_then(|range| conversation.exchanges.get(range))
            .unwrap_or_default()
    };
    let no_ids = |all: &[Exchange]| all.iter().any(|one| !one.transcript.has_token_ids());
    let no_first = |all: &[Exchange]| {
        all.iter().any(|one| {
            let first = Timings::of(&one.transcript).ttft_us;
            one.transcript.output_tokens() > 1 && first.is_none()
        })
    };
    let no_likelihood = |all: &[Exchange]| {
        let last = all.last();
        last.is_some_and(|one| one.transcript.logprobs().is_empty())
    };
    let no_stream = |all: &[Exchange]| all.iter().any(|one| one.transcript.stream.is_none());
    let rules = assertions.iter().flat_map(|assertion| {
        let rules = assertion.rules();
        rules.map(move |rule| (assertion, rule, exchanges(assertion)))
    });
    rules
        .into_iter()
        .find_map(|(assertion, rule, all)| match rule {
            Rule::Snapshot(rule) if rule.needs_ids() && no_ids(all) => Some(format!(
                "'{}' (line {}) compares token ids, and this target gives none: write {{type: \
                 snapshot, match: text}}, or test in this process or through `loopwatch serve`",
                assertion.kind, assertion.line
            )),
            Rule::Ttft(_) if no_first(all) => Some(format!(
                "'{}' (line {}) needs the time of the first token, and the answer came at once: \
                 let the target stream (stream: true), and no proxy buffer",
                assertion.kind, assertion.line
            )),
            Rule::Loop { scope, .. } if !scope.is_empty() => {
                let why = all.iter().find_map(|one| unknown(&one.transcript))?;
                Some(format!(
                    "'{}' (line {}) asks for loops in one part of the answer, and there is a loop of \
                     which nobody can tell where it lies: {why}; leave out 'scope', or let the server \
                     send what is thought apart from the answer (reasoning_content)",
                    assertion.kind, assertion.line
                ))
            }
            Rule::StreamValid if no_stream(all) => Some(format!(
                "'{}' (line {}) looks at the stream of a server, and there is an answer without one, \
                 or one that a limit cut short: run it with --target openai:URL or anthropic:URL, \
                 and without stream: false",
                assertion.kind, assertion.line
            )),
            Rule::Likelihood(_) if no_likelihood(all) => Some(format!(
                "'{}' (line {}) needs the log-probability of every token, and this target gives \
                 none: test in this process or through `loopwatch serve`",
                assertion.kind, assertion.line
            )),
            _ => None,
        })
}
