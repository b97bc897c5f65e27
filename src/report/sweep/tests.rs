//! The words, the table, the drawings and the page of an invented sweep.

use std::collections::BTreeMap;

use super::*;
use crate::report::fixture;
use crate::statistics::{Interval, Observation, Share, kaplan_meier, wilson};
use crate::sweep::{
    Cell, DistortionSummary, Rate, Recommendation, RunMark, Treatment, TreatmentOutcome, Verdict,
};

fn setting(level: f64, window: Option<usize>, hits: usize) -> TreatmentOutcome {
    let share = Share { hits, of: 60 };
    let looped = |at: usize| at < hits;
    let observations: Vec<Observation> = (0..60)
        .map(|at| Observation {
            time: 20 + at,
            event: looped(at),
        })
        .collect();
    let run = |at: usize| RunMark {
        prompt: at,
        tokens: if looped(at) { 300 } else { 90 },
        loop_at: looped(at).then_some((20 + at, 9)),
        ended: !looped(at),
    };
    TreatmentOutcome {
        treatment: Some(Treatment { level, window }),
        label: match window {
            None => "1 (off)".to_owned(),
            Some(window) => format!("{level}; {window}"),
        },
        loops: Rate {
            share,
            interval: wilson(hits as f64, 60.0, 0.95),
            effective_runs: 60.0,
        },
        by_condition: Vec::new(),
        only_under: Vec::new(),
        kinds: BTreeMap::from([("one token".to_owned(), hits)]),
        survival: kaplan_meier(&observations, 0.95),
        tokens: 9_000,
        wasted_tokens: 10 * hits,
        stopped: 0,
        ended: share,
        good: None,
        distortion: Some(DistortionSummary {
            texts: 30,
            flips: Share {
                hits: (100.0 * (level - 1.0)) as usize,
                of: 2_000,
            },
            flips_interval: Interval {
                low: 0.0,
                high: level - 0.9,
            },
            mean_kl: level - 1.0,
            p99_kl: level,
            mean_total_variation: 0.0,
            mean_eos_gain: 0.0,
        }),
        comparison: None,
        quality: None,
        cells: (0..60).map(|at| cell(at, looped(at), hits)).collect(),
        runs: (0..60).map(run).collect(),
        decision: None,
    }
}

/// The first prompts loop; the last one always fails, and the one before it passes everywhere.
fn cell(prompt: usize, looped: bool, hits: usize) -> Cell {
    let failed = prompt == 59;
    Cell {
        prompt,
        looped: usize::from(looped),
        failed: usize::from(failed),
        passed: usize::from(!looped && !failed),
        different: usize::from(!looped && prompt < 24 && hits < 24),
        ..Cell::default()
    }
}

fn analysis(verdict: Verdict) -> Analysis {
    Analysis {
        format: 1,
        description: "Which <penalty>?".to_owned(),
        scale: Some((
            "repetition_penalty".to_owned(),
            Some("repetition_context_size".to_owned()),
        )),
        drawn: None,
        adaptive: None,
        prompts: (0..60).map(|at| format!("prompts/p{at}")).collect(),
        conditions: vec![String::new()],
        focus: None,
        runs: 300,
        missing: 0,
        settings: vec![
            setting(1.0, None, 24),
            setting(1.1, Some(20), 9),
            setting(1.1, Some(64), 1),
            setting(1.2, Some(20), 2),
            setting(1.2, Some(64), 0),
        ],
        correlation: 0.0,
        trends: Vec::new(),
        power: Some(0.6),
        recommendation: Recommendation {
            verdict,
            target_rate: 0.1,
            margin: 0.1,
        },
        advice: Vec::new(),
    }
}

fn taken() -> Analysis {
    let setting = Treatment {
        level: 1.1,
        window: Some(64),
    };
    analysis(Verdict::Take { setting })
}

