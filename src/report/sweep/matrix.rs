//! What became of each prompt under each setting, as a table that can be narrowed without a script.
//!
//! It knows marks, words and classes. The style sheet hides rows by their classes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::words::subject;
use crate::sweep::{Analysis, Cell};

/// More cells make a page that browsers are slow with; then prompts that pass everywhere are left
/// out first.
const MOST_CELLS: usize = 10_000;

/// The table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Matrix {
    settings: Vec<Head>,
    rows: Vec<Row>,
    filters: Vec<Filter>,
    /// How many prompts are not among the rows.
    left_out: usize,
}

/// A setting above its column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Head {
    label: String,
    /// Whether the verdict is about it.
    taken: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    prompt: String,
    /// The filters that keep it.
    classes: String,
    cells: Vec<Shown>,
}

/// A cell: its looks, its marks for the eye, and its words for those who listen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Shown {
    class: &'static str,
    marks: Vec<String>,
    words: String,
}

/// A choice: the class of the rows that it keeps, its name, and how many prompts it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Filter {
    class: &'static str,
    name: &'static str,
    prompts: usize,
}

/// What runs come to, the gravest first: class, mark, word, and how many runs of a cell did.
type Counts = fn(&Cell) -> usize;
const FATES: [(&str, &str, &str, Counts); 5] = [
    ("e", "!", "errored", |cell| cell.errored),
    ("l", "↻", "looped", |cell| cell.looped),
    ("f", "✗", "failed", |cell| cell.failed),
    ("p", "✓", "passed", |cell| cell.passed),
    ("n", "–", "not run", |cell| cell.not_run),
];

const FILTERS: [(&str, &str, Counts); 3] = [
    ("all", "all", |_| 1),
    ("is-bad", "failed, looped or errored", |cell| {
        cell.failed + cell.looped + cell.errored
    }),
    ("is-changed", "different from off", |cell| cell.different),
];

impl Matrix {
    /// The table of an analysis, if anything was to run.
    pub(super) fn of(analysis: &Analysis) -> Option<Self> {
        let columns: Vec<BTreeMap<usize, &Cell>> = analysis
            .settings
            .iter()
            .map(|outcome| outcome.cells.iter().map(|cell| (cell.prompt, cell)))
            .map(Iterator::collect)
            .collect();
        let cells = |prompt: usize| columns.iter().filter_map(move |column| column.get(&prompt));
        let kept_by = |prompt: usize, counts: Counts| cells(prompt).any(|cell| counts(cell) > 0);
        let mut shown: Vec<usize> = (0..analysis.prompts.len())
            .filter(|prompt| cells(*prompt).next().is_some())
            .collect();
        if shown.is_empty() {
            return None;
        }
        let all = shown.len();
        let most = (MOST_CELLS / columns.len().max(1)).max(1);
        if all > most {
            let (_, _, bad) = FILTERS[1];
            shown.sort_by_key(|prompt| !kept_by(*prompt, bad));
            shown.truncate(most);
            shown.sort_unstable();
        }
        // Without a penalty that is swept nothing is off.
        let filters = FILTERS
            .iter()
            .filter(|(class, ..)| *class != "is-changed" || analysis.scale.is_some());
        let filters = filters.map(|(class, name, counts)| Filter {
            class,
            name,
            prompts: shown.iter().filter(|at| kept_by(**at, *counts)).count(),
        });
        let common = common_scenario(&analysis.prompts);
        let rows = shown.iter().map(|at| Row {
            prompt: analysis.prompts[*at][common..].to_owned(),
            classes: FILTERS
                .iter()
                .filter(|(_, _, counts)| kept_by(*at, *counts))
                .map(|(class, ..)| *class)
                .collect::<Vec<_>>()
                .join(" "),
            cells: columns.iter().map(|column| show(column.get(at))).collect(),
        });
        Some(Self {
            settings: heads(analysis),
            rows: rows.collect(),
            filters: filters.collect(),
            left_out: all - shown.len(),
        })
    }
}

