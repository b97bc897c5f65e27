//! Cases on two sides in turn: before, after, then after, before, and so on.
//!
//! Two runs one after the other also differ by what else the machine did meanwhile. Runs in turn
//! share that, and swapping the order takes out what the first of two pays for both.

use std::cell::Cell;

use super::case::{Session, record_of};
use super::judging::together;
use super::slots::Slots;
use super::{RunContext, RunEvent};
use crate::assertion::Repeat;
use crate::plan::Case;
use crate::record::{CaseRecord, RunRecord};

/// A case as each side has it.
#[derive(Debug, Clone)]
pub struct Sides {
    /// As it was.
    pub before: Case,
    /// As it is.
    pub after: Case,
}

/// What both sides said in all pairs of one case.
#[derive(Debug, Clone)]
pub struct InTurn {
    /// As it was.
    pub before: CaseRecord,
    /// As it is.
    pub after: CaseRecord,
}

/// Runs every case on both sides so many times, one run at a time. The pairs of a case are spread
/// over the whole time: every round has one of each. A round before the first warms up and is not
/// kept. `on_pair` is told of each pair that is kept. Controls are not run.
///
/// A case that cannot be answered ends with the pair in which that happened. If the user interrupts,
/// what was measured until then is returned, without half pairs.
///
/// # Errors
/// The number of pairs, if it is too large for a record.
pub async fn in_turn(
    cases: &[Sides],
    context: &RunContext<'_>,
    pairs: usize,
    on_pair: &mut dyn FnMut(&Sides),
) -> Result<Vec<InTurn>, String> {
    let slots = Slots::new(1);
    let silent = |_: RunEvent<'_>| ();
    let mut kept: Vec<(Vec<RunRecord>, Vec<RunRecord>)> = vec![Default::default(); cases.len()];
    'rounds: for round in 0..=pairs {
        for (case, (before, after)) in cases.iter().zip(&mut kept) {
            if failed(before) || failed(after) {
                continue;
            }
            let run = |case| one(case, context, &slots, &silent);
            let pair = if round % 2 == 0 {
                let first = run(&case.before).await;
                first.zip(run(&case.after).await)
            } else {
                let first = run(&case.after).await;
                run(&case.before).await.zip(first)
            };
            let Some(pair) = pair else { break 'rounds };
            let answered = pair.0.error.is_none() && pair.1.error.is_none();
            if round > 0 || !answered {
                before.push(pair.0);
                after.push(pair.1);
                on_pair(case);
            }
        }
    }
    let mut measured = Vec::new();
    for (case, (before, after)) in cases.iter().zip(kept) {
        let sides = side(&case.before, before)?.zip(side(&case.after, after)?);
        measured.extend(sides.map(|(before, after)| InTurn { before, after }));
    }
    Ok(measured)
}

fn failed(runs: &[RunRecord]) -> bool {
    runs.last().is_some_and(|run| run.error.is_some())
}