#[test]
fn every_verdict_has_its_words() {
    let candidate = Treatment {
        level: 1.2,
        window: Some(64),
    };
    let headlines = [
        taken(),
        analysis(Verdict::NotNeeded),
        analysis(Verdict::Inconclusive {
            candidate,
            more_prompts: Some(14),
        }),
        analysis(Verdict::CostsQuality { setting: candidate }),
        analysis(Verdict::NotFound),
        analysis(Verdict::NotAsked),
    ]
    .map(|analysis| words(&analysis).headline);
    insta::assert_snapshot!(headlines.join("\n"), @r"
    Take repetition_penalty 1.1 with repetition_context_size 64: the smallest setting whose loop rate is below 10 % with 95 % confidence
    No penalty is needed: without one the loop rate is below 10 % with 95 % confidence
    Inconclusive: repetition_penalty 1.2 with repetition_context_size 64 may keep loops below 10 %; about 14 more prompts are needed to say so
    No setting to take: repetition_penalty 1.2 with repetition_context_size 64 brings loops below 10 %, but it is not shown that answers stay as good
    No setting that was tried brings the loop rate below 10 %
    No recommendation: no penalty was swept, or nothing ran
    ");
    let limits = words(&taken()).limits.join("\n");
    assert!(
        limits.contains("with a chance of 60 %; that is little"),
        "{limits}"
    );
    // Window 20 and window 64; no penalty is neither.
    assert!(
        limits.contains("2.5 % for each of 2 windows tried, 5.0 % in all"),
        "{limits}"
    );
}

#[test]
fn every_drawing_names_n_and_its_interval_and_has_no_colour_of_its_own() {
    let drawings = drawings(&taken());
    let names: Vec<&str> = drawings.iter().map(|drawing| drawing.name).collect();
    assert_eq!(
        names,
        ["loop-rate", "heat-map", "pareto", "survival", "onsets"]
    );
    for drawing in &drawings {
        let inline = drawing.inline();
        assert!(!inline.contains('#'), "a colour stayed in {}", drawing.name);
        assert!(inline.starts_with("<svg") && inline.trim_end().ends_with("</svg>"));
        let file = drawing.file();
        assert!(file.contains("prefers-color-scheme: dark") && file.contains("xmlns="));
    }
    for drawing in drawings.iter().filter(|drawing| drawing.name != "onsets") {
        assert!(drawing.caption.contains("60 runs") || drawing.caption.contains("n = "));
        assert!(
            drawing.caption.contains("95 % interval"),
            "{}",
            drawing.caption
        );
    }
}

#[test]
fn the_map_shows_no_penalty_in_every_window() {
    let map = super::heat_map::draw(&taken())
        .expect("two windows")
        .inline();
    assert_eq!(map.matches("\n40 %\n").count(), 2, "{map}");
    assert_eq!(map.matches("\n15 %\n").count(), 1);
}

#[test]
fn the_matrix_has_a_row_for_each_prompt_and_filters_that_count_them() {
    let provenance = fixture::record().provenance;
    let page = html(&taken(), &provenance);
    let table = page
        .split("<table class=\"matrix\"")
        .nth(1)
        .expect("a table");
    let table = table.split("</table>").next().expect("its end");
    let body = table.split("<tbody>").nth(1).expect("a body");
    let rows: Vec<&str> = body.split("<tr").skip(1).collect();
    assert_eq!(rows.len(), 60);
    assert!(rows.iter().all(|row| row.matches("<td").count() == 5));
    // A colour is never alone: each cell has a mark, and a word.
    let count = |text: &str| body.matches(text).count();
    assert_eq!(count("aria-hidden=\"true\">↻<"), 24 + 9 + 1 + 2);
    assert_eq!(count("<td class=\"l\">"), count(">looped<"));
    assert_eq!(count("<td class=\"f\">"), 5);
    assert_eq!(
        count(">passed<") + count(">passed, different from off<"),
        300 - 36 - 5
    );
    // The one that the headline is about is named.
    assert!(table.contains("<th scope=\"col\" class=\"taken\"><span>→ 1.1; 64</span>"));
    for (class, name, prompts) in [
        ("all", "all", 60),
        ("is-bad", "failed, looped or errored", 25),
        ("is-changed", "different from off", 24),
    ] {
        let label = format!("id=\"show-{class}\"");
        let label = page.split(&label).nth(1).expect("a filter");
        let label = label.split("</label>").next().expect("its end");
        assert!(label.ends_with(&format!("{name} <span class=\"note\">{prompts}</span>")));
        let kept = rows.iter().filter(|row| {
            let classes = row.split('"').nth(1).expect("classes");
            classes.split(' ').any(|one| one == class)
        });
        assert_eq!(kept.count(), prompts, "{class}");
        let rule = format!(".by-prompt:has(#show-{class}:checked) tbody tr:not(.{class})");
        assert_eq!(page.contains(&rule), class != "all");
    }
}

#[test]
fn of_too_many_prompts_those_that_always_pass_are_left_out() {
    let mut large = taken();
    large.prompts = (0..2_010).map(|at| format!("prompts/p{at}")).collect();
    for setting in &mut large.settings {
        setting.cells = (0..2_010).map(|at| cell(at, at > 2_000, 0)).collect();
    }
    let page = html(&large, &fixture::record().provenance);
    assert!(page.contains("10 more prompts are in sweep.json."));
    assert!(page.contains("<th scope=\"row\">p2009</th>"));
    assert!(!page.contains("<th scope=\"row\">p2000</th>"));
    assert!(page.len() < 2_500_000, "{} bytes", page.len());
}

#[test]
fn the_page_holds_everything_and_asks_nothing_of_the_network() {
    let provenance = fixture::record().provenance;
    let page = html(&taken(), &provenance);
    for forbidden in [
        "http:", "https:", "src=", "url(", "@import", "<link", "<script",
    ] {
        assert!(!page.contains(forbidden), "the page contains {forbidden}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(page.contains("Which &lt;penalty&gt;?"));
    assert!(page.len() < 400_000, "{} bytes", page.len());
    let text = markdown(&taken(), &provenance);
    assert!(text.starts_with("# Take repetition_penalty 1.1"));
    assert!(
        text.contains("| **1.1; 64** |")
            && text.contains("![Loop rate against penalty](loop-rate.svg)")
    );
}
