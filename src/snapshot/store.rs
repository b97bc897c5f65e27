//! The files: where a reference lies, and how a changed output waits beside it for review.
//!
//! The only part of the module that does IO. It does not know when to write: that is for
//! [`UpdatePolicy`](super::UpdatePolicy) and the caller.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Snapshot, SnapshotError};

const SUFFIX: &str = ".snap";
const PENDING_SUFFIX: &str = ".snap.new";

/// Which output a snapshot belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SnapshotKey {
    /// The scenario's name; its snapshots share a folder.
    pub scenario: String,
    /// The test's name.
    pub test: String,
    /// The model as the user named it: another model has another reference.
    pub model: String,
}

impl SnapshotKey {
    /// The file of the reference below the root, `<scenario>/<test>.<model>.snap`, in characters
    /// that every file system takes.
    #[must_use]
    pub fn relative_path(&self) -> PathBuf {
        Path::new(&slug(&self.scenario)).join(format!(
            "{}.{}{SUFFIX}",
            slug(&self.test),
            slug(&self.model)
        ))
    }
}

/// `name` in lower-case letters, digits and single `-` between them; never empty.
fn slug(name: &str) -> String {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        "unnamed".to_owned()
    } else {
        words.join("-")
    }
}

/// An output that waits for review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingSnapshot {
    /// What filters look at: `<scenario>/<test>.<model>`.
    pub name: String,
    /// The waiting file.
    pub pending: PathBuf,
    /// The reference that it would replace; it may not exist yet.
    pub reference: PathBuf,
}

impl PendingSnapshot {
    /// What waits.
    ///
    /// # Errors
    /// If the file cannot be read, or is no snapshot.
    pub fn read(&self) -> Result<Snapshot, SnapshotError> {
        let text = fs::read_to_string(&self.pending)
            .map_err(|error| SnapshotError::io("read", &self.pending, error))?;
        Snapshot::parse(&text).map_err(|error| error.in_file(&self.pending))
    }

    /// What it would replace, if there is something.
    ///
    /// # Errors
    /// If the file cannot be read, or is no snapshot.
    pub fn read_reference(&self) -> Result<Option<Snapshot>, SnapshotError> {
        read_reference(&self.reference)
    }

    /// Makes it the reference.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn accept(&self) -> Result<(), SnapshotError> {
        fs::rename(&self.pending, &self.reference)
            .map_err(|error| SnapshotError::io("accept", &self.pending, error))
    }

    /// Removes it.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn reject(&self) -> Result<(), SnapshotError> {
        fs::remove_file(&self.pending)
            .map_err(|error| SnapshotError::io("remove", &self.pending, error))
    }
}

/// A folder of snapshots.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    root: PathBuf,
}

impl SnapshotStore {
    /// The store in `root`, a folder that need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file of the reference.
    #[must_use]
    pub fn path(&self, key: &SnapshotKey) -> PathBuf {
        self.root.join(key.relative_path())
    }

    /// The reference, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or is no snapshot.
    pub fn read(&self, key: &SnapshotKey) -> Result<Option<Snapshot>, SnapshotError> {
        read_reference(&self.path(key))
    }

    /// Puts `snapshot` beside its reference, where it waits for review, and says where.
    ///
    /// # Errors
    /// If the file cannot be written; an earlier pending snapshot is untouched then.
    pub fn write_pending(
        &self,
        key: &SnapshotKey,
        snapshot: &Snapshot,
    ) -> Result<PathBuf, SnapshotError> {
        let path = pending_beside(&self.path(key));
        write_atomically(&path, &snapshot.render())
            .map_err(|error| SnapshotError::io("write", &path, error))?;
        Ok(path)
    }

