//! Appends the lines of a record as cases end, and reads them back.
//!
//! It knows the file and what can be wrong with it. It does not know what a verdict means, who
//! produced the cases, or how a record is shown.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use super::{CaseRecord, FORMAT_VERSION, Line, Provenance, Summary};

/// Name of the record's file inside the folder of its run.
pub(super) const RECORD_FILE: &str = "record.jsonl";

/// What is wrong with a record, in which file and line, and what to do about it.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The system refused to read or write.
    #[error("cannot {action} {}: {problem}", path.display())]
    Io {
        /// What was attempted, such as `read`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said. It is in the message, so it is not also the error's source.
        problem: io::Error,
    },
    /// There is nothing at the path.
    #[error(
        "there is no record at {}; give the folder of a run, or its {RECORD_FILE}",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A record is never overwritten.
    #[error(
        "{} exists already and is not overwritten; choose another folder, or remove it",
        path.display()
    )]
    Exists {
        /// The existing record.
        path: PathBuf,
    },
    /// Another process writes to the record.
    #[error("{} is being written by another process; wait for it, or end it", path.display())]
    Busy {
        /// The record.
        path: PathBuf,
    },
    /// A line could not be read back as what was written.
    #[error(
        "{}: {what} cannot be recorded, because it would not read back ({reason}); \
         a number that is not finite is the usual cause",
        path.display()
    )]
    Unrepresentable {
        /// The record.
        path: PathBuf,
        /// The case or the other line that was to be written.
        what: String,
        /// Why it does not read back.
        reason: String,
    },
    /// The file holds no complete line.
    #[error(
        "{} is empty or ends inside its first line; nothing was recorded, run again",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file does not start with the header of a record.
    #[error(
        "{} is not a record: {reason}; give a {RECORD_FILE} that `loopwatch run` wrote",
        path.display()
    )]
    NotARecord {
        /// The file.
        path: PathBuf,
        /// What its first line lacks.
        reason: String,
    },
    /// The record was written in another version of the format.
    #[error(
        "{}:1: the record has format {found}, and this loopwatch reads only format \
         {FORMAT_VERSION}; read it with the version that wrote it ({tool}), or run again",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: String,
        /// The tool it names, or a dash.
        tool: String,
    },
    /// A line is not what the writer writes.
    #[error(
        "{}:{line}: {reason}; the file was changed after it was written, restore it or run again",
        path.display()
    )]
    Broken {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// Appends to a record, line by line.
///
/// Every line is on the disk before the call returns, so that a killed run loses at most the case
/// in flight.
#[derive(Debug)]
pub struct RecordWriter {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

impl RecordWriter {
    /// Starts the record `<dir>/record.jsonl` with its header, and creates `dir` if needed.
    ///
    /// # Errors
    /// If there is a record already, or it cannot be written.
    pub fn create(dir: &Path, provenance: &Provenance) -> Result<Self, RecordError> {
        fs::create_dir_all(dir).map_err(|problem| io_error("create", dir, problem))?;
        let path = dir.join(RECORD_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|problem| match problem.kind() {
                io::ErrorKind::AlreadyExists => RecordError::Exists { path: path.clone() },
                _ => io_error("create", &path, problem),
            })?;
        let mut writer = Self::holding(file, path)?;
        writer.write("the header", &Line::Run(Box::new(provenance.clone())))?;
        Ok(writer)
    }

    /// Writes through `file`, which no other process may do meanwhile. The system gives the lock
    /// back when this one ends, however it ends.
    pub(super) fn holding(file: File, path: PathBuf) -> Result<Self, RecordError> {
        match file.try_lock() {
            // Some file systems have no locks, and then there is no telling.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(RecordError::Busy { path }),
        }
    }

    /// Appends a finished case.
    ///
    /// # Errors
    /// If it cannot be written, or would not read back; then nothing is written.
    pub fn append(&mut self, case: &CaseRecord) -> Result<(), RecordError> {
        let what = format!("case {}", case.id);
        self.write(&what, &Line::Case(Box::new(case.clone())))
    }

    /// Closes the record.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, summary: &Summary) -> Result<(), RecordError> {
        self.write("the closing line", &Line::End(*summary))
    }

    /// Where the record is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// One line in one write, so that a line without its line break is a line cut short.
    fn write(&mut self, what: &str, line: &Line) -> Result<(), RecordError> {
        let mut bytes = encode(line).map_err(|reason| RecordError::Unrepresentable {
            path: self.path.clone(),
            what: what.to_owned(),
            reason,
        })?;
        bytes.push(b'\n');
        self.file
            .write_all(&bytes)
            .and_then(|()| self.file.sync_data())
            .map_err(|problem| io_error("write", &self.path, problem))
    }
}

/// The bytes of a line, proved to read back: JSON turns a NaN into `null` without complaint.
fn encode(line: &Line) -> Result<Vec<u8>, String> {
    let bytes = serde_json::to_vec(line).map_err(|error| error.to_string())?;
    decode(&bytes)?;
    Ok(bytes)
}

/// Reads one line.
///
/// By hand and not by the derived `Deserialize` of [`Line`]: serde buffers internally tagged
/// enums in a form in which integer keys stay strings, and the keys of `logit_bias` are integers.
pub(super) fn decode(bytes: &[u8]) -> Result<Line, String> {
    let mut value = parse(bytes)?;
    match take_tag(&mut value).as_deref() {
        Some("run") => from_value(value).map(Line::Run),
        Some("case") => from_value(value).map(Line::Case),
        Some("end") => from_value(value).map(Line::End),
        Some(other) => Err(format!("unknown kind of line '{other}'")),
        None => Err("the line does not say what it is".to_owned()),
    }
}

fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))
}

