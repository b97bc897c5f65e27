//! Server-sent events, read as they come, in any cut.
//!
//! The grammar is that of the HTML standard, read more strictly: there, a line that is no field is
//! ignored, and with it the tokens it was meant to bring. Here it is an error, as is a stream that
//! ends inside an event.

use thiserror::Error;

/// Most bytes of one event. A chunk of an answer has a few hundred.
pub const MAX_EVENT_BYTES: usize = 8 << 20;
/// Characters of a bad line that an error shows.
const EXCERPT: usize = 80;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its `event:` field; empty if there is none.
    pub name: String,
    /// Its `data:` lines, joined by line breaks.
    pub data: String,
}

/// A stream that is not one of server-sent events.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SseError {
    /// A line that is no field.
    #[error("line {line} is no server-sent event: {excerpt:?}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        excerpt: String,
    },
    /// Bytes that are no text.
    #[error("line {line} is not UTF-8")]
    Utf8 {
        /// Counted from 1.
        line: usize,
    },
    /// An event that does not end.
    #[error("an event has more than {MAX_EVENT_BYTES} bytes")]
    TooLong,
    /// The stream ended inside an event.
    #[error("the stream ended inside an event: {excerpt:?}")]
    Torn {
        /// The beginning of what was left.
        excerpt: String,
    },
}

/// Takes bytes and gives events.
#[derive(Debug, Default)]
pub struct SseReader {
    /// The bytes of the line that is not complete.
    line: Vec<u8>,
    /// Lines so far.
    lines: usize,
    /// The line break before may have been the first half of `\r\n`.
    after_return: bool,
    name: String,
    data: Option<String>,
}

impl SseReader {
    /// Takes more bytes and returns the events that became complete.
    ///
    /// # Errors
    /// If a line is no field, or an event too long.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut events = Vec::new();
        for byte in bytes {
            let second_half = std::mem::take(&mut self.after_return) && *byte == b'\n';
            match byte {
                _ if second_half => {}
                b'\n' | b'\r' => {
                    self.after_return = *byte == b'\r';
                    events.extend(self.end_line()?);
                }
                _ => {
                    let held = self.data.as_ref().map_or(0, String::len);
                    if self.line.len() + held >= MAX_EVENT_BYTES {
                        return Err(SseError::TooLong);
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(events)
    }

    /// The stream is over.
    ///
    /// # Errors
    /// If it ended inside an event.
    pub fn finish(self) -> Result<(), SseError> {
        match (&self.data, self.line.is_empty()) {
            (None, true) => Ok(()),
            (Some(data), true) => Err(SseError::Torn {
                excerpt: excerpt(data),
            }),
            (_, false) => Err(SseError::Torn {
                excerpt: excerpt(&String::from_utf8_lossy(&self.line)),
            }),
        }
    }

    fn end_line(&mut self) -> Result<Option<SseEvent>, SseError> {
        self.lines += 1;
        let line = self.lines;
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8(bytes).map_err(|_| SseError::Utf8 { line })?;
        let text = match line {
            1 => text.trim_start_matches('\u{feff}'),
            _ => text.as_str(),
        };
        if text.is_empty() {
            let name = std::mem::take(&mut self.name);
            return Ok(self.data.take().map(|data| SseEvent { name, data }));
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            // A comment, which keeps the connection alive.
            "" => {}
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            // For clients that connect again.
            "id" | "retry" => {}
            _ => {
                return Err(SseError::Line {
                    line,
                    excerpt: excerpt(text),
                });
            }
        }
        Ok(None)
    }
}

/// The first characters of a text.
fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<SseEvent>, SseError> {
        let mut reader = SseReader::default();
        let mut events = Vec::new();
        for chunk in chunks {
            events.extend(reader.push(chunk)?);
        }
        reader.finish()?;
        Ok(events)
    }

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent {
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[rstest]
    #[case("data: a\n\n", &[("", "a")])]
    #[case("\u{feff}event: x\r\ndata:a\r\ndata: b\r\n\r\n", &[("x", "a\nb")])]
    #[case(": alive\n\ndata\n\nid: 1\nretry: 5\rdata: c\r\r", &[("", ""), ("", "c")])]
    #[case("event: nothing\n\ndata:  two spaces\n\n", &[("", " two spaces")])]
    fn events_are_read(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(n, d)| event(n, d)).collect();
        assert_eq!(read(&[text.as_bytes()]), Ok(expected.clone()));
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), Ok(expected), "byte by byte");
    }

    #[rstest]
    #[case(
        b"data: a\n\n{\"b\": 1}\n\n",
        "line 3 is no server-sent event: \"{\\\"b\\\": 1}\""
    )]
    #[case(b"date: a\n\n", "line 1 is no server-sent event")]
    #[case(b"data: \xff\n\n", "line 1 is not UTF-8")]
    #[case(b"data: a\n", "the stream ended inside an event: \"a\"")]
    #[case(
        b"data: a\n\ndata: {\"to",
        "the stream ended inside an event: \"data: {\\\"to\""
    )]
    fn what_is_no_event_is_an_error(#[case] bytes: &[u8], #[case] message: &str) {
        let error = read(&[bytes]).expect_err("refused").to_string();
        assert!(error.starts_with(message), "{error}");
    }

    #[test]
    fn an_event_without_end_is_bounded() {
        let mut reader = SseReader::default();
        let chunk = vec![b'x'; 1 << 20];
        let outcome = (0..9).try_for_each(|_| reader.push(&chunk).map(drop));
        assert_eq!(outcome, Err(SseError::TooLong));
        // Many short lines of one event are no way around it.
        let mut reader = SseReader::default();
        let line = [b"data:".as_slice(), &chunk, b"\n"].concat();
        let outcome = (0..9).try_for_each(|_| reader.push(&line).map(drop));
        assert_eq!(outcome, Err(SseError::TooLong));
    }

    proptest! {
        #[test]
        fn no_cut_matters_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), at in 0_usize..80) {
            let (left, right) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(read(&[left, right]), read(&[&bytes]));
        }
    }
}
