//! `run --watch`: waits until a file changes that a scenario may have read.
//!
//! Looks at the files again and again instead of asking the system to tell: that works in
//! containers and on network file systems, too. It does not know what a file means.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::exit::{Exit, Explained};

/// How often the files are looked at.
const PAUSE: Duration = Duration::from_millis(300);
/// How long nothing may change before a change counts as done, and how often at most that is
/// waited for.
const QUIET: Duration = Duration::from_millis(100);
const MOST_WAITS: usize = 30;
/// Most files that are watched.
const MOST_FILES: usize = 20_000;
/// Folders in which programs build, and which no scenario names.
const BUILT: [&str; 2] = ["target", "node_modules"];

/// A file as it was seen: its size and when it was changed.
type Stamp = (u64, Option<SystemTime>);

/// Files, as they were when they were last looked at.
#[derive(Debug)]
pub(super) struct Watched {
    roots: Vec<PathBuf>,
    /// What the run itself writes.
    own: PathBuf,
    seen: BTreeMap<PathBuf, Stamp>,
}

impl Watched {
    /// Watches everything beside and below the scenarios at `paths`, and the snapshots; not what is
    /// in `reports`.
    pub(super) fn new(paths: &[PathBuf], snapshots: &Path, reports: &Path) -> anyhow::Result<Self> {
        let beside = |path: &PathBuf| match path.is_dir() {
            true => path.clone(),
            false => match path.parent() {
                Some(folder) if folder != Path::new("") => folder.to_owned(),
                _ => PathBuf::from("."),
            },
        };
        let mut roots: Vec<PathBuf> = paths.iter().map(beside).collect();
        roots.push(snapshots.to_owned());
        let mut watched = Self {
            roots,
            own: reports.to_owned(),
            seen: BTreeMap::new(),
        };
        watched.seen = watched.look()?;
        Ok(watched)
    }

    /// How many files are watched.
    pub(super) fn files(&self) -> String {
        match self.seen.len() {
            1 => "1 file".to_owned(),
            many => format!("{many} files"),
        }
    }

    /// Waits for a change and names one of the files; or the signal that ends the watch.
    pub(super) fn wait(
        &mut self,
        signals: &mut oneshot::Receiver<Exit>,
    ) -> anyhow::Result<Result<PathBuf, Exit>> {
        loop {
            if let Ok(signal) = signals.try_recv() {
                return Ok(Err(signal));
            }
            if let Some(path) = self.changed()? {
                self.settle(&path)?;
                return Ok(Ok(path));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Waits until nothing changes any more: many editors empty a file before they fill it, and
    /// what they have half written is not to be run.
    fn settle(&mut self, changed: &Path) -> anyhow::Result<()> {
        let emptied = |path: &Path| std::fs::metadata(path).is_ok_and(|about| about.len() == 0);
        for _ in 0..MOST_WAITS {
            std::thread::sleep(QUIET);
            if self.changed()?.is_none() && !emptied(changed) {
                break;
            }
        }
        Ok(())
    }

    /// A file that is new, gone or other than when it was last looked at.
    fn changed(&mut self) -> anyhow::Result<Option<PathBuf>> {
        let now = self.look()?;
        let other = now
            .iter()
            .find(|(path, stamp)| self.seen.get(*path) != Some(*stamp));
        let gone = self.seen.keys().find(|path| !now.contains_key(*path));
        let changed = other.map(|(path, _)| path).or(gone).cloned();
        self.seen = now;
        Ok(changed)
    }

    fn look(&self) -> anyhow::Result<BTreeMap<PathBuf, Stamp>> {
        let mut found = BTreeMap::new();
        for root in &self.roots {
            self.collect(root, &mut found).map_err(|error| {
                Explained::usage(format!("cannot watch {}: {error}", root.display()))
            })?;
        }
        Ok(found)
    }

    /// A folder that is gone holds nothing.
    fn collect(&self, folder: &Path, found: &mut BTreeMap<PathBuf, Stamp>) -> io::Result<()> {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Ok(());
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if name.starts_with('.') || path.extension() == Some(OsStr::new("new")) {
                continue;
            }
            if about.is_dir() {
                if !BUILT.contains(&name.as_ref()) && !self.is_own(&path) {
                    self.collect(&path, found)?;
                }
            } else {
                found.insert(path, (about.len(), about.modified().ok()));
            }
            if found.len() > MOST_FILES {
                let message =
                    format!("it has more than {MOST_FILES} files; name a folder with fewer");
                return Err(io::Error::other(message));
            }
        }
        Ok(())
    }

    fn is_own(&self, folder: &Path) -> bool {
        // Made by the first run, so it may not be there when the watch begins.
        let own = self.own.canonicalize();
        own.is_ok_and(|own| folder.canonicalize().is_ok_and(|folder| folder == own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_may_have_read_is_watched_and_what_a_run_writes_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| {
            let path = at(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, text).expect("written");
        };
        write("a/s.yaml", "one");
        write("a/fixtures/f.md", "one");
        write("a/.git/index", "one");
        write("a/target/debug", "one");
        write("a/reports/1/record.jsonl", "one");
        write("snapshots/s/t.snap", "one");
        let paths = [at("a/s.yaml")];
        let mut watched =
            Watched::new(&paths, &at("snapshots"), &at("a/reports")).expect("watched");
        assert_eq!(watched.files(), "3 files");
        for (name, text, seen) in [
            ("a/s.yaml", "two!", true),
            ("a/fixtures/f.md", "longer", true),
            ("a/new.yaml", "", true),
            ("snapshots/s/t.snap", "other", true),
            ("snapshots/s/t.snap.new", "", false),
            ("a/reports/2/record.jsonl", "", false),
            ("a/.git/index", "longer", false),
        ] {
            write(name, text);
            let changed = watched.changed().expect("looked");
            assert_eq!(changed, seen.then(|| at(name)), "{name}");
            assert_eq!(watched.changed().expect("looked"), None, "{name}");
        }
        std::fs::remove_file(at("a/new.yaml")).expect("removed");
        assert_eq!(watched.changed().expect("looked"), Some(at("a/new.yaml")));
    }

    #[test]
    fn a_file_that_an_editor_has_emptied_is_waited_for_until_it_is_filled() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.yaml");
        std::fs::write(&path, "before").expect("written");
        let none = folder.path().join("none");
        let paths = [path.clone()];
        let mut watched = Watched::new(&paths, &none, &none).expect("watched");
        std::fs::write(&path, "").expect("emptied");
        let editor = std::thread::spawn({
            let path = path.clone();
            move || {
                std::thread::sleep(QUIET * 4);
                std::fs::write(path, "after it")
            }
        });
        let (_ends, mut signals) = oneshot::channel();
        let changed = watched.wait(&mut signals).expect("looked");
        assert!(matches!(changed, Ok(found) if found == path));
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "after it");
        editor.join().expect("joined").expect("written");
    }
}
