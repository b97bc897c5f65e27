//! The recorded conversation of a pending snapshot: a snapshot keeps ids, and a record the margins.

use std::path::{Path, PathBuf};

use crate::generation::Conversation;
use crate::record::Record;
use crate::snapshot::Snapshot;

/// Runs further back are not searched.
const MOST_RUNS: usize = 10;

/// The newest runs below a folder, read as they are needed.
pub(super) struct Records {
    /// The next one to read is the last.
    folders: Vec<PathBuf>,
    read: Vec<Record>,
}

impl Records {
    /// The runs below `base`; none if there is no such folder.
    pub(super) fn below(base: &Path) -> Self {
        let entries = std::fs::read_dir(base).into_iter().flatten();
        let mut folders: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join("record.jsonl").is_file())
            .collect();
        folders.sort();
        let old = folders.len().saturating_sub(MOST_RUNS);
        Self {
            folders: folders.split_off(old),
            read: Vec::new(),
        }
    }

    /// The conversation that a snapshot was taken from, if a record still has it: the same case and
    /// the same tokens.
    pub(super) fn of(&mut self, snapshot: &Snapshot) -> Option<Conversation> {
        let mut at = 0;
        loop {
            if at == self.read.len() {
                let folder = self.folders.pop()?;
                // What is no record any more, or of another version, has nothing to say.
                self.read.extend(Record::read(&folder).ok());
                continue;
            }
            if let Some(found) = self
                .read
                .get(at)
                .and_then(|record| in_record(record, snapshot))
            {
                return Some(found.clone());
            }
            at += 1;
        }
    }
}

fn in_record<'a>(record: &'a Record, snapshot: &Snapshot) -> Option<&'a Conversation> {
    let of_case = record.cases.iter().filter(|case| {
        let id = case.id.split('@').next().unwrap_or(&case.id);
        id == snapshot.info.expression && case.model == snapshot.info.model
    });
    let mut conversations = of_case.map(|case| &case.run.conversation);
    conversations.find(|conversation| {
        let said = Snapshot::of(conversation, snapshot.info.clone());
        said.generations == snapshot.generations
    })
}
