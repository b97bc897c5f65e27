//! What the report says above and around its cases: the verdict in words, and the provenance.
//!
//! It counts the cases itself instead of trusting the record's totals, so that the headline and
//! the table cannot disagree. It does not know HTML.

use serde::Serialize;

use super::case::{CaseView, CheckView, Detail};
use super::filter::{Filter, filters};
use super::numbers::{MISSING, command, count, millis, moment, things};
use super::thresholds::thresholds;
use crate::assertion::Quarantine;
use crate::gate::{Excuse, Gate, Status};
use crate::record::{CaseRecord, CaseVerdict, Provenance, Record};

/// A judgement that is told by its icon and its words, and supported by a colour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mark {
    /// `good`, `bad`, `warn` or `none`; the template makes a colour of it.
    pub(super) tone: &'static str,
    pub(super) icon: &'static str,
    pub(super) text: String,
}

impl Mark {
    pub(super) fn good(text: impl Into<String>) -> Self {
        Self::new("good", "✓", text)
    }

    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new("bad", "✗", text)
    }

    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self::new("warn", "!", text)
    }

    pub(super) fn none(text: impl Into<String>) -> Self {
        Self::new("none", "", text)
    }

    fn new(tone: &'static str, icon: &'static str, text: impl Into<String>) -> Self {
        Self {
            tone,
            icon,
            text: text.into(),
        }
    }
}

/// A named line of the header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// More about the value, less prominent.
    pub(super) detail: String,
}

/// The report of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Page {
    pub(super) verdict: Mark,
    /// What a reader has to know before believing the rest.
    pub(super) notices: Vec<String>,
    pub(super) facts: Vec<Fact>,
    pub(super) command: String,
    /// What groups of runs had to hold.
    pub(super) thresholds: Vec<CheckView>,
    /// How to run each scenario file again, alone.
    pub(super) scenarios: Vec<String>,
    /// In the order of the record.
    pub(super) cases: Vec<CaseView>,
    pub(super) passed: usize,
    /// What the page can be narrowed to.
    pub(super) filters: Vec<Filter>,
}

/// From so many cases on, those that passed are shown in brief, and of the others only so many in
/// full: a page that no browser opens proves nothing. The record has everything.
const MANY_CASES: usize = 60;

impl Page {
    pub(super) fn of(record: &Record) -> Self {
        let many = record.cases.len() > MANY_CASES;
        let mut in_full = 0;
        let numbered = record.cases.iter().zip(1..);
        let cases: Vec<CaseView> = numbered
            .map(|(case, number)| {
                let passed = case.verdict == CaseVerdict::Passed;
                let brief = many && (passed || in_full >= MANY_CASES);
                in_full += usize::from(!brief);
                let detail = if brief { Detail::Brief } else { Detail::Full };
                CaseView {
                    excuse: excuse(case, &record.provenance.started_at),
                    ..CaseView::of(case, number, detail)
                }
            })
            .collect();
        let gate = Gate::of(record);
        Self {
            verdict: headline(record, &gate),
            thresholds: thresholds(&gate),
            notices: notices(record),
            facts: facts(record),
            command: command(&record.provenance.command),
            scenarios: scenarios(record),
            passed: cases.iter().filter(|case| case.passed).count(),
            filters: filters(&record.cases),
            cases,
        }
    }
}

/// What is to be said about the quarantine of a case, if it is in one.
fn excuse(case: &CaseRecord, started_at: &str) -> Option<Mark> {
    let quarantine = case.quarantine.as_ref()?;
    let Quarantine { until, why } = quarantine;
    Some(match Excuse::of(case, started_at)? {
        Excuse::Holds => Mark::warn(format!("in quarantine until {until}: {why}")),
        Excuse::Ended => Mark::bad(format!("its quarantine ended on {until}: {why}")),
        Excuse::NotNeeded => Mark::none(format!("its quarantine until {until} is not needed")),
    })
}

/// The verdict over the run, in words: that of its cases, and of its thresholds.
fn headline(record: &Record, gate: &Gate) -> Mark {
    let cases = headline_of_cases(record, gate.tolerated);
    let verdicts = gate.verdicts.iter();
    let broken = verdicts.filter(|one| one.status == Status::Broken).count();
    let do_not = if broken == 1 { "does" } else { "do" };
    match broken {
        0 => cases,
        _ => Mark::bad(format!(
            "{}, and {} {do_not} not hold",
            cases.text,
            things(broken, "threshold")
        )),
    }
}

