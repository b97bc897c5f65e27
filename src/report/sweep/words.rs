//! What a sweep showed, in sentences: the recommendation, its evidence, and its limits.
//!
//! The same sentences stand on the terminal, in Markdown and on the page.

use serde::Serialize;

use std::collections::BTreeSet;

use crate::sweep::{
    Adaptive, AdviceFound, Analysis, Draws, Rate, Treatment, TreatmentOutcome, Verdict,
};

/// The sentences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Words {
    /// `good`, `warn` or `bad`.
    pub tone: &'static str,
    /// The recommendation in one sentence.
    pub headline: String,
    /// What it rests on.
    pub evidence: Vec<String>,
    /// What it does not say.
    pub limits: Vec<String>,
    /// How the usual advice fares.
    pub advice: Vec<String>,
}

/// Puts an analysis into words.
#[must_use]
pub fn words(analysis: &Analysis) -> Words {
    let (tone, headline) = headline(analysis);
    Words {
        tone,
        headline,
        evidence: evidence(analysis),
        limits: limits(analysis),
        advice: analysis.advice.iter().map(advice).collect(),
    }
}

/// A share in percent, with as many digits as it needs.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        p if p == 0.0 || p >= 9.95 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// A probability as tests report it.
pub(super) fn chance(p: f64) -> String {
    if p < 0.001 {
        return "p < 0.001".to_owned();
    }
    format!("p = {p:.3}")
}

pub(super) fn window_name(window: Option<usize>) -> String {
    match window {
        None => "all windows".to_owned(),
        Some(0) => "no window limit".to_owned(),
        Some(tokens) => format!("window {tokens}"),
    }
}

/// `3 of 96 (3.1 %, 95 % interval 1.1 % to 8.8 %)`.
pub(super) fn rate(rate: &Rate) -> String {
    format!(
        "{} of {} ({}, 95 % interval {} to {})",
        rate.share.hits,
        rate.share.of,
        percent(rate.share.value()),
        percent(rate.interval.low),
        percent(rate.interval.high)
    )
}

/// Where the shown rates hold, behind a number of runs.
pub(super) fn focus(analysis: &Analysis) -> String {
    analysis
        .focus
        .as_ref()
        .map_or(String::new(), |focus| format!(" at {focus}"))
}

/// The setting as a person would set it.
fn named(analysis: &Analysis, setting: Treatment) -> String {
    let (field, window) = match &analysis.scale {
        Some((field, window)) => (field.as_str(), window.as_deref()),
        None => ("setting", None),
    };
    let name = match (window, setting.window) {
        (Some(name), Some(tokens)) => format!("{field} {} with {name} {tokens}", setting.level),
        _ => format!("{field} {}", setting.level),
    };
    match find(analysis, setting).map_or(&[][..], |outcome| &outcome.only_under) {
        [] => name,
        conditions => format!("{name} at {}", conditions.join(" and ")),
    }
}

fn find(analysis: &Analysis, setting: Treatment) -> Option<&TreatmentOutcome> {
    analysis
        .settings
        .iter()
        .find(|outcome| outcome.treatment == Some(setting))
}

/// The setting that the verdict is about, if it is about one.
pub(super) fn subject(analysis: &Analysis) -> Option<&TreatmentOutcome> {
    match analysis.recommendation.verdict {
        Verdict::Take { setting } | Verdict::CostsQuality { setting } => find(analysis, setting),
        Verdict::Inconclusive { candidate, .. } => find(analysis, candidate),
        Verdict::NotNeeded | Verdict::NotFound | Verdict::NotAsked => None,
    }
}

/// The window that curves are shown for: that of the verdict, or the first.
pub(super) fn shown_window(analysis: &Analysis) -> Option<usize> {
    let of_verdict = subject(analysis).and_then(|outcome| outcome.treatment?.window);
    let first = || {
        analysis
            .settings
            .iter()
            .find_map(|outcome| outcome.treatment?.window)
    };
    of_verdict.or_else(first)
}

/// No penalty, and the setting of the verdict or else the strongest one.
pub(super) fn compared_settings(analysis: &Analysis) -> Vec<&TreatmentOutcome> {
    let first = analysis.settings.first();
    let second = subject(analysis).or(analysis.settings.last());
    let mut both: Vec<&TreatmentOutcome> = first.into_iter().chain(second).collect();
    both.dedup_by(|a, b| a.label == b.label);
    both
}

