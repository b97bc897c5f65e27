//! One case as the report shows it: verdict, problems, evidence, and everything around them.
//!
//! It knows what a control is for and says so in words. It does not know the other cases, how
//! text is marked, or HTML.

use serde::Serialize;

use super::filter;
use super::looped::{LoopView, extent, loop_view, main_loop};
use super::numbers::{MISSING, count, micros, rate};
use super::page::Mark;
use super::plot;
use super::repeats::{self, RepeatsView};
use super::ribbon::{Ribbon, ribbon};
use super::settings::{self, SettingRow};
use super::timing::{self, TimingRow};
use super::turns::{Turn, shared, turns};
use crate::assertion::CheckStatus;
use crate::record::{CaseRecord, CaseVerdict, ControlRecord, RunRecord};

/// A check, or another reason why a case failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct CheckView {
    /// Told by its icon; the text is the assertion.
    pub(super) mark: Mark,
    /// File and line of the scenario.
    pub(super) place: String,
    pub(super) message: String,
}

/// What one execution said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ArmView {
    pub(super) turns: Vec<Turn>,
    pub(super) loops: Vec<LoopView>,
    pub(super) ribbons: Vec<Ribbon>,
}

/// The control: what happened without the cure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ControlView {
    pub(super) outcome: Mark,
    /// One line per assertion that had to fail.
    pub(super) checks: Vec<CheckView>,
    pub(super) arm: ArmView,
}

/// How much of a case is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    Full,
    /// The answer alone, cut, and its ribbon.
    Brief,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct CaseView {
    pub(super) anchor: String,
    /// The classes by which filters find it.
    pub(super) classes: String,
    pub(super) id: String,
    pub(super) description: String,
    pub(super) why: String,
    pub(super) place: String,
    pub(super) model: String,
    pub(super) passed: bool,
    pub(super) verdict: Mark,
    /// What is to be said about its quarantine.
    pub(super) excuse: Option<Mark>,
    pub(super) tokens: String,
    pub(super) ttft: String,
    pub(super) decode: String,
    pub(super) finish: String,
    pub(super) loops: Mark,
    pub(super) snapshot: Mark,
    pub(super) control_outcome: Mark,
    /// All runs, where there are several.
    pub(super) repeats: Option<RepeatsView>,
    /// Why it did not pass.
    pub(super) problems: Vec<CheckView>,
    pub(super) checks: Vec<CheckView>,
    /// The turns that run and control have in common.
    pub(super) shared: Vec<Turn>,
    pub(super) run: ArmView,
    pub(super) control: Option<ControlView>,
    pub(super) settings: Vec<SettingRow>,
    pub(super) timings: Vec<TimingRow>,
    /// An SVG element; there is none if nothing was timed.
    pub(super) plot: Option<String>,
    /// Whether the rest is left out.
    pub(super) brief: bool,
}

impl CaseView {
    /// The view of the case that is the `number`-th of its record, from 1.
    pub(super) fn of(case: &CaseRecord, number: usize, detail: Detail) -> Self {
        let view = Self::in_full(case, number);
        match detail {
            Detail::Full => Self {
                plot: plot::timeline(&lanes(case)),
                ..view
            },
            Detail::Brief => view.cut(),
        }
    }

    /// What is left of a case where many are shown. Its control has told its outcome in the table.
    fn cut(self) -> Self {
        let mut run = self.run;
        run.turns.retain(|turn| turn.role == "assistant");
        run.turns.drain(..run.turns.len().saturating_sub(1));
        run.turns.iter_mut().for_each(Turn::cut);
        Self {
            why: String::new(),
            checks: Vec::new(),
            repeats: None,
            shared: Vec::new(),
            control: None,
            settings: Vec::new(),
            timings: Vec::new(),
            brief: true,
            run,
            ..self
        }
    }

    fn in_full(case: &CaseRecord, number: usize) -> Self {
        let conversation = &case.run.conversation;
        let exchanges = &conversation.exchanges;
        let generated = !exchanges.is_empty();
        let control = case.control.as_ref();
        let mut run = ArmView::of(&case.run);
        let mut control_view = control.map(|control| ControlView::of(control, case));
        let mut common = Vec::new();
        if let Some(control) = &mut control_view {
            let count = shared(&run.turns, &control.arm.turns);
            control.arm.turns.drain(..count);
            common.extend(run.turns.drain(..count));
        }
        Self {
            anchor: format!("case-{number}"),
            classes: filter::classes(case),
            id: case.id.clone(),
            description: case.description.clone(),
            why: case.why.clone(),
            place: place(case, case.scenario_line),
            model: case.model.clone(),
            passed: case.verdict == CaseVerdict::Passed,
            verdict: match case.verdict {
                CaseVerdict::Passed => Mark::good("passed"),
                CaseVerdict::Failed => Mark::bad("failed"),
                CaseVerdict::Errored => Mark::warn("could not run"),
            },
            excuse: None,
            tokens: known(generated, count(conversation.output_tokens())),
            ttft: micros(timing::slowest_ttft(conversation)),
            decode: rate(timing::pooled_decode_tps(conversation)),
            finish: exchanges
                .last()
                .map_or(MISSING, |last| last.transcript.finish_reason.as_str())
                .to_owned(),
            loops: repeats::loops(case),
            repeats: repeats::repeats(case),
            snapshot: snapshot_mark(&case.run),
            control_outcome: control.map_or_else(|| Mark::none(MISSING), control_mark),
            problems: problems(case),
            checks: checks(case, &case.run),
            shared: common,
            run,
            control: control_view,
            settings: settings::rows(
                &case.run.sampling,
                control.map(|control| &control.run.sampling),
            ),
            timings: timings(case),
            plot: None,
            brief: false,
        }
    }
}

