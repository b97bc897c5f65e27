//! All outcomes of a sweep together: rates, tests, and one recommendation.
//!
//! It puts the neighbours to work in their order, and holds what a report needs.

use std::collections::{BTreeSet, HashSet};

use serde::{Deserialize, Serialize};

use super::advice::AdviceFound;
use super::cell::cells;
use super::comparison::{Comparison, QualityChange, TrendFound};
use super::design::Design;
use super::distortion::DistortionSummary;
use super::outcome::Outcome;
use super::point::Treatment;
use super::recommendation::{Recommendation, strength};
use super::space::Draws;
use super::treatment::{Block, Group, Runs, TreatmentOutcome, by_prompt, most};
use crate::statistics::{holm, planning};

/// The version of the analysis as JSON.
const FORMAT: u32 = 1;

/// What was asked of the sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// One line.
    pub description: String,
    /// The loop rate that the upper bound must stay below.
    pub target_rate: f64,
    /// How many answers may be lost.
    pub margin: f64,
    /// What was drawn at random, if not everything was tried.
    pub drawn: Option<Draws>,
}

/// Everything that a sweep showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    /// Version of this format.
    pub format: u32,
    /// What was asked, one line.
    pub description: String,
    /// The penalty that was swept, and its window if that was.
    pub scale: Option<(String, Option<String>)>,
    /// What was drawn from the axes at random, if not everything was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<Draws>,
    /// The prompts by their numbers.
    pub prompts: Vec<String>,
    /// Conditions under which each setting was tried, such as `temperature 0.7`.
    pub conditions: Vec<String>,
    /// The one that loops most without a penalty, for which rates and curves are shown; `None` if
    /// there is only one.
    pub focus: Option<String>,
    /// Runs with an outcome.
    pub runs: usize,
    /// Runs that were planned and have none, because they failed or were not reached.
    pub missing: usize,
    /// Every setting, from the weakest to the strongest.
    pub settings: Vec<TreatmentOutcome>,
    /// How alike runs of one prompt are taken to be where no run looped.
    pub correlation: f64,
    /// The trend test for each window.
    pub trends: Vec<TrendFound>,
    /// The chance that this design finds a steady fall from the rate without a penalty to the
    /// target.
    pub power: Option<f64>,
    /// What to take.
    pub recommendation: Recommendation,
    /// How the usual advice fares.
    pub advice: Vec<AdviceFound>,
}

/// Analyses a sweep. `outcomes` has an entry for each run of the design, `errored` the numbers of
/// those whose target could not answer, and `distortion` an entry for each point, where it was
/// measured.
#[must_use]
pub fn analyse(
    design: &Design,
    outcomes: &[Option<Outcome>],
    errored: &HashSet<usize>,
    distortion: &[Option<DistortionSummary>],
    asked: &Asked,
) -> Analysis {
    let mut conditions: Vec<String> = Vec::new();
    for (point, _) in &design.points {
        if design.scale.is_some() && !conditions.contains(&point.condition) {
            conditions.push(point.condition.clone());
        }
    }
    let groups = groups(design, outcomes, errored, &conditions);
    let correlation = correlation(&groups);
    let focus = focus(&groups, conditions.len());
    let shown: &[String] = if conditions.len() > 1 {
        &conditions
    } else {
        &[]
    };
    let mut settings: Vec<TreatmentOutcome> = groups
        .iter()
        .map(|group| TreatmentOutcome::of(group, shown, focus, correlation))
        .collect();
    for ((point, _), summary) in design.points.iter().zip(distortion) {
        let of = |outcome: &&mut TreatmentOutcome| outcome.treatment == point.treatment;
        if let Some(outcome) = settings.iter_mut().find(of) {
            outcome.distortion = outcome.distortion.or(*summary);
        }
    }
    let without = groups.iter().find(|group| {
        let off = |treatment: Treatment| treatment.level == design.off;
        group.treatment.is_some_and(off)
    });
    for (outcome, group) in settings.iter_mut().zip(&groups) {
        outcome.cells = cells(group, without.map(|without| &without.runs));
    }
    compare(&mut settings, &groups, asked.margin);
    let trends = trends(design, &groups);
    let power = power(design, &settings, asked.target_rate);
    let prompts = design.prompts.len();
    let rates = (asked.target_rate, asked.margin);
    let repetition = matches!(design.scale, Some(("repetition_penalty", _)));
    let focus = conditions
        .get(focus)
        .filter(|_| conditions.len() > 1)
        .cloned();
    Analysis {
        format: FORMAT,
        description: asked.description.clone(),
        scale: (design.scale).map(|(field, window)| (field.to_owned(), window.map(str::to_owned))),
        drawn: asked.drawn,
        prompts: design.prompts.clone(),
        conditions,
        runs: outcomes.iter().flatten().count(),
        missing: outcomes.iter().filter(|outcome| outcome.is_none()).count(),
        recommendation: Recommendation::of(&settings, prompts, rates.0, rates.1, design.off),
        advice: match repetition {
            true => AdviceFound::all(&settings, design.off, focus.as_deref()),
            false => Vec::new(),
        },
        focus,
        settings,
        correlation,
        trends,
        power,
    }
}

