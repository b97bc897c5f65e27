//! Judges a conversation: one check per assertion, and the loops in it.
//!
//! A pure function. Each rule finds out whether it holds and states a fact that is true either
//! way; negation is applied to all of them in one place. How facts are worded is the neighbour
//! `message`; which assertions there are, and what a failure costs, is decided elsewhere.

mod measured;
mod part;

use regex::Regex;
use serde_json::Value;

use self::measured::{between_tokens, likely, longest_pause, tokens_used, within};
use self::part::Part;
use super::finding::{Finding, found};
use super::message::{beginning, call, count, divergence_fact, label, loop_fact, quoted};
use super::{
    Assertion, Check, CheckStatus, Judgement, LoopEvidence, Rerun, Rule, SnapshotRule,
    TextDifference, Watched, scope, stream_rule,
};
use crate::generation::{Conversation, FinishReason, Transcript};
use crate::loops::{FRAGMENT_CHARS, LoopKind, LoopState, LoopVerdict, escape_fragment};
use crate::metrics::Timings;
use crate::snapshot::Comparison;

/// Characters of the answer that a message shows around something found in it.
const FOUND_CHARS: usize = 60;
/// Characters of each text of a difference.
const DIFF_CHARS: usize = 1_000;

/// Everything a judgement rests on.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// What was said.
    pub conversation: &'a Conversation,
    /// The conversation beside its snapshot, if it was compared.
    pub snapshot: Option<&'a Comparison>,
    /// The same conversation, held once more in other ways.
    pub reruns: &'a [Rerun],
}

/// Judges every assertion, in order. Loops are looked for whether or not an assertion asks.
#[must_use]
pub fn judge(evidence: &Evidence<'_>, assertions: &[Assertion]) -> Judgement {
    let loops = find_loops(evidence);
    let checks = assertions
        .iter()
        .map(|assertion| check(assertion, evidence, &loops))
        .collect();
    Judgement { checks, loops }
}

/// Runs the detectors over every generation. The end-of-sequence token is left in: it comes once,
/// and nothing repeats after it.
fn find_loops(evidence: &Evidence<'_>) -> Vec<LoopEvidence> {
    let transcripts = transcripts(evidence.conversation).enumerate();
    transcripts
        .filter_map(|(exchange, transcript)| {
            let watched = Watched::of(transcript);
            let verdict = watched.verdict()?;
            let end = verdict.onset.saturating_add(verdict.period);
            let text = watched.text(verdict.onset..end);
            Some(LoopEvidence {
                exchange,
                fragment: escape_fragment(text, FRAGMENT_CHARS),
                verdict,
            })
        })
        .collect()
}

fn check(assertion: &Assertion, evidence: &Evidence<'_>, loops: &[LoopEvidence]) -> Check {
    let (holds, fact, diff) = match Part::of(assertion.turn, evidence, loops) {
        None => (
            false,
            "the conversation ended before this turn".to_owned(),
            None,
        ),
        Some(part) => {
            let finding = match part.conversation.exchanges.is_empty() {
                true => found(false, "nothing was generated"),
                false => apply(&assertion.rule, &part),
            };
            let holds = finding.holds != assertion.negated;
            (holds, finding.fact, finding.diff)
        }
    };
    let status = if holds {
        CheckStatus::Passed
    } else {
        CheckStatus::Failed
    };
    Check {
        label: label(assertion),
        kind: assertion.kind.clone(),
        turn: assertion.turn,
        file: assertion.file.clone(),
        line: assertion.line,
        status,
        message: fact,
        diff: diff.filter(|_| status == CheckStatus::Failed),
    }
}

fn apply(rule: &Rule, part: &Part<'_>) -> Finding {
    let conversation = &*part.conversation;
    let answer = conversation.answer();
    match rule {
        Rule::Loop {
            weakest,
            kinds,
            scope,
        } => {
            let loops = scope::counted(scope, conversation, part.before, part.loops);
            looped(*weakest, kinds, conversation, &loops)
        }
        Rule::Contains(text) => occurs(answer, text, answer.find(text.as_str())),
        Rule::ContainsIgnoreCase(text) => contains_ignoring_case(answer, text),
        Rule::Regex(regex) => matched(answer, regex),
        Rule::Equals(text) => equals(answer, text),
        Rule::Text(rule) => rule.judge(answer),
        Rule::Tools(rule) => rule.judge(conversation),
        Rule::Rerun(rule) => rule.judge(conversation, &part.reruns),
        Rule::Likelihood(bound) => likely(conversation, *bound),
        Rule::Set { threshold, members } => set(*threshold, members, part),
        Rule::FinishReason(reason) => finished(conversation, *reason),
        Rule::MaxTokensUsed(limit) => tokens_used(conversation, *limit),
        Rule::ToolCalled { name, args } => tool_called(conversation, name, args),
        Rule::Snapshot(rule) => like_snapshot(part.snapshot, rule, conversation),
        Rule::StreamValid => stream_rule::valid(conversation, part.before),
        Rule::Ttft(limit) => within(
            part,
            *limit,
            ("first token", "first token after"),
            |transcript| Timings::of(transcript).ttft_us,
        ),
        Rule::InterToken(limit) => within(
            part,
            *limit,
            ("time between tokens", "mean time between tokens"),
            between_tokens,
        ),
        Rule::Stall(limit) => within(
            part,
            *limit,
            ("time between arrivals", "longest pause"),
            longest_pause,
        ),
        Rule::EndToEnd(limit) => within(part, *limit, ("end", "end after"), |transcript| {
            Some(transcript.e2e_us)
        }),
    }
}

