//! One setting over all its runs: how often it looped, when, of what kind, and what it cost.
//!
//! It describes one setting. Comparing it with another is the neighbour `comparison`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::comparison::{Comparison, QualityChange};
use super::course::Decision;
use super::distortion::DistortionSummary;
use super::group::{Block, Group, Runs};
use super::outcome::Outcome;
use super::point::Treatment;
use crate::statistics::{
    CONFIDENCE, Clusters, Interval, Looks, Observation, Share, Survival, kaplan_meier,
};

/// How counts of runs are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    /// How alike runs of one prompt are.
    pub(super) correlation: f64,
    /// The look at which it is done, if the sweep is adaptive.
    pub(super) look: Option<(&'a Looks, usize)>,
}

impl Reading<'_> {
    fn interval(self, clusters: &Clusters) -> Interval {
        match self.look {
            Some((looks, look)) => looks.interval(look, clusters, self.correlation, CONFIDENCE),
            None => clusters.interval(self.correlation, CONFIDENCE),
        }
    }
}

/// A rate over runs of several prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The counts.
    pub share: Share,
    /// The 95 % interval, Wilson's over the effective number of runs; in an adaptive sweep one that
    /// allows for all looks.
    pub interval: Interval,
    /// How many runs of different prompts these are worth.
    pub effective_runs: f64,
}

impl Rate {
    /// The rate of what `hit` finds; runs for which it has no answer are left out.
    pub(super) fn of<'a>(
        runs: impl Iterator<Item = (&'a Block, &'a &'a Outcome)>,
        reading: Reading<'_>,
        hit: impl Fn(&Outcome) -> Option<bool>,
    ) -> Self {
        let clusters = by_prompt(runs, hit);
        Self {
            share: clusters.total(),
            interval: reading.interval(&clusters),
            effective_runs: clusters.effective_trials(reading.correlation, CONFIDENCE),
        }
    }
}

/// The counts for each prompt.
pub(super) fn by_prompt<'a>(
    runs: impl Iterator<Item = (&'a Block, &'a &'a Outcome)>,
    hit: impl Fn(&Outcome) -> Option<bool>,
) -> Clusters {
    let mut counts: BTreeMap<usize, Share> = BTreeMap::new();
    for (block, outcome) in runs {
        if let Some(hit) = hit(outcome) {
            counts.entry(block.prompt).or_default().count(hit);
        }
    }
    Clusters::new(counts.into_values())
}

/// A run in the raster of onsets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunMark {
    /// The number of the prompt.
    pub prompt: usize,
    /// Generated tokens.
    pub tokens: usize,
    /// Where the loop began, and its period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_at: Option<(usize, usize)>,
    /// Whether the model ended by itself.
    pub ended: bool,
}

/// One setting over all its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreatmentOutcome {
    /// The penalty and its window; `None` if the sweep has none.
    pub treatment: Option<Treatment>,
    /// How people call it, such as `1.05; 20`.
    pub label: String,
    /// Confirmed loops, as all that follows up to `good` under the condition that loops most
    /// without a penalty.
    pub loops: Rate,
    /// Confirmed loops under each condition that it was tried under, if there are several.
    pub by_condition: Vec<(String, Rate)>,
    /// The conditions that it was tried under, if these are not all. If that which loops most is not
    /// among them, what is said of that one is said of the one of these that loops most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only_under: Vec<String>,
    /// Loops and what nearly was one, by kind.
    pub kinds: BTreeMap<String, usize>,
    /// Shares of answers without a loop, by token.
    pub survival: Vec<Survival>,
    /// Tokens of all answers.
    pub tokens: usize,
    /// Of them, those that only repeated.
    pub wasted_tokens: usize,
    /// Answers that were ended because they repeated themselves: without that, the tokens would be
    /// more.
    #[serde(default, skip_serializing_if = "is_none")]
    pub stopped: usize,
    /// Answers that the model ended by itself.
    pub ended: Share,
    /// Answers of which every assertion but those on loops held, if there are such.
    pub good: Option<Rate>,
    /// What it does to healthy text, if that was measured.
    pub distortion: Option<DistortionSummary>,
    /// Loops compared with no penalty, under all conditions.
    pub comparison: Option<Comparison>,
    /// Good answers compared with no penalty, under all conditions.
    pub quality: Option<QualityChange>,
    /// What became of each prompt, under all conditions.
    #[serde(default)]
    pub cells: Vec<Cell>,
    /// Every run under the condition that loops most.
    pub runs: Vec<RunMark>,
    /// How long an adaptive sweep went on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

