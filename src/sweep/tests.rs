//! Sweeps with invented outcomes, from the axes to the recommendation.

use std::collections::HashSet;
use std::path::Path;

use super::*;
use crate::generation::{SamplingParams, SamplingSettings};
use crate::plan::{self, Case, Overrides};
use crate::scenario::Scenario;

pub(super) fn prompts(many: usize) -> Vec<Case> {
    let tests: String = (0..many)
        .map(|at| format!("  - {{id: p{at}, user: hello {at}, assert: [{{type: not-loop}}]}}\n"))
        .collect();
    let text = format!("version: 1\ndescription: Prompts\nwhy: For a sweep\ntests:\n{tests}");
    let scenario = Scenario::parse(Path::new("s.yaml"), &text).expect("a scenario");
    plan::expand(
        &[scenario],
        &Overrides::default(),
        &SamplingSettings::default(),
    )
    .expect("cases")
}

/// Sweeps over axes, where `loops` says what becomes of a prompt with some parameters.
fn sweep(axes: &[&str], many: usize, loops: impl Fn(usize, &SamplingParams) -> bool) -> Analysis {
    let axes = axes.iter().map(|axis| Axis::parse(axis).expect("an axis"));
    let space = Space::Axes(axes.collect(), Arrangement::Grid);
    sweep_over(space, many, loops)
}

fn sweep_over(
    space: Space,
    many: usize,
    loops: impl Fn(usize, &SamplingParams) -> bool,
) -> Analysis {
    let mut definition = Definition::over(Vec::new());
    definition.space = space;
    definition.target_rate = 0.1;
    let design = Design::new(&definition, &prompts(many)).expect("a design");
    let of_prompt = |case: &Case| {
        let id = case.id.trim_start_matches("s/p");
        let number = id.split('#').next().and_then(|number| number.parse().ok());
        number.expect("the number of the prompt")
    };
    let outcome = |case: &Case| {
        let looped = loops(of_prompt(case), &case.sampling);
        Some(Outcome {
            tokens: if looped { 400 } else { 80 },
            ended: !looped,
            stopped: false,
            looped: looped.then_some(Looped {
                onset: 50,
                period: 9,
                wasted: 341,
            }),
            displaced: None,
            good: Some(!looped),
        })
    };
    let outcomes: Vec<Option<Outcome>> = design.runs.iter().map(outcome).collect();
    let asked = Asked {
        description: "Which?".to_owned(),
        target_rate: definition.target_rate,
        margin: definition.margin,
        drawn: definition.space.drawn(),
    };
    analyse(&design, &outcomes, &HashSet::new(), &[], &asked)
}

/// Of sixty prompts, every third loops without a penalty, and fewer the stronger it is; a short
/// window helps only some of them.
fn weak_and_strong(prompt: usize, params: &SamplingParams) -> bool {
    let hard = prompt.is_multiple_of(3);
    let cured = params.repetition_penalty >= 1.1 && params.repetition_context_size >= 40;
    let eased = params.repetition_penalty > 1.0 && prompt.is_multiple_of(6);
    hard && !cured && !eased
}

#[test]
fn the_smallest_setting_that_holds_is_recommended_with_its_evidence() {
    let axes = ["penalty=1.0,1.05,1.1,1.2", "window=20,40,64"];
    let found = sweep(&axes, 60, weak_and_strong);
    let setting = Treatment {
        level: 1.1,
        window: Some(40),
    };
    assert_eq!(found.recommendation.verdict, Verdict::Take { setting });
    let labels: Vec<&str> = found.settings.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels[..4], ["1 (off)", "1.05; 20", "1.05; 40", "1.05; 64"]);
    assert_eq!((found.runs, found.missing, found.focus), (60 * 10, 0, None));
    assert!(found.trends.iter().all(TrendFound::falls) && found.trends.len() == 3);
    let taken = &found.settings[labels.iter().position(|l| *l == "1.1; 40").expect("tried")];
    let comparison = taken.comparison.expect("compared");
    assert_eq!(
        (comparison.pairs, comparison.cured, comparison.caused),
        (60, 20, 0)
    );
    assert!(comparison.cures() && taken.quality.expect("judged").non_inferior);
    let baseline = &found.settings[0];
    assert_eq!(
        (baseline.wasted_tokens, baseline.ended.hits),
        (20 * 341, 40)
    );
    assert_eq!(baseline.survival.last().map(|step| step.time), Some(50));
    let advice = found
        .advice
        .iter()
        .find(|advice| advice.purpose == "said to distort");
    assert!(advice.expect("there").settings.is_empty());
}