fn headline(analysis: &Analysis) -> (&'static str, String) {
    let target = percent(analysis.recommendation.target_rate);
    let name = |setting| named(analysis, setting);
    match analysis.recommendation.verdict {
        Verdict::Take { setting } => (
            "good",
            format!(
                "Take {}: the smallest setting whose loop rate is below {target} with 95 % confidence",
                name(setting)
            ),
        ),
        Verdict::NotNeeded => (
            "good",
            format!(
                "No penalty is needed: without one the loop rate is below {target} with 95 % confidence"
            ),
        ),
        Verdict::Inconclusive {
            candidate,
            more_prompts,
        } => {
            let more = match more_prompts {
                Some(more) => format!("about {more} more prompts are needed to say so"),
                None => "no number of prompts that can be run would show it".to_owned(),
            };
            (
                "warn",
                format!(
                    "Inconclusive: {} may keep loops below {target}; {more}",
                    name(candidate)
                ),
            )
        }
        Verdict::CostsQuality { setting } => (
            "bad",
            format!(
                "No setting to take: {} brings loops below {target}, but it is not shown that answers stay as good",
                name(setting)
            ),
        ),
        Verdict::NotFound => (
            "bad",
            format!("No setting that was tried brings the loop rate below {target}"),
        ),
        Verdict::NotAsked => (
            "warn",
            "No recommendation: no penalty was swept, or nothing ran".to_owned(),
        ),
    }
}

fn evidence(analysis: &Analysis) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(first) = analysis.settings.first()
        && analysis.scale.is_some()
    {
        if first.by_condition.is_empty() {
            said.push(format!(
                "At {}: {} runs loop.",
                first.label,
                rate(&first.loops)
            ));
        }
        for (condition, found) in &first.by_condition {
            said.push(format!(
                "At {}, {condition}: {} runs loop.",
                first.label,
                rate(found)
            ));
        }
    }
    for found in &analysis.trends {
        let course = match (found.falls(), found.p < 0.05) {
            (true, _) => "loops become fewer as the penalty grows",
            (false, true) => "loops become more as the penalty grows",
            (false, false) => "no trend along the penalty beyond chance",
        };
        let exact = if found.exact {
            "exact"
        } else {
            "by the normal distribution"
        };
        said.push(format!(
            "{}: {course} (trend test, {exact}, {} after Holm).",
            capital(&window_name(found.window)),
            chance(found.p)
        ));
    }
    let Some(outcome) = subject(analysis) else {
        return said;
    };
    if outcome.by_condition.is_empty() {
        said.push(format!(
            "At {}: {} runs loop.",
            outcome.label,
            rate(&outcome.loops)
        ));
    }
    for (condition, found) in &outcome.by_condition {
        said.push(format!(
            "At {}, {condition}: {} runs loop.",
            outcome.label,
            rate(found)
        ));
    }
    if let Some(found) = &outcome.comparison {
        said.push(format!(
            "Of {} pairs of runs with the same prompt and random numbers, the penalty cured {} and \
             caused {} (prompts as units, {} after Holm).",
            found.pairs,
            found.cured,
            found.caused,
            chance(found.adjusted_p)
        ));
    }
    match &outcome.quality {
        Some(found) => said.push(format!(
            "Answers with every other assertion passed: {} by {} of all, and with 95 % confidence {} \
             (at most {} fewer are borne).",
            if found.difference < 0.0 { "fewer" } else { "more" },
            percent(found.difference.abs()),
            match found.lower_bound < 0.0 {
                true => format!("at most {} fewer", percent(-found.lower_bound)),
                false => format!("at least {} more", percent(found.lower_bound)),
            },
            percent(analysis.recommendation.margin)
        )),
        None => said.push(
            "The scenarios assert nothing besides loops, so whether answers stay as good was not judged."
                .to_owned(),
        ),
    }
    if let Some(found) = &outcome.distortion {
        said.push(format!(
            "On healthy text it changes the likeliest token at {} of {} steps (95 % interval {} to \
             {}); mean divergence {:.3} nats.",
            percent(found.flips.value()),
            found.flips.of,
            percent(found.flips_interval.low),
            percent(found.flips_interval.high),
            found.mean_kl
        ));
    }
    said
}

/// The search goes through the penalties of each window once, so that each window has one chance to
/// be wrong; `docs/statistics.md` has how often it is.
fn confidence(analysis: &Analysis) -> String {
    let treatments = analysis.settings.iter().filter_map(|s| s.treatment);
    // Without a penalty there is no window, and where windows differ nothing else has none.
    let windows: BTreeSet<usize> = treatments.filter_map(|t| t.window).collect();
    let one =
        "The loop rate of the chosen setting is above the target with a chance of at most 2.5 %";
    match windows.len() {
        0 | 1 => format!("{one}."),
        several => format!(
            "{one} for each of {several} windows tried, {} in all.",
            percent(0.025 * several as f64)
        ),
    }
}

