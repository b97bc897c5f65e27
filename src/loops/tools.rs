//! Loops in calls of tools: the same call with the same result, alone or in a cycle.
//!
//! A call that is repeated while its result changes is polling, which is progress; a call repeated
//! with the same result is not. So a step is a call *and* its result. Two things are looked for:
//! cycles of up to [`LONGEST_CYCLE`] steps, with the exact detector on steps instead of tokens; and
//! one step that makes up most of a window though others come between.

use std::collections::VecDeque;

use serde_json::Value;

use super::detector::LoopDetector;
use super::thresholds::{Band, Rule, Thresholds};
use super::verdict::{Change, LoopKind, LoopState, LoopVerdict};

/// The longest cycle, in calls.
pub const LONGEST_CYCLE: usize = 5;

/// Calls among which one step may not be the majority.
const WINDOW: usize = 20;
/// How often one step among them is suspected.
const MAJORITY: usize = 12;
/// Calls in a row, each of whose arguments begin with those of the one before.
const GROWING: usize = 5;

/// Watches the calls of one conversation.
#[derive(Clone, Debug)]
pub struct ToolWatch {
    cycles: LoopDetector,
    recent: VecDeque<u32>,
    calls: usize,
    last: Option<(String, String)>,
    growing: usize,
    told: Option<LoopKind>,
}

impl Default for ToolWatch {
    fn default() -> Self {
        let rule = |copies| Rule { copies, span: 1 };
        let band = |first_period, suspected, confirmed| Band {
            first_period,
            suspected: rule(suspected),
            confirmed: rule(confirmed),
        };
        Self {
            cycles: LoopDetector::new(Thresholds::known(
                LONGEST_CYCLE,
                vec![band(1, 3, 6), band(2, 3, 5)],
            )),
            recent: VecDeque::new(),
            calls: 0,
            last: None,
            growing: 0,
            told: None,
        }
    }
}

impl ToolWatch {
    /// Notes a call with its result. Positions and periods count calls.
    pub fn push(&mut self, name: &str, arguments: &str, result: &str) -> Option<Change> {
        let arguments = canonical(arguments);
        let step = hash(&[name, &arguments, result]);
        let at = self.calls;
        self.calls += 1;
        let change = self.cycles.push(step).map(|change| Change {
            kind: LoopKind::ToolCalls,
            ..change
        });
        self.recent.push_back(step);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let same = self.recent.iter().filter(|other| **other == step).count();
        let grows = self.last.as_ref().is_some_and(|(last, before)| {
            last == name && arguments.len() > before.len() && opens_alike(&arguments, before)
        });
        self.growing = if grows { self.growing + 1 } else { 0 };
        self.last = Some((name.to_owned(), arguments));
        change.or_else(|| {
            let seen = same >= MAJORITY || self.growing >= GROWING;
            let first = seen && self.told.is_none();
            self.told = seen.then_some(LoopKind::ToolCalls);
            first.then_some(Change {
                kind: LoopKind::ToolCalls,
                state: LoopState::Suspected,
                period: 1,
                onset: at + 1 - self.recent.len().min(at + 1),
                at,
            })
        })
    }

    /// The cycle found, if one was.
    #[must_use]
    pub fn verdict(&self) -> Option<LoopVerdict> {
        self.cycles.verdict().map(|verdict| LoopVerdict {
            kind: LoopKind::ToolCalls,
            ..verdict
        })
    }
}

/// Arguments with their keys in order and without blanks, so that equal ones are equal; text that
/// is no JSON as it stands.
fn canonical(arguments: &str) -> String {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.into_iter().collect();
                entries.sort_by(|one, other| one.0.cmp(&other.0));
                entries
                    .into_iter()
                    .map(|(key, value)| (key, sorted(value)))
                    .collect()
            }
            Value::Array(items) => items.into_iter().map(sorted).collect(),
            other => other,
        }
    }
    serde_json::from_str(arguments).map_or_else(
        |_| arguments.trim().to_owned(),
        |value| sorted(value).to_string(),
    )
}

/// Whether a text is another one with something put in before its closing signs.
fn opens_alike(longer: &str, shorter: &str) -> bool {
    let kept = shorter.trim_end_matches(['}', ']', '"']);
    kept.len() > 8 && longer.starts_with(kept)
}

/// FNV-1a over the parts, each closed by a byte that is in no text.
fn hash(parts: &[&str]) -> u32 {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xFF]));
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    (hash ^ (hash >> 32)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    /// The state of the first confirmed change, else of the last one, over `calls`.
    fn outcome(calls: &[(&str, String, String)]) -> Option<LoopState> {
        let mut watch = ToolWatch::default();
        let told = calls
            .iter()
            .filter_map(|(name, arguments, result)| watch.push(name, arguments, result));
        let states: Vec<LoopState> = told.map(|change| change.state).collect();
        states
            .iter()
            .copied()
            .find(|state| *state == LoopState::Confirmed)
            .or(states.last().copied())
    }

    fn call(name: &'static str, arguments: &str, result: &str) -> (&'static str, String, String) {
        (name, arguments.to_owned(), result.to_owned())
    }

    #[test]
    fn the_same_call_with_the_same_result_is_a_loop_however_its_keys_stand() {
        let calls: Vec<_> = (0..6)
            .map(|n| {
                let arguments = if n % 2 == 0 {
                    r#"{"a":1,"b":{"c":2,"d":3}}"#
                } else {
                    r#"{"b":{"d":3,"c":2}, "a":1}"#
                };
                call("read", arguments, "no such file")
            })
            .collect();
        assert_eq!(outcome(&calls[..2]), None);
        assert_eq!(outcome(&calls[..3]), Some(LoopState::Suspected));
        assert_eq!(outcome(&calls), Some(LoopState::Confirmed));
    }

    #[test]
    fn polling_with_new_results_is_progress() {
        let calls: Vec<_> = (0..60)
            .map(|n| call("status", "{}", &format!("{n} % done")))
            .collect();
        assert_eq!(outcome(&calls), None);
    }

    #[rstest]
    fn cycles_are_loops(#[values(2, 3, 4, 5)] period: usize) {
        let calls: Vec<_> = (0..5 * period)
            .map(|n| call("edit", &format!(r#"{{"file":{}}}"#, n % period), "failed"))
            .collect();
        assert_eq!(outcome(&calls), Some(LoopState::Confirmed));
    }

    #[test]
    fn a_failing_test_between_new_edits_is_suspected() {
        let calls: Vec<_> = (0..40)
            .map(|n| match n % 3 {
                0 => call("edit", &format!(r#"{{"file":"a{n}"}}"#), "ok"),
                _ => call("test", "{}", "1 failed"),
            })
            .collect();
        assert_eq!(outcome(&calls), Some(LoopState::Suspected));
    }

    #[test]
    fn arguments_that_grow_by_a_piece_each_time_are_suspected() {
        let calls: Vec<_> = (1..10)
            .map(|n| {
                call(
                    "shell",
                    &format!(r#"{{"command":"cat log{}"}}"#, " | grep x".repeat(n)),
                    &n.to_string(),
                )
            })
            .collect();
        assert_eq!(outcome(&calls), Some(LoopState::Suspected));
    }

    #[test]
    fn many_different_calls_are_work() {
        let calls: Vec<_> = (0..200)
            .map(|n| {
                call(
                    ["read", "edit", "test"][n % 3],
                    &format!(r#"{{"file":"src/part_{}.rs"}}"#, n / 3),
                    &format!("ok {n}"),
                )
            })
            .collect();
        assert_eq!(outcome(&calls), None);
    }
}
