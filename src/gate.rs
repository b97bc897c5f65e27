//! Holds the thresholds of a plan against the record of its runs, and says which failures are excused.
//!
//! A threshold is judged when every case of its group has run. Pure: a record says the same
//! whenever it is asked. It does not know exit codes, and shows nothing.

use crate::metrics::Timings;
use crate::record::{CaseRecord, CaseVerdict, PlannedThreshold, Record, RunRecord};
use crate::threshold::{Metric, Outcome, Threshold};

/// A threshold, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// As planned.
    pub planned: PlannedThreshold,
    /// How it came out.
    pub status: Status,
    /// The value that was measured, or why there is none.
    pub fact: String,
}

/// How a threshold came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    Held,
    /// It does not hold.
    Broken,
    /// Some of its cases have not run, or could not be asked.
    NotJudged,
}

/// The thresholds of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// In the order of the plan.
    pub verdicts: Vec<Verdict>,
    /// Cases that failed and do not fail the run: they are in quarantine, or belong to a group whose
    /// `pass` threshold holds, which says how many of them may.
    pub tolerated: usize,
    /// Those of them that are in quarantine.
    pub quarantined: usize,
}

/// How a case and its quarantine stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// It failed, and that is excused.
    Holds,
    /// It failed, and the last day is over.
    Ended,
    /// It passes, and needs none.
    NotNeeded,
}

impl Excuse {
    /// That of a case in a run that began at this time; nothing for one that is not in quarantine, or
    /// could not be asked.
    #[must_use]
    pub fn of(case: &CaseRecord, started_at: &str) -> Option<Self> {
        let quarantine = case.quarantine.as_ref()?;
        match case.verdict {
            CaseVerdict::Errored => None,
            CaseVerdict::Passed => Some(Self::NotNeeded),
            CaseVerdict::Failed if quarantine.holds_at(started_at) => Some(Self::Holds),
            CaseVerdict::Failed => Some(Self::Ended),
        }
    }
}

impl Gate {
    /// The thresholds of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let plan = record.provenance.plan.as_ref();
        let planned = plan.map_or(&[][..], |plan| &plan.thresholds);
        let verdicts: Vec<Verdict> = planned.iter().map(|one| judge(one, record)).collect();
        let covered = |case: &&CaseRecord| {
            let mut of_pass = verdicts.iter().filter(|verdict| {
                verdict.planned.metric == Metric::Pass.as_str() && verdict.status == Status::Held
            });
            of_pass.any(|verdict| verdict.planned.cases.contains(&case.id))
        };
        let failed = record.cases.iter();
        let failed = failed.filter(|case| case.verdict == CaseVerdict::Failed);
        let excused = |case: &CaseRecord| {
            Excuse::of(case, &record.provenance.started_at) == Some(Excuse::Holds)
        };
        let (quarantined, others): (Vec<&CaseRecord>, Vec<_>) =
            failed.partition(|case| excused(case));
        Self {
            tolerated: quarantined.len() + others.into_iter().filter(covered).count(),
            quarantined: quarantined.len(),
            verdicts,
        }
    }

    /// Whether one does not hold.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        let mut verdicts = self.verdicts.iter();
        verdicts.any(|verdict| verdict.status == Status::Broken)
    }
}

impl Verdict {
    /// The threshold in words, such as `ttft{slow} p95 < 2000ms`.
    #[must_use]
    pub fn label(&self) -> String {
        let planned = &self.planned;
        let tag = planned
            .tag
            .as_ref()
            .map_or_else(String::new, |tag| format!("{{{tag}}}"));
        let target = planned.cases.first().and_then(|id| id.split_once('@'));
        let target = target.map_or_else(String::new, |(_, target)| format!("@{target}"));
        format!("{}{tag}{target} {}", planned.metric, planned.expression)
    }

    /// The file where it stands.
    #[must_use]
    pub fn file(&self) -> &str {
        self.planned
            .file
            .as_deref()
            .unwrap_or(&self.planned.scenario)
    }
}

fn judge(planned: &PlannedThreshold, record: &Record) -> Verdict {
    let verdict = |status, fact: String| Verdict {
        planned: planned.clone(),
        status,
        fact,
    };
    let threshold = match Threshold::parse(&planned.metric, &planned.expression) {
        Ok(threshold) => threshold,
        Err(error) => return verdict(Status::NotJudged, error.to_string()),
    };
    let ran: Vec<&CaseRecord> = record
        .cases
        .iter()
        .filter(|case| planned.cases.contains(&case.id))
        .filter(|case| case.verdict != CaseVerdict::Errored)
        .collect();
    let all = planned.cases.len();
    if ran.len() < all {
        let fact = format!("{} of its {all} cases have run", ran.len());
        return verdict(Status::NotJudged, fact);
    }
    let samples: Vec<Option<f64>> = ran
        .iter()
        .flat_map(|case| {
            let runs = case.runs().into_iter();
            runs.map(|run| sample(threshold.metric, case, run))
        })
        .collect();
    let Some(samples) = samples.into_iter().collect::<Option<Vec<f64>>>() else {
        let fact = "a run has no time of its first token: let the target stream".to_owned();
        return verdict(Status::NotJudged, fact);
    };
    match threshold.judge(&samples) {
        Outcome::Held(fact) => verdict(Status::Held, fact),
        Outcome::Broken(fact) => verdict(Status::Broken, fact),
        Outcome::TooFew(needed) => {
            let fact = format!("{} runs, and it takes {needed}", samples.len());
            verdict(Status::NotJudged, fact)
        }
    }
}

fn sample(metric: Metric, case: &CaseRecord, run: &RunRecord) -> Option<f64> {
    let exchanges = &run.conversation.exchanges;
    let share = |holds: bool| if holds { 1.0 } else { 0.0 };
    Some(match metric {
        // The check over all runs is not about this one; a control that holds is about each.
        Metric::Pass => {
            let mut failures = run.judgement.failures();
            let held = case
                .control
                .as_ref()
                .is_some_and(|control| !control.held.is_empty());
            share(!held && failures.all(|check| check.kind == "repeat"))
        }
        Metric::Loops => {
            let mut loops = run.judgement.loops.iter();
            share(loops.any(|found| found.verdict.state.is_confirmed()))
        }
        Metric::Ttft => Timings::of(&exchanges.first()?.transcript).ttft_us? as f64,
        Metric::EndToEnd => {
            let all = exchanges.iter().map(|exchange| exchange.transcript.e2e_us);
            all.sum::<u64>() as f64
        }
        Metric::Tokens => run.conversation.output_tokens() as f64,
    })
}