/// Takes the kind out of a line; what stays is the line's content.
fn take_tag(value: &mut Value) -> Option<String> {
    match value.as_object_mut()?.shift_remove("line")? {
        Value::String(tag) => Some(tag),
        _ => None,
    }
}

fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

pub(super) fn io_error(action: &'static str, path: &Path, problem: io::Error) -> RecordError {
    RecordError::Io {
        action,
        path: path.to_owned(),
        problem,
    }
}

/// A whole record in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// What ran, where, and with which command.
    pub provenance: Provenance,
    /// In the order of the plan.
    pub cases: Vec<CaseRecord>,
    /// The totals; `None` if the run was interrupted before it could close the record.
    pub summary: Option<Summary>,
    /// Whether the last line was cut short and left out: the case in flight when the run died.
    pub truncated: bool,
}

impl Record {
    /// Reads a record, given the folder of its run or the file itself.
    ///
    /// # Errors
    /// If it is missing, of another format version, or changed after it was written. A last line
    /// that was cut short is no error.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let path = if path.is_dir() {
            path.join(RECORD_FILE)
        } else {
            path.to_owned()
        };
        let bytes = fs::read(&path).map_err(|problem| match problem.kind() {
            io::ErrorKind::NotFound => RecordError::Missing { path: path.clone() },
            _ => io_error("read", &path, problem),
        })?;
        Self::from_bytes(&bytes, &path)
    }

    /// Reads the content of the file `path`.
    pub(super) fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, RecordError> {
        let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        // What follows the last line break: nothing, or a line that was cut short. A line that
        // lacks nothing but its line break is as good as the others, and no shorter beginning of
        // a JSON object is JSON.
        let rest = lines.pop().unwrap_or_default();
        let truncated = !rest.is_empty() && parse(rest).is_err();
        if !rest.is_empty() && !truncated {
            lines.push(rest);
        }
        let mut lines = (1..).zip(lines);
        let Some((_, first)) = lines.next() else {
            return Err(match looks_cut(rest) {
                true => RecordError::Empty {
                    path: path.to_owned(),
                },
                false => not_a_record(path, "its first line is no header"),
            });
        };
        let mut record = Self {
            provenance: header(first, path)?,
            cases: Vec::new(),
            summary: None,
            truncated,
        };
        let mut ids = HashSet::new();
        for (line, bytes) in lines {
            record
                .add(bytes, &mut ids)
                .map_err(|reason| RecordError::Broken {
                    path: path.to_owned(),
                    line,
                    reason,
                })?;
        }
        record.cases.sort_by_key(|case| case.index);
        Ok(record)
    }

    /// Adds one of the lines behind the header.
    fn add(&mut self, bytes: &[u8], ids: &mut HashSet<String>) -> Result<(), String> {
        let line = decode(bytes)?;
        if self.summary.is_some() {
            return Err("a line follows the closing line".to_owned());
        }
        match line {
            Line::Run(_) => Err("a second header, as if two records were joined".to_owned()),
            Line::Case(case) if !ids.insert(case.id.clone()) => {
                Err(format!("case '{}' is recorded twice", case.id))
            }
            Line::Case(case) => {
                self.cases.push(*case);
                Ok(())
            }
            Line::End(summary) => {
                self.summary = Some(summary);
                Ok(())
            }
        }
    }
}

/// Whether this can be the beginning of a header, the tag being what a writer writes first.
fn looks_cut(bytes: &[u8]) -> bool {
    let start: &[u8] = br#"{"line":"run""#;
    bytes.starts_with(start) || start.starts_with(bytes)
}