/// The verdict over the cases. So many failures are within a threshold that holds, or in quarantine.
fn headline_of_cases(record: &Record, tolerated: usize) -> Mark {
    let with = |verdict| {
        let cases = record.cases.iter();
        cases.filter(|case| case.verdict == verdict).count()
    };
    let (failed, errored) = (with(CaseVerdict::Failed), with(CaseVerdict::Errored));
    let total = record.cases.len();
    let of_total = |part| format!("{} of {}", count(part), things(total, "case"));
    let mark = match (failed, errored) {
        _ if total == 0 => return Mark::warn("No case was run"),
        (0, 0) => Mark::good(format!("{} passed", of_total(total))),
        (0, _) => Mark::warn(format!("{} could not run", of_total(errored))),
        (_, 0) if failed <= tolerated => Mark::good(format!(
            "{} failed, as a threshold or a quarantine allows",
            of_total(failed)
        )),
        (_, 0) => Mark::bad(format!("{} failed", of_total(failed))),
        _ => Mark::bad(format!(
            "{} failed, {} could not run",
            of_total(failed),
            count(errored)
        )),
    };
    if mark.tone == "good" && is_incomplete(record) {
        // What passed so far is no verdict over what was asked for.
        return Mark::warn(format!("{} so far", mark.text));
    }
    mark
}

fn is_incomplete(record: &Record) -> bool {
    record.summary.is_none_or(|summary| summary.not_run > 0)
}

fn notices(record: &Record) -> Vec<String> {
    let mut notices = Vec::new();
    match record.summary {
        None => notices.push(format!(
            "This run was interrupted: its record has no closing line. {} had ended and {} shown; \
             the others are unknown.",
            things(record.cases.len(), "case"),
            if record.cases.len() == 1 { "is" } else { "are" },
        )),
        Some(summary) if summary.not_run > 0 => notices.push(format!(
            "This run was stopped early: {} not run.",
            match summary.not_run {
                1 => "1 selected case was".to_owned(),
                many => format!("{} selected cases were", count(many)),
            }
        )),
        Some(_) => {}
    }
    if record.truncated {
        notices.push(
            "The last line of the record was cut short and is left out: the case in flight is \
             lost."
                .to_owned(),
        );
    }
    notices
}

fn facts(record: &Record) -> Vec<Fact> {
    let Provenance {
        format: _,
        tool,
        command: _,
        started_at,
        platform,
        processor,
        threads,
        jobs,
        overrides,
        environment,
        models,
        plan,
    } = &record.provenance;
    let fact = |name, value: String, detail: String| Fact {
        name,
        value,
        detail,
    };
    let duration = match record.summary {
        Some(summary) => millis(summary.wall_ms),
        None => MISSING.to_owned(),
    };
    let (machine, system) = if processor.is_empty() {
        (platform.clone(), String::new())
    } else {
        (processor.clone(), format!("{platform}, "))
    };
    let mut facts = vec![
        fact("When", moment(started_at), String::new()),
        fact("Duration", duration, "model loading included".to_owned()),
        fact("Tool", tool.clone(), String::new()),
        fact(
            "Machine",
            machine,
            format!("{system}{}", things(*threads, "thread")),
        ),
        fact(
            "Together",
            things(*jobs, "conversation"),
            match jobs {
                1 => "each had the machine to itself".to_owned(),
                _ => "at the same time; what judges a time ran alone".to_owned(),
            },
        ),
    ];
    for model in models {
        let sha: String = model.weights_sha256.chars().take(12).collect();
        let detail = match sha.as_str() {
            "" => model.description.clone(),
            sha => format!("{}, weights sha256 {sha}…", model.description),
        };
        facts.push(fact("Model", model.name.clone(), detail));
    }
    for (name, settings, detail) in [
        ("Overrides", overrides, "laid over every scenario"),
        ("Environment", environment, "defaults that it changed"),
    ] {
        if !settings.is_empty() {
            facts.push(fact(name, settings.join(", "), detail.to_owned()));
        }
    }
    if let Some((plan, shard)) = plan.as_ref().and_then(|plan| Some((plan, plan.shard?))) {
        let part = format!("{} of {}", plan.selected.len(), things(plan.total, "case"));
        facts.push(fact("Shard", shard.to_string(), part));
    }
    facts
}

