//! Opens a record that was not finished, to go on where it ends.
//!
//! It knows what a run that died, or was stopped, leaves in the file: perhaps a line cut short,
//! perhaps a closing line that counts cases as not run. Whether the rest of the plan is still the
//! same is not known here.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::store::{RECORD_FILE, io_error};
use super::{Record, RecordError, RecordWriter};

impl RecordWriter {
    /// Opens the record of the run in `dir` to append to it, and returns what it holds. A line
    /// that was cut short is taken off, and so is the closing line: another one will come.
    ///
    /// # Errors
    /// If there is no record, it is damaged, or another process writes to it.
    pub fn resume(dir: &Path) -> Result<(Self, Record), RecordError> {
        let path = dir.join(RECORD_FILE);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|problem| match problem.kind() {
                std::io::ErrorKind::NotFound => RecordError::Missing { path: path.clone() },
                _ => io_error("open", &path, problem),
            })?;
        let mut writer = Self::holding(file, path)?;
        let mut bytes = Vec::new();
        let refused = |problem| io_error("read", &dir.join(RECORD_FILE), problem);
        writer.file.read_to_end(&mut bytes).map_err(refused)?;
        let record = Record::from_bytes(&bytes, &writer.path)?;
        let good = good_length(&bytes, &record);
        let ended = bytes.get(..good).is_some_and(|kept| kept.ends_with(b"\n"));
        writer
            .cut_to(good, ended)
            .map_err(|problem| io_error("write", &writer.path, problem))?;
        Ok((writer, record))
    }

    /// Keeps the first `length` bytes, and ends the last line if only its line break is missing.
    fn cut_to(&mut self, length: usize, ended: bool) -> std::io::Result<()> {
        self.file.set_len(length as u64)?;
        self.file.seek(SeekFrom::End(0))?;
        if !ended {
            self.file.write_all(b"\n")?;
        }
        self.file.sync_data()
    }
}

/// Bytes of the complete lines before the closing line.
fn good_length(bytes: &[u8], record: &Record) -> usize {
    // Lines are counted, and the reader has read each of them: the header and one for each case.
    let wanted = 1 + record.cases.len();
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let mut ends = ends.map(|(at, _)| at + 1);
    ends.nth(wanted - 1).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::store::tests::{case, provenance, summary};

    /// A closed record of two cases, cut after `keep` bytes, opened again, continued and closed.
    fn continued(keep: impl Fn(usize) -> usize) -> (usize, Record) {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = RecordWriter::create(dir.path(), &provenance()).expect("created");
        writer.append(&case("s/a")).expect("appended");
        writer.append(&case("s/b")).expect("appended");
        let path = writer.path().to_owned();
        writer.finish(&summary()).expect("closed");
        let bytes = std::fs::read(&path).expect("written");
        std::fs::write(&path, &bytes[..keep(bytes.len())]).expect("cut");
        let (mut writer, found) = RecordWriter::resume(dir.path()).expect("opens");
        for id in ["s/a", "s/b"] {
            if !found.cases.iter().any(|case| case.id == id) {
                writer.append(&case(id)).expect("appended");
            }
        }
        writer.finish(&summary()).expect("closed");
        let ids = found.cases.len();
        (ids, Record::read(dir.path()).expect("reads"))
    }

    #[test]
    fn wherever_a_record_was_cut_it_can_be_continued_to_the_same() {
        let (all, whole) = continued(|length| length);
        assert_eq!(all, 2);
        let header = provenance_bytes();
        let mut seen = std::collections::BTreeSet::new();
        for cut in (0..).take_while(|cut| header + cut < total_bytes()) {
            let (kept, record) = continued(|length| length.min(header + cut));
            assert_eq!(record, whole, "cut {cut} bytes behind the header");
            seen.insert(kept);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
    }

    fn provenance_bytes() -> usize {
        // The line without its line break can be continued too.
        crate::record::store::tests::written()
            .1
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line")
    }

    fn total_bytes() -> usize {
        crate::record::store::tests::written().1.len()
    }

    #[test]
    fn two_writers_of_one_record_are_one_too_many() {
        let dir = tempfile::tempdir().expect("a folder");
        let _writer = RecordWriter::create(dir.path(), &provenance()).expect("created");
        let error = RecordWriter::resume(dir.path()).expect_err("is refused");
        assert!(matches!(error, RecordError::Busy { .. }), "{error}");
    }
}
