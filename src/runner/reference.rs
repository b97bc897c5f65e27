//! Finds the reviewed snapshot of a case, compares, and leaves a pending one where they differ.

use crate::assertion::{Assertion, Redactions, Rule};
use crate::generation::{Conversation, SamplingParams};
use crate::plan::scenario_and_test;
use crate::record::{CaseRecord, RunRecord};
use crate::snapshot::{
    Comparison, Snapshot, SnapshotError, SnapshotInfo, SnapshotKey, SnapshotStore, compare,
};

/// What names a snapshot and says what it was taken from.
pub(super) struct SnapshotIdentity<'a> {
    /// `<scenario>/<test>`.
    pub(super) id: &'a str,
    /// Path of the scenario file.
    pub(super) scenario: &'a str,
    /// Why the scenario exists.
    pub(super) why: &'a str,
    /// The model's name.
    pub(super) model: &'a str,
    /// The sampling parameters that were used.
    pub(super) sampling: &'a SamplingParams,
    /// What of the text a snapshot does not hold.
    pub(super) redactions: &'a Redactions,
}

impl SnapshotIdentity<'_> {
    fn key(&self) -> SnapshotKey {
        // Every target is held to one reference.
        let (scenario, test) = scenario_and_test(self.id);
        SnapshotKey {
            scenario: scenario.to_owned(),
            test: test.to_owned(),
            model: self.model.to_owned(),
        }
    }

    fn info(&self) -> SnapshotInfo {
        SnapshotInfo {
            source: self.scenario.to_owned(),
            description: Some(self.why.trim().to_owned()),
            expression: self.id.split('@').next().unwrap_or(self.id).to_owned(),
            model: self.model.to_owned(),
            sampling: self.sampling.as_settings(),
            redact: self.redactions.written(),
        }
    }
}

/// Compares a conversation with its reference. With `pend`, one that differs is written beside
/// the reference, and a pending one that has become stale is removed.
pub(super) fn compare_or_pend(
    identity: &SnapshotIdentity<'_>,
    conversation: &Conversation,
    store: &SnapshotStore,
    pend: bool,
) -> Result<Comparison, SnapshotError> {
    let key = identity.key();
    let info = identity.info();
    let conversation = &*identity.redactions.conversation(conversation);
    let comparison = match store.read(&key)? {
        Some(reference) => compare(&reference, &info, conversation),
        None => Comparison::Missing,
    };
    if pend {
        match &comparison {
            Comparison::Match => {
                store.clear_pending(&key)?;
            }
            Comparison::Missing | Comparison::Differs(_) => {
                store.write_pending(&key, &Snapshot::of(conversation, info))?;
            }
        }
    }
    Ok(comparison)
}

/// What the snapshot of a test does not hold: its assertions all say the same.
pub(super) fn redactions<'a>(
    assertions: impl IntoIterator<Item = &'a Assertion>,
) -> Option<&'a Redactions> {
    let mut rules = assertions.into_iter().flat_map(Assertion::rules);
    rules.find_map(|rule| match rule {
        Rule::Snapshot(rule) => Some(&rule.redactions),
        _ => None,
    })
}

/// Compares the run and the control of a recorded case with their reference of today. Writes
/// nothing.
///
/// # Errors
/// If the reference cannot be read.
pub fn compare_snapshots(
    case: &CaseRecord,
    store: &SnapshotStore,
) -> Result<RecordedComparisons, SnapshotError> {
    // One that cannot be read is told where the record is judged.
    let assertions = case.assertions.iter().filter_map(|spec| spec.lower().ok());
    let assertions: Vec<Assertion> = assertions.collect();
    let none = Redactions::default();
    let redactions = redactions(&assertions).unwrap_or(&none);
    let compare = |run: &RunRecord| {
        let identity = SnapshotIdentity {
            id: &case.id,
            scenario: &case.scenario,
            why: &case.why,
            model: &case.model,
            sampling: &run.sampling,
            redactions,
        };
        compare_or_pend(&identity, &run.conversation, store, false)
    };
    Ok(RecordedComparisons {
        run: compare(&case.run)?,
        control: match &case.control {
            Some(control) => Some(compare(&control.run)?),
            None => None,
        },
    })
}

/// How a recorded case compares with its reference.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedComparisons {
    /// The run under test.
    pub run: Comparison,
    /// The control, if the case has one.
    pub control: Option<Comparison>,
}