/// The header. Its version is looked at before anything that another version may have changed.
fn header(bytes: &[u8], path: &Path) -> Result<Provenance, RecordError> {
    let mut value = parse(bytes).map_err(|reason| not_a_record(path, reason))?;
    if take_tag(&mut value).as_deref() != Some("run") {
        return Err(not_a_record(path, "its first line is no header"));
    }
    let found = value.get("format").cloned().unwrap_or_default();
    if found.is_null() {
        return Err(not_a_record(path, "its header names no format version"));
    }
    if found != FORMAT_VERSION {
        let tool = value.get("tool").and_then(Value::as_str).unwrap_or("–");
        return Err(RecordError::UnknownFormat {
            path: path.to_owned(),
            tool: tool.to_owned(),
            found: found.to_string(),
        });
    }
    from_value(value).map_err(|reason| RecordError::Broken {
        path: path.to_owned(),
        line: 1,
        reason,
    })
}

fn not_a_record(path: &Path, reason: impl Into<String>) -> RecordError {
    RecordError::NotARecord {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::generation::SamplingSettings;
    use crate::record::{CaseVerdict, ModelProvenance, RunRecord};

    pub(in crate::record) fn provenance() -> Provenance {
        Provenance {
            format: FORMAT_VERSION,
            tool: "loopwatch 0.1.0".to_owned(),
            command: vec!["loopwatch".to_owned(), "run".to_owned()],
            started_at: "2025-11-24T08:27:11Z".to_owned(),
            platform: "linux x86_64".to_owned(),
            processor: "a processor".to_owned(),
            threads: 2,
            jobs: 1,
            overrides: Vec::new(),
            environment: Vec::new(),
            models: vec![ModelProvenance {
                name: "builtin:readme".to_owned(),
                description: "llama, 5.5 M".to_owned(),
                weights_sha256: "ab".repeat(32),
            }],
            plan: None,
        }
    }

    /// A case with what is hard to store: integer keys, characters of several bytes, fractions.
    pub(in crate::record) fn case(id: &str) -> CaseRecord {
        let settings = SamplingSettings {
            logit_bias: Some([(3, -0.1), (u32::MAX, 2.5)].into()),
            ..Default::default()
        };
        CaseRecord {
            id: id.to_owned(),
            index: 0,
            scenario: "scenarios/größe.yaml".to_owned(),
            scenario_line: 7,
            description: "größe 気 🙂\nsecond line".to_owned(),
            why: String::new(),
            model: "builtin:readme".to_owned(),
            target: None,
            template: Default::default(),
            assertions: Vec::new(),
            verdict: CaseVerdict::Passed,
            run: RunRecord {
                sampling: settings.resolve().expect("valid"),
                conversation: Default::default(),
                judgement: Default::default(),
                reruns: Vec::new(),
                error: None,
            },
            repeats: None,
            control: None,
            quarantine: None,
        }
    }

    pub(in crate::record) fn summary() -> Summary {
        Summary {
            passed: 2,
            wall_ms: 1_234,
            ..Default::default()
        }
    }

    /// A folder with a record of two cases, and the record's bytes.
    pub(in crate::record) fn written() -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a folder");
        let run = dir.path().join("reports/first");
        let mut writer = RecordWriter::create(&run, &provenance()).expect("created");
        writer.append(&case("s/a")).expect("appended");
        writer.append(&case("s/b")).expect("appended");
        let path = writer.path().to_owned();
        writer.finish(&summary()).expect("closed");
        let bytes = fs::read(path).expect("written");
        (dir, bytes)
    }

    fn parsed(bytes: &[u8]) -> Result<Record, RecordError> {
        Record::from_bytes(bytes, Path::new("r/record.jsonl"))
    }

    fn message(bytes: &[u8]) -> String {
        parsed(bytes).expect_err("is refused").to_string()
    }

    fn lines(lines: &[&str]) -> Vec<u8> {
        lines
            .iter()
            .flat_map(|line| [line, "\n"])
            .collect::<String>()
            .into_bytes()
    }

    #[test]
    fn what_is_written_reads_back_from_the_folder_and_from_the_file() {
        let (dir, _) = written();
        let run = dir.path().join("reports/first");
        let expected = Record {
            provenance: provenance(),
            cases: vec![case("s/a"), case("s/b")],
            summary: Some(summary()),
            truncated: false,
        };
        assert_eq!(Record::read(&run).expect("reads"), expected);
        assert_eq!(
            Record::read(&run.join(RECORD_FILE)).expect("reads"),
            expected
        );
    }

    #[test]
    fn every_case_is_in_the_file_before_the_record_is_closed() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = RecordWriter::create(dir.path(), &provenance()).expect("created");
        for (count, id) in (1..).zip(["a", "b", "c"]) {
            writer.append(&case(id)).expect("appended");
            let record = Record::read(dir.path()).expect("reads");
            assert_eq!(record.cases.len(), count);
            assert_eq!((record.summary, record.truncated), (None, false));
        }
    }

    #[test]
    fn a_record_is_never_overwritten() {
        let (dir, bytes) = written();
        let run = dir.path().join("reports/first");
        let error = RecordWriter::create(&run, &provenance()).expect_err("is refused");
        assert!(matches!(error, RecordError::Exists { .. }), "{error}");
        assert_eq!(fs::read(run.join(RECORD_FILE)).expect("still there"), bytes);
    }

    #[test]
    fn a_number_that_json_lacks_is_refused_and_leaves_the_record_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut writer = RecordWriter::create(dir.path(), &provenance()).expect("created");
        let mut bad = case("s/nan");
        bad.run.sampling.temperature = f64::NAN;
        let error = writer.append(&bad).expect_err("is refused").to_string();
        assert!(error.contains("case s/nan cannot be recorded"), "{error}");
        writer.append(&case("s/good")).expect("appended");
        assert_eq!(Record::read(dir.path()).expect("reads").cases.len(), 1);
    }

    #[test]
    fn a_last_line_cut_at_any_byte_costs_that_line_only() {
        let (_dir, bytes) = written();
        let ends: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] == b'\n').collect();
        assert_eq!(ends.len(), 4);
        // The second case is the last line of the shortened file, then the closing line is.
        for (kept, line) in [(1, ends[1]..ends[2]), (2, ends[2]..ends[3])] {
            for cut in line.start + 1..=line.end {
                let record = parsed(&bytes[..cut]).expect("reads");
                let complete = cut == line.end;
                let nothing_of_it = cut == line.start + 1;
                let cases = kept + usize::from(complete && kept == 1);
                assert_eq!(record.cases.len(), cases, "cut at {cut}");
                assert_eq!(
                    record.truncated,
                    !complete && !nothing_of_it,
                    "cut at {cut}"
                );
                assert_eq!(
                    record.summary.is_some(),
                    complete && kept == 2,
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn a_header_cut_short_is_an_empty_record_and_not_a_foreign_file() {
        let (_dir, bytes) = written();
        let header = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a line");
        for cut in 0..header {
            let error = parsed(&bytes[..cut]).expect_err("is refused");
            assert!(
                matches!(error, RecordError::Empty { .. }),
                "cut at {cut}: {error}"
            );
        }
        assert!(parsed(&bytes[..header]).is_ok());
    }

    #[test]
    fn files_that_are_no_records_are_named_as_such() {
        for foreign in [
            "hello",
            "hello\n",
            "{}\n",
            "[1]",
            "{\"line\":\"case\"}\n",
            "\n",
        ] {
            let error = parsed(foreign.as_bytes()).expect_err("is refused");
            assert!(
                matches!(error, RecordError::NotARecord { .. }),
                "{foreign:?}: {error}"
            );
        }
        let error = Record::read(Path::new("/no/such/record")).expect_err("is refused");
        assert!(matches!(error, RecordError::Missing { .. }), "{error}");
    }

    #[test]
    fn another_version_is_refused_before_its_fields_are_looked_at() {
        insta::assert_snapshot!(
            message(br#"{"line":"run","format":2,"tool":"loopwatch 0.9.0","novel":true}"#),
            @"r/record.jsonl:1: the record has format 2, and this loopwatch reads only format 1; read it with the version that wrote it (loopwatch 0.9.0), or run again"
        );
        insta::assert_snapshot!(
            message(b"{\"line\":\"run\"}\n"),
            @"r/record.jsonl is not a record: its header names no format version; give a record.jsonl that `loopwatch run` wrote"
        );
    }

    #[test]
    fn other_damage_is_refused_by_line() {
        let (_dir, bytes) = written();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let whole: Vec<&str> = text.lines().collect();
        let [run, a, _, end] = whole[..] else {
            panic!("four lines")
        };
        for (damaged, expected) in [
            (lines(&[run, &a[..a.len() - 9], end]), ":2: not JSON"),
            (lines(&[run, a, a]), ":3: case 's/a' is recorded twice"),
            (lines(&[run, a, run]), ":3: a second header"),
            (lines(&[run, end, a]), ":3: a line follows the closing line"),
            (
                lines(&[run, r#"{"line":"note"}"#]),
                ":2: unknown kind of line 'note'",
            ),
            (
                lines(&[run, r#"{"x":1}"#]),
                ":2: the line does not say what it is",
            ),
            (
                lines(&[run, &a.replacen("why", "novel", 1)]),
                ":2: unknown field `novel`",
            ),
            // Whole JSON without a line break was not cut short, so it is refused as well.
            (
                format!("{run}\n{{}}").into_bytes(),
                ":2: the line does not say what it is",
            ),
        ] {
            let error = message(&damaged);
            assert!(
                error.starts_with(&format!("r/record.jsonl{expected}")),
                "{error}"
            );
        }
    }
}
