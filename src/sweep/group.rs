//! The runs of a design by their settings: what was planned for each, and what became of it.
//!
//! It also finds what is seen over all settings together: how alike runs of one prompt are, and
//! which condition loops most. It does not say what any of it means for a setting.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::design::Design;
use super::outcome::Outcome;
use super::point::Treatment;
use super::recommendation::strength;
use super::treatment::{by_prompt, most};

/// What makes answers of two settings comparable: the same prompt under the same conditions with
/// the same random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block {
    pub(super) prompt: usize,
    pub(super) condition: usize,
    pub(super) seed: Option<u64>,
}

/// The runs of one setting.
pub(super) type Runs<'a> = BTreeMap<Block, &'a Outcome>;

/// One setting, and the runs that were planned for it.
pub(super) struct Planned {
    pub(super) treatment: Option<Treatment>,
    pub(super) label: String,
    /// The numbers of the conditions under which it is to be tried.
    pub(super) conditions: BTreeSet<usize>,
    pub(super) trials: Vec<(Block, usize)>,
}

/// One setting and its runs.
pub(super) struct Group<'a> {
    pub(super) treatment: Option<Treatment>,
    pub(super) label: String,
    pub(super) runs: Runs<'a>,
    /// The prompts of the runs that have no outcome, and whether their target could not answer.
    pub(super) unanswered: Vec<(usize, bool)>,
    /// The numbers of the conditions under which it was to be tried.
    pub(super) conditions: BTreeSet<usize>,
}

/// The conditions of a design in their order; one without a name if there is nothing besides the
/// penalty.
pub(super) fn conditions(design: &Design) -> Vec<String> {
    let mut conditions: Vec<String> = Vec::new();
    for (point, _) in &design.points {
        if design.scale.is_some() && !conditions.contains(&point.condition) {
            conditions.push(point.condition.clone());
        }
    }
    conditions
}

/// Each setting, over all its conditions; without a scale, each condition. From the weakest to the
/// strongest.
pub(super) fn planned(design: &Design, conditions: &[String]) -> Vec<Planned> {
    let mut all: Vec<Planned> = Vec::new();
    for (point, trials) in &design.points {
        let label = match point.treatment {
            Some(treatment) => label(treatment, design.off),
            None => point.condition.clone(),
        };
        let index = match all.iter().position(|other| other.label == label) {
            Some(index) => index,
            None => {
                all.push(Planned {
                    treatment: point.treatment,
                    label,
                    conditions: BTreeSet::new(),
                    trials: Vec::new(),
                });
                all.len() - 1
            }
        };
        let condition = conditions.iter().position(|name| *name == point.condition);
        let condition = condition.unwrap_or(0);
        all[index].conditions.insert(condition);
        all[index].trials.extend(trials.iter().map(|trial| {
            let block = Block {
                prompt: trial.prompt,
                condition,
                seed: trial.seed,
            };
            (block, trial.run)
        }));
    }
    for one in &mut all {
        let tried: Vec<&str> = one
            .conditions
            .iter()
            .filter_map(|condition| Some(conditions.get(*condition)?.as_str()))
            .collect();
        if tried.len() < conditions.len() && one.treatment.is_some() {
            one.label = format!("{} ({})", one.label, tried.join("; "));
        }
    }
    all.sort_by(|a, b| match (a.treatment, b.treatment) {
        (Some(a), Some(b)) => {
            let (a, b) = (strength(a), strength(b));
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
        }
        _ => std::cmp::Ordering::Equal,
    });
    all
}

impl Planned {
    /// What became of it, as far as its prompts were to be `asked`.
    pub(super) fn group<'a>(
        &self,
        outcomes: &'a [Option<Outcome>],
        errored: &HashSet<usize>,
        asked: impl Fn(usize) -> bool,
    ) -> Group<'a> {
        let mut group = Group {
            treatment: self.treatment,
            label: self.label.clone(),
            runs: Runs::new(),
            unanswered: Vec::new(),
            conditions: self.conditions.clone(),
        };
        for (block, run) in self.trials.iter().filter(|(block, _)| asked(block.prompt)) {
            match outcomes.get(*run) {
                Some(Some(outcome)) => {
                    group.runs.insert(*block, outcome);
                }
                _ => group.unanswered.push((block.prompt, errored.contains(run))),
            }
        }
        group
    }
}

fn label(treatment: Treatment, off: f64) -> String {
    match treatment.window {
        _ if treatment.level == off => format!("{off} (off)"),
        None => treatment.level.to_string(),
        Some(0) => format!("{}; all", treatment.level),
        Some(window) => format!("{}; {window}", treatment.level),
    }
}

/// The condition that loops most at the weakest setting; of equal ones the first.
pub(super) fn focus(groups: &[Group<'_>], conditions: usize) -> usize {
    let looped = |outcome: &Outcome| Some(outcome.looped.is_some());
    most(0..conditions, |condition| {
        groups.first().map_or(0.0, |group| {
            let runs = group.runs.iter();
            let of_condition = runs.filter(|(block, _)| block.condition == condition);
            by_prompt(of_condition, looped).total().value()
        })
    })
}

/// How alike runs of one prompt are, where it can be seen best: at the setting whose loop rate is
/// nearest to a half. If it cannot be seen at all, runs of one prompt count as one.
pub(super) fn correlation(groups: &[Group<'_>]) -> f64 {
    let looped = |outcome: &Outcome| Some(outcome.looped.is_some());
    let clusters = groups
        .iter()
        .map(|group| by_prompt(group.runs.iter(), looped));
    let known = clusters.filter_map(|clusters| {
        let from_half = (clusters.total().value() - 0.5).abs();
        Some((from_half, clusters.correlation()?))
    });
    known
        .min_by(|(a, _), (b, _)| a.total_cmp(b))
        .map_or(1.0, |(_, correlation)| correlation)
}
