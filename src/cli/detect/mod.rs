//! `loopwatch detect`: looks for a loop in a text, or in token ids, and shows it in its place.

mod evaluate;
mod generations;
mod input;

use std::io::{Read, Write, stdin};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::exit::{Exit, Explained};
use super::style::{BOLD, DIM, LOOP, RESET};
use crate::loops::{
    Ending, FRAGMENT_CHARS, LoopKind, LoopVerdict, PromptRequest, Settings, Watch, escape_fragment,
    text_units,
};
use input::{Channel, Format, Heard};

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
    /// What was asked, so that repetition on request is told apart
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// The text was cut off by a limit of tokens, so that a suspected loop at its very end is
    /// confirmed; chunks of a stream say so themselves
    #[arg(long)]
    cut_off: bool,
    /// Report every channel (reasoning, content, tool arguments), not only the worst one
    #[arg(long)]
    all_channels: bool,
    /// Print one JSON object instead
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    evaluate: evaluate::Evaluate,
}

const EXAMPLES: &str = "\
Ends with 100 if a loop is confirmed that the prompt does not ask for, with 0 otherwise (a suspected
loop is shown).

Examples:
  loopwatch detect answer.txt
  some-model 'read README.md' | loopwatch detect
  loopwatch detect --prompt 'Write it 100 times.' answer.txt
  loopwatch detect --format ids --json tokens.txt
  curl -sN … | loopwatch detect --format sse
  loopwatch detect --evaluate reports/loops";

/// What `--json` prints. Positions count units of the input: token ids, or pieces of the text.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<Channel>,
    units: usize,
    #[serde(rename = "loop")]
    found: Option<LoopVerdict>,
    /// Bytes of the first copy in the channel, where there is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_copy_bytes: Option<Range<usize>>,
    /// Bytes of the whole repetition in the channel, where there is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    loop_bytes: Option<Range<usize>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fragment: Option<String>,
    /// What is known of false alarms of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    false_alarms: Option<&'static str>,
    #[serde(skip)]
    text: String,
}

impl Detect {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        if let Some(folder) = &self.evaluate.evaluate {
            return self.evaluate.run(folder);
        }
        let input = read(&self.file)?;
        let prompt = self.prompt.as_deref().map(PromptRequest::read);
        let channels = input::hear(self.format, &input, &self.file)?;
        let several = channels.len() > 1 || matches!(self.format, Format::Jsonl | Format::Sse);
        let mut reports: Vec<Report> = channels
            .into_iter()
            .map(|mut heard| {
                if self.cut_off {
                    heard.ending = Ending::CutOff;
                }
                Report {
                    channel: several.then_some(heard.channel),
                    ..report(heard, prompt.as_ref())
                }
            })
            .collect();
        // The worst first.
        reports.sort_by_key(|report| severity(report.found.as_ref()));
        let mut out = anstream::stdout().lock();
        let shown = match (reports.first(), self.all_channels) {
            (None, _) => &[][..],
            (Some(_), true) => &reports[..],
            (Some(_), false) => &reports[..1],
        };
        if shown.is_empty() && !self.json {
            writeln!(out, "no loop in 0 units")?;
        }
        for report in shown {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(report)?)?;
            } else {
                show(&mut out, report)?;
            }
        }
        let failed = reports
            .iter()
            .any(|report| severity(report.found.as_ref()) == 0);
        Ok(if failed { Exit::Failed } else { Exit::Passed })
    }
}

/// 0 for a confirmed loop that nobody asked for, and more for less.
fn severity(found: Option<&LoopVerdict>) -> u8 {
    match found {
        Some(found) if found.requested.covers(found.copies()) => 2,
        Some(found) if found.state.is_confirmed() => 0,
        Some(_) => 1,
        None => 3,
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

/// Watches one channel from its beginning to its end.
fn report(heard: Heard, prompt: Option<&PromptRequest>) -> Report {
    let Heard {
        text,
        tokens,
        ending,
        ..
    } = heard;
    let (watch, units) = if tokens.is_empty() {
        let mut watch = Watch::new(Settings::for_text());
        watch.push_text(&text, |_| ());
        watch.finish(ending);
        (
            watch,
            text_units(&text)
                .into_iter()
                .map(|unit| unit.bytes)
                .collect(),
        )
    } else {
        let mut watch = Watch::new(Settings::default());
        let mut start = 0;
        let mut units: Vec<Range<usize>> = Vec::with_capacity(tokens.len());
        for (id, end) in tokens {
            if text.is_empty() {
                watch.push_id(id);
            } else {
                watch.push_token(id, &text[start..end]);
            }
            units.push(start..end);
            start = end;
        }
        watch.finish(ending);
        (watch, units)
    };
    let mut found = watch.verdict();
    let bytes = |range: Range<usize>| {
        let first = units.get(range.start)?;
        let last = units.get(range.end.checked_sub(1)?)?;
        Some(first.start..last.end).filter(|_| !text.is_empty())
    };
    let at = found
        .as_ref()
        .map(|found| (found.onset, found.period, found.span));
    let first_copy_bytes = at.and_then(|(onset, period, _)| bytes(onset..onset + period));
    let loop_bytes = at.and_then(|(onset, _, span)| bytes(onset..onset + span));
    let block = match (&first_copy_bytes, &found) {
        (Some(range), _) => text.get(range.clone()).map(str::to_owned),
        (None, Some(found)) => {
            let ids: Vec<String> = found.fragment_tokens.iter().map(u32::to_string).collect();
            Some(ids.join(" "))
        }
        (None, None) => None,
    };
    if let (Some(found), Some(block), Some(prompt)) = (&mut found, &block, prompt) {
        found.requested = prompt.about(block);
    }
    Report {
        channel: None,
        units: watch.tokens(),
        false_alarms: found.as_ref().map(LoopVerdict::false_alarms),
        found,
        first_copy_bytes,
        loop_bytes,
        fragment: block.map(|block| escape_fragment(&block, FRAGMENT_CHARS)),
        text,
    }
}

fn show(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    if let Some(channel) = report.channel {
        let name = match channel {
            Channel::Reasoning => "reasoning",
            Channel::Content => "content",
            Channel::ToolArguments => "tool arguments",
        };
        write!(out, "{name}: ")?;
    }
    let Some(found) = &report.found else {
        return writeln!(out, "no loop in {} units", report.units);
    };
    writeln!(
        out,
        "{BOLD}loop {}{RESET}: {}period {}, {:.1} copies, from unit {} (of {}){}{}",
        found.state.name(),
        match found.kind {
            LoopKind::Exact => String::new(),
            kind => format!("{}, ", kind.name()),
        },
        found.period,
        found.copies(),
        found.onset,
        report.units,
        found
            .context
            .map_or(String::new(), |context| format!(", in {}", context.name())),
        if found.requested.covers(found.copies()) {
            ", as the prompt asks"
        } else {
            ""
        },
    )?;
    writeln!(
        out,
        "{DIM}detected at unit {}, the earliest possible is {}; {} units wasted{RESET}",
        found.detected_at, found.earliest_possible, found.wasted_tokens,
    )?;
    if let Some(known) = report.false_alarms {
        writeln!(out, "{DIM}false alarms like this: {known}{RESET}")?;
    }
    if let Some(fragment) = &report.fragment {
        writeln!(out, "fragment: {LOOP}{fragment}{RESET}")?;
    }
    match (&report.first_copy_bytes, &report.loop_bytes) {
        (Some(first), Some(whole)) => show_in_place(out, &report.text, first, whole),
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