/// The weighted mean of the scores against the threshold, or every one of them without a threshold:
/// promptfoo's rule.
fn set(threshold: Option<f64>, members: &[(f64, Assertion)], part: &Part<'_>) -> Finding {
    let (mut sum, mut weights, mut all) = (0.0, 0.0, true);
    let mut lines = Vec::new();
    for (weight, member) in members {
        let one = apply(&member.rule, part);
        let holds = one.holds != member.negated;
        let score = if member.negated {
            1.0 - one.score
        } else {
            one.score
        };
        sum += weight * score;
        weights += weight;
        all &= holds;
        let mark = if holds { "holds" } else { "does not hold" };
        lines.push(format!("{} {mark}: {}", label(member), one.fact));
    }
    // At least one member has a weight above 0.
    let score = sum / weights;
    let holds = threshold.map_or(all, |threshold| score >= threshold);
    let fact = format!("score {score:.3} of 1\n{}", lines.join("\n"));
    Finding {
        score,
        ..found(holds, fact)
    }
}

/// A loop that ended or recovered was one all the same.
fn looped(
    weakest: LoopState,
    kinds: &[LoopKind],
    conversation: &Conversation,
    loops: &[LoopEvidence],
) -> Finding {
    let counts = |verdict: &LoopVerdict| {
        let surely = verdict.state.is_confirmed() || !weakest.is_confirmed();
        surely && (kinds.is_empty() || kinds.contains(&verdict.kind))
    };
    let facts: Vec<String> = loops
        .iter()
        .filter(|evidence| counts(&evidence.verdict))
        .map(loop_fact)
        .collect();
    if !facts.is_empty() {
        return found(true, facts.join("\n"));
    }
    let generations = count(conversation.exchanges.len(), "generation");
    match loops.first() {
        Some(weaker) => found(
            false,
            match kinds {
                [] => format!("no confirmed loop in {generations}; {}", loop_fact(weaker)),
                _ => format!("no such loop in {generations}; {}", loop_fact(weaker)),
            },
        ),
        None => found(false, format!("no loop in {generations}")),
    }
}

/// States that `text` stands at byte `at` of the answer, or nowhere.
fn occurs(answer: &str, text: &str, at: Option<usize>) -> Finding {
    let shown = quoted(text, FOUND_CHARS);
    match at {
        Some(at) => found(
            true,
            format!(
                "the answer contains {shown} at byte {at}: {}",
                quoted(answer.get(at..).unwrap_or_default(), FOUND_CHARS)
            ),
        ),
        None => found(
            false,
            format!("the answer does not contain {shown}; {}", beginning(answer)),
        ),
    }
}

/// Lower case may have other lengths, so a position there is none in the answer.
fn contains_ignoring_case(answer: &str, text: &str) -> Finding {
    let holds = answer.to_lowercase().contains(&text.to_lowercase());
    let verb = if holds {
        "contains"
    } else {
        "does not contain"
    };
    found(
        holds,
        format!(
            "the answer {verb} {} in upper or lower case; {}",
            quoted(text, FOUND_CHARS),
            beginning(answer)
        ),
    )
}

fn matched(answer: &str, regex: &Regex) -> Finding {
    match regex.find(answer) {
        Some(hit) => found(
            true,
            format!(
                "the pattern matches at byte {}: {}",
                hit.start(),
                quoted(hit.as_str(), FOUND_CHARS)
            ),
        ),
        None => found(
            false,
            format!("the pattern matches nowhere; {}", beginning(answer)),
        ),
    }
}

