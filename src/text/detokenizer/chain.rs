//! Runs a decoder token by token. A token costs work in the length of its own name only.

use std::collections::HashMap;
use std::sync::LazyLock;

use tokenizers::Decoder;
use tokenizers::decoders::wordpiece;

use super::TextError;
use super::plan::{Chain, Join, Step};
use super::utf8::{Broken, Utf8};

/// A decoder in the middle of a text.
#[derive(Debug)]
pub(super) struct Running<'a> {
    chain: &'a Chain,
    /// Whether a token has been seen.
    begun: bool,
    utf8: Utf8,
    /// The end of the last token from the mark of a word's end on.
    word_end: String,
    /// How many characters may still be cut at the start of the text.
    cut: usize,
}

impl<'a> Running<'a> {
    pub(super) fn new(chain: &'a Chain) -> Self {
        let broken = match chain.join {
            Join::ByteFallback => Broken::PerByte,
            _ => Broken::PerSequence,
        };
        Self {
            chain,
            begun: false,
            utf8: Utf8::new(broken),
            word_end: String::new(),
            cut: chain.cut.map_or(0, |(_, times)| times),
        }
    }

    /// Takes a token's name and returns the text that became certain with it.
    pub(super) fn push(&mut self, token: String) -> Result<String, TextError> {
        let first = !std::mem::replace(&mut self.begun, true);
        let mut token = token;
        for step in &self.chain.steps {
            token = step.apply(token, first)?;
        }
        let mut out = String::new();
        match &self.chain.join {
            Join::Plain => out = token,
            Join::Spaces => {
                if !first {
                    out.push(' ');
                }
                out.push_str(&token);
            }
            Join::ByteLevel => self.utf8.push(&bytes_of(&token), &mut out),
            Join::ByteFallback => match byte_of(&token) {
                Some(byte) => self.utf8.push(&[byte], &mut out),
                None => {
                    self.utf8.flush(&mut out);
                    out.push_str(&token);
                }
            },
            Join::WordEnd(mark) => {
                out = std::mem::take(&mut self.word_end).replace(mark, " ");
                let end = token.find(mark.as_str()).unwrap_or(token.len());
                let (begin, rest) = token.split_at(end);
                out.push_str(begin);
                rest.clone_into(&mut self.word_end);
            }
        }
        Ok(self.cut_start(out))
    }

    /// The text that was held back.
    pub(super) fn finish(mut self) -> String {
        let mut out = String::new();
        self.utf8.flush(&mut out);
        if let Join::WordEnd(mark) = &self.chain.join {
            out.push_str(&self.word_end.replace(mark, ""));
        }
        self.cut_start(out)
    }

    /// Cuts what is left to cut; the first other character ends it.
    fn cut_start(&mut self, text: String) -> String {
        let Some((content, _)) = self.chain.cut.filter(|_| self.cut > 0) else {
            return text;
        };
        let mut rest = text.as_str();
        while let Some(after) = rest.strip_prefix(content).filter(|_| self.cut > 0) {
            rest = after;
            self.cut -= 1;
        }
        if !rest.is_empty() {
            self.cut = 0;
        }
        rest.to_owned()
    }
}

impl Chain {
    /// The bytes that a token adds in the middle of a text; `None` where its neighbours count.
    pub(super) fn bytes(&self, token: String) -> Option<Vec<u8>> {
        let mut token = token;
        for step in &self.steps {
            token = step.apply(token, false).ok()?;
        }
        match self.join {
            Join::Plain => Some(token.into_bytes()),
            Join::ByteLevel => Some(bytes_of(&token)),
            Join::ByteFallback => match byte_of(&token) {
                Some(byte) => Some(vec![byte]),
                None => Some(token.into_bytes()),
            },
            Join::Spaces | Join::WordEnd(_) => None,
        }
    }
}

impl Step {
    fn apply(&self, token: String, first: bool) -> Result<String, TextError> {
        match self {
            Self::Replace(replace) => {
                let tokens = replace
                    .decode_chain(vec![token])
                    .map_err(|error| TextError::Tokenizer(error.to_string()))?;
                Ok(tokens.concat())
            }
            Self::Strip {
                content,
                start,
                stop,
            } => Ok(strip(&token, *content, *start, *stop).to_owned()),
            Self::Metaspace { mark, drop_first } => Ok(match *drop_first && first {
                true => token.replace(*mark, ""),
                false => token.replace(*mark, " "),
            }),
            Self::WordPiece { prefix, cleanup } => {
                let text = match token.strip_prefix(prefix.as_str()) {
                    _ if first => token,
                    Some(rest) => rest.to_owned(),
                    None => format!(" {token}"),
                };
                Ok(match cleanup {
                    true => wordpiece::cleanup(&text),
                    false => text,
                })
            }
        }
    }
}

/// Cuts up to `start` and `stop` times `content` at the ends.
fn strip(token: &str, content: char, start: usize, stop: usize) -> &str {
    let count = |c: &char| *c == content;
    let front = token.chars().take(start).take_while(count).count();
    let rest = token.get(front * content.len_utf8()..).unwrap_or_default();
    let back = rest.chars().rev().take(stop).take_while(count).count();
    let end = rest.len() - back * content.len_utf8();
    rest.get(..end).unwrap_or_default()
}

/// The byte that a token such as `<0x0A>` stands for.
fn byte_of(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2)
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten()
}

/// The bytes that a byte-level token stands for. One with a character that stands for none, such
/// as a token added later, stands for itself.
fn bytes_of(token: &str) -> Vec<u8> {
    let bytes: Option<Vec<u8>> = token.chars().map(|c| BYTE_LEVEL.get(&c).copied()).collect();
    bytes.unwrap_or_else(|| token.as_bytes().to_vec())
}

/// GPT-2's alphabet (openai/gpt-2, `encoder.py`, `bytes_to_unicode`): printable Latin-1 bytes are
/// their own characters, all others follow in order from U+0100 on.
static BYTE_LEVEL: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut others = '\u{100}'..;
    (0..=255u8)
        .filter_map(|byte| {
            let c = if printable(byte) {
                char::from(byte)
            } else {
                others.next()?
            };
            Some((c, byte))
        })
        .collect()
});