impl ArmView {
    fn of(run: &RunRecord) -> Self {
        Self {
            turns: turns(run),
            loops: run
                .judgement
                .loops
                .iter()
                .map(|evidence| loop_view(run, evidence))
                .collect(),
            ribbons: ribbons(run),
        }
    }
}

fn ribbons(run: &RunRecord) -> Vec<Ribbon> {
    let exchanges = run.conversation.exchanges.iter().enumerate();
    exchanges
        .filter_map(|(index, exchange)| {
            let mut loops = run.judgement.loops.iter();
            let found = loops.find(|evidence| evidence.exchange == index);
            ribbon(
                index + 1,
                &exchange.transcript,
                found.map(|evidence| &evidence.verdict),
            )
        })
        .collect()
}

impl ControlView {
    fn of(control: &ControlRecord, case: &CaseRecord) -> Self {
        let checks = checks(case, &control.run)
            .into_iter()
            .zip(&control.run.judgement.checks)
            .filter(|(_, check)| control.must_fail.contains(&check.kind))
            .map(|(view, check)| {
                let mark = match check.status {
                    CheckStatus::Failed => Mark::good(format!("{} fails, as it must", check.label)),
                    // Of several assertions of one type, one has to fail.
                    CheckStatus::Passed if !control.held.contains(&check.kind) => {
                        Mark::none(format!("{} holds", check.label))
                    }
                    CheckStatus::Passed => {
                        Mark::bad(format!("{} holds, but had to fail", check.label))
                    }
                };
                CheckView { mark, ..view }
            })
            .collect();
        Self {
            outcome: control_mark(control),
            checks,
            arm: ArmView::of(&control.run),
        }
    }
}

fn known(is_known: bool, text: String) -> String {
    if is_known { text } else { MISSING.to_owned() }
}

fn place(case: &CaseRecord, line: usize) -> String {
    format!("{}:{line}", case.scenario)
}

fn checks(case: &CaseRecord, run: &RunRecord) -> Vec<CheckView> {
    let checks = run.judgement.checks.iter();
    checks
        .map(|check| CheckView {
            mark: match check.status {
                CheckStatus::Passed => Mark::good(&check.label),
                CheckStatus::Failed => Mark::bad(&check.label),
            },
            place: match &check.file {
                Some(file) => format!("{file}:{}", check.line),
                None => place(case, check.line),
            },
            message: check.message.clone(),
        })
        .collect()
}

/// Everything that kept the case from passing, the worst first.
fn problems(case: &CaseRecord) -> Vec<CheckView> {
    let problem = |mark, message: &str| CheckView {
        mark,
        place: place(case, case.scenario_line),
        message: message.to_owned(),
    };
    let mut problems = Vec::new();
    if let Some(error) = &case.run.error {
        problems.push(problem(Mark::warn("the target could not answer"), error));
    }
    // What the assertions say of a run that broke off is no news.
    if case.run.error.is_none() {
        let failed = checks(case, &case.run);
        problems.extend(failed.into_iter().filter(|check| check.mark.tone == "bad"));
    }
    if let Some(control) = &case.control {
        if let Some(error) = &control.run.error {
            problems.push(problem(
                Mark::warn("the target could not answer the control"),
                error,
            ));
        }
        for kind in control.held.iter().filter(|_| control.run.error.is_none()) {
            problems.push(problem(
                Mark::bad(format!("control: {kind} holds")),
                "It had to fail without the cure. As it holds either way, this test would not \
                 notice if the cure were lost.",
            ));
        }
    }
    problems
}

fn snapshot_mark(run: &RunRecord) -> Mark {
    let mut snapshots = run
        .judgement
        .checks
        .iter()
        .filter(|check| check.kind == "snapshot");
    match snapshots.next().map(|check| check.status) {
        _ if run.error.is_some() => Mark::none(MISSING),
        Some(CheckStatus::Passed) => Mark::good("equal"),
        Some(CheckStatus::Failed) => Mark::bad("not equal"),
        None => Mark::none(MISSING),
    }
}

