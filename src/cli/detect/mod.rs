//! `loopwatch detect`: looks for a loop in a text, or in token ids, and shows it in its place.

mod evaluate;
mod generations;

use std::io::{Read, Write, stdin};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::exit::{Exit, Explained};
use super::style::{self, BOLD, DIM, LOOP, RESET};
use crate::loops::{FRAGMENT_CHARS, LoopVerdict, Thresholds, detect, escape_fragment, text_units};

/// Largest input that is read.
const MAX_BYTES: u64 = 256 << 20;
/// Characters of healthy text shown before the loop, and of repetition after its first copy.
const SURROUNDINGS: usize = 240;

/// Look for a repetition loop in a text.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Detect {
    /// The file to read; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// What the input is
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    evaluate: evaluate::Evaluate,
}

const EXAMPLES: &str = "\
Ends with 100 if a loop is confirmed, with 0 otherwise (a suspected loop is shown).

Examples:
  loopwatch detect answer.txt
  some-model 'read README.md' | loopwatch detect
  loopwatch detect --format ids --json tokens.txt";

/// Kinds of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text, cut into word pieces, digits and signs
    Text,
    /// Token ids, separated by white space, commas or both; brackets are ignored
    Ids,
}

/// What `--json` prints. Positions count units of the input: token ids, or pieces of the text.
#[derive(Debug, Serialize)]
struct Report {
    units: usize,
    #[serde(rename = "loop")]
    found: Option<LoopVerdict>,
    /// Bytes of the first copy in the input, for text.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_copy_bytes: Option<Range<usize>>,
    /// Bytes of the whole repetition in the input, for text.
    #[serde(skip_serializing_if = "Option::is_none")]
    loop_bytes: Option<Range<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<String>,
}

impl Detect {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        if let Some(folder) = &self.evaluate.evaluate {
            return self.evaluate.run(folder);
        }
        let input = read(&self.file)?;
        let report = match self.format {
            Format::Text => in_text(&input),
            Format::Ids => in_ids(&input, &self.file)?,
        };
        let mut out = anstream::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            show(&mut out, &input, &report)?;
        }
        Ok(match &report.found {
            Some(found) if found.state.is_confirmed() => Exit::Failed,
            _ => Exit::Passed,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let name = path.display();
    let from: Box<dyn Read> = if path == Path::new("-") {
        Box::new(stdin())
    } else {
        let file = std::fs::File::open(path)
            .map_err(|error| Explained::usage(format!("cannot read {name}: {error}")))?;
        Box::new(file)
    };
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Explained::usage(format!("cannot read {name}: {error}")))?;
    if bytes.len() as u64 > MAX_BYTES {
        let problem = format!("{name} is larger than {MAX_BYTES} bytes; cut it first");
        return Err(Explained::usage(problem));
    }
    // Model output cut in the middle of a character is still worth reading.
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn in_text(text: &str) -> Report {
    let units = text_units(text);
    let ids: Vec<u32> = units.iter().map(|unit| unit.id).collect();
    let found = detect(&ids, &Thresholds::default());
    let bytes = |range: Range<usize>| {
        let first = units.get(range.start)?;
        let last = units.get(range.end.checked_sub(1)?)?;
        Some(first.bytes.start..last.bytes.end)
    };
    let first_copy_bytes = found
        .as_ref()
        .and_then(|found| bytes(found.onset..found.onset + found.period));
    let loop_bytes = found
        .as_ref()
        .and_then(|found| bytes(found.onset..found.onset + found.span));
    let fragment = first_copy_bytes
        .clone()
        .and_then(|range| text.get(range))
        .map(|fragment| escape_fragment(fragment, FRAGMENT_CHARS));
    Report {
        units: units.len(),
        found,
        first_copy_bytes,
        loop_bytes,
        fragment,
    }
}

fn in_ids(text: &str, file: &Path) -> anyhow::Result<Report> {
    let words = text.lines().enumerate().flat_map(|(line, text)| {
        text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']'))
            .filter(|word| !word.is_empty())
            .map(move |word| (line + 1, word))
    });
    let ids = words
        .map(|(line, word)| {
            word.parse().map_err(|_| {
                let name = file.display();
                Explained::usage(format!("{name}:{line}: '{word}' is not a token id"))
            })
        })
        .collect::<anyhow::Result<Vec<u32>>>()?;
    let found = detect(&ids, &Thresholds::default());
    let fragment = found.as_ref().map(|found| {
        let ids: Vec<String> = found.fragment_tokens.iter().map(u32::to_string).collect();
        escape_fragment(&ids.join(" "), FRAGMENT_CHARS)
    });
    Ok(Report {
        units: ids.len(),
        found,
        first_copy_bytes: None,
        loop_bytes: None,
        fragment,
    })
}

fn show(out: &mut impl Write, input: &str, report: &Report) -> std::io::Result<()> {
    let Some(found) = &report.found else {
        return writeln!(out, "no loop in {} units", report.units);
    };
    writeln!(
        out,
        "{BOLD}loop {}{RESET}: period {}, {:.1} copies, from unit {} (of {})",
        style::state(found.state),
        found.period,
        found.copies(),
        found.onset,
        report.units,
    )?;
    writeln!(
        out,
        "{DIM}detected at unit {}, the earliest possible is {}; {} units wasted{RESET}",
        found.detected_at, found.earliest_possible, found.wasted_tokens,
    )?;
    if let Some(fragment) = &report.fragment {
        writeln!(out, "fragment: {LOOP}{fragment}{RESET}")?;
    }
    match (&report.first_copy_bytes, &report.loop_bytes) {
        (Some(first), Some(whole)) => show_in_place(out, input, first, whole),
        _ => Ok(()),
    }
}

/// The text around the loop's onset: healthy text plain, the first copy marked once, repeats
/// marked and cut short.
fn show_in_place(
    out: &mut impl Write,
    input: &str,
    first: &Range<usize>,
    whole: &Range<usize>,
) -> std::io::Result<()> {
    let before = input.get(..first.start).unwrap_or_default();
    let cut = before
        .char_indices()
        .rev()
        .nth(SURROUNDINGS)
        .map_or(0, |(at, _)| at);
    let repeats = input.get(first.end..whole.end).unwrap_or_default();
    let shown: String = repeats.chars().take(SURROUNDINGS).collect();
    let left = repeats.len() - shown.len();
    writeln!(out)?;
    if cut > 0 {
        write!(out, "{DIM}…{RESET}")?;
    }
    write!(out, "{}", &before[cut..])?;
    write!(
        out,
        "{BOLD}⟦{}⟧{RESET}",
        input.get(first.clone()).unwrap_or_default()
    )?;
    write!(out, "{LOOP}{shown}{RESET}")?;
    if left > 0 {
        write!(out, "{DIM}… {left} more bytes of the same{RESET}")?;
    }
    writeln!(out)
}
