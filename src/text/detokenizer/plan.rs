//! How a tokenizer's decoder is run token by token: read once from `tokenizer.json`.
//!
//! A decoder maps the names of all tokens to a text. Those in use are made of steps that look at
//! one token at a time, one way of joining tokens that looks at a few bytes, and perhaps a cut at
//! the very start of the text. Such a decoder needs no window.

use tokenizers::DecoderWrapper;
use tokenizers::normalizers::Replace;
use tokenizers::pre_tokenizers::metaspace::PrependScheme;

/// How ids become text.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Step by step.
    Chain(Chain),
    /// The decoder as a whole, over a window.
    Windowed,
}

/// A decoder taken apart.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// What happens to each token by itself, in order.
    pub(super) steps: Vec<Step>,
    /// How tokens become one text.
    pub(super) join: Join,
    /// Up to so many of these characters are cut at the start of the text.
    pub(super) cut: Option<(char, usize)>,
}

/// What happens to one token.
#[derive(Debug)]
pub(super) enum Step {
    Replace(Replace),
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    /// `▁` is a space, and nothing in the first token if `drop_first`.
    Metaspace {
        mark: char,
        drop_first: bool,
    },
    /// Tokens that do not begin with `prefix` begin a word.
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
}

/// How tokens become one text.
#[derive(Debug, Default)]
pub(super) enum Join {
    /// One after the other.
    #[default]
    Plain,
    /// With spaces between: a tokenizer without a decoder.
    Spaces,
    /// Each character of a token stands for a byte.
    ByteLevel,
    /// Tokens such as `<0xE4>` are bytes.
    ByteFallback,
    /// This mark ends a word: a space, except at the end of the text.
    WordEnd(String),
}

impl Plan {
    /// The bytes that a token adds in the middle of a text, if that does not depend on the rest.
    pub(crate) fn bytes(&self, token: String) -> Option<Vec<u8>> {
        match self {
            Self::Chain(chain) => chain.bytes(token),
            Self::Windowed => None,
        }
    }

    /// Takes a decoder apart.
    ///
    /// # Errors
    /// If it can neither be taken apart nor safely be run as a whole.
    pub(crate) fn of(decoder: Option<&DecoderWrapper>) -> Result<Self, String> {
        let Some(decoder) = decoder else {
            return Ok(Self::Chain(Chain {
                join: Join::Spaces,
                ..Chain::default()
            }));
        };
        let mut parts = Vec::new();
        flatten(decoder, &mut parts);
        if let Some(chain) = Chain::of(&parts) {
            return Ok(Self::Chain(chain));
        }
        // The crate panics over these when a token or the whole text is empty (0.22.2).
        let unsafe_part = parts.iter().any(|part| match part {
            DecoderWrapper::Strip(strip) => strip.stop > 0,
            DecoderWrapper::BPE(_) => true,
            _ => false,
        });
        if unsafe_part {
            return Err("this order of decoders is not supported".to_owned());
        }
        Ok(Self::Windowed)
    }
}

/// Sequences within sequences, as one list.
fn flatten<'a>(decoder: &'a DecoderWrapper, parts: &mut Vec<&'a DecoderWrapper>) {
    match decoder {
        DecoderWrapper::Sequence(sequence) => {
            for part in sequence.get_decoders() {
                flatten(part, parts);
            }
        }
        other => parts.push(other),
    }
}

impl Chain {
    /// `None` if the parts do not stand in an order that can be run token by token.
    fn of(parts: &[&DecoderWrapper]) -> Option<Self> {
        let mut chain = Self::default();
        // Whether tokens are known no more: what follows sees one text.
        let mut fused = false;
        let mut joined = false;
        for part in parts {
            match part {
                DecoderWrapper::Fuse(_) => fused = true,
                DecoderWrapper::Strip(strip) if fused => {
                    if strip.stop > 0 || chain.cut.is_some() {
                        return None;
                    }
                    chain.cut = Some((strip.content, strip.start));
                }
                _ if joined || fused => return None,
                DecoderWrapper::ByteLevel(_) => {
                    chain.join = Join::ByteLevel;
                    (joined, fused) = (true, true);
                }
                DecoderWrapper::ByteFallback(_) => {
                    chain.join = Join::ByteFallback;
                    joined = true;
                }
                DecoderWrapper::BPE(bpe) => {
                    chain.join = Join::WordEnd(bpe.suffix.clone());
                    joined = true;
                }
                other => chain.steps.push(Step::of(other)?),
            }
        }
        Some(chain)
    }
}

impl Step {
    fn of(part: &DecoderWrapper) -> Option<Self> {
        match part {
            DecoderWrapper::Replace(replace) => Some(Self::Replace(replace.clone())),
            DecoderWrapper::Strip(strip) => Some(Self::Strip {
                content: strip.content,
                start: strip.start,
                stop: strip.stop,
            }),
            DecoderWrapper::Metaspace(metaspace) => Some(Self::Metaspace {
                mark: metaspace.get_replacement(),
                drop_first: metaspace.prepend_scheme != PrependScheme::Never,
            }),
            DecoderWrapper::WordPiece(word_piece) => Some(Self::WordPiece {
                prefix: word_piece.prefix.clone(),
                cleanup: word_piece.cleanup,
            }),
            _ => None,
        }
    }
}