#[test]
fn a_setting_has_to_hold_under_every_condition() {
    // Greedy answers loop whatever the penalty, sampled ones never.
    let axes = ["penalty=1.0,1.1", "temperature=0.7,0"];
    let found = sweep(&axes, 60, |prompt, params| {
        params.temperature == 0.0 && prompt.is_multiple_of(4)
    });
    assert_eq!(found.focus.as_deref(), Some("temperature 0"));
    assert_eq!(found.recommendation.verdict, Verdict::NotFound);
    assert_eq!(found.settings[0].loops.share.of, 60);
    let rates: Vec<usize> = found.settings[1]
        .by_condition
        .iter()
        .map(|(_, rate)| rate.share.hits)
        .collect();
    assert_eq!(rates, [0, 15]);
}

#[test]
fn a_listed_setting_is_judged_under_the_conditions_that_it_was_listed_with() {
    let points = [
        "penalty=1.1,window=20,temperature=0",
        "penalty=1.2,window=20,temperature=0.7",
    ];
    let points = points.map(|point| Setting::parse(point).expect("a point"));
    let space = Space::listed(points.to_vec()).expect("differ");
    // Greedy answers loop whatever the penalty, sampled ones without one.
    let found = sweep_over(space, 60, |prompt, params| {
        let greedy = params.temperature == 0.0;
        prompt.is_multiple_of(4) && (greedy || params.repetition_penalty == 1.0)
    });
    let rows: Vec<(&str, usize, usize)> = found
        .settings
        .iter()
        .map(|s| (s.label.as_str(), s.loops.share.hits, s.loops.share.of))
        .collect();
    let expected = [
        ("1 (off)", 15, 60),
        ("1.1; 20 (temperature 0)", 15, 60),
        ("1.2; 20 (temperature 0.7)", 0, 60),
    ];
    assert_eq!(rows, expected);
    assert_eq!(found.settings[2].only_under, ["temperature 0.7"]);
    // Compared with the answers without a penalty under the same condition.
    let comparison = found.settings[2].comparison.expect("compared");
    assert_eq!((comparison.pairs, comparison.cured), (60, 15));
    let setting = Treatment {
        level: 1.2,
        window: Some(20),
    };
    assert_eq!(found.recommendation.verdict, Verdict::Take { setting });
    // What was sampled says nothing of greedy answers, which loop first.
    assert_eq!(found.focus.as_deref(), Some("temperature 0"));
    let mut advice = found.advice.iter();
    let prevention = advice.find(|found| found.purpose == "loop prevention");
    let settings = &prevention.expect("a claim").settings;
    assert_eq!(settings, &["1.1; 20 (temperature 0)"]);
}

#[test]
fn an_axis_that_is_no_penalty_is_only_described() {
    let found = sweep(&["temperature=0,0.5,1"], 10, |_, params| {
        params.temperature == 0.0
    });
    assert_eq!(found.recommendation.verdict, Verdict::NotAsked);
    let rows: Vec<(&str, usize)> = found
        .settings
        .iter()
        .map(|setting| (setting.label.as_str(), setting.loops.share.hits))
        .collect();
    assert_eq!(
        rows,
        [
            ("temperature 0", 10),
            ("temperature 0.5", 0),
            ("temperature 1", 0)
        ]
    );
    assert!(found.trends.is_empty() && found.scale.is_none());
}

#[test]
fn an_analysis_survives_json() {
    let found = sweep(&["penalty=1.0,1.1"], 12, weak_and_strong);
    let json = serde_json::to_string(&found).expect("finite");
    assert_eq!(
        serde_json::from_str::<Analysis>(&json).expect("reads back"),
        found
    );
}
