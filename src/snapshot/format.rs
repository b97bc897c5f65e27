//! The snapshot file: insta's `.snap` layout, with text and token ids as its value.
//!
//! ```text
//! ---
//! source: scenarios/readme.yaml
//! expression: summarise
//! info:
//!   format: 1
//!   model: builtin:readme
//!   prompt_tokens: 42
//!   sampling:
//!     temperature: 0.0
//! ---
//! generation 1, text:
//!   The text, as the neighbour `line` writes it.
//! generation 1, 3 tokens:
//!   12 7 2
//! ```
//!
//! The text comes first because it is what a person reviews; ids are wrapped so that a change
//! shows few lines. `cargo insta` rewrites the header, cuts white space at the end of the file and
//! line ends, so the reader accepts its YAML and nothing hangs on white space at a line's end.
//! Files are not known here.

use serde::{Deserialize, Serialize};

use super::line;
use super::{Redaction, Snapshot, SnapshotError, SnapshotGeneration, SnapshotInfo};
use crate::generation::SamplingSettings;

/// The version of the format, stored as `info.format`.
pub const FORMAT: u32 = 1;

const IDS_PER_LINE: usize = 16;
const FENCE: &str = "---";
const NOTHING: &str = "no generations";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    expression: String,
    info: HeaderInfo,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderInfo {
    format: u32,
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<usize>,
    sampling: SamplingSettings,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    redact: Vec<Redaction>,
}

/// The version alone, so that a file of a later format is called that and not malformed.
#[derive(Deserialize)]
struct Probe {
    info: ProbeInfo,
}

#[derive(Deserialize)]
struct ProbeInfo {
    format: u32,
}

impl Snapshot {
    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut file = format!("{FENCE}\n{}{FENCE}\n", self.header());
        if self.generations.is_empty() {
            file.push_str(NOTHING);
            file.push('\n');
        }
        for (index, generation) in self.generations.iter().enumerate() {
            if index > 0 {
                file.push('\n');
            }
            push_generation(&mut file, index + 1, generation);
        }
        file
    }

    fn header(&self) -> String {
        let header = Header {
            source: self.info.source.clone(),
            description: self.info.description.clone(),
            expression: self.info.expression.clone(),
            info: HeaderInfo {
                format: FORMAT,
                model: self.info.model.clone(),
                prompt_tokens: self.prompt_tokens,
                sampling: self.info.sampling.clone(),
                redact: self.info.redact.clone(),
            },
        };
        // Block scalars could put a line `---` into the header, where insta would see its end.
        let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
        #[expect(
            clippy::expect_used,
            reason = "text and numbers under fixed keys always have a YAML form"
        )]
        let mut yaml = serde_saphyr::to_string_with_options(&header, options)
            .expect("a header of text and numbers is YAML");
        if !yaml.ends_with('\n') {
            yaml.push('\n');
        }
        yaml
    }

    /// Reads a file's text back.
    ///
    /// # Errors
    /// If it is no snapshot of this format; the error names the line and what to do.
    pub fn parse(file: &str) -> Result<Self, SnapshotError> {
        let lines: Vec<&str> = file.lines().collect();
        let Some((FENCE, rest)) = lines
            .split_first()
            .map(|(first, rest)| (first.trim_end(), rest))
        else {
            return Err(SnapshotError::format(1, "the file does not start with ---"));
        };
        let end = rest
            .iter()
            .position(|line| line.trim_end() == FENCE)
            .ok_or_else(|| SnapshotError::format(lines.len(), "the header has no closing ---"))?;
        // The empty line stands for the opening fence, so that YAML counts lines as the file does.
        let yaml = format!("\n{}", rest.get(..end).unwrap_or_default().join("\n"));
        let header = parse_header(&yaml)?;
        let mut body = Body {
            lines: &lines,
            next: end + 2,
        };
        Ok(Self {
            info: SnapshotInfo {
                source: header.source,
                description: header.description,
                expression: header.expression,
                model: header.info.model,
                sampling: header.info.sampling,
                redact: header.info.redact,
            },
            prompt_tokens: header.info.prompt_tokens,
            generations: body.generations()?,
        })
    }
}

