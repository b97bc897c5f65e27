//! A document of the corpus: what it says, what it is, and what is known about its loops.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::random::hash;
use crate::loops::{Ending, Unit, text_units};

/// What a document mostly consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Sentences.
    Prose,
    /// Programs.
    Code,
    /// Markdown tables, forms, drawings.
    Table,
    /// JSON, CSV, logs, dumps.
    Data,
    /// Words of mathematics, which no text looks like.
    Word,
}

impl Class {
    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prose => "prose",
            Self::Code => "code",
            Self::Table => "table",
            Self::Data => "data",
            Self::Word => "word",
        }
    }
}

/// Which part of the corpus a document comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stratum {
    /// A planted loop.
    Planted,
    /// What a model generated.
    Generated,
    /// A file, or text from a generator, that nobody would call a loop.
    Healthy,
    /// Repeats, and ought to: it was asked for, or the format has it.
    LookAlike,
    /// A word of mathematics.
    Adversarial,
}

/// Which half of the corpus a document belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Half {
    /// Thresholds may be chosen on it.
    Tune,
    /// Looked at for the figures only.
    Test,
}

impl Half {
    /// The half of everything that comes from `source`. All documents of one source share a half,
    /// so nothing learnt from one of them helps with another.
    #[must_use]
    pub fn of(source: &str) -> Self {
        if hash(source) & 1 == 0 {
            Self::Tune
        } else {
            Self::Test
        }
    }
}

/// The kinds of loop the corpus plants or labels. The comments give the ids of the usual taxonomy
/// of degenerate repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planted {
    /// One piece over and over.
    Token,
    /// Blank lines without end.
    Whitespace,
    /// Two to four signs.
    Punctuation,
    /// A few words.
    Phrase,
    /// A sentence.
    Sentence,
    /// A paragraph of 97 to 512 units.
    Paragraph,
    /// A block of 513 to 4,096 units.
    LongBlock,
    /// A function in an unclosed code fence.
    CodeBlock,
    /// A list of the same bullets.
    Bullets,
    /// One row of a table.
    TableRow,
    /// One element of a JSON array.
    JsonElement,
    /// Equal but for a number that counts.
    Counter,
    /// Each round is the one before it, and a bit more.
    Growing,
    /// Two to four sentences in any order.
    PingPong,
    /// Each copy has 8 % of its words changed.
    Drift8,
    /// A fixed sentence after every new one.
    Interleaved,
    /// Each copy has 25 % of its words changed.
    Drift25,
    /// A model went on in circles to the end of its allowance.
    Real,
}

impl Planted {
    /// Every kind that is planted.
    pub const ALL: [Self; 17] = [
        Self::Token,
        Self::Whitespace,
        Self::Punctuation,
        Self::Phrase,
        Self::Sentence,
        Self::Paragraph,
        Self::LongBlock,
        Self::CodeBlock,
        Self::Bullets,
        Self::TableRow,
        Self::JsonElement,
        Self::Counter,
        Self::Growing,
        Self::PingPong,
        Self::Drift8,
        Self::Interleaved,
        Self::Drift25,
    ];

    /// Whether all copies are equal.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self <= Self::JsonElement
    }

    /// The name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Whitespace => "white space",
            Self::Punctuation => "punctuation",
            Self::Phrase => "phrase",
            Self::Sentence => "sentence",
            Self::Paragraph => "paragraph",
            Self::LongBlock => "long block",
            Self::CodeBlock => "code block",
            Self::Bullets => "bullets",
            Self::TableRow => "table row",
            Self::JsonElement => "JSON element",
            Self::Counter => "counter",
            Self::Growing => "growing",
            Self::PingPong => "ping-pong",
            Self::Drift8 => "drift 8 %",
            Self::Interleaved => "interleaved",
            Self::Drift25 => "drift 25 %",
            Self::Real => "real",
        }
    }
}

/// A stretch of a document that is a loop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// What kind of loop.
    pub kind: Planted,
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The bytes of the first copy, for loops that have copies.
    pub first_copy: usize,
}

/// One text with what is known about it.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is called.
    pub name: String,
    /// Where it comes from: a repository, a generator, a topic of prompts. Decides the half.
    pub source: String,
    /// The part of the corpus.
    pub stratum: Stratum,
    /// What it consists of.
    pub class: Class,
    /// What was asked, where it was asked for.
    pub prompt: Option<String>,
    /// The text.
    pub text: String,
    /// The text in pieces, as the detectors see it: real tokens where a model wrote it.
    pub pieces: Vec<Unit>,
    /// Whether the pieces are tokens of a model, with its ids.
    pub has_tokens: bool,
    /// How it ended.
    pub ending: Ending,
    /// The loop in it.
    pub label: Option<Label>,
}

impl Document {
    /// A document without a loop, in the pieces of [`text_units`].
    #[must_use]
    pub fn new(name: String, source: String, stratum: Stratum, class: Class, text: String) -> Self {
        Self {
            pieces: text_units(&text),
            has_tokens: false,
            ending: Ending::Itself,
            name,
            source,
            stratum,
            class,
            prompt: None,
            text,
            label: None,
        }
    }

    /// The half it belongs to.
    #[must_use]
    pub fn half(&self) -> Half {
        Half::of(&self.source)
    }

    /// The ids of its pieces.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.pieces.iter().map(|piece| piece.id).collect()
    }

    /// The first piece that ends after a byte.
    #[must_use]
    pub fn piece_at(&self, byte: usize) -> usize {
        self.pieces.partition_point(|piece| piece.bytes.end <= byte)
    }

    /// The pieces of its loop: where it begins, the length of its first copy, and where it ends.
    #[must_use]
    pub fn loop_pieces(&self) -> Option<(usize, usize, usize)> {
        let label = self.label.as_ref()?;
        let onset = self.piece_at(label.bytes.start);
        let second = self.piece_at(label.bytes.start + label.first_copy);
        Some((onset, second - onset, self.piece_at(label.bytes.end)))
    }
}