fn heads(analysis: &Analysis) -> Vec<Head> {
    let taken = subject(analysis).map(|outcome| outcome.label.as_str());
    let settings = analysis.settings.iter();
    settings
        .map(|outcome| Head {
            label: outcome.label.clone(),
            taken: taken == Some(outcome.label.as_str()),
        })
        .collect()
}

/// How many bytes of all ids are the same scenario.
fn common_scenario(prompts: &[String]) -> usize {
    let scenario = |id: &str| id.find('/').map_or(0, |slash| slash + 1);
    let first = prompts.first().map_or("", |id| &id[..scenario(id)]);
    let same = prompts.iter().all(|id| id[..scenario(id)] == *first);
    if same { first.len() } else { 0 }
}

fn show(cell: Option<&&Cell>) -> Shown {
    let Some(cell) = cell else {
        return Shown::default();
    };
    let found: Vec<_> = FATES
        .iter()
        .map(|(class, mark, word, counts)| (*class, *mark, *word, counts(cell)))
        .filter(|(.., count)| *count > 0)
        .collect();
    let alone = found.iter().map(|(.., count)| count).sum::<usize>() == 1;
    let told = |name: &str, count: usize, blank: &str| match alone {
        true => name.to_owned(),
        false => format!("{count}{blank}{name}"),
    };
    let marks = found
        .iter()
        .map(|(_, mark, _, count)| told(mark, *count, ""));
    let words = found
        .iter()
        .map(|(_, _, word, count)| told(word, *count, " "));
    let (mut marks, mut words): (Vec<_>, Vec<_>) = (marks.collect(), words.collect());
    if cell.different > 0 {
        match (alone, marks.first_mut()) {
            (true, Some(mark)) => mark.push('≠'),
            _ => marks.push(told("≠", cell.different, "")),
        }
        words.push(told("different from off", cell.different, " "));
    }
    Shown {
        class: found.first().map_or("", |(class, ..)| class),
        marks,
        words: words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cell: Cell) -> (&'static str, String, String) {
        let shown = show(Some(&&cell));
        (shown.class, shown.marks.join(" "), shown.words)
    }

    fn expected(class: &'static str, marks: &str, words: &str) -> (&'static str, String, String) {
        (class, marks.to_owned(), words.to_owned())
    }

    #[test]
    fn one_run_is_a_mark_and_a_word() {
        let none = Cell::default();
        let of = |looped, failed, errored, passed| Cell {
            looped,
            failed,
            errored,
            passed,
            ..none
        };
        assert_eq!(told(of(1, 0, 0, 0)), expected("l", "↻", "looped"));
        assert_eq!(told(of(0, 1, 0, 0)), expected("f", "✗", "failed"));
        assert_eq!(told(of(0, 0, 1, 0)), expected("e", "!", "errored"));
        assert_eq!(told(of(0, 0, 0, 1)), expected("p", "✓", "passed"));
        let cured = Cell {
            different: 1,
            ..of(0, 0, 0, 1)
        };
        let words = "passed, different from off";
        assert_eq!(told(cured), expected("p", "✓≠", words));
        let unreached = Cell { not_run: 1, ..none };
        assert_eq!(told(unreached), expected("n", "–", "not run"));
        assert_eq!(show(None), Shown::default());
    }

    #[test]
    fn several_runs_have_counts_and_look_like_the_gravest() {
        let cell = Cell {
            looped: 2,
            failed: 1,
            passed: 3,
            different: 4,
            ..Cell::default()
        };
        let words = "2 looped, 1 failed, 3 passed, 4 different from off";
        assert_eq!(told(cell), expected("l", "2↻ 1✗ 3✓ 4≠", words));
    }

    #[test]
    fn a_scenario_that_all_prompts_have_is_not_repeated() {
        let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(common_scenario(&ids(&["s/a", "s/b"])), 2);
        assert_eq!(common_scenario(&ids(&["s/a", "sad/b"])), 0);
        assert_eq!(common_scenario(&[]), 0);
    }
}
