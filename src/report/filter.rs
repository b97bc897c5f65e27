//! Which cases the page can be narrowed to, without a script: each has a radio button, and the style
//! sheet hides the others.
//!
//! It knows classes of cases. It does not know how cases look.

use serde::Serialize;

use crate::assertion::CheckStatus;
use crate::record::{CaseRecord, CaseVerdict};

/// A choice: the class that the cases it keeps have, its name, and how many they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Filter {
    pub(super) class: &'static str,
    pub(super) name: &'static str,
    pub(super) cases: usize,
}

/// Whether a filter keeps a case.
type Keeps = fn(&CaseRecord) -> bool;

const FILTERS: [(&str, &str, Keeps); 4] = [
    ("is-case", "all", |_| true),
    ("is-failed", "not passed", |case| {
        case.verdict != CaseVerdict::Passed
    }),
    ("is-loop", "with a loop", |case| {
        let mut runs = case.runs().into_iter();
        runs.any(|run| !run.judgement.loops.is_empty())
    }),
    ("is-different", "different from the snapshot", |case| {
        let checks = case.run.judgement.checks.iter();
        let mut snapshots = checks.filter(|check| check.kind == "snapshot");
        snapshots.any(|check| check.status == CheckStatus::Failed)
    }),
];

/// The choices for these cases, all of them first.
pub(super) fn filters(cases: &[CaseRecord]) -> Vec<Filter> {
    FILTERS
        .iter()
        .map(|(class, name, keeps)| Filter {
            class,
            name,
            cases: cases.iter().filter(|case| keeps(case)).count(),
        })
        .collect()
}

/// The classes of a case, with blanks between them.
pub(super) fn classes(case: &CaseRecord) -> String {
    let kept = FILTERS.iter().filter(|(_, _, keeps)| keeps(case));
    let classes: Vec<&str> = kept.map(|(class, ..)| *class).collect();
    classes.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn every_filter_counts_the_cases_it_keeps() {
        let record = fixture::record();
        for filter in filters(&record.cases) {
            let of_class =
                |case: &&CaseRecord| classes(case).split(' ').any(|class| class == filter.class);
            let kept = record.cases.iter().filter(of_class).count();
            assert_eq!(kept, filter.cases, "{}", filter.name);
        }
        let failed = record
            .cases
            .iter()
            .filter(|case| case.verdict != CaseVerdict::Passed)
            .count();
        assert_eq!(filters(&record.cases)[1].cases, failed);
    }
}
