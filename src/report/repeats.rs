//! The runs of a case that is run several times, in one table; the case itself shows one of them.
//!
//! It knows runs. Why they pass or fail together is a check of the case.

use serde::Serialize;

use super::looped::{loop_mark, main_loop};
use super::numbers::{MISSING, count, micros, rate, things};
use super::page::Mark;
use super::timing;
use crate::record::{CaseRecord, RunRecord};

/// Characters of an answer that are shown.
const ANSWER_CHARS: usize = 160;

/// All runs of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RepeatsView {
    /// What they come to.
    pub(super) title: String,
    pub(super) rows: Vec<RunRow>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RunRow {
    /// From 1.
    pub(super) number: usize,
    /// Whether it is the one that the case shows.
    pub(super) shown: bool,
    pub(super) verdict: Mark,
    pub(super) seed: String,
    pub(super) tokens: String,
    pub(super) ttft: String,
    pub(super) decode: String,
    pub(super) finish: String,
    pub(super) loops: Mark,
    /// What did not hold, or why there is no answer.
    pub(super) problem: String,
    /// The beginning of the last answer.
    pub(super) answer: String,
}

/// The runs of a case; nothing where there is one.
pub(super) fn repeats(case: &CaseRecord) -> Option<RepeatsView> {
    let repeats = case.repeats.as_ref()?;
    let runs = case.runs();
    let all = runs.len();
    Some(RepeatsView {
        title: format!(
            "{} of {} passed; {} must",
            count(repeats.passed),
            things(all, "run"),
            repeats.reduce
        ),
        rows: runs
            .into_iter()
            .enumerate()
            .map(|(at, run)| RunRow::of(at, at == repeats.shown.min(all - 1), run))
            .collect(),
    })
}

/// How many of a case's runs loop, or the loop of its only one.
pub(super) fn loops(case: &CaseRecord) -> Mark {
    let runs = case.runs();
    let looping = runs.iter().filter(|run| main_loop(run).is_some()).count();
    match runs.len() {
        2.. if looping > 0 => Mark::none(format!(
            "{} of {}",
            count(looping),
            things(runs.len(), "run")
        )),
        _ => loop_mark(&case.run),
    }
}

impl RunRow {
    fn of(at: usize, shown: bool, run: &RunRecord) -> Self {
        let conversation = &run.conversation;
        // The check over all runs is not about this one.
        let failures = run.judgement.failures();
        let failed: Vec<&str> = failures
            .filter(|check| check.kind != "repeat")
            .map(|check| check.label.as_str())
            .collect();
        let last = conversation.exchanges.last();
        let answer = conversation.answer();
        Self {
            number: at + 1,
            shown,
            verdict: match &run.error {
                Some(_) => Mark::warn("could not run"),
                None if failed.is_empty() => Mark::good("passed"),
                None => Mark::bad("failed"),
            },
            seed: run
                .sampling
                .seed
                .map_or(MISSING.to_owned(), |seed| seed.to_string()),
            tokens: last.map_or(MISSING.to_owned(), |_| count(conversation.output_tokens())),
            ttft: micros(timing::slowest_ttft(conversation)),
            decode: rate(timing::pooled_decode_tps(conversation)),
            finish: last
                .map_or(MISSING, |last| last.transcript.finish_reason.as_str())
                .to_owned(),
            loops: loop_mark(run),
            problem: run.error.clone().unwrap_or_else(|| failed.join(", ")),
            answer: match answer.char_indices().nth(ANSWER_CHARS) {
                Some((end, _)) => format!("{}…", answer.get(..end).unwrap_or(answer)),
                None => answer.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Repeats;
    use crate::report::fixture;

    /// The first case of the fixture, run three times: well, with the loop of the second case, and
    /// not at all.
    fn repeated() -> CaseRecord {
        let mut cases = fixture::record().cases;
        let mut gone = cases[0].run.clone();
        gone.error = Some("the line broke".to_owned());
        let looped = cases[1].run.clone();
        let mut case = cases.remove(0);
        case.repeats = Some(Repeats {
            reduce: "all".to_owned(),
            passed: 1,
            shown: 1,
            others: vec![looped, gone],
        });
        case
    }

    #[test]
    fn every_run_has_its_row_in_order() {
        let view = repeats(&repeated()).expect("repeats");
        assert_eq!(view.title, "1 of 3 runs passed; all must");
        let rows = view.rows.iter().map(|row| {
            let shown = if row.shown { "*" } else { " " };
            let answer: String = row.answer.chars().take(12).collect();
            format!(
                "{}{shown} {}{} {} {} {} [{}] {answer:?}",
                row.number,
                row.verdict.icon,
                row.verdict.text,
                row.tokens,
                row.finish,
                row.loops.text,
                row.problem
            )
        });
        insta::assert_snapshot!(rows.collect::<Vec<_>>().join("\n"), @r#"
        1  ✗failed 934 length 35 tokens × 26.3 [not-loop, finish-reason stop] "The program "
        2* ✓passed 181 stop none [] "Tidepool is "
        3  !could not run 181 stop none [the line broke] "Tidepool is "
        "#);
        assert_eq!(loops(&repeated()).text, "1 of 3 runs");
    }

    #[test]
    fn a_case_that_is_run_once_has_no_table() {
        let case = fixture::record().cases.remove(1);
        assert_eq!(repeats(&case), None);
        assert_eq!(loops(&case), loop_mark(&case.run));
    }
}
