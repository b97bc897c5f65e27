//! One prompt under one setting: what became of its runs, and how many of them fared otherwise than
//! without a penalty. It does not know how that looks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::group::{Group, Runs};
use super::outcome::Outcome;

/// The runs of one prompt with one setting, under all conditions and with all seeds. Each of them
/// is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The number of the prompt.
    pub prompt: usize,
    /// Runs with a confirmed loop.
    pub looped: usize,
    /// Runs without a loop in which an assertion failed that is not on loops.
    pub failed: usize,
    /// Runs without a loop in which none did.
    pub passed: usize,
    /// Runs whose target could not answer.
    pub errored: usize,
    /// Runs that were not reached.
    pub not_run: usize,
    /// Runs that fared otherwise than the one without a penalty under the same condition with the
    /// same random numbers.
    pub different: usize,
}

/// How an answered run counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Looped,
    Failed,
    Passed,
}

impl Fate {
    fn of(outcome: &Outcome) -> Self {
        match (outcome.looped, outcome.good) {
            (Some(_), _) => Self::Looped,
            (None, Some(false)) => Self::Failed,
            (None, _) => Self::Passed,
        }
    }
}

/// A cell for each prompt, in their order. `without` has the runs without a penalty.
pub(super) fn cells(group: &Group<'_>, without: Option<&Runs<'_>>) -> Vec<Cell> {
    let mut cells: BTreeMap<usize, Cell> = BTreeMap::new();
    let mut of = |prompt: usize, count: &mut dyn FnMut(&mut Cell)| {
        count(cells.entry(prompt).or_insert(Cell {
            prompt,
            ..Cell::default()
        }));
    };
    for (block, outcome) in &group.runs {
        let fate = Fate::of(outcome);
        let twin = without.and_then(|runs| runs.get(block));
        let differs = twin.is_some_and(|twin| Fate::of(twin) != fate);
        of(block.prompt, &mut |cell| {
            match fate {
                Fate::Looped => cell.looped += 1,
                Fate::Failed => cell.failed += 1,
                Fate::Passed => cell.passed += 1,
            }
            cell.different += usize::from(differs);
        });
    }
    for (prompt, errored) in &group.unanswered {
        of(*prompt, &mut |cell| match errored {
            true => cell.errored += 1,
            false => cell.not_run += 1,
        });
    }
    cells.into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::group::Block;
    use super::*;
    use crate::sweep::Looped;

    fn outcome(loops: bool, good: Option<bool>) -> Outcome {
        Outcome {
            tokens: 90,
            ended: !loops,
            stopped: false,
            looped: loops.then_some(Looped {
                onset: 1,
                period: 2,
                wasted: 80,
            }),
            displaced: None,
            good,
        }
    }

    /// Three seeds of each prompt, and a run of the second prompt and one of a third without an
    /// answer.
    fn group(outcomes: &[Outcome]) -> Group<'_> {
        let block = |at: usize| Block {
            prompt: at / 3,
            condition: 0,
            seed: Some((at % 3) as u64),
        };
        let outcomes = outcomes.iter().enumerate();
        Group {
            treatment: None,
            label: String::new(),
            runs: outcomes.map(|(at, outcome)| (block(at), outcome)).collect(),
            unanswered: vec![(1, true), (2, false)],
            conditions: BTreeSet::new(),
        }
    }

    #[test]
    fn each_run_counts_once_and_is_compared_with_its_twin() {
        // A looping answer that holds the wanted word loops all the same.
        let without = [
            outcome(true, Some(true)),
            outcome(false, Some(false)),
            outcome(false, Some(true)),
            outcome(false, None),
        ];
        let with = [
            outcome(false, Some(true)),
            outcome(false, Some(false)),
            outcome(true, Some(false)),
            outcome(false, None),
        ];
        let (without, with) = (group(&without), group(&with));
        let expected = [
            Cell {
                looped: 1,
                failed: 1,
                passed: 1,
                different: 2,
                ..Cell::default()
            },
            Cell {
                prompt: 1,
                passed: 1,
                errored: 1,
                ..Cell::default()
            },
            Cell {
                prompt: 2,
                not_run: 1,
                ..Cell::default()
            },
        ];
        assert_eq!(cells(&with, Some(&without.runs)), expected);
        assert_eq!(cells(&with, None)[0].different, 0);
    }
}