/// What an adaptive sweep did without, behind the number of its runs; nothing of another one.
#[must_use]
pub fn spared(analysis: &Analysis) -> String {
    let adaptive = analysis.adaptive.as_ref();
    adaptive.map_or(String::new(), |adaptive| {
        format!("; {} more were not needed", adaptive.spared)
    })
}

/// What was not run, and how the looks are paid for.
fn adaptively(analysis: &Analysis, adaptive: &Adaptive) -> [String; 2] {
    let settings = &analysis.settings;
    let early = |outcome: &&TreatmentOutcome| outcome.decision.is_some_and(|d| d.spared > 0);
    let early = settings.iter().filter(early).count();
    let planned = analysis.runs + analysis.missing + adaptive.spared;
    let looks = adaptive.looks.iter().map(ToString::to_string);
    let looks = looks.collect::<Vec<_>>().join(", ");
    [
        format!(
            "Settings were looked at when {looks} prompts had been asked: {early} of {} were decided \
             early, which saved {} of {planned} runs.",
            settings.len(),
            adaptive.spared
        ),
        "Intervals, tests and the recommendation allow for all looks. A setting is compared on the \
         prompts that it and no penalty were asked, and trends are over those that every setting was \
         asked."
            .to_owned(),
    ]
}

fn limits(analysis: &Analysis) -> Vec<String> {
    let mut said = vec![format!(
        "It holds for this model and prompts like these {}: {} runs in all.",
        analysis.prompts.len(),
        analysis.runs
    )];
    if let Some(adaptive) = &analysis.adaptive {
        said.extend(adaptively(analysis, adaptive));
    }
    if let Some(focus) = &analysis.focus {
        said.push(format!(
            "Rates and curves are those at {focus}, which loops most; tests, quality and the \
             recommendation are over all of: {}.",
            analysis.conditions.join("; ")
        ));
    }
    if analysis.settings.iter().any(|s| !s.only_under.is_empty()) {
        said.push(
            "Settings with a condition in brackets were tried under no other: they are judged by it \
             alone, and drawings leave out those that were not tried where it loops most."
                .to_owned(),
        );
    }
    if analysis.settings.iter().any(|outcome| outcome.stopped > 0) {
        said.push(
            "Answers were ended once their loop was confirmed. That changes neither which loop nor \
             where they begin; tokens and wasted are lower bounds (≥), and assertions judge such an \
             answer as far as it came."
                .to_owned(),
        );
    }
    if let Some(Draws { points, seed }) = analysis.drawn {
        said.push(format!(
            "Of all points of the axes {points} were drawn at random, with the seed {seed}: another \
             one may be better."
        ));
    }
    if let Verdict::Take { .. } = analysis.recommendation.verdict {
        said.push(confidence(analysis));
    }
    if analysis.missing > 0 {
        said.push(format!(
            "{} planned runs have no outcome, because they failed or the sweep was stopped.",
            analysis.missing
        ));
    }
    if let Some(power) = analysis.power {
        let warning = if power < 0.8 { "; that is little" } else { "" };
        said.push(format!(
            "A sweep of this size finds a steady fall to the target with a chance of {}{warning}.",
            percent(power)
        ));
    }
    said.push(
        "Loops are those that the detector confirms: one block token for token, often enough. \
         Loops with changing words are counted apart."
            .to_owned(),
    );
    if analysis
        .settings
        .iter()
        .all(|outcome| outcome.distortion.is_none())
    {
        said.push(
            "Distortion was not measured: it needs the engine of this process and healthy answers."
                .to_owned(),
        );
    }
    said
}

fn advice(found: &AdviceFound) -> String {
    let range = |(low, high): (f64, f64)| {
        if (high - low).abs() < 1e-12 {
            return percent(low);
        }
        format!("{} to {}", percent(low), percent(high))
    };
    let of = match (found.loops, found.flips) {
        (None, _) => "not tried here".to_owned(),
        (Some(loops), None) => format!("{} of runs loop", range(loops)),
        (Some(loops), Some(flips)) => format!(
            "{} of runs loop, and {} of the steps of healthy text change",
            range(loops),
            range(flips)
        ),
    };
    format!("{} ({}): {of}.", capital(&found.purpose), found.claim)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_digits_they_need() {
        let shown = [0.0, 0.0042, 0.099, 0.1, 0.314].map(percent);
        assert_eq!(shown, ["0 %", "0.4 %", "9.9 %", "10 %", "31 %"]);
        assert_eq!(
            (chance(0.0004), chance(0.0416)),
            ("p < 0.001".into(), "p = 0.042".into())
        );
    }
}