/// The runs of each setting, over all its conditions; without a scale, of each condition.
fn groups<'a>(
    design: &Design,
    outcomes: &'a [Option<Outcome>],
    errored: &HashSet<usize>,
    conditions: &[String],
) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (point, trials) in &design.points {
        let label = match point.treatment {
            Some(treatment) => label(treatment, design.off),
            None => point.condition.clone(),
        };
        let index = match groups.iter().position(|other| other.label == label) {
            Some(index) => index,
            None => {
                groups.push(Group {
                    treatment: point.treatment,
                    label,
                    runs: Runs::new(),
                    unanswered: Vec::new(),
                    conditions: BTreeSet::new(),
                });
                groups.len() - 1
            }
        };
        let condition = conditions.iter().position(|name| *name == point.condition);
        let condition = condition.unwrap_or(0);
        groups[index].conditions.insert(condition);
        for trial in trials {
            let block = Block {
                prompt: trial.prompt,
                condition,
                seed: trial.seed,
            };
            match outcomes.get(trial.run) {
                Some(Some(outcome)) => {
                    groups[index].runs.insert(block, outcome);
                }
                _ => {
                    let errored = errored.contains(&trial.run);
                    groups[index].unanswered.push((trial.prompt, errored));
                }
            }
        }
    }
    for group in &mut groups {
        let tried: Vec<&str> = group
            .conditions
            .iter()
            .filter_map(|condition| Some(conditions.get(*condition)?.as_str()))
            .collect();
        if tried.len() < conditions.len() && group.treatment.is_some() {
            group.label = format!("{} ({})", group.label, tried.join("; "));
        }
    }
    groups.sort_by(|a, b| match (a.treatment, b.treatment) {
        (Some(a), Some(b)) => {
            let (a, b) = (strength(a), strength(b));
            a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
        }
        _ => std::cmp::Ordering::Equal,
    });
    groups
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
fn focus(groups: &[Group<'_>], conditions: usize) -> usize {
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
fn correlation(groups: &[Group<'_>]) -> f64 {
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

/// Compares each setting with the weakest one, which is no penalty wherever that was tried.
fn compare(settings: &mut [TreatmentOutcome], groups: &[Group<'_>], margin: f64) {
    let Some((baseline, others)) = groups.split_first() else {
        return;
    };
    if baseline.treatment.is_none() {
        return;
    }
    for (outcome, group) in settings.iter_mut().skip(1).zip(others) {
        outcome.comparison = Comparison::of(&baseline.runs, &group.runs);
        outcome.quality = QualityChange::of(&baseline.runs, &group.runs, margin);
    }
    let mut made: Vec<&mut Comparison> = settings
        .iter_mut()
        .filter_map(|outcome| outcome.comparison.as_mut())
        .collect();
    let raw: Vec<f64> = made.iter().map(|comparison| comparison.p).collect();
    for (comparison, adjusted) in made.iter_mut().zip(holm(&raw)) {
        comparison.adjusted_p = adjusted;
    }
}

/// One trend for each window, from no penalty upwards.
fn trends(design: &Design, groups: &[Group<'_>]) -> Vec<TrendFound> {
    let mut windows: Vec<Option<usize>> = Vec::new();
    let treatments = || groups.iter().filter_map(|group| group.treatment);
    for treatment in treatments().filter(|treatment| treatment.level != design.off) {
        if !windows.contains(&treatment.window) {
            windows.push(treatment.window);
        }
    }
    windows.sort_unstable();
    let mut trends: Vec<TrendFound> = windows
        .into_iter()
        .filter_map(|window| {
            let levels = groups.iter().filter_map(|group| {
                let treatment = group.treatment?;
                let belongs = treatment.level == design.off || treatment.window == window;
                belongs.then_some((treatment.level, &group.runs))
            });
            TrendFound::of(window, &levels.collect::<Vec<_>>())
        })
        .collect();
    let raw: Vec<f64> = trends.iter().map(|found| found.p).collect();
    for (found, adjusted) in trends.iter_mut().zip(holm(&raw)) {
        found.p = adjusted;
    }
    trends
}

/// The chance to find a steady fall from the rate of the weakest setting to the target, with as
/// many independent runs as these are worth.
fn power(design: &Design, settings: &[TreatmentOutcome], target: f64) -> Option<f64> {
    design.scale?;
    let baseline = settings.first()?;
    let rate = baseline.loops.share.value();
    let mut levels: Vec<f64> = settings
        .iter()
        .filter_map(|o| Some(o.treatment?.level))
        .collect();
    levels.dedup();
    let steps = levels.len().checked_sub(1).filter(|steps| *steps > 0)? as f64;
    if rate <= target {
        return None;
    }
    let fall = |at: usize| rate + (target - rate) * at as f64 / steps;
    let rates: Vec<f64> = (0..levels.len()).map(fall).collect();
    let runs = baseline.loops.effective_runs.floor() as usize;
    Some(planning::power_of_trend(
        &rates,
        runs,
        super::comparison::ALPHA,
    ))
}