impl TreatmentOutcome {
    /// Whether it was tried under a condition.
    pub(super) fn was_tried_under(&self, condition: &str) -> bool {
        self.only_under.is_empty() || self.only_under.iter().any(|name| name == condition)
    }

    /// The worst of its rates: a person decodes under one condition, and the setting has to hold
    /// there.
    #[must_use]
    pub fn worst(&self) -> Rate {
        let rates = self.by_condition.iter().map(|(_, rate)| *rate);
        rates
            .filter(|rate| rate.share.of > 0)
            .fold(self.loops, |worst, rate| {
                if rate.interval.high > worst.interval.high {
                    rate
                } else {
                    worst
                }
            })
    }

    /// `conditions` are named if there are several, and `focus` is the one that loops most.
    pub(super) fn of(
        group: &Group<'_>,
        conditions: &[String],
        focus: usize,
        reading: Reading<'_>,
    ) -> Self {
        let (all, tried) = (&group.runs, &group.conditions);
        let looped = |outcome: &Outcome| Some(outcome.looped.is_some());
        let of = |condition: usize| {
            all.iter()
                .filter(move |(block, _)| block.condition == condition)
        };
        let rate = |condition: usize| by_prompt(of(condition), looped).total().value();
        let focus = match tried.contains(&focus) {
            true => focus,
            false => most(tried.iter().copied(), rate),
        };
        let runs: &Runs<'_> = &of(focus)
            .map(|(block, outcome)| (*block, *outcome))
            .collect();
        let observations: Vec<Observation> =
            runs.values().map(|outcome| outcome.observation()).collect();
        let named = || {
            let conditions = conditions.iter().enumerate();
            conditions.filter(|(index, _)| tried.contains(index))
        };
        let partly = tried.len() < conditions.len();
        let judged = runs.values().any(|outcome| outcome.good.is_some());
        let mut ended = Share::default();
        runs.values().for_each(|outcome| ended.count(outcome.ended));
        let wasted = |outcome: &&Outcome| outcome.looped.map_or(0, |looped| looped.wasted);
        Self {
            treatment: group.treatment,
            label: group.label.clone(),
            loops: Rate::of(runs.iter(), reading, looped),
            by_condition: named()
                .map(|(index, name)| (name.clone(), Rate::of(of(index), reading, looped)))
                .collect(),
            only_under: named()
                .filter(|_| partly)
                .map(|(_, name)| name.clone())
                .collect(),
            kinds: kinds(runs),
            survival: kaplan_meier(&observations, CONFIDENCE),
            tokens: runs.values().map(|outcome| outcome.tokens).sum(),
            wasted_tokens: runs.values().map(wasted).sum(),
            stopped: runs.values().filter(|outcome| outcome.stopped).count(),
            ended,
            good: judged.then(|| Rate::of(runs.iter(), reading, |outcome| outcome.good)),
            distortion: None,
            comparison: None,
            quality: None,
            cells: Vec::new(),
            runs: runs
                .iter()
                .map(|(block, outcome)| mark(*block, outcome))
                .collect(),
            decision: None,
        }
    }
}

/// The condition with the highest rate; of equal ones the first.
pub(super) fn most(
    conditions: impl DoubleEndedIterator<Item = usize>,
    rate: impl Fn(usize) -> f64,
) -> usize {
    let worst = conditions
        .rev()
        .max_by(|a, b| rate(*a).total_cmp(&rate(*b)));
    worst.unwrap_or(0)
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

fn mark(block: Block, outcome: &Outcome) -> RunMark {
    RunMark {
        prompt: block.prompt,
        tokens: outcome.tokens,
        loop_at: outcome.looped.map(|looped| (looped.onset, looped.period)),
        ended: outcome.ended,
    }
}

fn kinds(runs: &Runs<'_>) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for outcome in runs.values() {
        let kind = match (outcome.looped, outcome.displaced) {
            (Some(looped), _) => length(looped.period).to_owned(),
            (None, Some(kind)) => format!("unconfirmed, {}", kind.name()),
            (None, None) => continue,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}

/// The lengths of blocks that the detector's thresholds tell apart, by what they usually are.
fn length(period: usize) -> &'static str {
    match period {
        0..=1 => "one token",
        2..=24 => "phrase of 2 to 24 tokens",
        25..=96 => "sentence of 25 to 96 tokens",
        _ => "block of 97 tokens and more",
    }
}