    /// Removes a pending snapshot that has become stale: the output matches its reference again.
    /// Says whether there was one.
    ///
    /// # Errors
    /// If it is there and cannot be removed.
    pub fn clear_pending(&self, key: &SnapshotKey) -> Result<bool, SnapshotError> {
        let path = pending_beside(&self.path(key));
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(SnapshotError::io("remove", &path, error)),
        }
    }

    /// Everything that waits for review, by name.
    ///
    /// # Errors
    /// If a folder cannot be read. A root that does not exist holds nothing.
    pub fn pending(&self) -> Result<Vec<PendingSnapshot>, SnapshotError> {
        let files = self.files()?.into_iter();
        let mut found: Vec<_> = files.filter_map(|path| self.as_pending(path)).collect();
        found.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(found)
    }

    /// Every reference: its path below the root, and its file.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn references(&self) -> Result<Vec<(PathBuf, PathBuf)>, SnapshotError> {
        let files = self.files()?.into_iter();
        let references = files.filter_map(|path| {
            let relative = path.strip_prefix(&self.root).ok()?.to_owned();
            let is_reference = relative.extension().is_some_and(|end| end == "snap");
            is_reference.then_some((relative, path))
        });
        let mut found: Vec<_> = references.collect();
        found.sort();
        Ok(found)
    }

    /// Every file below the root.
    fn files(&self) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut found = Vec::new();
        if self.root.exists() {
            collect(&self.root, &mut found)?;
        }
        Ok(found)
    }

    /// What waits and has `filter` in its name, by name. A filter that selects nothing is a spelling
    /// mistake, and success would hide it.
    ///
    /// # Errors
    /// If a filter matches nothing, or a folder cannot be read.
    pub fn chosen(&self, filter: Option<&str>) -> Result<Vec<PendingSnapshot>, SnapshotError> {
        let all = self.pending()?;
        let Some(filter) = filter else {
            return Ok(all);
        };
        let (chosen, rest): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|snapshot| snapshot.name.contains(filter));
        if chosen.is_empty() {
            return Err(SnapshotError::NoMatch {
                filter: filter.to_owned(),
                pending: rest.into_iter().map(|snapshot| snapshot.name).collect(),
            });
        }
        Ok(chosen)
    }

    /// Makes the pending snapshots whose name contains `filter` the references, and says which.
    ///
    /// # Errors
    /// If a filter matches nothing, a pending file is no snapshot, or a file cannot be moved. All
    /// files are checked before the first is moved.
    pub fn accept(&self, filter: Option<&str>) -> Result<Vec<PendingSnapshot>, SnapshotError> {
        let chosen = self.chosen(filter)?;
        for snapshot in &chosen {
            snapshot.read()?;
        }
        for snapshot in &chosen {
            snapshot.accept()?;
        }
        Ok(chosen)
    }

    /// Removes the pending snapshots whose name contains `filter`, and says which.
    ///
    /// # Errors
    /// If a filter matches nothing, or a file cannot be removed.
    pub fn reject(&self, filter: Option<&str>) -> Result<Vec<PendingSnapshot>, SnapshotError> {
        let chosen = self.chosen(filter)?;
        for snapshot in &chosen {
            snapshot.reject()?;
        }
        Ok(chosen)
    }

    fn as_pending(&self, pending: PathBuf) -> Option<PendingSnapshot> {
        let relative = pending.strip_prefix(&self.root).ok()?;
        let parts: Vec<&str> = relative
            .iter()
            .map(|part| part.to_str())
            .collect::<Option<_>>()?;
        let name = parts.join("/").strip_suffix(PENDING_SUFFIX)?.to_owned();
        let reference = pending.with_extension("");
        Some(PendingSnapshot {
            name,
            pending,
            reference,
        })
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), SnapshotError> {
    let unreadable = |error| SnapshotError::io("read", folder, error);
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        // Links are not followed, so a loop of folders cannot trap the walk.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            collect(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

pub(super) fn read_reference(path: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    match fs::read_to_string(path) {
        Ok(text) => Snapshot::parse(&text)
            .map(Some)
            .map_err(|error| error.in_file(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SnapshotError::io("read", path, error)),
    }
}

fn pending_beside(reference: &Path) -> PathBuf {
    reference.with_extension("snap.new")
}

/// Writes to a neighbouring file and renames it, so that no reader sees half a snapshot. The name
/// is unique, because repeats of one test may end at the same time.
fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut temporary = OsString::from(path);
    temporary.push(format!(".{}-{write}.tmp", std::process::id()));
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report; what is left over is only untidy.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;
    use crate::snapshot::SnapshotGeneration;

    fn store() -> (TempDir, SnapshotStore) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SnapshotStore::new(folder.path().join("snapshots"));
        (folder, store)
    }

    fn key(test: &str) -> SnapshotKey {
        SnapshotKey {
            scenario: "Read me".to_owned(),
            test: test.to_owned(),
            model: "hf:Qwen/Qwen3-0.6B".to_owned(),
        }
    }

    fn snapshot(text: &str) -> Snapshot {
        Snapshot {
            generations: vec![SnapshotGeneration {
                text: text.to_owned(),
                tokens: vec![1, 2],
            }],
            ..Snapshot::default()
        }
    }

    fn names(snapshots: &[PendingSnapshot]) -> Vec<&str> {
        snapshots.iter().map(|one| one.name.as_str()).collect()
    }

    #[rstest]
    #[case("builtin:readme", "builtin-readme")]
    #[case("hf:Qwen/Qwen3-0.6B@main", "hf-qwen-qwen3-0-6b-main")]
    #[case("../../etc/passwd", "etc-passwd")]
    #[case("--a--", "a")]
    #[case("Übung 日本", "übung-日本")]
    #[case("..", "unnamed")]
    #[case("", "unnamed")]
    fn names_become_file_names(#[case] name: &str, #[case] expected: &str) {
        assert_eq!(slug(name), expected);
    }

    #[test]
    fn a_new_output_waits_and_is_accepted() {
        let (_folder, store) = store();
        assert_eq!(store.read(&key("a")).expect("reads"), None);
        let path = store
            .write_pending(&key("a"), &snapshot("x"))
            .expect("writes");
        assert!(
            path.ends_with("snapshots/read-me/a.hf-qwen-qwen3-0-6b.snap.new"),
            "{path:?}"
        );
        assert_eq!(store.read(&key("a")).expect("reads"), None);

        let accepted = store.accept(None).expect("accepts");
        assert_eq!(names(&accepted), ["read-me/a.hf-qwen-qwen3-0-6b"]);
        assert_eq!(accepted[0].reference, store.path(&key("a")));
        assert_eq!(store.read(&key("a")).expect("reads"), Some(snapshot("x")));
        assert_eq!(store.pending().expect("lists"), []);
        let files = fs::read_dir(path.parent().expect("a folder")).expect("lists");
        assert_eq!(files.count(), 1, "nothing is left over");
    }

    #[test]
    fn a_changed_output_leaves_the_reference_alone() {
        let (_folder, store) = store();
        store
            .write_pending(&key("a"), &snapshot("x"))
            .expect("writes");
        store.accept(None).expect("accepts");
        store
            .write_pending(&key("a"), &snapshot("y"))
            .expect("writes");
        store
            .write_pending(&key("a"), &snapshot("z"))
            .expect("replaces");
        assert_eq!(store.read(&key("a")).expect("reads"), Some(snapshot("x")));
        let rejected = store.reject(None).expect("rejects");
        assert_eq!(rejected.len(), 1);
        assert_eq!(store.pending().expect("lists"), []);
        assert_eq!(store.read(&key("a")).expect("reads"), Some(snapshot("x")));
    }

    #[test]
    fn a_stale_pending_snapshot_is_cleared() {
        let (_folder, store) = store();
        store
            .write_pending(&key("a"), &snapshot("x"))
            .expect("writes");
        assert!(store.clear_pending(&key("a")).expect("clears"));
        assert!(!store.clear_pending(&key("a")).expect("nothing to clear"));
        assert_eq!(store.pending().expect("lists"), []);
    }

    #[test]
    fn filters_choose_by_name_and_must_match() {
        let (_folder, store) = store();
        assert_eq!(store.accept(None).expect("nothing to accept"), []);
        for test in ["one", "two", "three"] {
            store
                .write_pending(&key(test), &snapshot(test))
                .expect("writes");
        }
        let accepted = store.accept(Some("/t")).expect("accepts");
        assert_eq!(
            names(&accepted),
            [
                "read-me/three.hf-qwen-qwen3-0-6b",
                "read-me/two.hf-qwen-qwen3-0-6b"
            ]
        );
        for outcome in [store.accept(Some("four")), store.reject(Some("four"))] {
            assert_eq!(
                outcome.expect_err("refused").to_string(),
                "no pending snapshot matches 'four'; pending are read-me/one.hf-qwen-qwen3-0-6b"
            );
        }
        assert_eq!(store.reject(Some("one")).expect("rejects").len(), 1);
        assert_eq!(
            store.reject(Some("one")).expect_err("refused").to_string(),
            "no pending snapshot matches 'one'; nothing is pending"
        );
    }

    #[test]
    fn a_broken_pending_file_keeps_all_from_being_accepted() {
        let (_folder, store) = store();
        store
            .write_pending(&key("a"), &snapshot("x"))
            .expect("writes");
        let broken = store
            .write_pending(&key("b"), &snapshot("x"))
            .expect("writes");
        fs::write(&broken, "x").expect("breaks");
        let error = store.accept(None).expect_err("refused").to_string();
        assert!(
            error.starts_with(&format!("{}: line 1: ", broken.display())),
            "{error}"
        );
        assert_eq!(store.pending().expect("lists").len(), 2);
    }

    #[test]
    fn a_broken_reference_is_named() {
        let (_folder, store) = store();
        let path = store.path(&key("a"));
        fs::create_dir_all(path.parent().expect("a folder")).expect("creates");
        fs::write(&path, "").expect("writes");
        let error = store.read(&key("a")).expect_err("refused").to_string();
        assert!(
            error.contains("a.hf-qwen-qwen3-0-6b.snap: line 1: "),
            "{error}"
        );
    }
}
