//! Where runs are kept: a folder per run below `reports/`, named by its start.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::exit::Explained;

/// Makes the folder of a new run, `<base>/20261124-081500`, with a number behind it if two runs
/// start in one second.
pub(super) fn new_run_folder(base: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(base)
        .map_err(|error| Explained::usage(format!("cannot create {}: {error}", base.display())))?;
    let stamp = jiff::Timestamp::try_from(SystemTime::now())?.strftime("%Y%m%d-%H%M%S");
    let stamp = stamp.to_string();
    for attempt in 1..1000 {
        let name = match attempt {
            1 => stamp.clone(),
            _ => format!("{stamp}-{attempt}"),
        };
        let folder = base.join(name);
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    anyhow::bail!("{} has too many runs of this second", base.display())
}

/// The run a person means: a folder or record file, or `latest`, the newest below `base`.
pub(super) fn find_run(name: &Path, base: &Path) -> anyhow::Result<PathBuf> {
    if name != Path::new("latest") {
        return Ok(name.to_owned());
    }
    let mut runs: Vec<PathBuf> = std::fs::read_dir(base)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("record.jsonl").is_file())
        .collect();
    runs.sort();
    runs.pop().ok_or_else(|| {
        Explained::usage(format!(
            "there is no run in {}; make one with 'loopwatch run'",
            base.display()
        ))
    })
}
