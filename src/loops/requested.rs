//! Whether a prompt asks for the repetition that was found.
//!
//! A loop and a line written a hundred times on request are the same text. Only the prompt tells
//! them apart, and only by its words: a count, a word that asks for repetition, a quotation.

use serde::{Deserialize, Serialize};

/// What the prompt says about a repetition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requested {
    /// No prompt is known.
    #[default]
    Unknown,
    /// The prompt asks for nothing of the kind.
    No,
    /// The prompt quotes the block, or asks for repetition, without a count.
    Quoted,
    /// The prompt asks for about this many copies.
    Counted(u32),
}

impl Requested {
    pub(super) fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// Whether so many copies are what was asked for. Twice the count is allowed, since copies and
    /// the things that were counted need not be the same.
    #[must_use]
    pub fn covers(self, copies: f64) -> bool {
        match self {
            Self::Unknown | Self::No => false,
            Self::Quoted => true,
            Self::Counted(count) => copies <= 2.0 * f64::from(count),
        }
    }
}

/// Words that ask for repetition, or for something made of equal parts.
const ASKS: &[&str] = &[
    "repeat",
    "repeats",
    "repeated",
    "times",
    "copies",
    "row",
    "rows",
    "lines",
    "identical",
    "equal",
    "same",
    "zero",
    "zeros",
    "nulls",
    "empty",
    "blank",
    "matrix",
    "array",
    "grid",
    "table",
    "board",
    "map",
    "refrain",
    "chorus",
    "litany",
    "places",
    "filler",
    "dump",
    "pattern",
    "loop",
    "all",
];

/// Counts below this are too small to ask for a loop.
const SMALLEST_COUNT: u32 = 8;
/// Counts above this are ports, years squared, or a joke.
const LARGEST_COUNT: u32 = 1_000_000;

/// A prompt, read once.
#[derive(Clone, Debug)]
pub struct PromptRequest {
    letters: String,
    asks: bool,
    count: Option<u32>,
}

impl PromptRequest {
    /// Reads a prompt.
    #[must_use]
    pub fn read(prompt: &str) -> Self {
        let lower = prompt.to_lowercase();
        let words = || {
            lower
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
        };
        let asks = words().any(|word| ASKS.contains(&word));
        Self {
            letters: visible(&lower),
            asks,
            count: count(words()),
        }
    }

    /// What the prompt says about a repetition of `fragment`.
    #[must_use]
    pub fn about(&self, fragment: &str) -> Requested {
        let block = visible(&fragment.to_lowercase());
        let quoted = !block.is_empty() && self.letters.contains(&block);
        match self.count {
            Some(count) if self.asks || quoted => Requested::Counted(count),
            _ if self.asks && quoted => Requested::Quoted,
            _ => Requested::No,
        }
    }
}

/// The text without blanks and quotation marks, so that line breaks and quoting do not matter.
fn visible(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '“' | '”'))
        .collect()
}

/// The largest number among the words, or the largest product of "a by b".
fn count<'a>(words: impl Iterator<Item = &'a str>) -> Option<u32> {
    let mut largest = None;
    let (mut factor, mut by) = (None, false);
    for word in words {
        let number = word
            .parse::<u32>()
            .ok()
            .filter(|number| *number <= LARGEST_COUNT);
        if let Some(number) = number {
            let product = match factor {
                Some(factor) if by => number.saturating_mul(factor),
                _ => number,
            };
            largest = largest.max(Some(product));
            factor = Some(number);
            by = false;
        } else {
            by = factor.is_some() && matches!(word, "by" | "x" | "times");
            if !by {
                factor = None;
            }
        }
    }
    largest.filter(|count| (SMALLEST_COUNT..=LARGEST_COUNT).contains(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(
        "Write \"I will not talk.\" 100 times.",
        "I will not talk.\n",
        Requested::Counted(100)
    )]
    #[case("Write a 24 by 20 zero matrix.", "0, ", Requested::Counted(480))]
    #[case("Repeat hello forever.", " hello", Requested::Quoted)]
    #[case("Read README.md and summarise it.", "README.md ", Requested::No)]
    #[case("Explain ownership in 300 words.", "Ownership is ", Requested::No)]
    #[case("Explain HTTP in 2 lines.", "HTTP is a ", Requested::No)]
    fn prompts_are_read(#[case] prompt: &str, #[case] fragment: &str, #[case] expected: Requested) {
        assert_eq!(PromptRequest::read(prompt).about(fragment), expected);
    }

    #[test]
    fn more_than_twice_the_count_was_not_asked_for() {
        assert!(Requested::Counted(100).covers(200.0));
        assert!(!Requested::Counted(100).covers(201.0));
        assert!(Requested::Quoted.covers(1e9));
        assert!(!Requested::No.covers(3.0));
    }
}