/// Whether the control did its work, in words that stand under "without the cure".
fn control_mark(control: &ControlRecord) -> Mark {
    if control.run.error.is_some() {
        return Mark::warn("could not run");
    }
    if !control.held.is_empty() {
        return Mark::bad(format!("does not fail: {} holds", control.held.join(", ")));
    }
    if control.must_fail.is_empty() {
        return Mark::none("nothing has to fail");
    }
    let must_loop = control.must_fail.iter().any(|kind| kind == "not-loop");
    match main_loop(&control.run) {
        Some(evidence) if must_loop => {
            Mark::good(format!("loops, as it must: {}", extent(evidence)))
        }
        _ => Mark::good(format!(
            "fails, as it must: {}",
            control.must_fail.join(", ")
        )),
    }
}

fn timings(case: &CaseRecord) -> Vec<TimingRow> {
    let mut rows = timing::rows("run", &case.run.conversation);
    if let Some(control) = &case.control {
        rows.extend(timing::rows("control", &control.run.conversation));
    }
    rows
}

fn lanes(case: &CaseRecord) -> Vec<plot::Lane> {
    let control = case.control.iter();
    std::iter::once(plot::Lane::of("run", &case.run))
        .chain(control.map(|control| plot::Lane::of("control", &control.run)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn views() -> Vec<CaseView> {
        let record = fixture::record();
        record
            .cases
            .iter()
            .zip(1..)
            .map(|(case, number)| CaseView::of(case, number, Detail::Full))
            .collect()
    }

    #[test]
    fn a_row_of_the_table_says_it_all() {
        let rows: Vec<String> = views()
            .iter()
            .map(|view| {
                let mark = |mark: &Mark| format!("{}{}", mark.icon, mark.text);
                [
                    mark(&view.verdict),
                    view.tokens.clone(),
                    view.ttft.clone(),
                    view.decode.clone(),
                    view.finish.clone(),
                    mark(&view.loops),
                    mark(&view.snapshot),
                    mark(&view.control_outcome),
                ]
                .join(" | ")
            })
            .collect();
        insta::assert_snapshot!(rows.join("\n"), @r"
        ✓passed | 181 | 237 ms | 121 tok/s | stop | none | ✓equal | ✓loops, as it must: 40 tokens × 15.3
        ✗failed | 934 | 107 ms | 110 tok/s | length | 35 tokens × 26.3 | – | ✓loops, as it must: 12 tokens × 44
        ✗failed | 38 | 105 ms | 123 tok/s | stop | none | ✗not equal | –
        ✗failed | 22 | 104 ms | 123 tok/s | stop | none | – | ✗does not fail: not-loop holds
        !could not run | – | – | – | – | – | – | –
        ✓passed | 33 | 103 ms | 123 tok/s | stop | none | – | –
        ");
    }

    #[test]
    fn problems_name_assertion_and_line() {
        let lines: Vec<String> = views()
            .iter()
            .flat_map(|view| &view.problems)
            .map(|problem| {
                format!(
                    "{} {} {}",
                    problem.mark.icon, problem.mark.text, problem.place
                )
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        ✗ not-loop scenarios/option-list.yaml:31
        ✗ finish-reason stop scenarios/option-list.yaml:32
        ✗ snapshot scenarios/explanations.yaml:16
        ✗ control: not-loop holds scenarios/explanations.yaml:19
        ! the target could not answer scenarios/tools.yaml:8
        ");
    }

    #[test]
    fn a_loop_is_told_with_its_numbers_and_what_it_cost() {
        let view = views().remove(1);
        let evidence = &view.run.loops[0];
        let facts: Vec<String> = evidence
            .facts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        insta::assert_snapshot!(format!("{}: {}", evidence.title, facts.join(", ")), @"Loop confirmed: period 35 tokens, copies 26.3, onset token 14, detected token 253, wasted 885 tokens, 8.1 s");
        assert!(
            evidence.fragment.starts_with("\\n- `--größe`"),
            "{}",
            evidence.fragment
        );
    }

    #[test]
    fn a_control_that_holds_or_cannot_run_is_no_proof() {
        let mut case = fixture::record().cases.remove(0);
        let control = case.control.as_mut().expect("has a control");
        control.held = vec!["not-loop".to_owned()];
        assert_eq!(
            control_mark(control),
            Mark::bad("does not fail: not-loop holds")
        );
        control.must_fail = vec!["contains".to_owned()];
        control.held.clear();
        assert_eq!(
            control_mark(control),
            Mark::good("fails, as it must: contains")
        );
        control.run.error = Some("gone".to_owned());
        assert_eq!(control_mark(control), Mark::warn("could not run"));
        let problems = problems(&case);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "gone");
    }
}