fn push_generation(file: &mut String, number: usize, generation: &SnapshotGeneration) {
    let mut push = |line: &str| {
        file.push_str(line);
        file.push('\n');
    };
    push(&text_heading(number));
    for line in line::encode(&generation.text) {
        push(&line);
    }
    push(&format!(
        "generation {number}, {} tokens:",
        generation.tokens.len()
    ));
    for ids in generation.tokens.chunks(IDS_PER_LINE) {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        push(&format!("  {}", ids.join(" ")));
    }
}

fn text_heading(number: usize) -> String {
    format!("generation {number}, text:")
}

fn parse_header(yaml: &str) -> Result<Header, SnapshotError> {
    let refused = |error: &serde_saphyr::Error| {
        let line = error.location().map_or(1, |at| at.line());
        SnapshotError::format(
            usize::try_from(line).unwrap_or(usize::MAX),
            format!("the header is wrong: {}", error.without_snippet()),
        )
    };
    let probe: Probe = serde_saphyr::from_str(yaml).map_err(|error| refused(&error))?;
    if probe.info.format != FORMAT {
        return Err(SnapshotError::Format {
            line: 1,
            problem: format!(
                "the file has format {}, and this loopwatch reads format {FORMAT}",
                probe.info.format
            ),
            remedy: "use the loopwatch that wrote it, or delete it, run the scenario again and \
                     accept the new output"
                .to_owned(),
        });
    }
    serde_saphyr::from_str(yaml).map_err(|error| refused(&error))
}

/// The lines after the header, read one by one.
struct Body<'a> {
    lines: &'a [&'a str],
    next: usize,
}

impl Body<'_> {
    fn generations(&mut self) -> Result<Vec<SnapshotGeneration>, SnapshotError> {
        let mut generations = Vec::new();
        self.skip_blank();
        if self.peek() == Some(NOTHING) {
            self.next += 1;
            self.skip_blank();
            return match self.peek() {
                None => Ok(generations),
                Some(_) => Err(self.problem(format!("something follows '{NOTHING}'"))),
            };
        }
        loop {
            generations.push(self.generation(generations.len() + 1)?);
            self.skip_blank();
            if self.peek().is_none() {
                return Ok(generations);
            }
        }
    }

    fn generation(&mut self, number: usize) -> Result<SnapshotGeneration, SnapshotError> {
        let heading = text_heading(number);
        if self.peek() != Some(heading.as_str()) {
            return Err(self.problem(format!("expected '{heading}'")));
        }
        self.next += 1;
        let text = self.text()?;
        let count = self
            .peek()
            .and_then(|line| line.strip_prefix(&format!("generation {number}, ")))
            .and_then(|rest| rest.strip_suffix(" tokens:"))
            .and_then(|count| count.parse::<usize>().ok())
            .ok_or_else(|| {
                self.problem(format!("expected 'generation {number}, <count> tokens:'"))
            })?;
        let at = self.next;
        self.next += 1;
        let tokens = self.ids()?;
        if tokens.len() != count {
            return Err(SnapshotError::format(
                at + 1,
                format!(
                    "the heading says {count} tokens, but {} follow",
                    tokens.len()
                ),
            ));
        }
        Ok(SnapshotGeneration { text, tokens })
    }

    fn text(&mut self) -> Result<String, SnapshotError> {
        let mut text = Vec::new();
        while let Some(line) = self.lines.get(self.next) {
            if line.starts_with("generation ") {
                break;
            }
            text.push(line::decode(line).map_err(|problem| self.problem(problem))?);
            self.next += 1;
        }
        Ok(text.join("\n"))
    }

    fn ids(&mut self) -> Result<Vec<u32>, SnapshotError> {
        let mut ids = Vec::new();
        while let Some(line) = self.lines.get(self.next) {
            let Some(line) = line.strip_prefix(' ') else {
                break;
            };
            for word in line.split_whitespace() {
                let id = word
                    .parse()
                    .map_err(|_| self.problem(format!("'{word}' is no token id")))?;
                ids.push(id);
            }
            self.next += 1;
        }
        Ok(ids)
    }

    fn peek(&self) -> Option<&str> {
        self.lines.get(self.next).map(|line| line.trim_end())
    }

    fn skip_blank(&mut self) {
        while self.peek() == Some("") {
            self.next += 1;
        }
    }

    fn problem(&self, problem: impl Into<String>) -> SnapshotError {
        SnapshotError::format(self.next + 1, problem)
    }
}

#[cfg(test)]
mod tests;
