//! All outcomes of a sweep together: rates, tests, and one recommendation.
//!
//! It puts the neighbours to work in their order, and holds what a report needs.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::advice::AdviceFound;
use super::cell::cells;
use super::comparison::{Comparison, QualityChange, TrendFound};
use super::course::Course;
use super::design::Design;
use super::distortion::DistortionSummary;
use super::group::{Group, conditions, correlation, focus, planned};
use super::outcome::Outcome;
use super::point::Treatment;
use super::recommendation::{Recommendation, Wanted};
use super::space::Draws;
use super::treatment::TreatmentOutcome;
use crate::statistics::{holm, planning};

/// What an adaptive sweep did without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// Prompts that had been asked at each look; the last number is that of all.
    pub looks: Vec<usize>,
    /// Runs that were planned and not needed.
    pub spared: usize,
}

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
    /// What was not needed, if settings were decided as soon as that was possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<Adaptive>,
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
    let conditions = conditions(design);
    let planned = planned(design, &conditions);
    let course = Course::of(design, outcomes, errored, asked);
    let groups: Vec<Group<'_>> = (planned.iter().enumerate())
        .map(|(at, one)| one.group(outcomes, errored, |prompt| course.asked(at, prompt)))
        .collect();
    let correlation = correlation(&groups);
    let focus = focus(&groups, conditions.len());
    let shown: &[String] = if conditions.len() > 1 {
        &conditions
    } else {
        &[]
    };
    let mut settings: Vec<TreatmentOutcome> = (groups.iter().enumerate())
        .map(|(at, group)| TreatmentOutcome {
            decision: course.decision(at, &planned[at], group),
            ..TreatmentOutcome::of(group, shown, focus, course.reading(at, correlation))
        })
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
    compare(&mut settings, &groups, asked.margin, &course);
    let trends = trends(design, &groups, &course);
    // The trend of an adaptive sweep has the prompts that every setting was asked, however many
    // these turn out to be.
    let power = match &design.schedule {
        Some(_) => None,
        None => power(design, &settings, asked.target_rate),
    };
    let wanted = Wanted {
        target_rate: asked.target_rate,
        margin: asked.margin,
        prompts: design.prompts.len(),
        confidence: course.last_confidence(),
        off: design.off,
    };
    let repetition = matches!(design.scale, Some(("repetition_penalty", _)));
    let focus = conditions
        .get(focus)
        .filter(|_| conditions.len() > 1)
        .cloned();
    let runs = outcomes.iter().flatten().count();
    let missing = course.needed(&planned, |run| outcomes[run].is_none());
    Analysis {
        format: FORMAT,
        description: asked.description.clone(),
        scale: (design.scale).map(|(field, window)| (field.to_owned(), window.map(str::to_owned))),
        drawn: asked.drawn,
        prompts: design.prompts.clone(),
        conditions,
        runs,
        missing,
        adaptive: design.schedule.as_ref().map(|schedule| Adaptive {
            looks: schedule.ends().to_vec(),
            spared: design.runs.len().saturating_sub(runs + missing),
        }),
        recommendation: Recommendation::of(&settings, wanted),
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

/// Compares each setting with the weakest one, which is no penalty wherever that was tried. The
/// pairs are the prompts that both were asked.
fn compare(settings: &mut [TreatmentOutcome], groups: &[Group<'_>], margin: f64, course: &Course) {
    let Some((baseline, others)) = groups.split_first() else {
        return;
    };
    if baseline.treatment.is_none() {
        return;
    }
    for (at, (outcome, group)) in settings.iter_mut().skip(1).zip(others).enumerate() {
        let level = course.quality_level(at + 1);
        outcome.comparison = Comparison::of(&baseline.runs, &group.runs);
        outcome.quality = QualityChange::of(&baseline.runs, &group.runs, margin, level);
    }
    let mut made: Vec<&mut Comparison> = settings
        .iter_mut()
        .filter_map(|outcome| outcome.comparison.as_mut())
        .collect();
    for comparison in &mut made {
        comparison.p = course.over_looks(comparison.p);
        comparison.mcnemar_p = course.over_looks(comparison.mcnemar_p);
    }
    let raw: Vec<f64> = made.iter().map(|comparison| comparison.p).collect();
    for (comparison, adjusted) in made.iter_mut().zip(holm(&raw)) {
        comparison.adjusted_p = adjusted;
    }
}

/// One trend for each window, from no penalty upwards.
fn trends(design: &Design, groups: &[Group<'_>], course: &Course) -> Vec<TrendFound> {
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
    let raw: Vec<f64> = trends
        .iter()
        .map(|found| course.over_looks(found.p))
        .collect();
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