/// One run of a side; nothing if the user interrupts.
async fn one(
    case: &Case,
    context: &RunContext<'_>,
    slots: &Slots,
    emit: &dyn Fn(RunEvent<'_>),
) -> Option<RunRecord> {
    let session = Session {
        index: case.index,
        case,
        context,
        slots,
        begun: Cell::new(false),
        emit,
    };
    session.run_once(&case.sampling, false).await
}

/// All runs of a side as one case; nothing without runs.
fn side(case: &Case, mut runs: Vec<RunRecord>) -> Result<Option<CaseRecord>, String> {
    if runs.len() < 2 {
        return Ok(runs.pop().map(|run| record_of(case, run, None, None)));
    }
    let repeat = Repeat::new(runs.len(), None)?;
    let both = together(runs, &repeat, case.line);
    Ok(both.map(|(run, repeats)| record_of(case, run, Some(repeats), None)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_util::StreamExt;
    use tokio::sync::watch;

    use super::*;
    use crate::generation::{
        Event, EventKind, FinishReason, GenerateRequest, SamplingSettings, Usage,
    };
    use crate::plan::{Overrides, expand};
    use crate::record::Summary;
    use crate::runner::Targets;
    use crate::scenario::Scenario;
    use crate::snapshot::SnapshotStore;
    use crate::target::{EventStream, Target};

    /// Writes down that it was asked.
    struct Asked(&'static str, Arc<Mutex<String>>);

    impl Target for Asked {
        fn generate(&self, request: GenerateRequest) -> EventStream {
            let first = format!("{:?}", request.prompt).contains("first");
            let case = if first { '1' } else { '2' };
            let order = Arc::clone(&self.1);
            let name = self.0;
            let kind = EventKind::Finished {
                reason: FinishReason::Stop,
                text: String::new(),
                content: None,
                reasoning: None,
                usage: Usage::default(),
            };
            let at = Duration::from_millis(1);
            let answer = async move {
                *order.lock().expect("not poisoned") += &format!("{name}{case}");
                tokio::time::sleep(at).await;
                // Whoever was asked meanwhile stands before the blank.
                *order.lock().expect("not poisoned") += " ";
                Ok(Event { at, kind })
            };
            futures_util::stream::once(answer).boxed()
        }
    }

    fn cases(folder: &std::path::Path, model: &str) -> Vec<Case> {
        let path = folder.join("s.yaml");
        let text = format!(
            "version: 1\ndescription: d\nwhy: w\nmodel: {model}\ntests:\n\
             - {{id: one, prompt: first, assert: [not-loop]}}\n\
             - {{id: two, prompt: second, assert: [not-loop]}}\n"
        );
        std::fs::write(&path, text).expect("written");
        let scenario = Scenario::load(&path).expect("a scenario");
        let overrides = Overrides::parse(&[]).expect("none");
        expand(&[scenario], &overrides, &SamplingSettings::default()).expect("a plan")
    }

    /// sglang PR 39398: a warm-up sent all of its requests at once, whatever the limit.
    #[tokio::test]
    async fn sides_take_turns_and_the_round_that_warms_up_does_not_count() {
        let folder = tempfile::tempdir().expect("a folder");
        let (a, b) = (cases(folder.path(), "a"), cases(folder.path(), "b"));
        let order = Arc::new(Mutex::new(String::new()));
        let mut targets: Targets = BTreeMap::new();
        for (case, name) in [(&a[0], "a"), (&b[0], "b")] {
            targets.insert(case.answerer(), Arc::new(Asked(name, Arc::clone(&order))));
        }
        let (_stop, interrupted) = watch::channel(false);
        let context = RunContext {
            targets: &targets,
            snapshots: &SnapshotStore::new(folder.path()),
            jobs: 1,
            stop_loops: false,
            write_pending: false,
            interrupted,
            may_begin: &|| true,
            earlier: Summary::default(),
        };
        let sides = a.into_iter().zip(b);
        let sides: Vec<Sides> = sides
            .map(|(before, after)| Sides { before, after })
            .collect();
        let mut told = 0;
        let measured = in_turn(&sides, &context, 3, &mut |_| told += 1).await;
        let measured = measured.expect("measured");
        assert_eq!(
            order.lock().expect("not poisoned").trim_end(),
            "a1 b1 a2 b2 b1 a1 b2 a2 a1 b1 a2 b2 b1 a1 b2 a2"
        );
        assert_eq!(told, 6);
        for (one, case) in measured.iter().zip(&sides) {
            assert_eq!(
                (&one.before.id, &one.after.id),
                (&case.before.id, &case.after.id)
            );
            assert_eq!((one.before.runs().len(), one.after.runs().len()), (3, 3));
            assert_eq!(
                (one.before.model.as_str(), one.after.model.as_str()),
                ("a", "b")
            );
        }
    }
}
