//! References that no test asks for: their test was renamed or lost its `snapshot`, or their
//! scenario is gone.
//!
//! Knows names and files. Models are left out of it: a test has a reference for each model that it
//! was run with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::store::read_reference;
use super::{SnapshotError, SnapshotKey, SnapshotStore};

/// A reference that no test asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreferenced {
    /// The file.
    pub path: PathBuf,
    /// Why nothing asks for it.
    pub reason: String,
}

impl SnapshotStore {
    /// The references that no test asks for, as far as can be told from `asked`: every test of some
    /// scenarios that wants a snapshot, and for each such scenario at least its name. Of scenarios
    /// that are not among them, only what their files' absence says is told.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn unreferenced(
        &self,
        asked: &BTreeMap<String, Vec<String>>,
    ) -> Result<Vec<Unreferenced>, SnapshotError> {
        let mut known: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (scenario, tests) in asked {
            let stem = |test: &str| stem(&key(scenario, test).relative_path());
            let folder = key(scenario, "").relative_path();
            let folder = folder.parent().unwrap_or(Path::new("")).to_owned();
            let tests = tests.iter().map(|test| stem(test));
            known.entry(folder).or_default().extend(tests);
        }
        let mut found = Vec::new();
        for (relative, path) in self.references()? {
            let folder = relative.parent().unwrap_or(Path::new(""));
            let reason = match known.get(folder) {
                Some(tests) if tests.contains(&stem(&relative)) => None,
                Some(_) => Some("no test of this scenario asks for it".to_owned()),
                None => scenario_is_gone(&path),
            };
            found.extend(reason.map(|reason| Unreferenced { path, reason }));
        }
        Ok(found)
    }
}

/// Of a reference that cannot be read nothing is said here; whoever compares with it says why.
fn scenario_is_gone(path: &Path) -> Option<String> {
    let source = read_reference(path).ok()??.info.source;
    (!Path::new(&source).exists()).then(|| format!("its scenario {source} is gone"))
}

fn key(scenario: &str, test: &str) -> SnapshotKey {
    SnapshotKey {
        scenario: scenario.to_owned(),
        test: test.to_owned(),
        model: String::new(),
    }
}

/// Folder and test of a reference's path. No name of a test has a full stop in a path.
fn stem(relative: &Path) -> PathBuf {
    let name = relative.file_name().unwrap_or_default().to_string_lossy();
    let test = name.split('.').next().unwrap_or_default().to_owned();
    relative.with_file_name(test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Snapshot, SnapshotInfo};

    fn write(store: &SnapshotStore, scenario: &str, test: &str, source: &str) {
        let snapshot = Snapshot {
            info: SnapshotInfo {
                source: source.to_owned(),
                ..SnapshotInfo::default()
            },
            ..Snapshot::default()
        };
        let key = SnapshotKey {
            model: "builtin:readme".to_owned(),
            ..key(scenario, test)
        };
        store.write_pending(&key, &snapshot).expect("written");
    }

    #[test]
    fn what_no_test_asks_for_is_told_with_the_reason() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::new(folder.path());
        let here = folder.path().join("here.yaml");
        std::fs::write(&here, "").expect("written");
        let here = here.to_str().expect("UTF-8");
        write(&store, "One two", "kept+a-b", here);
        write(&store, "One two", "renamed", here);
        // Of another scenario, which is there, nothing is known.
        write(&store, "other", "any", here);
        write(&store, "lost", "any", "lost/no-such.yaml");
        store.accept(None).expect("accepted");
        let asked = BTreeMap::from([("One two".to_owned(), vec!["kept+a-b".to_owned()])]);
        let found = store.unreferenced(&asked).expect("told");
        let found: Vec<_> = found
            .iter()
            .map(|one| {
                let path = one.path.strip_prefix(folder.path()).expect("below");
                (path.to_str().expect("UTF-8"), one.reason.as_str())
            })
            .collect();
        assert_eq!(
            found,
            [
                (
                    "lost/any.builtin-readme.snap",
                    "its scenario lost/no-such.yaml is gone"
                ),
                (
                    "one-two/renamed.builtin-readme.snap",
                    "no test of this scenario asks for it"
                ),
            ]
        );
    }
}