/// The command for each scenario file, in the order of the cases, with what was laid over it.
fn scenarios(record: &Record) -> Vec<String> {
    let provenance = &record.provenance;
    let program = provenance.command.first();
    let program = program.map_or("loopwatch", String::as_str);
    let overrides = provenance.overrides.iter();
    let overrides: Vec<String> = overrides
        .flat_map(|set| ["--set".to_owned(), set.clone()])
        .collect();
    let mut commands = Vec::new();
    for case in &record.cases {
        let mut words = [program, "run", case.scenario.as_str()]
            .map(str::to_owned)
            .to_vec();
        words.extend(overrides.iter().cloned());
        let command = command(&words);
        if !commands.contains(&command) {
            commands.push(command);
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Verdict;
    use crate::record::{PlannedThreshold, Summary};
    use crate::report::fixture;

    fn headline_of(verdicts: &[CaseVerdict], summary: Option<Summary>) -> String {
        let mut record = fixture::record();
        let template = record.cases[0].clone();
        record.summary = summary;
        record.cases = verdicts
            .iter()
            .map(|verdict| crate::record::CaseRecord {
                verdict: *verdict,
                ..template.clone()
            })
            .collect();
        let mark = headline(&record, &Gate::default());
        format!("{} {}", mark.tone, mark.text)
    }

    #[test]
    fn the_verdict_is_told_in_words() {
        use CaseVerdict::{Errored, Failed, Passed};
        let done = Some(Summary::default());
        for (verdicts, expected) in [
            (vec![Passed], "good 1 of 1 case passed"),
            (vec![Passed, Passed], "good 2 of 2 cases passed"),
            (vec![Passed, Failed], "bad 1 of 2 cases failed"),
            (vec![Passed, Errored], "warn 1 of 2 cases could not run"),
            (
                vec![Failed, Errored],
                "bad 1 of 2 cases failed, 1 could not run",
            ),
            (vec![], "warn No case was run"),
        ] {
            assert_eq!(headline_of(&verdicts, done), expected);
        }
    }

    #[test]
    fn a_threshold_changes_the_verdict_of_the_cases() {
        let mut record = fixture::record();
        record
            .cases
            .retain(|case| case.verdict == CaseVerdict::Failed);
        let verdict = |status| Verdict {
            planned: PlannedThreshold {
                metric: "pass".to_owned(),
                expression: "rate >= 0.5".to_owned(),
                tag: None,
                scenario: "s.yaml".to_owned(),
                file: None,
                line: 7,
                column: 3,
                cases: Vec::new(),
            },
            status,
            fact: "0.600 (3 of 5 runs)".to_owned(),
        };
        let shown = |tolerated, status| {
            let verdicts = vec![verdict(status)];
            let mark = headline(
                &record,
                &Gate {
                    verdicts,
                    tolerated,
                    quarantined: 0,
                },
            );
            format!("{} {}", mark.tone, mark.text)
        };
        assert_eq!(
            shown(3, Status::Held),
            "good 3 of 3 cases failed, as a threshold or a quarantine allows"
        );
        assert_eq!(shown(2, Status::Held), "bad 3 of 3 cases failed");
        assert_eq!(shown(0, Status::NotJudged), "bad 3 of 3 cases failed");
        assert_eq!(
            shown(0, Status::Broken),
            "bad 3 of 3 cases failed, and 1 threshold does not hold"
        );
        let lines = thresholds(&Gate {
            verdicts: vec![verdict(Status::Broken), verdict(Status::NotJudged)],
            tolerated: 0,
            quarantined: 0,
        });
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("{} {} {}", line.mark.icon, line.mark.text, line.place))
            .collect();
        assert_eq!(
            lines,
            [
                "✗ pass rate >= 0.5 s.yaml:7",
                "! pass rate >= 0.5: not judged s.yaml:7"
            ]
        );
    }

    #[test]
    fn an_incomplete_run_is_not_praised() {
        let passed = [CaseVerdict::Passed];
        assert_eq!(headline_of(&passed, None), "warn 1 of 1 case passed so far");
        let stopped = Summary {
            not_run: 3,
            ..Summary::default()
        };
        assert_eq!(
            headline_of(&passed, Some(stopped)),
            "warn 1 of 1 case passed so far"
        );
        let mut record = fixture::record();
        record.summary = Some(stopped);
        assert_eq!(
            notices(&record),
            ["This run was stopped early: 3 selected cases were not run."]
        );
        record.summary = None;
        record.truncated = true;
        let shown = notices(&record);
        assert_eq!(shown.len(), 2);
        assert!(
            shown[0].starts_with("This run was interrupted"),
            "{shown:?}"
        );
    }

    #[test]
    fn the_header_says_what_ran_where() {
        let page = Page::of(&fixture::record());
        let lines: Vec<String> = page
            .facts
            .iter()
            .map(|fact| format!("{}: {} ({})", fact.name, fact.value, fact.detail))
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        When: 2025-11-24 08:27:11 UTC ()
        Duration: 1 min 12 s (model loading included)
        Tool: loopwatch 0.1.0 ()
        Machine: AMD EPYC 9B14 (linux x86_64, 2 threads)
        Together: 16 conversations (at the same time; what judges a time ran alone)
        Model: builtin:readme (llama, 5.5 M parameters, 4 bit, weights sha256 0123456789ab…)
        Overrides: sampling.max_tokens=400 (laid over every scenario)
        ");
    }
}