fn equals(answer: &str, text: &str) -> Finding {
    let (answer, text) = (answer.trim(), text.trim());
    if answer == text {
        return found(true, format!("the answer is {}", quoted(text, FOUND_CHARS)));
    }
    let common: usize = answer
        .chars()
        .zip(text.chars())
        .take_while(|(left, right)| left == right)
        .map(|(left, _)| left.len_utf8())
        .sum();
    let rest = |text: &str| match text.get(common..) {
        Some(rest) if !rest.is_empty() => quoted(rest, FOUND_CHARS),
        _ => "the end".to_owned(),
    };
    let fact = format!(
        "the answer differs at byte {common}: expected {}, got {}",
        rest(text),
        rest(answer)
    );
    Finding {
        diff: Some(TextDifference {
            expected: around(text, common),
            actual: around(answer, common),
        }),
        ..found(false, fact)
    }
}

/// What stands around byte `at`, from the beginning of its line if that is near, with an ellipsis
/// on each side that was cut.
fn around(text: &str, at: usize) -> String {
    let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    let near = before.char_indices().rev().nth(FOUND_CHARS);
    let start = near.map_or(line, |(near, _)| near.max(line));
    let end = after.char_indices().nth(DIFF_CHARS);
    let end = end.map_or(text.len(), |(end, _)| before.len() + end);
    let cut = |gone: bool| if gone { "…" } else { "" };
    format!(
        "{}{}{}",
        cut(start > line),
        text.get(start..end).unwrap_or_default(),
        cut(end < text.len())
    )
}

fn finished(conversation: &Conversation, expected: FinishReason) -> Finding {
    let Some(last) = transcripts(conversation).last() else {
        return found(false, "nothing was generated");
    };
    let tokens = count(last.output_tokens(), "token");
    let holds = last.finish_reason == expected;
    if holds {
        return found(true, format!("got {} after {tokens}", expected.as_str()));
    }
    found(
        false,
        format!(
            "expected {}, got {} after {tokens}",
            expected.as_str(),
            last.finish_reason.as_str()
        ),
    )
}

fn tool_called(
    conversation: &Conversation,
    name: &str,
    args: &serde_json::Map<String, Value>,
) -> Finding {
    let hit = conversation
        .tool_calls()
        .find(|made| made.name == name && has_at_least(&made.arguments, args));
    if let Some(made) = hit {
        return found(true, format!("called: {}", call(name, &made.arguments)));
    }
    let wanted = if args.is_empty() {
        name.to_owned()
    } else {
        format!("{} or more", call(name, args))
    };
    let made: Vec<String> = conversation
        .tool_calls()
        .map(|made| call(&made.name, &made.arguments))
        .collect();
    let instead = if made.is_empty() {
        "no tool was called".to_owned()
    } else {
        format!("the calls were: {}", made.join(", "))
    };
    found(false, format!("no call of {wanted}; {instead}"))
}

fn has_at_least(
    given: &serde_json::Map<String, Value>,
    wanted: &serde_json::Map<String, Value>,
) -> bool {
    wanted.iter().all(|(name, wanted)| {
        given
            .get(name)
            .is_some_and(|given| is_at_least(given, wanted))
    })
}

/// Objects may have more members than wanted. Numbers are equal by value, since models and YAML
/// write 1 and 1.0 for the same thing.
fn is_at_least(given: &Value, wanted: &Value) -> bool {
    match (given, wanted) {
        (Value::Object(given), Value::Object(wanted)) => has_at_least(given, wanted),
        (Value::Number(given), Value::Number(wanted)) => {
            given == wanted
                || (given.is_f64() || wanted.is_f64()) && given.as_f64() == wanted.as_f64()
        }
        _ => given == wanted,
    }
}

fn like_snapshot(
    comparison: Option<&Comparison>,
    rule: &SnapshotRule,
    actual: &Conversation,
) -> Finding {
    match comparison {
        None => found(false, "the output was not compared with a snapshot"),
        Some(Comparison::Missing) => found(
            false,
            "there is no reviewed snapshot yet: run this outside CI, look at the pending file, and take it with \
             `loopwatch accept`",
        ),
        Some(Comparison::Match) => found(true, "the output equals its snapshot"),
        Some(Comparison::Differs(divergence)) => {
            let holds = rule.allows(divergence, actual);
            let ids = rule.compares_ids(actual);
            Finding {
                diff: divergence.text.as_ref().map(|text| TextDifference {
                    expected: text.expected_text.clone(),
                    actual: text.actual_text.clone(),
                }),
                ..found(holds, divergence_fact(divergence, ids))
            }
        }
    }
}

fn transcripts(conversation: &Conversation) -> impl Iterator<Item = &Transcript> {
    conversation
        .exchanges
        .iter()
        .map(|exchange| &exchange.transcript)
}

#[cfg(test)]
mod tests;
